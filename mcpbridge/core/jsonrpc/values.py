"""
JSON values that stay as they came: objects and arrays come apart and together again, and what is inside is not read.

msgspec is the quick path; what it refuses though it is JSON (a lone surrogate) is cut all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from mcpbridge.core.errors import INVALID_PARAMS, INVALID_REQUEST
from mcpbridge.core.jsonrpc.messages import InvalidMessage
from mcpbridge.core.jsonrpc.scalars import dumps, encode_string
from mcpbridge.core.jsonrpc.surrogates import cut_elements, cut_members, without_surrogates

_members: Callable[[bytes | Raw], dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw]).decode
_elements: Callable[[bytes | Raw], list[Raw]] = msgspec.json.Decoder(list[Raw]).decode


def members(raw: Raw | bytes, limit: int | None = None) -> dict[str, Raw]:
    """
    The members of a JSON object, in order, each as it came.

    @param limit: bytes that it may have. Each member costs some 20 times its size, so what a stranger sends needs one.
    @raise InvalidMessage: this is no object, or over the limit.
    """
    if limit is not None and len(memoryview(raw)) > limit:
        raise InvalidMessage(INVALID_PARAMS, f"Invalid params: over {limit} bytes")
    try:
        return read_members(raw)
    except msgspec.ValidationError:
        raise InvalidMessage(INVALID_PARAMS, "Invalid params: not an object") from None
    except RecursionError:
        raise InvalidMessage(INVALID_REQUEST, "Invalid request: JSON nested too deep") from None


def elements(raw: Raw | bytes) -> list[Raw]:
    """
    The elements of a JSON array, each as it came.

    @raise InvalidMessage: this is no array.
    """
    try:
        return _read_elements(raw)
    except msgspec.ValidationError:
        raise InvalidMessage(INVALID_PARAMS, "Invalid params: not an array") from None
    except RecursionError:
        raise InvalidMessage(INVALID_REQUEST, "Invalid request: JSON nested too deep") from None


def read_members(data: bytes | Raw) -> dict[str, Raw]:
    """
    The members of an object; the last one of each name.

    @raise msgspec.ValidationError: it is JSON, but no object.
    @raise InvalidMessage: it is no JSON.
    """
    try:
        return _members(data)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return cut_members(bytes(data))


def _read_elements(data: bytes | Raw) -> list[Raw]:
    """The same for the elements of an array."""
    try:
        return _elements(data)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        text = bytes(data)
        return cut_elements(text, without_surrogates(_elements, text))


def assemble(found: Mapping[str, Raw]) -> Raw:
    """The inverse of L{members}."""
    parts: list[bytes | Raw] = []
    for name, value in found.items():
        parts += (b"," if parts else b"{", encode_string(name), b":", value)
    parts.append(b"}" if parts else b"{}")
    return Raw(b"".join(parts))


def array(found: Iterable[Raw]) -> Raw:
    """The inverse of L{elements}."""
    return Raw(b"[" + b",".join(found) + b"]")


def value(found: Any) -> Raw:
    """Any plain Python value as JSON; for what the bridge itself says."""
    return Raw(dumps(found).encode("ascii"))


def read(raw: Raw | bytes) -> Any:
    """
    Any JSON value as plain Python; for what a rule must look inside of. Never written back to the wire.

    @raise InvalidMessage: it is nested too deep.
    """
    try:
        return json.loads(bytes(raw), parse_int=_integer)
    except RecursionError:
        raise InvalidMessage(INVALID_PARAMS, "Invalid params: JSON nested too deep") from None


def _integer(text: str) -> int | float:
    # int() takes no more digits than this (sys.get_int_max_str_digits).
    return int(text) if len(text) < 4300 else float(text)


def canonical(found: Any) -> bytes:
    """Plain Python as JSON in one fixed form: equal values give equal bytes. For comparing, not for the wire."""
    return json.dumps(found, sort_keys=True, separators=(",", ":")).encode("ascii")
