"""
What an HTTP request to the local endpoint is: of which era, for whom, and whether by the rules of that era.

A ladder; the first rung that fails answers. Below it are the guards (L{mcpbridge.core.bindings.http_guards}); above it
is whoever serves what has passed. Which era a request belongs to is decided by its body: C{_meta} names a revision in
the stateless era, and in the session era it does not. Headers only have to agree with that, because an intermediary may
have acted on them.

Sans-I/O: it does not know which sessions there are; L{admit} is asked about one that was found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.bindings.http_guards import Accepted, Refusal, accepted, check_body_type, refusal
from mcpbridge.core.bindings.http_verdicts import (
    ModernCall,
    ModernClient,
    ModernNotice,
    Opening,
    SessionEnd,
    SessionPost,
    SessionStream,
    Verdict,
)
from mcpbridge.core.bindings.param_headers import Fields, ParamHeader, decode_value, mismatch
from mcpbridge.core.eras import legacy, modern
from mcpbridge.core.eras.modern.envelope import CLIENT_CAPABILITIES, CLIENT_INFO, PROTOCOL_VERSION
from mcpbridge.core.eras.modern.server import REMOVED
from mcpbridge.core.errors import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_CLIENT_CAPABILITY,
    PARSE_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
    ErrorObject,
)
from mcpbridge.core.jsonrpc import Batch, Error, InvalidMessage, Message, Notification, Request, RequestId
from mcpbridge.core.negotiation import VERSIONS

#: Which parameter the C{Mcp-Name} header repeats.
_NAMED_BY: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}

#: What intermediaries go by, and must therefore not be able to read in two ways.
_ROUTING: Final = ("mcp-protocol-version", "mcp-method", "mcp-name")

#: HTTP statuses of the stateless era (Streamable HTTP, Sending Messages); every other error is an answer like any.
_STATUSES: Final = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    HEADER_MISMATCH: 400,
    MISSING_CLIENT_CAPABILITY: 400,
    UNSUPPORTED_PROTOCOL_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}

#: Characters of a session id or an event id of ours; a longer one is none.
_MAX_ID: Final = 64

_visible = re.compile(r"[!-~]{1,64}")
_EMPTY: Final = Raw(b"{}")
_ALLOW_ALL: Final = ((b"Allow", b"POST, GET, DELETE"),)
_ALLOW_POST: Final = ((b"Allow", b"POST"),)


def classify(method: str, fields: Fields, body: bytes) -> Verdict:
    """
    What a request is, that has passed the guards.

    @param method: of HTTP.
    @param fields: of its head.
    """
    if method == "POST":
        return _classify_post(fields, body)
    if method in ("GET", "DELETE"):
        return _classify_bodiless(method, fields)
    return refusal(405, f"Method not allowed: {method} means nothing here", fields=_ALLOW_ALL)


def admit(post: SessionPost, version: str | None) -> Refusal | None:
    """
    Whether a session takes what is posted to it.

    @param version: the revision that was agreed on; L{None} if none was yet.
    """
    if post.is_batch and version not in legacy.BATCHES:
        return refusal(400, "Invalid request: only protocol version 2025-03-26 has batches")
    return None


def check_params(call: ModernCall, headers: Sequence[ParamHeader], fields: Fields) -> Refusal | None:
    """
    Whether the C{Mcp-Param-*} headers of a C{tools/call} say what its arguments say.

    @param headers: what the tool declares, as far as that is known.
    """
    if not headers:
        return None
    arguments = jsonrpc.members(call.request.params or _EMPTY).get("arguments")
    try:
        read = None if arguments is None else jsonrpc.read(arguments)
    except InvalidMessage as invalid:
        return _refused(invalid, call.request.id)
    why = mismatch(headers, read, fields)
    return None if why is None else _mismatch(why, call.request.id)


def tool_name(call: ModernCall) -> str | None:
    """Which tool is called; L{None} if none is."""
    if call.request.method != "tools/call":
        return None
    return jsonrpc.decode_string(jsonrpc.members(call.request.params or _EMPTY).get("name"))


def answer_status(answer: Message) -> int:
    """The HTTP status of an answer in the stateless era, if it is all of the response."""
    return _STATUSES.get(answer.error.code, 200) if isinstance(answer, Error) else 200


# Without a body.


def _classify_bodiless(method: str, fields: Fields) -> Verdict:
    session_id = _session_id(fields)
    if isinstance(session_id, Refusal):
        return session_id
    version = _only(fields, "mcp-protocol-version")
    if version in modern.VERSIONS or (session_id is None and version is None):
        # Streamable HTTP of the stateless era has POST alone, and ids of sessions mean nothing to it.
        return refusal(405, f"Method not allowed: {method} needs a session", fields=_ALLOW_POST)
    wrong = _check_version(fields)
    if wrong is not None:
        return wrong
    if session_id is None:
        return refusal(400, "Bad request: the Mcp-Session-Id header is missing")
    if method == "DELETE":
        return SessionEnd(session_id)
    if not accepted(fields).events:
        return refusal(406, "Not acceptable: accept text/event-stream, which is all that a GET is answered with")
    last = _only(fields, "last-event-id")
    return SessionStream(session_id, last[: _MAX_ID + 1] if last else None)


# With a body.


def _classify_post(fields: Fields, body: bytes) -> Verdict:
    wrong = check_body_type(fields)
    if wrong is not None:
        return wrong
    readable = accepted(fields)
    if not (readable.json or readable.events):
        return refusal(406, "Not acceptable: accept application/json and text/event-stream")
    try:
        found = jsonrpc.decode(body)
    except InvalidMessage as invalid:
        if invalid.response_id is None:
            return _refused(invalid)
        return _classify_session((invalid,), fields, readable)
    try:
        if isinstance(found, Batch):
            return _classify_batch(found, fields, readable)
        if isinstance(found, Request):
            return _classify_request(found, fields, readable)
        return _classify_other(found, fields, readable)
    except InvalidMessage as invalid:
        return _refused(invalid, found.id if isinstance(found, Request) else None)


def _classify_batch(batch: Batch, fields: Fields, readable: Accepted) -> Verdict:
    for element in batch.elements:
        meta = _meta(element) if isinstance(element, Request | Notification) else None
        if meta is not None and PROTOCOL_VERSION in meta:
            return refusal(400, "Invalid request: protocol version 2026-07-28 has no batches")
        if isinstance(element, Request) and element.method == "initialize":
            return refusal(400, "Invalid request: initialize must not be part of a batch")
    return _classify_session(batch.elements, fields, readable, is_batch=True)


def _classify_request(request: Request, fields: Fields, readable: Accepted) -> Verdict:
    meta = _meta(request)
    if meta is not None and PROTOCOL_VERSION in meta:
        return _classify_modern(request, meta, fields, readable)
    if request.method == "initialize":
        session_id = _session_id(fields)
        return session_id if isinstance(session_id, Refusal) else Opening(request, readable, session_id)
    if _only(fields, "mcp-protocol-version") in modern.VERSIONS:
        missing = [name for name in (PROTOCOL_VERSION, CLIENT_CAPABILITIES) if meta is None or name not in meta]
        text = f"Invalid params: params._meta needs {' and '.join(missing)}"
        return refusal(400, text, code=INVALID_PARAMS, request_id=request.id)
    return _classify_session((request,), fields, readable)


def _classify_other(message: Message, fields: Fields, readable: Accepted) -> Verdict:
    is_modern = _only(fields, "mcp-protocol-version") in modern.VERSIONS
    if not isinstance(message, Notification):
        if is_modern:
            return refusal(400, "Invalid request: protocol version 2026-07-28 has no requests of servers to answer")
        return _classify_session((message,), fields, readable)
    meta = _meta(message)
    if meta is None or PROTOCOL_VERSION not in meta:
        return ModernNotice(message, None) if is_modern else _classify_session((message,), fields, readable)
    version = jsonrpc.decode_string(meta[PROTOCOL_VERSION])
    if version not in modern.VERSIONS:
        return _unsupported(version, meta[PROTOCOL_VERSION], None)
    return ModernNotice(message, _client(meta) if CLIENT_CAPABILITIES in meta else None)


def _classify_modern(request: Request, meta: Mapping[str, Raw], fields: Fields, readable: Accepted) -> Verdict:
    for name in _ROUTING:
        if len(fields.get(name, ())) > 1:
            return _mismatch(f"the header {name} is there more than once", request.id)
    version = jsonrpc.decode_string(meta[PROTOCOL_VERSION])
    header = _only(fields, "mcp-protocol-version")
    if header is None or header != version:
        return _mismatch("the MCP-Protocol-Version header is not the version in params._meta", request.id)
    if version not in modern.VERSIONS:
        return _unsupported(version, meta[PROTOCOL_VERSION], request.id)
    if CLIENT_CAPABILITIES not in meta or bytes(meta[CLIENT_CAPABILITIES])[:1] != b"{":
        text = f"Invalid params: params._meta needs {CLIENT_CAPABILITIES}, an object"
        return refusal(400, text, code=INVALID_PARAMS, request_id=request.id)
    if CLIENT_INFO in meta and bytes(meta[CLIENT_INFO])[:1] != b"{":
        text = f"Invalid params: {CLIENT_INFO} in params._meta is an object"
        return refusal(400, text, code=INVALID_PARAMS, request_id=request.id)
    wrong = _check_routing(request, fields)
    if wrong is not None:
        return wrong
    if request.method in REMOVED:
        text = f"Method not found: {request.method} is not part of protocol version {version}"
        return refusal(404, text, code=METHOD_NOT_FOUND, request_id=request.id)
    if not readable.events and request.method == "subscriptions/listen":
        text = "Not acceptable: subscriptions/listen is answered with text/event-stream"
        return refusal(406, text, request_id=request.id)
    return ModernCall(request, _client(meta), readable)


def _check_routing(request: Request, fields: Fields) -> Refusal | None:
    if _only(fields, "mcp-method") != request.method:
        return _mismatch("the Mcp-Method header is not the method of the request", request.id)
    member = _NAMED_BY.get(request.method)
    if member is None:
        return None
    said = _only(fields, "mcp-name")
    name = jsonrpc.decode_string(jsonrpc.members(request.params or _EMPTY).get(member))
    if name is None:
        # Nothing to compare with; whoever serves the call misses its name. But a header alone would be believed.
        return None if said is None else _mismatch(f"the Mcp-Name header is there, though {member} is not", request.id)
    if said is None or decode_value(said) != name:
        return _mismatch(f"the Mcp-Name header is not the {member} of the request", request.id)
    return None


def _classify_session(
    messages: tuple[Message | InvalidMessage, ...], fields: Fields, readable: Accepted, *, is_batch: bool = False
) -> Verdict:
    only = messages[0]
    request_id = only.id if isinstance(only, Request) and not is_batch else None
    session_id = _session_id(fields)
    if isinstance(session_id, Refusal):
        return session_id
    wrong = _check_version(fields, request_id)
    if wrong is not None:
        return wrong
    if session_id is None:
        text = "Bad request: the Mcp-Session-Id header is missing; it comes with the answer to initialize"
        return refusal(400, text, request_id=request_id)
    return SessionPost(session_id, messages, is_batch, readable)


# Particles.


def _only(fields: Fields, name: str) -> str | None:
    values = fields.get(name, ())
    return values[0] if len(values) == 1 else None


def _session_id(fields: Fields) -> str | Refusal | None:
    values = fields.get("mcp-session-id", ())
    if not values:
        return None
    if len(values) > 1:
        return refusal(400, "Bad request: more than one Mcp-Session-Id header")
    # What cannot be an id of ours is an unknown one, like any other that is not.
    return values[0] if _visible.fullmatch(values[0]) else "?"


def _check_version(fields: Fields, request_id: RequestId | None = None) -> Refusal | None:
    values = fields.get("mcp-protocol-version", ())
    # Absent means 2025-03-26, which did not have it.
    if not values or (len(values) == 1 and values[0] in legacy.VERSIONS):
        return None
    text = f"Bad request: the MCP-Protocol-Version header names none of {', '.join(legacy.VERSIONS)}"
    return refusal(400, text, request_id=request_id)


def _meta(message: Request | Notification) -> Mapping[str, Raw] | None:
    """What is in C{_meta}; L{None} if there is none, or no object."""
    if message.params is None:
        return None
    meta = jsonrpc.members(message.params).get("_meta")
    if meta is None or bytes(memoryview(meta)[:1]) != b"{":
        return None
    return jsonrpc.members(meta)


def _client(meta: Mapping[str, Raw]) -> ModernClient:
    info = meta.get(CLIENT_INFO)
    capabilities = jsonrpc.canonical(jsonrpc.read(meta[CLIENT_CAPABILITIES]))
    return ModernClient(None if info is None else sha256(bytes(info)).digest(), sha256(capabilities).digest())


def _mismatch(why: str, request_id: RequestId) -> Refusal:
    return refusal(400, f"Header mismatch: {why}", code=HEADER_MISMATCH, request_id=request_id)


def _unsupported(version: str | None, raw: Raw, request_id: RequestId | None) -> Refusal:
    if version is None:
        text = f"Invalid params: {PROTOCOL_VERSION} is a string"
        return refusal(400, text, code=INVALID_PARAMS, request_id=request_id)
    data = jsonrpc.assemble({"supported": jsonrpc.value(list(VERSIONS)), "requested": raw})
    error = ErrorObject(UNSUPPORTED_PROTOCOL_VERSION, "Unsupported protocol version", data)
    return Refusal(400, Error(request_id, error))


def _refused(invalid: InvalidMessage, request_id: RequestId | None = None) -> Refusal:
    found = invalid.request_id if request_id is None else request_id
    return Refusal(400, Error(found, ErrorObject(invalid.code, str(invalid))))
