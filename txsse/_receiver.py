"""
Where a response body becomes events.

Whose request it was, and what follows after its end, is for others to know; see L{txsse.ReconnectingEventSource} for
one.
"""

from __future__ import annotations

from collections import deque
from typing import cast

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse
from zope.interface import implementer

from txsse._errors import EventTooLarge, IdleTimeout
from txsse._events import Event, Retry
from txsse._idle import IdleTimer
from txsse._parser import EventParser
from txsse.interfaces import IEventReceiver


@implementer(IPushProducer)
class EventReceiver(Protocol):
    """
    The protocol for C{response.deliverBody}. It owns the connection under the response until the stream is over.

    It is also a push producer of events: while paused nothing is called, not even for events of a chunk that is here
    already, and the transport is told to stop reading. The end of the stream then waits its turn behind them.
    """

    _log = Logger()

    def __init__(
        self,
        receiver: IEventReceiver,
        clock: IReactorTime,
        *,
        parser: EventParser | None = None,
        idle_timeout: float | None = None,
    ) -> None:
        """
        @param receiver: whom to tell.
        @param clock: what the idle timeout is measured by.
        @param parser: for limits and a C{last_event_id} other than the default ones; used for this stream only.
        @param idle_timeout: in seconds. A stream is given up with L{IdleTimeout} when no byte came for that long; bytes
            of a comment count. The time while paused does not. L{None} waits for ever.
        """
        self._receiver = receiver
        self._parser = EventParser() if parser is None else parser
        self._last_event_id = self._parser.last_event_id
        self._idle_timer = None if idle_timeout is None else IdleTimer(clock, idle_timeout, self._idle)
        self._idle_timeout = idle_timeout
        self._producer: IPushProducer | None = None
        self._waiting: deque[Event | Retry] = deque()
        self._paused = False
        self._delivering = False
        self._ended = False
        self._reason: Failure | None = None
        self._closed = False

    @property
    def last_event_id(self) -> str:
        """
        What a reconnection has to send as C{Last-Event-ID}, going by the events that the receiver was given.
        """
        return self._last_event_id

    def connectionMade(self) -> None:
        """The body begins."""
        # The proxy that Twisted hands to body protocols is a push producer, and no more of a transport than that.
        self._producer = cast(IPushProducer, self.transport)
        if self._closed:
            self._stop_transport()
            return
        if self._paused:
            self._producer.pauseProducing()
        if self._idle_timer is not None:
            self._idle_timer.start()

    def dataReceived(self, data: bytes) -> None:
        """A part of the body came."""
        if self._ended or self._closed:
            return
        if self._idle_timer is not None:
            self._idle_timer.touch()
        if self._paused and self._producer is not None:
            # deliverBody resumes the transport when it returns, whatever was asked for meanwhile.
            self._producer.pauseProducing()
        try:
            self._waiting.extend(self._parser.feed(data))
        except EventTooLarge as error:
            self._waiting.extend(error.completed)
            self._give_up(Failure())
        else:
            self._deliver()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body is over."""
        self._producer = None
        # Without chunks or a length there is no telling a cut from the end, and servers do end streams that way.
        self._end(None if reason.check(ResponseDone, PotentialDataLoss) else reason)

    def pauseProducing(self) -> None:
        """Call the receiver no more, and read no more, until resumed."""
        self._paused = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on where it was paused."""
        self._paused = False
        if self._idle_timer is not None and self._producer is not None and not self._ended:
            self._idle_timer.start()
        self._deliver()
        if self._producer is not None and not self._paused:
            self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """The same as L{close}."""
        self.close()

    def close(self) -> None:
        """
        Close the connection and call the receiver never again. Safe at any time and more than once, also before
        C{deliverBody}.
        """
        self._closed = True
        self._waiting.clear()
        if self._idle_timer is not None:
            self._idle_timer.stop()
        self._stop_transport()

    def _stop_transport(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            # Not loseConnection: with TLS that waits for the farewell of a peer which may be dead, or which we do not
            # read.
            producer.stopProducing()

    def _idle(self) -> None:
        assert self._idle_timeout is not None and self._idle_timer is not None
        if self._paused:
            self._idle_timer.start()
        else:
            self._give_up(Failure(IdleTimeout(self._idle_timeout)))

    def _give_up(self, reason: Failure) -> None:
        self._stop_transport()
        self._end(reason)

    def _end(self, reason: Failure | None) -> None:
        if self._ended:
            return
        self._ended = True
        self._reason = reason
        if self._idle_timer is not None:
            self._idle_timer.stop()
        self._deliver()

    def _deliver(self) -> None:
        # A receiver may pause, resume or close us from within a call.
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._waiting and not self._paused:
                self._hand_over(self._waiting.popleft())
            if not (self._waiting or self._paused or self._closed):
                # A block without data changes the id too, and dispatches nothing to carry it.
                self._last_event_id = self._parser.last_event_id
        except Exception:  # noqa: BLE001, a receiver is code of others: whatever it raises ends its stream, and that only
            self._receiver_failed()
        finally:
            self._delivering = False
        if self._ended and not (self._waiting or self._paused or self._closed):
            self._closed = True
            self._receiver.stream_ended(self._reason)

    def _hand_over(self, item: Event | Retry) -> None:
        if isinstance(item, Event):
            self._last_event_id = item.id
            self._receiver.event_received(item)
        else:
            self._receiver.retry_received(item.milliseconds)

    def _receiver_failed(self) -> None:
        reason = Failure()
        self._log.failure(
            "{receiver} failed on an event; its stream is closed", failure=reason, receiver=self._receiver
        )
        self._waiting.clear()
        self._ended = True
        self._reason = reason
        if self._idle_timer is not None:
            self._idle_timer.stop()
        self._stop_transport()


def discard(response: IResponse) -> None:
    """
    Close the connection of a response whose body nobody wants. A response that is neither read nor discarded keeps its
    socket.
    """
    response.deliverBody(_Refusal())


class _Refusal(Protocol):
    def connectionMade(self) -> None:
        cast(IPushProducer, self.transport).stopProducing()
