"""
Rules of stdio, as functions: what a line is that a server printed on its standard output (MCP, Transports, stdio).

A server must print nothing but messages, and many print more: banners, log lines, prompts. That is noise, and no harm
comes of it. A line that was meant as a message and cannot be read is another thing: somebody waits for it.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import attrs
from msgspec import Raw

from mcpbridge.core.errors import INVALID_REQUEST
from mcpbridge.core.framing import KEPT, OverlongLine
from mcpbridge.core.jsonrpc import Batch, InvalidMessage, Message, RequestId, decode, decode_id

_BOM = b"\xef\xbb\xbf"

_Line: TypeAlias = Message | Batch | InvalidMessage


def read_line(line: bytes) -> _Line | None:
    """
    One line of a server's standard output.

    @return: L{None} if it is noise.
    """
    line = line.removeprefix(_BOM)
    if not _opens.match(line):
        return None
    try:
        found = decode(line)
    except InvalidMessage as invalid:
        return _judge(line, invalid)
    if isinstance(found, Batch) and all(_is_nobodys(element) for element in found.elements):
        return None
    return found


def read_overlong(line: OverlongLine) -> InvalidMessage | None:
    """
    One line of a server's standard output that is over the limit.

    @return: L{None} if it is noise.
    """
    wreck = _salvage(line.head.removeprefix(_BOM), line.tail, _id_at_end)
    if wreck is None:
        return None
    return wreck.error(INVALID_REQUEST, f"The message is too large: {line.size} bytes in one line")


def _judge(line: bytes, invalid: InvalidMessage) -> InvalidMessage | None:
    """Whether an unreadable line was meant as a message, and whose."""
    if invalid.response_id is not None:
        return invalid
    wreck = _salvage(line[:KEPT], line[-KEPT:], _id_and_version_at_end)
    if wreck is None:
        # "[info] listening" is no array, and {"level":"info"} is somebody's log.
        return None if invalid.request_id is None else invalid
    if wreck.id is None:
        wreck = attrs.evolve(wreck, id=invalid.request_id)
    return wreck.error(invalid.code, str(invalid))


def _is_nobodys(element: Message | InvalidMessage) -> bool:
    return isinstance(element, InvalidMessage) and element.request_id is None and element.response_id is None


@attrs.frozen
class _Wreck:
    """What is still known of a message that cannot be read. Without an id it is nobody's in particular."""

    id: RequestId | None
    is_call: bool
    is_answer: bool

    def error(self, code: int, text: str) -> InvalidMessage:
        # A message that shows neither could be either; if it is an answer, whoever waits for it must know.
        request_id = None if self.is_answer else self.id
        response_id = None if self.is_call and not self.is_answer else self.id
        return InvalidMessage(code, text, request_id, response_id)


_NAMES = rb'"(?:jsonrpc|id|method|result|error)"'
_ANSWER = frozenset((b'"result"', b'"error"'))
_MEANT = _ANSWER | {b'"method"'}

_opens = re.compile(rb"[ \t\r]*[{\[]")
_opens_object = re.compile(rb"[ \t\r]*\{")
# A string, a bracket, or the quotation mark of a string that does not end here.
_token = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["{}\[\]]', re.DOTALL)
_name = re.compile(_NAMES + rb"\s*:")
_ID = rb'("[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9]+)'
_id_value = re.compile(rb"\s*:\s*" + _ID + rb"(?=\s*[,}])", re.DOTALL)
_ID_MEMBER = rb'"id"\s*:\s*' + _ID
_VERSION_MEMBER = rb'"jsonrpc"\s*:\s*"2\.0"'
_COMMA = rb"\s*,\s*"
_END = rb"\s*\}\s*\Z"
_EITHER = (_VERSION_MEMBER + _COMMA + _ID_MEMBER, _ID_MEMBER + _COMMA + _VERSION_MEMBER)
# The last members of an object that is the last thing in the line: of the message itself, if the line is whole. A line
# that is cut short may end with the id of some other object, which never stands beside a version.
_id_at_end = re.compile(rb"[,{]\s*" + _ID_MEMBER + rb"(?:" + _COMMA + _VERSION_MEMBER + rb")?" + _END)
_id_and_version_at_end = re.compile(rb"[,{]\s*(?:" + rb"|".join(_EITHER) + rb")" + _END)


def _salvage(head: bytes, tail: bytes, at_end: re.Pattern[bytes]) -> _Wreck | None:
    """
    Find out what a message was, by its two ends, which are short.

    @return: L{None} if it was not meant as one.
    """
    if not _opens_object.match(head):
        # A batch has many ids, of which none is its own.
        return _Wreck(None, False, False) if b'"jsonrpc"' in head else None
    names, found = _scan(head)
    if found is None:
        last = at_end.search(tail)
        found = None if last is None else decode_id(Raw(last[last.lastindex or 1]))
    is_versioned = b'"jsonrpc"' in names or b'"jsonrpc"' in tail
    if not is_versioned and (found is None or not names & _MEANT):
        return None
    return _Wreck(found, b'"method"' in names, bool(names & _ANSWER))


def _scan(head: bytes) -> tuple[set[bytes], RequestId | None]:
    """The names at the top level that JSON-RPC defines, as far as they can be seen, and the id."""
    names: set[bytes] = set()
    found: RequestId | None = None
    depth = 0
    for token in _token.finditer(head):
        text = token[0]
        if text in (b"{", b"["):
            depth += 1
        elif text in (b"}", b"]"):
            depth -= 1
        elif text == b'"':
            break
        elif depth == 1 and _name.match(head, token.start()):
            names.add(text)
            value = _id_value.match(head, token.end()) if text == b'"id"' and found is None else None
            found = found if value is None else decode_id(Raw(value[1]))
    return names, found
