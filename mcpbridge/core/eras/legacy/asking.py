"""
What a client of the session era asks for, as events.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import INVALID_PARAMS
from mcpbridge.core.events import Called, ExchangeId, LevelSet, Subscribed, Unsubscribed
from mcpbridge.core.jsonrpc import InvalidMessage, Request
from mcpbridge.core.levels import LEVELS

_EMPTY = Raw(b"{}")

Asked: TypeAlias = Called | LevelSet | Subscribed | Unsubscribed


def asked_by(request: Request, xid: ExchangeId, wants_progress: bool) -> Asked:
    """
    The event that a request is, after the opening.

    @raise InvalidMessage: its params are not what its method wants.
    """
    match request.method:
        case "logging/setLevel":
            level = jsonrpc.decode_string(jsonrpc.members(request.params or _EMPTY).get("level"))
            if level not in LEVELS:
                raise InvalidMessage(INVALID_PARAMS, f"Invalid params: level is one of {', '.join(LEVELS)}")
            return LevelSet(xid, level)
        case "resources/subscribe":
            # A copy of its own, without the message that it came in.
            return Subscribed(xid, _uri(request), Raw(bytes(request.params or _EMPTY)))
        case "resources/unsubscribe":
            return Unsubscribed(xid, _uri(request), request.params)
    return Called(xid, request.method, request.params, wants_progress)


def _uri(request: Request) -> str:
    uri = jsonrpc.decode_string(jsonrpc.members(request.params or _EMPTY).get("uri"))
    if uri is None:
        raise InvalidMessage(INVALID_PARAMS, f"Invalid params: {request.method} needs a uri")
    return uri
