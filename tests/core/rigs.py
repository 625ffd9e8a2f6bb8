"""
A bridge with nothing around it: clients and servers say things, and what it does about them is written down.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.bridge import Bridge, Policy
from mcpbridge.core.catalog import Snapshot
from mcpbridge.core.effects import BridgeEffect, ConversationId, Note, Send, SessionId, StartTimer, StopTimer, Tell
from mcpbridge.core.eras.legacy import ClientPeer
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.events import Called, Event, Failed, Opened, Ready
from mcpbridge.core.interfaces import IClientPeer
from mcpbridge.core.jsonrpc import Message, Notification, Request, RequestId, Result
from mcpbridge.core.tasks.desks import Desks

ANNOUNCING = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": True}, "logging": {}}}
SILENT = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "resources": {}}}
PARAMS = {"protocolVersion": Raw(b'"2025-11-25"'), "capabilities": Raw(b'{"roots":{}}')}
REFUSED = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "connection refused")
CRASHED = Loss(Fate.UNKNOWN, Reason.UPSTREAM_UNREACHABLE, "it crashed")
FORGOTTEN = Loss(Fate.SESSION_LOST, Reason.SESSION_LOST, "it does not know the session")
BUSY = Loss(Fate.REJECTED, Reason.UPSTREAM_UNREACHABLE, "HTTP 429", retry_after=20.0)
DENIED = Loss(Fate.REJECTED, Reason.AUTH_REQUIRED, "HTTP 401")


def raw(value: Any) -> Raw:
    """Plain Python as JSON."""
    return jsonrpc.value(value)


def tools(*names: str) -> Raw:
    """A list of tools."""
    return raw({"tools": [{"name": name} for name in names]})


class Rig:
    """
    A bridge and what became of it: everything it did, timers that run, messages sent in each conversation.

    @ivar news: what it did since that was last asked for.
    """

    def __init__(
        self, *, known: Snapshot | None = None, peer: Callable[[], IClientPeer] = ClientPeer, **policy: Any
    ) -> None:
        xids = itertools.count(1000)
        self.bridge = Bridge(
            "up",
            Opened(0, "2025-11-25", PARAMS),
            Policy(**policy),
            peer,
            xids,
            lambda: 0.0,
            Desks(xids, lambda: "handle", lambda: "now", Policy(**policy).exclusive),
        )
        if known is not None:
            self.bridge.remember(known)
        self.news: list[BridgeEffect] = []
        self.timers: dict[Hashable, float] = {}

    def do(self, effects: Sequence[BridgeEffect]) -> None:
        for effect in effects:
            match effect:
                case StartTimer(key, seconds):
                    self.timers[key] = seconds
                case StopTimer(key):
                    self.timers.pop(key, None)
                case _:
                    self.news.append(effect)

    def taken(self) -> list[BridgeEffect]:
        """Everything done since the last time, but for timers and notes."""
        news, self.news = self.news, []
        return [effect for effect in news if not isinstance(effect, Note)]

    # Clients.

    def attach(self, session: SessionId, *, xid: int | None = None, ready: bool = True) -> None:
        """A client comes and opens; its exchange is numbered by a tenfold of its session."""
        self.bridge.attach(session)
        self.deliver(session, Opened(session * 10 if xid is None else xid, "2025-11-25", PARAMS))
        if ready:
            self.deliver(session, Ready())

    def detach(self, session: SessionId) -> None:
        self.do(self.bridge.detach(session))

    def deliver(self, session: SessionId, *events: Event) -> None:
        for event in events:
            self.do(self.bridge.deliver(session, event))

    # The server.

    def connected(self, conversation: ConversationId) -> None:
        self.do(self.bridge.connected(conversation))

    def says(self, conversation: ConversationId, *messages: Message, within: RequestId | None = None) -> None:
        for message in messages:
            self.do(self.bridge.received(conversation, message, within))

    def answers(self, conversation: ConversationId, request_id: RequestId, result: Any = None) -> None:
        answer = result if isinstance(result, Raw) else raw({} if result is None else result)
        self.says(conversation, Result(request_id, answer))

    def loses(self, conversation: ConversationId, request_id: RequestId, loss: Loss) -> None:
        self.do(self.bridge.request_lost(conversation, request_id, loss))

    def ends(self, conversation: ConversationId, loss: Loss) -> None:
        self.do(self.bridge.disconnected(conversation, loss))

    def opens(self, conversation: ConversationId, opening: Any = None) -> None:
        """The connection is made, and initialize answered."""
        self.connected(conversation)
        self.answers(conversation, 1, ANNOUNCING if opening is None else opening)

    # Time.

    def fire(self, key: Hashable) -> None:
        """A timer that must be running runs out."""
        del self.timers[key]
        self.do(self.bridge.fired(key))

    def tick(self, seconds: int) -> None:
        """So many seconds, as far as ticks go."""
        for _ in range(seconds):
            if "tick" in self.timers:
                self.fire("tick")


def up(*, opening: Any = None, session: SessionId = 1, **policy: Any) -> Rig:
    """A rig with one client that has opened a server which is up; what happened until then is forgotten."""
    rig = Rig(**policy)
    rig.attach(session)
    rig.opens(1, opening)
    rig.taken()
    return rig


def sends(effects: Sequence[BridgeEffect]) -> list[tuple[ConversationId, Message]]:
    """What is said to servers."""
    return [(effect.conversation, effect.message) for effect in effects if isinstance(effect, Send)]


def methods(effects: Sequence[BridgeEffect]) -> list[tuple[ConversationId, str]]:
    """The methods of that."""
    said = sends(effects)
    return [(where, what.method) for where, what in said if isinstance(what, Request | Notification)]


def tells(effects: Sequence[BridgeEffect]) -> list[tuple[SessionId, Event]]:
    """What is said to clients."""
    return [(effect.session, effect.event) for effect in effects if isinstance(effect, Tell)]


def errors(effects: Sequence[BridgeEffect]) -> list[tuple[int, str, bool]]:
    """The exchanges that failed with errors of the bridge's own: number, reason, retryable."""
    found = []
    for _, event in tells(effects):
        if isinstance(event, Failed):
            assert event.error.data is not None
            data = jsonrpc.read(event.error.data)["mcpbridge"]
            found.append((event.xid, data["reason"], data["retryable"]))
    return found


def call(xid: int, method: str = "tools/call") -> Called:
    """A request of a client."""
    return Called(xid, method, raw({"name": f"tool{xid}"}))


def sent_call(conversation: ConversationId, request_id: int, xid: int, method: str = "tools/call") -> BridgeEffect:
    """The same as it goes to the server."""
    return Send(conversation, Request(request_id, method, raw({"name": f"tool{xid}"})))


def question(request_id: RequestId, method: str = "roots/list") -> Request:
    """A request of a server."""
    return Request(request_id, method)
