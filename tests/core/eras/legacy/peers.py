"""
Peers of the session era, and what comes to them from the wire.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.effects import Emit, PeerEffect
from mcpbridge.core.eras.legacy import VERSIONS, ClientPeer, ServerPeer
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import Completed
from mcpbridge.core.jsonrpc import Error, Notification, Request, RequestId

CAPABILITIES = {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}}


def raw(value: Any) -> Raw:
    """Plain Python as JSON."""
    return jsonrpc.value(value)


def request(request_id: RequestId, method: str, params: Any = None) -> Request:
    """A request as it comes from the wire."""
    return Request(request_id, method, None if params is None else raw(params))


def notification(method: str, params: Any = None) -> Notification:
    """A notification as it comes from the wire."""
    return Notification(method, None if params is None else raw(params))


def error(request_id: RequestId, code: int, message: str) -> Error:
    """An error response."""
    return Error(request_id, ErrorObject(code, message))


def initialize(request_id: RequestId = 0, version: str = VERSIONS[0], capabilities: Any = None) -> Request:
    """A client's opening."""
    params = {"protocolVersion": version, "capabilities": CAPABILITIES if capabilities is None else capabilities}
    return request(request_id, "initialize", params)


def server_peer(*, opened: bool = True, capabilities: Any = None) -> ServerPeer:
    """A peer that faces a client, which has said who it is if C{opened}; exchanges count from 100."""
    peer = ServerPeer(itertools.count(100))
    if opened:
        peer.receive(initialize(capabilities=capabilities), None)
        peer.send(Completed(100, raw({"capabilities": {}})))
        peer.receive(notification("notifications/initialized"), None)
    return peer


def client_peer(*sent: Any) -> ClientPeer:
    """A peer that faces a server, to which these events have been sent; its requests count from 1."""
    peer = ClientPeer()
    for event in sent:
        peer.send(event)
    return peer


def refusal(effects: Sequence[PeerEffect]) -> tuple[RequestId | None, int, RequestId | None]:
    """The id and the code of the error that is all that is done, and what it belongs to."""
    (effect,) = effects
    assert isinstance(effect, Emit), effect
    assert isinstance(effect.message, Error), effect
    return (effect.message.id, effect.message.error.code, effect.within)
