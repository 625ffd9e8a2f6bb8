"""
Looking into JSON of which it is not known what it is.

A member or an element costs us some hundred bytes, and a stranger three. So what is large is only opened if it has few
of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.jsonrpc import InvalidMessage

#: Bytes that are opened whatever is inside.
LARGE: Final = 1024 * 1024

#: Members of anything larger. No message has nearly so many.
_MAX_MEMBERS: Final = 10_000

#: Commas, on all levels, in an array that is larger: they are quicker counted than elements.
_MAX_COMMAS: Final = 200_000


class _TooMany(Exception):
    """More members than are opened."""


class _Member:
    """The name of a member, equal to no other."""


def opened(raw: Raw | None) -> dict[str, Raw]:
    """The members of an object; none of anything else, of nothing, and of what is too large or nested too deep."""
    if raw is None or not is_object(raw) or (is_large(raw) and not _has_few_members(raw)):
        return {}
    try:
        return jsonrpc.members(raw)
    except InvalidMessage:
        return {}


def listed(raw: Raw | None) -> list[Raw]:
    """The elements of an array; none of anything else, and of what is too large or nested too deep."""
    if raw is None or not is_array(raw) or (is_large(raw) and bytes(raw).count(b",") > _MAX_COMMAS):
        return []
    try:
        return jsonrpc.elements(raw)
    except InvalidMessage:
        return []


def is_large(raw: Raw) -> bool:
    """Whether this is more than can be opened without a thought."""
    return len(memoryview(raw)) > LARGE


def _has_few_members(raw: Raw) -> bool:
    members = 0

    def count(_: type, name: object) -> _Member:
        nonlocal members
        members += 1
        if members > _MAX_MEMBERS:
            raise _TooMany
        return _Member()

    try:
        msgspec.json.Decoder(dict[_Member, Raw], dec_hook=count).decode(raw)
    except (_TooMany, msgspec.MsgspecError, RecursionError):
        return False
    return True


def is_object(raw: Raw) -> bool:
    """Whether this is a JSON object."""
    return memoryview(raw)[0] == ord("{")


def is_array(raw: Raw) -> bool:
    """Whether this is a JSON array."""
    return memoryview(raw)[0] == ord("[")


def mapped(raw: Raw, convert: Callable[[Raw], Raw]) -> Raw:
    """
    An array with every element converted.

    @param convert: gives back the very element that it was given if nothing is to be done.
    @return: C{raw} itself if that is so for all of them, and for what is no array.
    """
    before = listed(raw)
    after = [convert(element) for element in before]
    if all(new is old for new, old in zip(after, before, strict=True)):
        return raw
    return jsonrpc.array(after)


def replaced(raw: Raw, name: str, convert: Callable[[Raw], Raw]) -> Raw:
    """
    An object with one member converted.

    @return: C{raw} itself if nothing is to be done, there is no such member, or this is no object.
    """
    found = opened(raw)
    before = found.get(name)
    if before is None:
        return raw
    after = convert(before)
    if after is before:
        return raw
    found[name] = after
    return jsonrpc.assemble(found)


def appended(raw: Raw, element: Raw) -> Raw:
    """An array with one more element. The others are not looked at."""
    head = bytes(raw)[:-1]
    return Raw(b"".join((head, b"" if head.strip() == b"[" else b",", element, b"]")))
