"""
The two peers of the stateless era with plain Python round them. What they emit is checked against the official types.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Hashable, Sequence
from typing import Any

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.effects import Abandon, Deliver, Emit, Forget, PeerEffect, StartTimer, StopTimer
from mcpbridge.core.eras.modern import ClientPeer, ServerPeer
from mcpbridge.core.eras.modern.envelope import Facts
from mcpbridge.core.events import Completed, Event, Opened
from mcpbridge.core.jsonrpc import Error, Message, Notification, Request, RequestId, Result
from tests.core.eras.modern import schema

VERSION = "2026-07-28"
ALL = ("2026-07-28", "2025-11-25")
INFO = {"name": "c", "version": "1"}
CAPABILITIES: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}
OPENING = {
    "protocolVersion": "2025-11-25",
    "capabilities": {
        "tools": {"listChanged": True},
        "resources": {"subscribe": True, "listChanged": True},
        "logging": {},
    },
    "serverInfo": {"name": "s", "version": "2"},
}
FORM = {"message": "who?", "requestedSchema": {"type": "object", "properties": {}}}
DONE = {"content": [{"type": "text", "text": "done"}]}

#: What that server's opening becomes for a client, and what is put on every answer of it.
MODERN = {**OPENING, "protocolVersion": VERSION}
SERVER = {"io.modelcontextprotocol/serverInfo": OPENING["serverInfo"]}


def raw(value: Any) -> Raw:
    """Plain Python as JSON."""
    return jsonrpc.value(value)


def meta(capabilities: Any = None, **more: Any) -> dict[str, Any]:
    """C{_meta} of a request of the stateless era."""
    return {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": CAPABILITIES if capabilities is None else capabilities,
        "io.modelcontextprotocol/clientInfo": INFO,
        **more,
    }


def plain(message: Message) -> Any:
    """A message as plain Python."""
    return json.loads(jsonrpc.encode(message))


class Rig:
    """What both have in common: what the peer did, sorted."""

    def __init__(self) -> None:
        self.timers: dict[Hashable, float] = {}
        self.emitted: list[Message] = []
        self.within: list[RequestId | None] = []
        self.delivered: list[Event] = []
        self.forgotten: list[RequestId] = []
        self.abandoned: list[RequestId] = []

    def do(self, effects: Sequence[PeerEffect]) -> None:
        for effect in effects:
            match effect:
                case Emit(message, within):
                    self.check(message)
                    self.emitted.append(message)
                    self.within.append(within)
                case Deliver(event):
                    self.delivered.append(event)
                case Forget(request_id):
                    self.forgotten.append(request_id)
                case Abandon(request_id):
                    self.abandoned.append(request_id)
                case StartTimer(key, seconds):
                    self.timers[key] = seconds
                case StopTimer(key):
                    self.timers.pop(key, None)

    def check(self, message: Message) -> None:
        """Compare with the official types."""

    def said(self) -> list[Any]:
        """What was emitted since the last time, as plain Python."""
        emitted, self.emitted = self.emitted, []
        self.within.clear()
        return [plain(message) for message in emitted]

    def crossed(self) -> list[Event]:
        """What was delivered since the last time."""
        delivered, self.delivered = self.delivered, []
        return delivered


class Client(Rig):
    """A client in front of a L{ServerPeer}. Exchanges count from 100; handles are h1, h2, ..."""

    def __init__(self, opening: Any = OPENING, capabilities: Any = None, info: Any = INFO) -> None:
        super().__init__()
        numbers = itertools.count(1)
        facts = Facts(VERSION, raw(CAPABILITIES if capabilities is None else capabilities), info and raw(info))
        self.peer = ServerPeer(itertools.count(100), facts, ALL, lambda: f"h{next(numbers)}")
        self._methods: dict[RequestId | None, str] = {}
        if opening is not None:
            self.asks("first", "x/first")
            self.open(opening)
            self.told(Completed(101, raw({})))
            self.said()
            self.crossed()

    def open(self, opening: Any = OPENING) -> None:
        """The server's opening is known."""
        self.told(Completed(100, raw(opening)))

    def check(self, message: Message) -> None:
        if isinstance(message, Result):
            schema.check_result(self._methods[message.id], message.result)
        elif not isinstance(message, Error):
            schema.check_from_server(message)

    def asks(self, request_id: RequestId, method: str, params: Any = None, **more: Any) -> None:
        """A request."""
        self._methods[request_id] = method
        self.do(self.peer.receive(Request(request_id, method, raw({**(params or {}), "_meta": meta(**more)})), None))

    def calls(self, request_id: RequestId, tool: str = "t", *, more: Any = None, **params: Any) -> None:
        """A C{tools/call}."""
        self.asks(request_id, "tools/call", {"name": tool, "arguments": {"a": 1}, **params}, **(more or {}))

    def notes(self, method: str, params: Any = None) -> None:
        """A notification."""
        self.do(self.peer.receive(Notification(method, None if params is None else raw(params)), None))

    def cancels(self, request_id: RequestId) -> None:
        """A cancellation."""
        self.notes("notifications/cancelled", {"requestId": request_id, "reason": "no"})

    def told(self, *events: Event) -> None:
        """The bridge has something for it."""
        for event in events:
            self.do(self.peer.send(event))

    def fire(self, key: Hashable) -> None:
        """A timer that runs has run out."""
        del self.timers[key]
        self.do(self.peer.fired(key))


class Server(Rig):
    """A server in front of a L{ClientPeer}, which has opened as exchange 1 unless told otherwise."""

    def __init__(self, discovered: Any = None, capabilities: Any = None) -> None:
        super().__init__()
        self.peer = ClientPeer(name="up")
        capabilities = CAPABILITIES if capabilities is None else capabilities
        params = {"capabilities": raw(capabilities), "clientInfo": raw(INFO)}
        self.sends(Opened(1, "2025-11-25", params))
        if discovered is not False:
            self.answers(1, discover() if discovered is None else discovered)
            self.said()
            self.crossed()

    def check(self, message: Message) -> None:
        if not isinstance(message, Result | Error):
            schema.check_from_client(message)

    def sends(self, *events: Event) -> None:
        """The bridge has something for it."""
        for event in events:
            self.do(self.peer.send(event))

    def says(self, message: Message, within: RequestId | None = None) -> None:
        """The server says something."""
        self.do(self.peer.receive(message, within))

    def answers(self, request_id: RequestId, result: Any) -> None:
        """The server answers."""
        self.says(Result(request_id, raw(result)), request_id)

    def notes(self, method: str, params: Any = None, within: RequestId | None = None) -> None:
        """The server tells of something."""
        self.says(Notification(method, None if params is None else raw(params)), within)

    def fire(self, key: Hashable) -> None:
        """A timer that runs has run out."""
        del self.timers[key]
        self.do(self.peer.fired(key))


def discover(**capabilities: Any) -> dict[str, Any]:
    """A result of C{server/discover}."""
    return {
        "resultType": "complete",
        "supportedVersions": [VERSION],
        "capabilities": capabilities,
        "ttlMs": 1000,
        "cacheScope": "public",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "m", "version": "3"}},
    }
