"""
Objects and arrays with lone surrogates in them, which are JSON (RFC 8259, section 8.2), though msgspec refuses them.

It reads a text of equal length without any instead, and its slices tell how long the members of the real one are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec
from msgspec import Raw

from mcpbridge.core.errors import PARSE_ERROR
from mcpbridge.core.jsonrpc.messages import InvalidMessage
from mcpbridge.core.jsonrpc.scalars import decode_string

_Read = TypeVar("_Read")


class _Name:
    """The name of a member, equal to no other: so a member that is given twice is seen twice."""

    def __init__(self, text: str) -> None:
        pass


#: The members of an object, but every one that is in the text, in order.
_every_member: Callable[[bytes], dict[_Name, Raw]] = msgspec.json.Decoder(
    dict[_Name, Raw], dec_hook=lambda _, text: _Name(text)
).decode
_opens_array = re.compile(rb"[ \t]*\[")
_opens_object = re.compile(rb"[ \t\n\r]*\{[ \t\n\r]*")
_name = re.compile(rb'("(?:[^"\\]|\\.)*+")[ \t\n\r]*:[ \t\n\r]*', re.DOTALL)
_space = re.compile(rb"[ \t\n\r]*")
_comma = re.compile(rb"[ \t\n\r]*[,\]}][ \t\n\r]*")
_surrogate = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def cut_members(data: bytes) -> dict[str, Raw]:
    """
    The members of an object, each as it came; the last one of each name.

    @raise msgspec.ValidationError: it is JSON, but no object.
    @raise InvalidMessage: it is no JSON.
    """
    lengths = [len(memoryview(member)) for member in without_surrogates(_every_member, data).values()]
    found: dict[str, Raw] = {}
    at = _past(_opens_object, data, 0)
    for length in lengths:
        name = _name.match(data, at)
        assert name is not None
        text = decode_string(Raw(name[1]))
        assert text is not None
        found[text] = Raw(data[name.end() : name.end() + length])
        at = _past(_comma, data, name.end() + length)
    return found


def cut_elements(data: bytes, elements: Iterable[Raw]) -> list[Raw]:
    """
    The elements of an array, each as it came.

    @param elements: as they are L{without_surrogates}.
    """
    found: list[Raw] = []
    at = _past(_opens_array, data, 0)
    for element in elements:
        at = _past(_space, data, at)
        length = len(memoryview(element))
        found.append(Raw(data[at : at + length]))
        at = _past(_comma, data, at + length)
    return found


def without_surrogates(read: Callable[[bytes], _Read], data: bytes) -> _Read:
    """
    What is read of a text of the same length with other characters in the place of surrogates.

    @raise InvalidMessage: it is no JSON, surrogates or not.
    """
    try:
        return read(_surrogate.sub(rb"\\u0020", data))
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        raise InvalidMessage(PARSE_ERROR, f"Parse error: the message is not JSON ({error})") from None


def _past(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    found = pattern.match(data, at)
    assert found is not None
    return found.end()
