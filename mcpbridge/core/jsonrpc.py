"""
JSON-RPC 2.0: bytes to messages and back. The only room that knows JSON.

The envelope is read, the payload is not. C{params}, C{result} and C{error.data} stay the bytes that they came as
(L{msgspec.Raw} is a slice of them), so what no rule touches crosses unchanged: big integers, C{1e400}, lone
surrogates, unknown members, key order. msgspec is the quick path; what it refuses though it is JSON (a lone
surrogate) is cut into members all the same, still without re-serialising a byte. It recurses only as deep as the
interpreter allows; what nests deeper is refused with its own id.

Ids are typed: C{1} is not C{"1"}, C{true} and C{1.0} are no ids at all. MCP forbids C{null} as the id of a request
(basic, Requests).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]  # undocumented in typeshed, stable since 2.7
from typing import Any, TypeAlias, TypeVar

import attrs
import msgspec
from msgspec import Raw

from mcpbridge.core.errors import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorObject,
    RemoteProtocolError,
)

RequestId: TypeAlias = int | str

_Read = TypeVar("_Read")

#: How many tokens of a message that cannot be taken are looked at to find its id. Bounds the time spent on garbage.
_MAX_TOKENS = 200_000

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


@attrs.frozen
class Request:
    """
    A call that wants exactly one answer.

    @ivar params: a JSON object as it came, or L{None} if the member was absent.
    @ivar extra: members of the envelope that JSON-RPC does not define, if the message is not over L{MAX_KEPT}.
    """

    id: RequestId
    method: str
    params: Raw | None = None
    extra: tuple[tuple[str, Raw], ...] = ()


@attrs.frozen
class Notification:
    """A message that wants no answer."""

    method: str
    params: Raw | None = None
    extra: tuple[tuple[str, Raw], ...] = ()


@attrs.frozen
class Result:
    """A successful answer. C{result} is any JSON value as it came; MCP wants an object."""

    id: RequestId
    result: Raw
    extra: tuple[tuple[str, Raw], ...] = ()


@attrs.frozen
class Error:
    """A failed answer. C{id} is L{None} only where the request's own id could not be read."""

    id: RequestId | None
    error: ErrorObject
    extra: tuple[tuple[str, Raw], ...] = ()


@attrs.frozen
class Batch:
    """
    An array of messages (2025-03-26 only). Elements that are no messages are kept as the error to answer them with.
    """

    elements: tuple[Request | Notification | Result | Error | InvalidMessage, ...]


Message: TypeAlias = Request | Notification | Result | Error


class InvalidMessage(RemoteProtocolError):
    """
    These bytes are no JSON-RPC message that may be taken here.

    @ivar code: the JSON-RPC error code to answer with.
    @ivar request_id: the id of the request that they meant to be; L{None} if unreadable.
    @ivar response_id: the id of the request that they meant to answer, if they were a broken response.
    """

    def __init__(
        self,
        code: int,
        text: str,
        request_id: RequestId | None = None,
        response_id: RequestId | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.request_id = request_id
        self.response_id = response_id

    @property
    def answer(self) -> Error:
        """The error response to send back, where the bytes were not themselves a response."""
        return Error(self.request_id, ErrorObject(self.code, str(self)))


_ENVELOPE = frozenset(("jsonrpc", "id", "method", "params", "result", "error"))
_VERSION = Raw(b'"2.0"')

_envelope: Callable[[bytes], Any] = msgspec.json.Decoder(
    msgspec.defstruct("_Envelope", [(name, Raw | msgspec.UnsetType, msgspec.UNSET) for name in sorted(_ENVELOPE)])
).decode
_fault: Callable[[Raw], Any] = msgspec.json.Decoder(
    msgspec.defstruct("_Fault", [("code", Raw), ("message", Raw), ("data", Raw | msgspec.UnsetType, msgspec.UNSET)])
).decode
_members: Callable[[bytes | Raw], dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw]).decode
_elements: Callable[[bytes | Raw], list[Raw]] = msgspec.json.Decoder(list[Raw]).decode
_few: Callable[[bytes | Raw], Any] = msgspec.json.Decoder(
    msgspec.defstruct(
        "_Few", [(f"e{at}", Raw | msgspec.UnsetType, msgspec.UNSET) for at in range(MAX_BATCH + 1)], array_like=True
    )
).decode
_string: Callable[[bytes | Raw], str] = msgspec.json.Decoder(str).decode
_dumps = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode


class _Name:
    """The name of a member, equal to no other: so a member that is given twice is seen twice."""

    def __init__(self, text: str) -> None:
        pass


#: The same, but every member of the text is there, in order.
_every_member: Callable[[bytes], dict[_Name, Raw]] = msgspec.json.Decoder(
    dict[_Name, Raw], dec_hook=lambda _, text: _Name(text)
).decode
_opens_array = re.compile(rb"[ \t]*\[")
_opens_object = re.compile(rb"[ \t\n\r]*\{[ \t\n\r]*")
_name = re.compile(rb'("(?:[^"\\]|\\.)*+")[ \t\n\r]*:[ \t\n\r]*', re.DOTALL)
_space = re.compile(rb"[ \t\n\r]*")
_comma = re.compile(rb"[ \t\n\r]*[,\]}][ \t\n\r]*")
_surrogate = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


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
            raise InvalidMessage(PARSE_ERROR, "Parse error: the message is not valid UTF-8", _find_id(data)) from None
    try:
        return _decode_batch(data) if _opens_array.match(data) else _decode_one(data)
    except RecursionError:
        raise InvalidMessage(INVALID_REQUEST, "Invalid request: JSON nested too deep", _find_id(data)) from None


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
        found = _without_surrogates(_few, data)
    return _cut_elements(data, [element for element in msgspec.structs.astuple(found) if element is not msgspec.UNSET])


def _decode_one(data: bytes) -> Message:
    try:
        deep = len(data) > _SMALL or data.count(b"[") + data.count(b"{") > _SHALLOW
        found = _read_from_below(_SLACK, data) if deep else _read_members(data)
    except msgspec.ValidationError:
        raise InvalidMessage(INVALID_REQUEST, "Invalid request: a message is a JSON object") from None
    if "method" in found:
        return _call(found)
    return _response(found)


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


def encode(message: Message) -> bytes:
    """One message as one line of JSON, without the newline at its end."""
    return b"".join(encode_parts(message))


def encode_parts(message: Message) -> list[bytes | Raw]:
    """The same in pieces, so that a large payload need not be copied to be written."""
    parts: list[bytes | Raw]
    match message:
        case Result():
            parts = [b'{"jsonrpc":"2.0","id":', encode_id(message.id), b',"result":', message.result]
        case Request():
            parts = [b'{"jsonrpc":"2.0","id":', encode_id(message.id), b',"method":', encode_string(message.method)]
            if message.params is not None:
                parts += (b',"params":', message.params)
        case Notification():
            parts = [b'{"jsonrpc":"2.0","method":', encode_string(message.method)]
            if message.params is not None:
                parts += (b',"params":', message.params)
        case Error():
            parts = [b'{"jsonrpc":"2.0","id":', b"null" if message.id is None else encode_id(message.id)]
            parts += (b',"error":', encode_error(message.error))
    for name, value in message.extra:
        parts += (b",", encode_string(name), b":", value)
    parts.append(b"}")
    return parts


def encode_batch(messages: Iterable[Message]) -> bytes:
    """Several messages as one JSON array on one line."""
    return b"[" + b",".join(encode(message) for message in messages) + b"]"


def encode_error(error: ErrorObject) -> bytes:
    """The C{error} member alone."""
    head = b'{"code":%d,"message":%b' % (error.code, encode_string(error.message))
    if error.data is None:
        return head + b"}"
    return b"".join((head, b',"data":', error.data, b"}"))


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
    return _dumps(text).encode("ascii")


def decode_string(raw: Raw | None) -> str | None:
    """A JSON string's text, L{None} if this is no string."""
    if raw is None or bytes(memoryview(raw)[:1]) != b'"':
        return None
    try:
        return _string(raw)
    except msgspec.DecodeError:
        text, _ = scanstring(bytes(raw).decode("utf-8"), 1, True)
        return str(text)


def members(raw: Raw | bytes, limit: int | None = None) -> dict[str, Raw]:
    """
    The members of a JSON object, in order, each as it came.

    @param limit: bytes that it may have. Each member costs some 20 times its size, so what a stranger sends needs one.
    @raise InvalidMessage: this is no object, or over the limit.
    """
    if limit is not None and len(memoryview(raw)) > limit:
        raise InvalidMessage(INVALID_PARAMS, f"Invalid params: over {limit} bytes")
    try:
        return _read_members(raw)
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
    return Raw(_dumps(found).encode("ascii"))


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


# Without a step back, and a string that has no end is one token: linear in time, whatever the bytes.
_token = re.compile(r'"(?:[^"\\]|\\.)*+"?|[{\[]++|[}\]]++', re.DOTALL)
_plain_id = re.compile(r'\s*+:\s*+("(?:[^"\\]|\\.){0,4096}+"|-?[0-9]++)(?=\s*+[,}])', re.DOTALL)


def canonical(found: Any) -> bytes:
    """Plain Python as JSON in one fixed form: equal values give equal bytes. For comparing, not for the wire."""
    return json.dumps(found, sort_keys=True, separators=(",", ":")).encode("ascii")


def _find_id(data: bytes) -> RequestId | None:
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


def _read_members(data: bytes | Raw) -> dict[str, Raw]:
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
        return _cut_members(bytes(data))


def _read_from_below(levels: int, data: bytes) -> dict[str, Raw]:
    if levels:
        return _read_from_below(levels - 1, data)
    return _read_members(data) if len(data) <= MAX_KEPT else _read_envelope(data)


def _read_envelope(data: bytes) -> dict[str, Raw]:
    """The members that JSON-RPC defines, and no other."""
    try:
        found = _envelope(data)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        if len(data) > _MAX_CUT:
            text = f"Invalid request: not JSON, or lone surrogates in a message of over {_MAX_CUT} bytes"
            raise InvalidMessage(INVALID_REQUEST, text, _find_id(data)) from None
        cut = _cut_members(data)
        return {name: cut[name] for name in _ENVELOPE if name in cut}
    members = ((name, getattr(found, name)) for name in _ENVELOPE)
    return {name: member for name, member in members if member is not msgspec.UNSET}


def _read_elements(data: bytes | Raw) -> list[Raw]:
    """The same for the elements of an array."""
    try:
        return _elements(data)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        text = bytes(data)
        return _cut_elements(text, _without_surrogates(_elements, text))


# Lone surrogates are JSON (RFC 8259, section 8.2), though msgspec refuses them. It reads a text of equal length
# without any instead, and its slices tell how long the members of the real one are.


def _cut_members(data: bytes) -> dict[str, Raw]:
    lengths = [len(memoryview(member)) for member in _without_surrogates(_every_member, data).values()]
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


def _cut_elements(data: bytes, elements: Iterable[Raw]) -> list[Raw]:
    found: list[Raw] = []
    at = _past(_opens_array, data, 0)
    for element in elements:
        at = _past(_space, data, at)
        length = len(memoryview(element))
        found.append(Raw(data[at : at + length]))
        at = _past(_comma, data, at + length)
    return found


def _without_surrogates(read: Callable[[bytes], _Read], data: bytes) -> _Read:
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
