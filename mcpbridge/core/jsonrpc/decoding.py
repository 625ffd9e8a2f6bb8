"""
Bytes to messages. The envelope is read, the payload is not.

msgspec recurses only as deep as the interpreter allows; what nests deeper is refused with its own id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from mcpbridge.core.errors import INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, ErrorObject
from mcpbridge.core.jsonrpc.messages import (
    Batch,
    Error,
    InvalidMessage,
    Message,
    Notification,
    Request,
    RequestId,
    Result,
)
from mcpbridge.core.jsonrpc.salvage import find_id
from mcpbridge.core.jsonrpc.scalars import decode_id, decode_string
from mcpbridge.core.jsonrpc.surrogates import cut_elements, cut_members, without_surrogates
from mcpbridge.core.jsonrpc.values import members, read_members

#: Messages in one array. The most that a hostile one costs is an object for each.
MAX_BATCH = 500

#: Members that JSON-RPC does not define are kept in messages of at most so many bytes. Each costs some 20 times its
#: size, so in larger ones they are not even looked at.
MAX_KEPT = 64 * 1024

#: The same where all members have to be looked at, since there are lone surrogates.
_MAX_CUT = 16 * 1024 * 1024

#: With so many brackets at most, a message cannot be deep. They are counted where that is the cheaper way: in messages
#: of so many bytes.
_SHALLOW = 200
_SMALL = 8192

#: How many calls deeper than L{decode} a payload may be opened later. Counts where calls and nesting share a limit
#: (Python 3.11).
_SLACK = 100

_ENVELOPE = frozenset(("jsonrpc", "id", "method", "params", "result", "error"))
_VERSION = Raw(b'"2.0"')
_envelope: Callable[[bytes], Any] = msgspec.json.Decoder(
    msgspec.defstruct("_Envelope", [(name, Raw | msgspec.UnsetType, msgspec.UNSET) for name in sorted(_ENVELOPE)])
).decode
_fault: Callable[[Raw], Any] = msgspec.json.Decoder(
    msgspec.defstruct("_Fault", [("code", Raw), ("message", Raw), ("data", Raw | msgspec.UnsetType, msgspec.UNSET)])
).decode
_few: Callable[[bytes | Raw], Any] = msgspec.json.Decoder(
    msgspec.defstruct(
        "_Few", [(f"e{at}", Raw | msgspec.UnsetType, msgspec.UNSET) for at in range(MAX_BATCH + 1)], array_like=True
    )
).decode
_opens_array = re.compile(rb"[ \t]*\[")


def decode(data: bytes) -> Message | Batch:
    """
    Read one JSON-RPC message, or an array of them.

    @param data: one JSON text in UTF-8; white space around it is allowed.
    @raise InvalidMessage: it is none; says what to answer.
    """
    # A pretty-printed body has line breaks between its tokens, where they mean nothing; inside a string JSON forbids
    # them raw (RFC 8259, section 7). Without them every payload is fit for newline framing.
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\n", b" ").replace(b"\r", b" ")
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidMessage(PARSE_ERROR, "Parse error: the message is not valid UTF-8", find_id(data)) from None
    try:
        return _decode_batch(data) if _opens_array.match(data) else _decode_one(data)
    except RecursionError:
        raise InvalidMessage(INVALID_REQUEST, "Invalid request: JSON nested too deep", find_id(data)) from None


def _decode_batch(data: bytes) -> Batch:
    found = _read_few(data)
    if not found:
        raise InvalidMessage(INVALID_REQUEST, "Invalid request: an empty batch")
    if len(found) > MAX_BATCH:
        raise InvalidMessage(INVALID_REQUEST, f"Invalid request: a batch of over {MAX_BATCH} messages")
    taken: list[Request | Notification | Result | Error | InvalidMessage] = []
    for element in found:
        try:
            taken.append(_decode_one(bytes(element)))
        except InvalidMessage as invalid:
            taken.append(invalid)
    return Batch(tuple(taken))


def _read_few(data: bytes) -> list[Raw]:
    """The elements of an array, of which there are at most one more than are allowed."""
    try:
        found = _few(data)
    except msgspec.DecodeError:
        found = without_surrogates(_few, data)
    return cut_elements(data, [element for element in msgspec.structs.astuple(found) if element is not msgspec.UNSET])


def _decode_one(data: bytes) -> Message:
    try:
        deep = len(data) > _SMALL or data.count(b"[") + data.count(b"{") > _SHALLOW
        found = _read_from_below(_SLACK, data) if deep else read_members(data)
    except msgspec.ValidationError:
        raise InvalidMessage(INVALID_REQUEST, "Invalid request: a message is a JSON object") from None
    if "method" in found:
        return _call(found)
    return _response(found)


def _read_from_below(levels: int, data: bytes) -> dict[str, Raw]:
    if levels:
        return _read_from_below(levels - 1, data)
    return read_members(data) if len(data) <= MAX_KEPT else _read_envelope(data)


def _read_envelope(data: bytes) -> dict[str, Raw]:
    """The members that JSON-RPC defines, and no other."""
    try:
        found = _envelope(data)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if len(data) > _MAX_CUT:
            text = f"Invalid request: not JSON, or lone surrogates in a message of over {_MAX_CUT} bytes"
            raise InvalidMessage(INVALID_REQUEST, text, find_id(data)) from None
        cut = cut_members(data)
        return {name: cut[name] for name in _ENVELOPE if name in cut}
    members = ((name, getattr(found, name)) for name in _ENVELOPE)
    return {name: member for name, member in members if member is not msgspec.UNSET}


def _call(found: dict[str, Raw]) -> Request | Notification:
    request_id: RequestId | None = None
    has_id = "id" in found
    if has_id:
        request_id = decode_id(found["id"])
    if found.get("jsonrpc") != _VERSION and decode_string(found.get("jsonrpc")) != "2.0":
        raise InvalidMessage(INVALID_REQUEST, 'Invalid request: "jsonrpc" must be "2.0"', request_id)
    if has_id and request_id is None:
        raise InvalidMessage(INVALID_REQUEST, "Invalid request: an id is a string or an integer")
    if "result" in found or "error" in found:
        raise InvalidMessage(INVALID_REQUEST, "Invalid request: both a call and an answer", request_id)
    method = decode_string(found["method"])
    if method is None:
        raise InvalidMessage(INVALID_REQUEST, "Invalid request: a method is a string", request_id)
    params = found.get("params")
    if params is not None and bytes(memoryview(params)[:1]) != b"{":
        raise InvalidMessage(INVALID_PARAMS, f"Invalid params: the params of {method} are not an object", request_id)
    if request_id is None:
        return Notification(method, params, _extra(found))
    return Request(request_id, method, params, _extra(found))


def _response(found: dict[str, Raw]) -> Result | Error:
    answered = decode_id(found["id"]) if "id" in found else None
    if found.get("jsonrpc") != _VERSION and decode_string(found.get("jsonrpc")) != "2.0":
        raise _broken(found, answered, '"jsonrpc" must be "2.0"')
    if "result" in found:
        if "error" in found:
            raise _broken(found, answered, "both a result and an error")
        if answered is None:
            raise _broken(found, answered, "an id is a string or an integer")
        return Result(answered, found["result"], _extra(found))
    if "error" not in found:
        raise _broken(found, answered, "no method, no result and no error")
    if answered is None and found.get("id", Raw(b"null")) != Raw(b"null"):
        raise _broken(found, answered, "an id is a string or an integer")
    try:
        fault = _read_fault(found["error"])
        code = msgspec.json.decode(fault["code"], type=int)
        message = decode_string(fault["message"])
    except (KeyError, InvalidMessage, msgspec.MsgspecError):
        raise _broken(found, answered, "an error needs an integer code and a message") from None
    if message is None:
        raise _broken(found, answered, "the message of an error is a string")
    return Error(answered, ErrorObject(code, message, fault.get("data")), _extra(found))


def _read_fault(error: Raw) -> dict[str, Raw]:
    if len(memoryview(error)) <= MAX_KEPT:
        return members(error)
    try:
        # Of a large one, only what is defined: see _read_envelope.
        known = _fault(error)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return members(error, _MAX_CUT)
    fault = {"code": known.code, "message": known.message}
    return fault if known.data is msgspec.UNSET else {**fault, "data": known.data}


def _broken(found: Mapping[str, Raw], answered: RequestId | None, why: str) -> InvalidMessage:
    # A message with an id but nothing else could be either; if it is an answer, whoever waits for it must know.
    if "result" in found or "error" in found:
        return InvalidMessage(INVALID_REQUEST, f"Invalid response: {why}", response_id=answered)
    return InvalidMessage(INVALID_REQUEST, f"Invalid request: {why}", request_id=answered, response_id=answered)


def _extra(found: dict[str, Raw]) -> tuple[tuple[str, Raw], ...]:
    if found.keys() <= _ENVELOPE:
        return ()
    return tuple((name, value) for name, value in found.items() if name not in _ENVELOPE)
