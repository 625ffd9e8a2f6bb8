"""
What every message of the stateless era carries round its payload, put on and taken off.

A payload without its envelope is I{neutral}: it may go to a conversation of any era.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import is_object, opened
from mcpbridge.core.errors import UNSUPPORTED_PROTOCOL_VERSION, ErrorObject
from mcpbridge.core.events import Envelope
from mcpbridge.core.jsonrpc import InvalidMessage, RequestId

VERSIONS: Final = ("2026-07-28",)

_OURS: Final = "io.modelcontextprotocol/"
PROTOCOL_VERSION: Final = _OURS + "protocolVersion"
CLIENT_INFO: Final = _OURS + "clientInfo"
CLIENT_CAPABILITIES: Final = _OURS + "clientCapabilities"
LOG_LEVEL: Final = _OURS + "logLevel"
_OF_THE_CLIENT: Final = frozenset((PROTOCOL_VERSION, CLIENT_INFO, CLIENT_CAPABILITIES, LOG_LEVEL))
SERVER_INFO: Final = _OURS + "serverInfo"
SUBSCRIPTION_ID: Final = _OURS + "subscriptionId"

#: Results that a client may keep for a while (Caching).
CACHEABLE: Final = frozenset(
    (
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
    )
)

#: The only requests that a server may answer with questions (Multi Round-Trip Requests).
ASKING: Final = frozenset(("tools/call", "prompts/get", "resources/read"))

COMPLETE: Final = Raw(b'"complete"')
INPUT_REQUIRED: Final = Raw(b'"input_required"')
TASK: Final = Raw(b'"task"')

_EMPTY = Raw(b"{}")
_PUBLIC: Final = Raw(b'"public"')
_PRIVATE: Final = Raw(b'"private"')

#: Milliseconds, not negative (Caching).
_duration = re.compile(rb"0|[1-9][0-9]{0,18}")


def meta_of(params: Raw | None) -> dict[str, Raw]:
    """
    The members of C{_meta}; none if there is none.

    @raise InvalidMessage: it is no object.
    """
    found = jsonrpc.members(params or _EMPTY).get("_meta")
    return {} if found is None else jsonrpc.members(found)


def with_meta(params: Raw | None, added: Mapping[str, Raw]) -> Raw:
    """
    Params whose C{_meta} has these members, in place of its own of the same names. A C{_meta} that is no object, which
    is nothing that anybody could read, makes way.
    """
    found = jsonrpc.members(params or _EMPTY)
    found["_meta"] = jsonrpc.assemble({**opened(found.get("_meta")), **added})
    return jsonrpc.assemble(found)


def open_params(params: Raw | None) -> tuple[dict[str, Raw], dict[str, Raw]]:
    """
    The params of a client of this era without what they say of the client, and the members of C{_meta} as they came.

    @return: the members of the params, whose C{_meta} has kept what is not the protocol's; and the C{_meta}.
    @raise InvalidMessage: C{_meta} is no object.
    """
    found = jsonrpc.members(params or _EMPTY)
    meta = jsonrpc.members(found["_meta"]) if "_meta" in found else {}
    kept = {name: value for name, value in meta.items() if name not in _OF_THE_CLIENT}
    if len(kept) < len(meta):
        _put_meta(found, kept)
    return found, meta


def close_params(found: Mapping[str, Raw]) -> Raw | None:
    """Members as params; where there are none, there need not be any."""
    return jsonrpc.assemble(found) if found else None


def open_result(method: str, result: Raw) -> tuple[Raw, Envelope]:
    """
    A result without its envelope, and the envelope.

    @param method: of the request.
    @raise InvalidMessage: it is no object.
    """
    found = jsonrpc.members(result)
    kind = found.pop("resultType", COMPLETE)
    ttl = scope = None
    # Elsewhere these are not the protocol's: how long a task is kept, for one.
    if kind != TASK and (method in CACHEABLE or method in ASKING):
        ttl, scope = found.pop("ttlMs", None), found.pop("cacheScope", None)
    meta = opened(found.get("_meta"))
    server = meta.pop(SERVER_INFO, None)
    if server is not None:
        _put_meta(found, meta)
    return jsonrpc.assemble(found), Envelope(kind, ttl, scope, server)


def close_result(method: str, result: Raw, envelope: Envelope | None, server: Raw | None) -> Raw:
    """
    A neutral result in the envelope that it came in, or in one that claims nothing: complete, not to be kept.

    @param server: what the server said of itself when it was opened.
    @raise InvalidMessage: it is no object.
    """
    found = jsonrpc.members(result)
    given = envelope or Envelope(COMPLETE)
    found["resultType"] = given.kind
    if method in CACHEABLE and given.kind == COMPLETE:
        is_sound = given.ttl is not None and _duration.fullmatch(memoryview(given.ttl))
        found["ttlMs"] = given.ttl if is_sound and given.ttl is not None else Raw(b"0")
        found["cacheScope"] = given.scope if given.scope == _PUBLIC else _PRIVATE
    server = given.server or server
    if server is not None and is_object(server):
        found["_meta"] = jsonrpc.assemble({**opened(found.get("_meta")), SERVER_INFO: server})
    elif "_meta" in found and not is_object(found["_meta"]):
        del found["_meta"]
    return jsonrpc.assemble(found)


def tagged(params: Raw | None, subscription: RequestId) -> Raw:
    """The params of a notification on the stream of a C{subscriptions/listen} of this id."""
    return with_meta(params, {SUBSCRIPTION_ID: Raw(jsonrpc.encode_id(subscription))})


def untagged(params: Raw | None) -> Raw | None:
    """The inverse of L{tagged}; L{None} if nothing else was there."""
    if params is None:
        return None
    found = jsonrpc.members(params)
    meta = opened(found.get("_meta"))
    if meta.pop(SUBSCRIPTION_ID, None) is None:
        return params
    _put_meta(found, meta)
    return close_params(found)


def _put_meta(found: dict[str, Raw], meta: Mapping[str, Raw]) -> None:
    if meta:
        found["_meta"] = jsonrpc.assemble(meta)
    else:
        del found["_meta"]


def subscription_of(params: Raw | None) -> RequestId | None:
    """Which C{subscriptions/listen} a notification belongs to; L{None} if it does not say."""
    try:
        tag = meta_of(params).get(SUBSCRIPTION_ID)
    except InvalidMessage:
        return None
    return None if tag is None else jsonrpc.decode_id(tag)


#: What -32022 was called before it was published; others use that code as they like.
_FORMER: Final = -32004


def refuses_version(error: ErrorObject) -> bool:
    """Whether a server does not speak the revision of a request (UnsupportedProtocolVersionError)."""
    if error.code == _FORMER:
        return "supported" in opened(error.data)
    return error.code == UNSUPPORTED_PROTOCOL_VERSION


@attrs.frozen
class Facts:
    """
    What a client says of itself with every request.

    @ivar version: the revision of the request.
    @ivar capabilities: an object as it came.
    @ivar info: an object as it came; L{None} if it was left out.
    """

    version: str
    capabilities: Raw
    info: Raw | None = None

    def as_meta(self) -> dict[str, Raw]:
        """As members of C{_meta}."""
        meta = {PROTOCOL_VERSION: jsonrpc.value(self.version), CLIENT_CAPABILITIES: self.capabilities}
        if self.info is not None:
            meta[CLIENT_INFO] = self.info
        return meta
