"""
JSON objects that servers send during an authorization, read with suspicion.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

#: Characters in one text member; longer ones are not used. URLs have at most 8192, tokens are bounded elsewhere.
MAX_TEXT = 64 * 1024

#: Entries of one list.
MAX_LIST = 1024

#: JSON can spell half of a character; no record that has one could be written down.
_surrogate = re.compile("[\ud800-\udfff]")


def json_object(body: bytes) -> Mapping[str, Any] | None:
    """
    The JSON object in a body, L{None} if it is none.

    The body is bounded by whoever fetched it; a nesting that Python cannot follow counts as no object.
    """
    try:
        value = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def text_member(document: Mapping[str, Any], name: str) -> str | None:
    """A member that is a text, not empty; L{None} otherwise."""
    value = document.get(name)
    return value if isinstance(value, str) and 0 < len(value) <= MAX_TEXT else None


def list_member(document: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """The texts of a member that is a list; L{None} if it is none."""
    value = document.get(name)
    if not isinstance(value, list):
        return None
    texts = (entry for entry in value[:MAX_LIST] if isinstance(entry, str) and entry)
    return tuple(text for text in texts if not _surrogate.search(text))


def number_member(document: Mapping[str, Any], name: str) -> float | None:
    """A number that is not negative, also one written as a text, as some servers do; L{None} otherwise."""
    value = document.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        return None
    return float(value)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
