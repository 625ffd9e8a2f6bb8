"""
A session: one conversation with a client, and the link to the server that it uses.

It drives the peer that speaks with the client, and hands what crosses the bridge to the link.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mcpbridge.core.effects import (
    Abandon,
    Deliver,
    Emit,
    Forget,
    PeerEffect,
    SessionId,
    StartTimer,
    StopTimer,
)
from mcpbridge.core.errors import ErrorObject, LimitExceeded, Reason, bridge_error
from mcpbridge.core.events import Event, Failed, Opened
from mcpbridge.core.interfaces import IServerPeer
from mcpbridge.core.jsonrpc import InvalidMessage, Message, RequestId
from mcpbridge.service.links import Link


class Server(Protocol):
    """A configured server, as a session sees it."""

    @property
    def name(self) -> str:
        """What the user calls it."""

    def acquire(self, opened: Opened, cwd: str) -> Link:
        """
        A link for a client that says this of itself.

        @raise LimitExceeded: there are too many already.
        """

    def release(self, link: Link) -> None:
        """The client has done with it."""


@attrs.frozen
class Mouth:
    """
    How a session reaches its client.

    @ivar send: a message, and the client's request that it belongs to.
    @ivar forget: a request of the client's that gets no answer.
    @ivar abandon: a request of ours whose answer is not wanted.
    @ivar hold: read no more from the client for now, or go on.
    """

    send: Callable[[Message, RequestId | None], None]
    forget: Callable[[RequestId], None]
    abandon: Callable[[RequestId], None]
    hold: Callable[[bool], None]


@attrs.define(eq=False, repr=False)
class Session:
    """
    See the top of this module.

    @ivar number: unique in the daemon.
    @ivar cwd: the client's working directory.
    @ivar peer: our end of the conversation with the client.
    @ivar server: what it uses; L{None} if that is no longer configured.
    @ivar _refusal: why there is no link, if the server has none to give.
    """

    number: SessionId
    cwd: str
    peer: IServerPeer
    server: Server | None
    _mouth: Mouth
    _clock: IReactorTime
    _missing: str = "This server is not configured any more"
    _link: Link | None = None
    _opened: Opened | None = None
    _refusal: ErrorObject | None = None
    _timers: dict[Hashable, IDelayedCall] = attrs.Factory(dict)

    def received(self, message: Message, within: RequestId | None) -> None:
        """The client said this."""
        self.perform(self.peer.receive(message, within))

    def received_garbage(self, invalid: InvalidMessage) -> None:
        """The client said something that is no message."""
        self.perform(self.peer.receive_garbage(invalid))

    def no_more(self) -> None:
        """The client says nothing more, but listens."""
        self.perform(self.peer.no_more())

    def congested(self) -> None:
        """The client reads slowly."""
        if self._link is not None:
            self._link.congested(self.number)

    def relieved(self) -> None:
        """It has caught up."""
        if self._link is not None:
            self._link.relieved(self.number)

    def move(self, server: Server | None, missing: str) -> None:
        """
        Use another server of the same name from now on, after the configuration has changed.

        @param missing: what requests are told if there is none.
        """
        self._release()
        self.server = server
        self._missing = missing
        if self._opened is not None and server is not None:
            memento = self.peer.memento()
            self.perform(self.peer.close(missing))
            if memento:
                self.perform(self.peer.restore(memento))

    def stop(self, text: str) -> None:
        """The daemon ends: from now on requests get an error of this text."""
        self.perform(self.peer.no_more())
        self.end()
        self.server = None
        self._missing = text

    def end(self) -> None:
        """The client is gone."""
        self._release()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # What the link says.

    def told(self, event: Event) -> None:
        """See L{mcpbridge.service.links.Listener}."""
        self.perform(self.peer.send(event))

    def hold(self) -> None:
        """See L{mcpbridge.service.links.Listener}."""
        self._mouth.hold(True)

    def go_on(self) -> None:
        """See L{mcpbridge.service.links.Listener}."""
        self._mouth.hold(False)

    # What the peer decided.

    def perform(self, effects: Sequence[PeerEffect]) -> None:
        """Do what the peer decided."""
        for effect in effects:
            match effect:
                case Emit(message, within):
                    self._mouth.send(message, within)
                case Deliver(event):
                    self._deliver(event)
                case Forget(request_id):
                    self._mouth.forget(request_id)
                case Abandon(request_id):
                    self._mouth.abandon(request_id)
                case StartTimer(key, seconds):
                    self._stop_timer(key)
                    self._timers[key] = self._clock.callLater(seconds, self._fired, key)
                case StopTimer(key):
                    self._stop_timer(key)

    def _stop_timer(self, key: Hashable) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _fired(self, key: Hashable) -> None:
        del self._timers[key]
        self.perform(self.peer.fired(key))

    def _deliver(self, event: Event) -> None:
        if isinstance(event, Opened):
            self._open(event)
        elif self._link is not None:
            self._link.deliver(self.number, event)
        else:
            self._refuse(event)

    def _open(self, event: Opened) -> None:
        self._release()
        self._opened = event
        if self.server is None:
            self._refuse(event)
            return
        try:
            link = self.server.acquire(event, self.cwd)
        except LimitExceeded as limit:
            self._refusal = bridge_error(Reason.OVERLOADED, self.server.name, str(limit), retryable=True)
            self._refuse(event)
            return
        self._link, self._refusal = link, None
        link.attach(self.number, self)
        link.deliver(self.number, event)

    def _refuse(self, event: Event) -> None:
        xid = getattr(event, "xid", None)
        if xid is not None:
            name = self.server.name if self.server is not None else "mcpbridge"
            refusal = self._refusal if self.server is not None else None
            self.perform(self.peer.send(Failed(xid, refusal or bridge_error(Reason.REMOVED, name, self._missing))))

    def _release(self) -> None:
        link, self._link = self._link, None
        if link is None:
            return
        link.detach(self.number)
        if self.server is not None:
            self.server.release(link)
