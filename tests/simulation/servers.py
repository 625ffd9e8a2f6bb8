"""
Scripted servers, and the transports that lead to them. Those of the stateless era are in
L{tests.simulation.stateless_servers}.

A machine keeps a ledger of the calls that it ran, whatever crashes in between: no call may be in it twice.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import ErrorObject, Fate, Loss, Reason, UpstreamUnavailable
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result
from mcpbridge.interfaces import IMessageLink, IMessageTransport
from tests.simulation.stateless_servers import StatelessSession, is_stateless
from tests.simulation.world import Wire, World

REFUSED = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "connection refused")
CRASHED = Loss(Fate.UNKNOWN, Reason.UPSTREAM_UNREACHABLE, "the connection broke")
FORGOTTEN = Loss(Fate.SESSION_LOST, Reason.SESSION_LOST, "HTTP 404")

#: How long a call takes at most, in seconds.
WORK = 3.0


@attrs.define(eq=False)
class Machine:
    """
    What a server runs on.

    @ivar kind: one channel for all (a child process), or one for each request and a session (HTTP).
    @ivar eras: which it speaks; both, each message on its own.
    @ivar announcing: it tells when its tools change.
    @ivar streaming: over HTTP, there is a shared stream, and its end tells that a session is known no more.
    @ivar ledger: how often each call was run.
    @ivar cancelled: calls that it was told to stop.
    @ivar up: whether it can be reached.
    @ivar silent: it takes what comes and says nothing.
    @ivar told: the version of its tools that it last announced.
    @ivar troubled: until when requests may be lost with good reason.
    """

    world: World
    kind: Literal["pipe", "http"]
    announcing: bool
    streaming: bool
    eras: Literal["session", "stateless", "both"] = "session"
    ledger: Counter[str] = attrs.Factory(Counter)
    cancelled: set[str] = attrs.Factory(set)
    up: bool = True
    silent: bool = False
    troubled: float = 0.0
    tools: int = 1
    told: int = 1
    opened: int = 0
    sessions: list[ServerSession | StatelessSession] = attrs.Factory(list)
    transports: list[Transport] = attrs.Factory(list)

    def crash(self, seconds: float) -> None:
        """It dies with all that it was doing, and is back after a while."""
        self.up = self.silent = False
        # A gap of a few seconds is no reason to lose what is asked in it.
        self._trouble(seconds + 2.0 if seconds > 5.0 else 0.3)
        for transport in list(self.transports):
            transport.break_off()
        self.forget()
        self.world.clock.callLater(seconds, self._restarted)

    def _trouble(self, seconds: float) -> None:
        self.troubled = max(self.troubled, self.world.clock.seconds() + seconds)

    def _restarted(self) -> None:
        self.up = True

    def cut(self) -> None:
        """All connections break; the machine runs on."""
        self._trouble(0.3)
        for transport in list(self.transports):
            transport.break_off()

    def forget(self) -> None:
        """It knows its sessions no more, but ends what it has begun. A running child is its session: it cannot."""
        if self.kind == "pipe" and self.up:
            return
        self._trouble(0.3)
        self.sessions = [session for session in self.sessions if isinstance(session, StatelessSession) and self.up]
        for transport in self.transports:
            self.world.later(5.0, transport.look)

    def hang(self, seconds: float) -> None:
        """Half of it is dead: it takes what comes and does nothing."""
        self.silent = True
        # What opens meanwhile is given up only after its deadline.
        self._trouble(seconds + 30.0)
        self.world.clock.callLater(seconds, self._woken)

    def _woken(self) -> None:
        self.silent = False

    def change(self) -> None:
        """It has another tool, and says so if it is of that sort."""
        self.tools += 1
        if self.announcing:
            self.told = self.tools
            for session in self.sessions:
                session.say(Notification("notifications/tools/list_changed"))

    def hears(self, uri: str) -> bool:
        """Whether somebody who is still connected has subscribed to this."""
        return any(uri in session.subscribed and session.connected for session in self.sessions)

    def waits(self) -> list[str]:
        """Questions of sessions that are still connected, asked when all was well, and never answered."""
        return [what for session in self.sessions if session.connected for what in session.waits(self.troubled)]

    def flood(self) -> None:
        """It says things that nobody asked for."""
        for session in self.sessions:
            for message in (
                Result(99_999, jsonrpc.value({})),
                Result("1", jsonrpc.value({})),
                Error(None, ErrorObject(-32700, "what?")),
                Notification("notifications/progress", jsonrpc.value({"progressToken": 77_777, "progress": 1})),
                Notification("notifications/cancelled", jsonrpc.value({"requestId": 55})),
                Notification("notifications/unheard-of"),
                Request(f"ping{self.tools}", "ping"),
                InvalidMessage(-32700, "Parse error"),
            ):
                session.say(message)


@attrs.define(eq=False)
class ServerSession:
    """One conversation, seen from the server."""

    _machine: Machine
    _transport: Transport
    _work: dict[RequestId, str | None] = attrs.Factory(dict)
    subscribed: set[str] = attrs.Factory(set)
    _questions: dict[RequestId, Request] = attrs.Factory(dict)
    _asked_at: dict[RequestId, float] = attrs.Factory(dict)
    _ids: Iterator[int] = attrs.Factory(lambda: itertools.count(0))

    @property
    def connected(self) -> bool:
        """Whether the daemon is still at the other end."""
        return self._transport.connected

    def waits(self, since: float) -> list[str]:
        """Questions asked after this time and not answered."""
        return [f"question {key} of {at:.3f} s" for key, at in self._asked_at.items() if at > since]

    def say(self, message: Message | InvalidMessage, within: RequestId | None = None) -> None:
        """Toward the client."""
        if isinstance(message, Request):
            self._asked_at[message.id] = self._machine.world.clock.seconds()
        self._transport.carry_back(message, within)

    def hear(self, message: Message) -> None:
        """From the client."""
        match message:
            case Request():
                self._asked(message)
            case Notification(method="notifications/initialized") if self._machine.world.maybe(0.3):
                self.say(Request(next(self._ids), "roots/list"))
            case Notification(method="notifications/cancelled"):
                assert message.params is not None
                token = self._work.pop(jsonrpc.read(message.params)["requestId"], None)
                if token is not None:
                    self._machine.cancelled.add(token)
            case Result() | Error():
                self._answered(message)

    def _asked(self, request: Request) -> None:
        if request.id in self._work:
            self._machine.world.wrong(f"the id {request.id!r} was used twice in one session")
        params = {} if request.params is None else jsonrpc.read(request.params)
        match request.method:
            case "server/discover" if self._machine.world.maybe(0.1):
                # Some say nothing to what they do not know.
                return
            case "initialize":
                tools = {"listChanged": True} if self._machine.announcing else {}
                capabilities = {"tools": tools, "resources": {"subscribe": True}, "logging": {}}
                self._answer(request, {"protocolVersion": "2025-11-25", "capabilities": capabilities})
            case "tools/list":
                self._list(request, params)
            case "tools/call":
                self._call(request, params)
            case "resources/read" | "x/unknown":
                self._work[request.id] = None
                self._machine.world.later(WORK, self._finish, request, params)
            case "resources/subscribe":
                self.subscribed.add(params["uri"])
                self._answer(request, {})
            case "resources/unsubscribe":
                self.subscribed.discard(params["uri"])
                self._answer(request, {})
            case "logging/setLevel":
                self._answer(request, {})
            case _:
                self.say(Error(request.id, ErrorObject(-32601, "Method not found")), request.id)

    def _answer(self, request: Request, result: dict[str, Any]) -> None:
        self.say(Result(request.id, jsonrpc.value(result)), request.id)

    def _list(self, request: Request, params: dict[str, Any]) -> None:
        at = int(params.get("cursor", "0"))
        page: dict[str, Any] = {"tools": [{"name": f"tool{at}"}]}
        if at + 1 < min(self._machine.tools, 4):
            page["nextCursor"] = str(at + 1)
        page["version"] = self._machine.tools
        self._answer(request, page)

    def _call(self, request: Request, params: dict[str, Any]) -> None:
        asked = params["arguments"]
        token = asked["token"]
        self._machine.ledger[token] += 1
        self._work[request.id] = token
        if "progressToken" in params.get("_meta", {}):
            progress = {"progressToken": params["_meta"]["progressToken"], "progress": 1, "message": token}
            self.say(Notification("notifications/progress", jsonrpc.value(progress)), request.id)
        if asked["ask"]:
            question = Request(next(self._ids), "elicitation/create", jsonrpc.value({"message": token}))
            self._questions[question.id] = request
            self.say(question, request.id)
        else:
            self._machine.world.later(WORK, self._finish, request, asked)

    def _answered(self, message: Result | Error) -> None:
        self._asked_at.pop(message.id or 0, None)
        request = self._questions.pop(message.id, None) if message.id is not None else None
        if request is None:
            return
        assert request.params is not None
        asked = jsonrpc.read(request.params)["arguments"]
        answer: dict[str, Any] = jsonrpc.read(message.result) if isinstance(message, Result) else {}
        if answer.get("for", asked["token"]) != asked["token"]:
            self._machine.world.wrong(f"{asked['token']} was answered by {answer}")
        self._machine.world.later(WORK, self._finish, request, asked)

    def _finish(self, request: Request, asked: dict[str, Any]) -> None:
        if request.id not in self._work or self._machine.silent:
            return
        del self._work[request.id]
        if asked.get("fail"):
            self.say(Error(request.id, ErrorObject(-1, asked["token"])), request.id)
        else:
            self._answer(request, {"for": asked["token"], "big": 2**80})


@implementer(IMessageTransport)
@attrs.define(eq=False)
class Transport:
    """What both kinds have in common: a way there, a way back, an end."""

    machine: Machine
    _link: IMessageLink | None = None
    _session: ServerSession | None = None
    _stateless: StatelessSession | None = None
    _connecting: Deferred[None] | None = None
    _over: bool = False
    _paused: bool = False
    _end_of_stream: bool = False
    _open: set[RequestId] = attrs.Factory(set)
    _there: Wire = attrs.field(init=False)
    _back: Wire = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._there = Wire(self.machine.world, self._arrive)
        self._back = Wire(self.machine.world, self._hear_back)

    @property
    def connected(self) -> bool:
        """Whether anything can be said."""
        return not self._over

    def connect(self, link: IMessageLink) -> Deferred[None]:
        """See L{IMessageTransport}."""
        self._link = link
        self._connecting = Deferred()
        self.machine.world.later(1.0, self._connected)
        return self._connecting

    def _connected(self) -> None:
        connecting, self._connecting = self._connecting, None
        if self._over or connecting is None:
            return
        if not self.machine.up:
            self._over = True
            connecting.errback(UpstreamUnavailable(REFUSED))
            return
        self.machine.transports.append(self)
        connecting.callback(None)

    def send(self, message: Message, within: RequestId | None = None) -> None:
        """See L{IMessageTransport}."""
        if self._over:
            return
        if isinstance(message, Request):
            self._open.add(message.id)
        self._there.put(jsonrpc.encode(message))

    def _arrive(self, line: bytes) -> None:
        message = jsonrpc.decode(line)
        assert not isinstance(message, jsonrpc.Batch)
        if self.machine.silent or not self._let_in(message):
            return
        if self._speaks_without_session(message):
            self._stateless_session().hear(message)
            return
        if self._session is None:
            self._session = ServerSession(self.machine, self)
            self.machine.sessions.append(self._session)
            self.machine.opened += 1
        self._session.hear(message)

    def _speaks_without_session(self, message: Message) -> bool:
        """Whether this is for the part of the machine that knows no sessions."""
        if self.machine.eras != "both":
            return self.machine.eras == "stateless"
        if isinstance(message, Notification) and message.method == "notifications/cancelled":
            return self._session is None
        return is_stateless(message) or (self._session is None and not isinstance(message, Request))

    def _stateless_session(self) -> StatelessSession:
        if self._stateless is None or self._stateless not in self.machine.sessions:
            self._stateless = StatelessSession(self.machine, self)
            self.machine.sessions.append(self._stateless)
            self.machine.opened += 1
        return self._stateless

    def _let_in(self, message: Message) -> bool:
        return True

    def carry_back(self, message: Message | InvalidMessage, within: RequestId | None) -> None:
        """From the server's session."""
        if self._over or self.machine.silent:
            return
        line = message if isinstance(message, InvalidMessage) else jsonrpc.encode(message)
        self._back.put(line, self._stream(within))

    def _stream(self, within: RequestId | None) -> RequestId | None:
        return None

    def _hear_back(self, line: bytes | InvalidMessage, within: RequestId | None) -> None:
        assert self._link is not None
        if isinstance(line, InvalidMessage):
            self._link.received_garbage(line)
            return
        message = jsonrpc.decode(line)
        assert not isinstance(message, jsonrpc.Batch)
        if isinstance(message, Result | Error) and message.id is not None:
            self._open.discard(message.id)
        self._link.received(message, within)

    def break_off(self) -> None:
        """The connection breaks."""
        raise NotImplementedError

    def orphan(self) -> None:
        """The daemon died: what it had written still arrives, and nobody hears the answer."""
        self._end()

    def look(self) -> None:
        """Look whether the session is still known."""

    def abandon(self, request_id: RequestId) -> None:
        """See L{IMessageTransport}."""
        self._open.discard(request_id)
        if self._stateless is not None and self._end_of_stream:
            self._stateless.cancel(request_id)

    def pause(self) -> None:
        """See L{IMessageTransport}."""
        self._back.pause()

    def resume(self) -> None:
        """See L{IMessageTransport}."""
        self._back.resume()

    def disconnect(self) -> Deferred[None]:
        """See L{IMessageTransport}."""
        self._end()
        done: Deferred[None] = Deferred()
        self.machine.world.later(1.0, done.callback, None)
        return done

    def _end(self) -> None:
        self._over = True
        self._back.cut()
        if self in self.machine.transports:
            self.machine.transports.remove(self)


@attrs.define(eq=False)
class PipeTransport(Transport):
    """One channel: with it goes everything."""

    def break_off(self) -> None:
        """The child dies, or its pipe does."""
        self._end()
        self._there.cut()
        assert self._link is not None
        self._link.disconnected(CRASHED)


@attrs.define(eq=False)
class HTTPTransport(Transport):
    """A stream for each request, and a session that the server may forget."""

    _end_of_stream: bool = True

    def _let_in(self, message: Message) -> bool:
        world = self.machine.world
        known = self._session is None or self._session in self.machine.sessions or self._speaks_without_session(message)
        if not self.machine.up:
            self._lose(message, REFUSED)
        elif not known:
            self._lose(message, FORGOTTEN)
        elif isinstance(message, Request) and world.maybe(0.05):
            after = world.chance.choice((None, 0.5, 12.0))
            self._lose(message, Loss(Fate.REJECTED, Reason.UPSTREAM_UNREACHABLE, "HTTP 429", after))
        else:
            return True
        return False

    def _lose(self, message: Message, loss: Loss) -> None:
        if isinstance(message, Request) and message.id in self._open and not self._over:
            self._open.discard(message.id)
            assert self._link is not None
            self._link.request_lost(message.id, loss)

    def look(self) -> None:
        """The shared stream is asked for again, until the server is there to say whether it knows the session."""
        known = self._session is None or self._session in self.machine.sessions
        if self._over or known or not self.machine.streaming:
            return
        if not self.machine.up or self.machine.silent:
            self.machine.world.later(5.0, self.look)
            return
        self._end()
        assert self._link is not None
        self._link.disconnected(FORGOTTEN)

    def _stream(self, within: RequestId | None) -> RequestId | None:
        return within

    def carry_back(self, message: Message | InvalidMessage, within: RequestId | None) -> None:
        """An answer has a stream of its own; where that is closed nobody hears it."""
        if within is None or within in self._open:
            Transport.carry_back(self, message, within)

    def break_off(self) -> None:
        """Every stream breaks; the transport itself has nothing that could."""
        self._back.cut()
        self._there.cut()
        self._there = Wire(self.machine.world, self._arrive)
        self._back = Wire(self.machine.world, self._hear_back)
        assert self._link is not None
        for request_id in sorted(self._open, key=repr):
            if self._stateless is not None:
                self._stateless.cancel(request_id)
            if request_id in self._open:
                self._open.discard(request_id)
                self._link.request_lost(request_id, CRASHED)


def transport_to(machine: Machine) -> Transport:
    """A new one of its kind."""
    return PipeTransport(machine) if machine.kind == "pipe" else HTTPTransport(machine)
