"""
The id of a message that no parser may read, so that whoever sent it gets its error.
"""

from __future__ import annotations

import re

from msgspec import Raw

from mcpbridge.core.jsonrpc.messages import RequestId
from mcpbridge.core.jsonrpc.scalars import decode_id

#: How many tokens of a message that cannot be taken are looked at to find its id. Bounds the time spent on garbage.
_MAX_TOKENS = 200_000

# Without a step back, and a string that has no end is one token: linear in time, whatever the bytes.
_token = re.compile(r'"(?:[^"\\]|\\.)*+"?|[{\[]++|[}\]]++', re.DOTALL)
_plain_id = re.compile(r'\s*+:\s*+("(?:[^"\\]|\\.){0,4096}+"|-?[0-9]++)(?=\s*+[,}])', re.DOTALL)


def find_id(data: bytes) -> RequestId | None:
    """The top-level C{id} of a message that no parser may read, or L{None}."""
    text = data.decode("latin-1")
    depth = 0
    for count, token in enumerate(_token.finditer(text)):
        first = token[0][0]
        if count > _MAX_TOKENS:
            return None
        if first in "{[":
            depth += len(token[0])
        elif first in "}]":
            depth -= len(token[0])
        elif depth == 1 and token[0] == '"id"':
            found = _plain_id.match(text, token.end())
            if found is not None:
                return decode_id(Raw(found[1].encode("latin-1"))) if found[1].isascii() else None
    return None
