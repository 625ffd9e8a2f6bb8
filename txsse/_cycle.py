"""
One round of a source after another: the attempt, the stream, the wait.

The work of each is here; which may follow which is for L{txsse._source} to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse
from zope.interface import implementer

from txsse._errors import ConnectTimeout
from txsse._events import Event
from txsse._parser import EventParser
from txsse._receiver import EventReceiver, discard
from txsse._verdict import Accept, GiveUp, TryAgain, Verdict
from txsse.interfaces import IEventReceiver

MIN_RECONNECTION_TIME = 1.0
"""Seconds. A server that says C{retry: 0} and then falls over would be asked as fast as it can refuse."""

MAX_RECONNECTION_TIME = 300.0
"""Seconds. A server that asks for more, by intent or by mistake, would leave its clients deaf for as long."""


class Inputs(Protocol):
    def start(self) -> None:
        "Begin."

    def accepted(self, response: IResponse) -> None:
        "A response came, and it is the stream."

    def lost(self, after: float) -> None:
        "The attempt failed, or the stream ended; try again after so many seconds."

    def refused(self, reason: Failure | None) -> None:
        "The attempt failed, or the stream ended, for good."

    def waited(self) -> None:
        "The wait is over."

    def stop(self) -> None:
        "Never again, until started again."


@attrs.define(eq=False)
class Cycle:
    """
    What the machine works on: the settings of one source, and what is under way.

    Signals of an attempt or a stream that is not the present one any more are stopped here, so what the machine hears
    is true.
    """

    _log = Logger()

    open: Callable[[str], Deferred[IResponse]]
    receiver: IEventReceiver
    clock: IReactorTime
    retry_policy: Callable[[int], float]
    on_response: Callable[[IResponse], Verdict]
    on_failure: Callable[[Failure], TryAgain | GiveUp]
    connect_timeout: float
    idle_timeout: float | None
    max_event_size: int
    last_event_id: str
    reconnection_time: float = MIN_RECONNECTION_TIME
    failures: int = 0
    attempt: Deferred[IResponse] | None = None
    stream: EventReceiver | None = None
    timer: IDelayedCall | None = None
    closed: bool = False
    reason: Failure | None = None
    observers: list[Deferred[None]] = attrs.field(factory=list)

    def begin(self, inputs: Inputs) -> None:
        self.closed, self.reason, self.failures = False, None, 0
        self.connect(inputs)

    def connect(self, inputs: Inputs) -> None:
        self.timer = None
        attempt = self.attempt = maybeDeferred(self.open, self.last_event_id)
        attempt.addTimeout(self.connect_timeout, self.clock, onTimeoutCancel=_out_of_time)
        attempt.addCallbacks(self._answered, self._unanswered, (attempt, inputs), {}, (attempt, inputs), {})
        attempt.addErrback(self._log_bug)

    def _answered(self, response: IResponse, attempt: Deferred[IResponse], inputs: Inputs) -> None:
        if self.attempt is not attempt:
            discard(response)
            return
        try:
            verdict = self.on_response(response)
        except Exception as error:  # noqa: BLE001, a judge is code of others: a bug in it ends this source, and that only
            verdict = GiveUp(error)
        if isinstance(verdict, Accept):
            inputs.accepted(response)
        else:
            self.attempt = None
            self.failures += 1
            self._settle(verdict, inputs)
            discard(response)

    def _unanswered(self, failure: Failure, attempt: Deferred[IResponse], inputs: Inputs) -> None:
        if self.attempt is attempt:
            self.attempt = None
            self.failures += 1
            self._settle(self._judge(failure), inputs)

    def read(self, inputs: Inputs, response: IResponse) -> None:
        self.attempt = None
        self.failures = 0
        reading = _Reading(self, inputs)
        parser = EventParser(max_event_size=self.max_event_size, last_event_id=self.last_event_id)
        self.stream = reading.stream = EventReceiver(reading, self.clock, parser=parser, idle_timeout=self.idle_timeout)
        try:
            response.deliverBody(self.stream)
        except RuntimeError as error:
            # The judge has read the body already.
            self.stream = None
            inputs.refused(Failure(error))

    def stream_ended(self, stream: EventReceiver, reason: Failure | None, inputs: Inputs) -> None:
        self.last_event_id = stream.last_event_id
        self.receiver.stream_ended(reason)
        # The receiver may have stopped us, or even started us again.
        if self.stream is stream:
            self.stream = None
            self._settle(TryAgain() if reason is None else self._judge(reason), inputs)

    def _judge(self, failure: Failure) -> TryAgain | GiveUp:
        try:
            return self.on_failure(failure)
        except Exception as error:  # noqa: BLE001, as for the other judge
            return GiveUp(error)

    def _settle(self, verdict: TryAgain | GiveUp, inputs: Inputs) -> None:
        if isinstance(verdict, GiveUp):
            inputs.refused(None if verdict.error is None else Failure(verdict.error))
            return
        after = verdict.after
        if after is None:
            try:
                # WHATWG HTML 9.2.3, reestablish the connection: the reconnection time, and optionally some more.
                after = self.reconnection_time + self.retry_policy(self.failures)
            except Exception as error:  # noqa: BLE001, as for the judges
                inputs.refused(Failure(error))
                return
        inputs.lost(after)

    def wait(self, inputs: Inputs, after: float) -> None:
        # A policy is code of others, and a reactor refuses what is less than nothing.
        self.timer = self.clock.callLater(max(0.0, after), inputs.waited)

    def set_reconnection_time(self, milliseconds: int) -> None:
        self.reconnection_time = min(max(milliseconds / 1000, MIN_RECONNECTION_TIME), MAX_RECONNECTION_TIME)

    def abandon(self) -> None:
        """Let go of whatever is under way. From here on nothing of it is heard."""
        attempt, self.attempt = self.attempt, None
        stream, self.stream = self.stream, None
        timer, self.timer = self.timer, None
        if attempt is not None:
            attempt.cancel()
        if stream is not None:
            self.last_event_id = stream.last_event_id
            stream.close()
        if timer is not None and timer.active():
            timer.cancel()

    def conclude(self, reason: Failure | None) -> None:
        self.abandon()
        self.closed, self.reason = True, reason
        if reason is not None:
            self._log.warn("event source for {receiver} gave up: {reason}", receiver=self.receiver, reason=reason.value)
        observers, self.observers = self.observers, []
        for observer in observers:
            self.tell(observer)

    def tell(self, observer: Deferred[None]) -> None:
        if self.reason is None:
            observer.callback(None)
        else:
            observer.errback(self.reason)

    def _log_bug(self, failure: Failure) -> None:
        self._log.failure("event source for {receiver} failed", failure=failure, receiver=self.receiver)


def _out_of_time(result: object, seconds: float) -> Failure:
    if not isinstance(result, Failure):
        # It came in spite of being cancelled.
        discard(IResponse(result))
    return Failure(ConnectTimeout(seconds))


@implementer(IEventReceiver)
@attrs.define(eq=False)
class _Reading:
    """One stream of a source: passes events on, and the end to the machine."""

    _cycle: Cycle
    _inputs: Inputs
    stream: EventReceiver = attrs.field(init=False)

    def event_received(self, event: Event) -> None:
        self._cycle.receiver.event_received(event)

    def retry_received(self, milliseconds: int) -> None:
        self._cycle.set_reconnection_time(milliseconds)
        self._cycle.receiver.retry_received(milliseconds)

    def stream_ended(self, reason: Failure | None) -> None:
        self._cycle.stream_ended(self.stream, reason, self._inputs)
