"""
The transports that lead to the servers of L{tests.simulation.servers}, and what breaks on the way.
"""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import Fate, Loss, Reason, UpstreamUnavailable
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result
from mcpbridge.interfaces import IMessageLink, IMessageTransport
from tests.simulation.servers import Machine, ServerSession
from tests.simulation.stateless_servers import StatelessSession, is_stateless
from tests.simulation.world import Wire

REFUSED = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "connection refused")
CRASHED = Loss(Fate.UNKNOWN, Reason.UPSTREAM_UNREACHABLE, "the connection broke")
FORGOTTEN = Loss(Fate.SESSION_LOST, Reason.SESSION_LOST, "HTTP 404")

#: Who says this may be gone before it could be said again, so it is not turned away.
_LAST_WORDS = frozenset(("tasks/cancel",))


@implementer(IMessageTransport)
@attrs.define(eq=False)
class Transport:
    """
    What both kinds have in common: a way there, a way back, an end.

    @ivar hangs: what is at the far end says nothing any more, for good.
    @ivar is_doubted: it was told then that an answer is not wanted any more.
    @ivar ended_at: when the daemon had enough of it.
    """

    machine: Machine
    _link: IMessageLink | None = None
    _session: ServerSession | None = None
    _stateless: StatelessSession | None = None
    _connecting: Deferred[None] | None = None
    _over: bool = False
    _paused: bool = False
    _end_of_stream: bool = False
    _open: set[RequestId] = attrs.Factory(set)
    hangs: bool = False
    is_doubted: bool = False
    _lasting: set[RequestId] = attrs.Factory(set)
    ended_at: float = -1.0
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

    @property
    def is_silent(self) -> bool:
        """Whether nothing comes of what is said."""
        return self.machine.silent or self.hangs

    def send(self, message: Message, within: RequestId | None = None) -> None:
        """See L{IMessageTransport}."""
        if self._over:
            return
        if isinstance(message, Request):
            self._open.add(message.id)
            if message.method == "subscriptions/listen":
                self._lasting.add(message.id)
        elif self.hangs and isinstance(message, Notification) and message.method == "notifications/cancelled":
            assert message.params is not None
            self.is_doubted |= jsonrpc.read(message.params)["requestId"] not in self._lasting
        self._there.put(jsonrpc.encode(message))

    def _arrive(self, line: bytes) -> None:
        message = jsonrpc.decode(line)
        assert not isinstance(message, jsonrpc.Batch)
        if self.is_silent:
            self.machine.swallowed(message)
            return
        if not self._let_in(message):
            return
        if self._speaks_without_session(message):
            self._stateless_session().hear(message)
            return
        if self._session is None or not (self._session.is_open or self._session in self.machine.sessions):
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

    def reaches(self, within: RequestId | None) -> bool:
        """Whether somebody hears what is said within this request."""
        return True

    def carry_back(self, message: Message | InvalidMessage, within: RequestId | None) -> None:
        """From the server's session."""
        if self._over or self.is_silent:
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
        self.ended_at = self.machine.world.clock.seconds()
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

    @property
    def _is_known(self) -> bool:
        """Whether the server has a session for what is said here, or has not given one yet."""
        return self._session is None or not self._session.is_open or self._session in self.machine.sessions

    def _let_in(self, message: Message) -> bool:
        world = self.machine.world
        known = self._is_known or self._speaks_without_session(message)
        if not self.machine.up:
            self._lose(message, REFUSED)
        elif not known:
            self._lose(message, FORGOTTEN)
        elif isinstance(message, Request) and message.method not in _LAST_WORDS and world.maybe(0.05):
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
        if self._over or self._is_known or not self.machine.streaming:
            return
        if not self.machine.up or self.machine.silent:
            self.machine.world.later(5.0, self.look)
            return
        self.machine.lose_what_is_under_way()
        self._end()
        assert self._link is not None
        self._link.disconnected(FORGOTTEN)

    def _stream(self, within: RequestId | None) -> RequestId | None:
        return within

    def reaches(self, within: RequestId | None) -> bool:
        """An answer has a stream of its own; where that is closed nobody hears it."""
        return within is None or within in self._open

    def carry_back(self, message: Message | InvalidMessage, within: RequestId | None) -> None:
        """From the server's session, if anybody hears it."""
        if self.reaches(within):
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
