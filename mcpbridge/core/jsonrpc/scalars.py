"""
Strings and ids as JSON, and back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from json.decoder import scanstring  # type: ignore[attr-defined]  # undocumented in typeshed, stable since 2.7

import msgspec
from msgspec import Raw

from mcpbridge.core.jsonrpc.messages import RequestId

_string: Callable[[bytes | Raw], str] = msgspec.json.Decoder(str).decode

#: Plain Python as JSON, in ASCII.
dumps = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode


def encode_id(request_id: RequestId) -> bytes:
    """An id as JSON."""
    if isinstance(request_id, str):
        return encode_string(request_id)
    return b"%d" % request_id


def decode_id(raw: Raw) -> RequestId | None:
    """A typed id; L{None} for everything that is no id: null, booleans, fractions, arrays, objects."""
    text = bytes(raw) if len(memoryview(raw)) < 4096 else b""
    if text[:1] == b'"':
        return decode_string(raw)
    # By its form, not by its value: 1.0 and 1e0 are no ids, and -0 would come back as 0.
    if re.fullmatch(rb"0|-?[1-9][0-9]*", text):
        return int(text) if len(text) < 4300 else None
    return None


def encode_string(text: str) -> bytes:
    """A JSON string. ASCII, so that a lone surrogate survives and no reader trips over U+2028."""
    return dumps(text).encode("ascii")


def decode_string(raw: Raw | None) -> str | None:
    """A JSON string's text, L{None} if this is no string."""
    if raw is None or bytes(memoryview(raw)[:1]) != b'"':
        return None
    try:
        return _string(raw)
    except msgspec.DecodeError:
        text, _ = scanstring(bytes(raw).decode("utf-8"), 1, True)
        return str(text)
