"""
Looking into JSON of which it is not known what it is.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.jsonrpc import InvalidMessage


def opened(raw: Raw | None) -> dict[str, Raw]:
    """The members of an object; none of anything else, of nothing, and of what is nested too deep."""
    if raw is None or not is_object(raw):
        return {}
    try:
        return jsonrpc.members(raw)
    except InvalidMessage:
        return {}


def listed(raw: Raw | None) -> list[Raw]:
    """The elements of an array; none of anything else."""
    if raw is None or not is_array(raw):
        return []
    try:
        return jsonrpc.elements(raw)
    except InvalidMessage:
        return []


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
