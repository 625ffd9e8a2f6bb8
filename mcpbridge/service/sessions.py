"""
A session: one conversation with a client, and the link to the server that it uses.

It drives the peer that speaks with the client, and hands what crosses the bridge to the link. Should one of them fail,
which is a bug of ours, the client is told so wherever it waits for an answer, and the conversation goes on from what is
known of it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final, ParamSpec, Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

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
from mcpbridge.core.errors import INTERNAL_ERROR, ErrorObject, LimitExceeded, Reason, bridge_error
from mcpbridge.core.events import Event, Failed, Opened
from mcpbridge.core.interfaces import IServerPeer
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Request, RequestId, Result
from mcpbridge.core.printable import printable
from mcpbridge.service.links import Link

_P = ParamSpec("_P")

#: Seconds without a failure of ours after which the next one is mended at once. What fails again and again is mended
#: only when the client says something: never in a loop.
_SOUND: Final = 60.0

#: Requests that we have answered in the stead of a peer that failed, and that it may still answer.
_MAX_GIVEN_UP: Final = 1024

#: What a request is told that a bug of ours keeps from its answer.
FAILED: Final = ErrorObject(INTERNAL_ERROR, "mcpbridge failed to deal with this request; its log says more")


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
    @ivar _asked: the client's requests that have no answer yet.
    @ivar _given_up: those that we answered ourselves since the peer failed; what it says to them comes too late.
    @ivar _lost: what was known of the client when the peer failed, if it is not yet known again; C{_known}: what it was
        to be mended with the last time.
    @ivar _mending: will make it known again.
    @ivar _failed_at: when something of ours failed the last time.
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
    _asked: set[RequestId] = attrs.Factory(set)
    _given_up: set[RequestId] = attrs.Factory(set)
    _lost: bytes = b""
    _known: bytes = b""
    _mending: IDelayedCall | None = None
    _failed_at: float | None = None
    _log = Logger()

    def received(self, message: Message, within: RequestId | None) -> None:
        """The client said this."""
        if isinstance(message, Request):
            self._asked.add(message.id)
            self._given_up.discard(message.id)
        if self._lost and not self._is_mended_for(message):
            return
        try:
            self.perform(self.peer.receive(message, within))
        except Exception:  # noqa: BLE001  # Bugs have any type; it is logged with its traceback.
            # A bug of ours, whatever it is, must cost its client this one request and nothing else.
            self._log.failure("{name}: a message of a client could not be dealt with", name=self._name)
            if isinstance(message, Request):
                self._give_up(message.id)

    def received_garbage(self, invalid: InvalidMessage) -> None:
        """The client said something that is no message."""
        self._safely(self.peer.receive_garbage, invalid)

    def no_more(self) -> None:
        """The client says nothing more, but listens."""
        self._safely(self.peer.no_more)

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
            memento = self.memento()
            self._safely(self.peer.close, missing)
            if memento:
                self._safely(self.peer.restore, memento)

    def memento(self) -> bytes | None:
        """What has to be known to go on with this client; L{None} if that cannot be said."""
        try:
            return self.peer.memento()
        except Exception:  # noqa: BLE001  # Bugs have any type; it is logged with its traceback.
            self._log.failure("{name}: what is known of a client cannot be kept", name=self._name)
            return None

    def stop(self, text: str) -> None:
        """The daemon ends: from now on requests get an error of this text."""
        self._release()
        self.server = None
        self._missing = text
        self._safely(self.peer.no_more)
        self._stop_timers()

    def end(self) -> None:
        """The client is gone."""
        self._release()
        self._stop_timers()

    # What the link says.

    def told(self, event: Event) -> None:
        """See L{mcpbridge.service.links.Listener}."""
        self._safely(self.peer.send, event)

    def failed(self) -> None:
        """See L{mcpbridge.service.links.Listener}."""
        self._start_over()

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
                    if self._is_wanted(message):
                        self._mouth.send(message, within)
                case Deliver(event):
                    self._deliver(event)
                case Forget(request_id):
                    self._asked.discard(request_id)
                    self._mouth.forget(request_id)
                case Abandon(request_id):
                    self._mouth.abandon(request_id)
                case StartTimer(key, seconds):
                    self._stop_timer(key)
                    self._timers[key] = self._clock.callLater(seconds, self._fired, key)
                case StopTimer(key):
                    self._stop_timer(key)

    def _is_wanted(self, message: Message) -> bool:
        """Whether the client has not had another answer, from ourselves."""
        if not isinstance(message, Result | Error) or message.id is None:
            return True
        self._asked.discard(message.id)
        if self._given_up and message.id in self._given_up:
            self._given_up.discard(message.id)
            return False
        return True

    def _safely(self, ask: Callable[_P, Sequence[PeerEffect]], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Ask the peer something, and do what it decides, where nobody else would deal with a failure."""
        try:
            self.perform(ask(*args, **kwargs))
        except Exception:  # noqa: BLE001  # as above
            self._log.failure("{name}: the conversation with a client failed", name=self._name)
            self._start_over()

    # What becomes of a bug of ours.

    def _give_up(self, request_id: RequestId) -> None:
        """The request, if it has no answer yet, gets an error."""
        if request_id in self._asked:
            self._asked.discard(request_id)
            if len(self._given_up) >= _MAX_GIVEN_UP:
                self._given_up.clear()
            self._given_up.add(request_id)
            self._mouth.send(Error(request_id, FAILED), request_id)

    def _start_over(self) -> None:
        """Answer whatever waits, and forget what the peer was in the middle of."""
        for request_id in list(self._asked):
            self._give_up(request_id)
        self._stop_timers()
        self._lost = self.memento() or self._lost or self._known
        try:
            # What it says now has been said; but the client still has to know what we do not want any more.
            self.perform([effect for effect in self.peer.close("mcpbridge failed") if not isinstance(effect, Emit)])
            self._release()
        except Exception:  # noqa: BLE001  # as above
            self._log.failure("{name}: a client's conversation cannot be closed", name=self._name)
        now, before = self._clock.seconds(), self._failed_at
        self._failed_at = now
        if before is None or now - before >= _SOUND:
            self._mending = self._clock.callLater(0, self._mend)

    def _mend(self) -> None:
        """Go on with the client as a daemon does that was restarted."""
        self._stop_mending()
        self._known, self._lost = self._lost, b""
        if self._known and self.server is not None:
            self._safely(self.peer.restore, self._known)

    def _is_mended_for(self, message: Message) -> bool:
        """Whether the peer is fit to be told this; if it cannot be made so, a request gets its error."""
        if isinstance(message, Request) and message.method == "initialize":
            # The client itself begins anew.
            self._lost = self._known = b""
            return True
        self._mend()
        if self._lost and isinstance(message, Request):
            self._give_up(message.id)
        return not self._lost

    def _stop_mending(self) -> None:
        mending, self._mending = self._mending, None
        if mending is not None and mending.active():
            mending.cancel()

    @property
    def _name(self) -> str:
        return printable(self.server.name) if self.server is not None else "mcpbridge"

    def _stop_timers(self) -> None:
        self._stop_mending()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _stop_timer(self, key: Hashable) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _fired(self, key: Hashable) -> None:
        del self._timers[key]
        self._safely(self.peer.fired, key)

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
