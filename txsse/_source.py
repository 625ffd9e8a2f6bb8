"""
A stream that comes back.

What a response means is decided by a judge handed in (L{txsse.judge_strictly} is one), how it is asked for by an
C{open} handed in (L{txsse.open_with} makes one). Here is only the order of things: connect, read, wait, again.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from automat import TypeMachineBuilder
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from txsse._backoff import full_jitter
from txsse._cycle import Cycle, Inputs
from txsse._parser import MAX_EVENT_SIZE
from txsse._receiver import discard
from txsse._verdict import GiveUp, TryAgain, Verdict, judge_failure, judge_strictly
from txsse.interfaces import IEventReceiver

CONNECT_TIMEOUT = 30.0
"""
Seconds up to the response head. What Twisted's agent allows for the connection alone; a server that streams answers
at once.
"""


_builder = TypeMachineBuilder(Inputs, Cycle)

Idle = _builder.state("Idle")
Connecting = _builder.state("Connecting")
Open = _builder.state("Open")
Waiting = _builder.state("Waiting")
Closed = _builder.state("Closed")


@Idle.upon(Inputs.start).to(Connecting)
@Closed.upon(Inputs.start).to(Connecting)
def _begin(inputs: Inputs, cycle: Cycle) -> None:
    cycle.begin(inputs)


@Waiting.upon(Inputs.waited).to(Connecting)
def _connect(inputs: Inputs, cycle: Cycle) -> None:
    cycle.connect(inputs)


@Connecting.upon(Inputs.accepted).to(Open)
def _read(inputs: Inputs, cycle: Cycle, response: IResponse) -> None:
    cycle.read(inputs, response)


@Connecting.upon(Inputs.lost).to(Waiting)
@Open.upon(Inputs.lost).to(Waiting)
def _wait(inputs: Inputs, cycle: Cycle, after: float) -> None:
    cycle.wait(inputs, after)


@Connecting.upon(Inputs.refused).to(Closed)
@Open.upon(Inputs.refused).to(Closed)
def _refused(inputs: Inputs, cycle: Cycle, reason: Failure | None) -> None:
    cycle.conclude(reason)


@Idle.upon(Inputs.stop).to(Closed)
@Connecting.upon(Inputs.stop).to(Closed)
@Open.upon(Inputs.stop).to(Closed)
@Waiting.upon(Inputs.stop).to(Closed)
def _stop(inputs: Inputs, cycle: Cycle) -> None:
    cycle.conclude(None)


@Idle.upon(Inputs.accepted).loop()
@Open.upon(Inputs.accepted).loop()
@Waiting.upon(Inputs.accepted).loop()
@Closed.upon(Inputs.accepted).loop()
def _discard(inputs: Inputs, cycle: Cycle, response: IResponse) -> None:
    discard(response)


Idle.upon(Inputs.lost).loop().returns(None)
Idle.upon(Inputs.refused).loop().returns(None)
Idle.upon(Inputs.waited).loop().returns(None)
Connecting.upon(Inputs.start).loop().returns(None)
Connecting.upon(Inputs.waited).loop().returns(None)
Open.upon(Inputs.start).loop().returns(None)
Open.upon(Inputs.waited).loop().returns(None)
Waiting.upon(Inputs.start).loop().returns(None)
Waiting.upon(Inputs.lost).loop().returns(None)
Waiting.upon(Inputs.refused).loop().returns(None)
Closed.upon(Inputs.lost).loop().returns(None)
Closed.upon(Inputs.refused).loop().returns(None)
Closed.upon(Inputs.waited).loop().returns(None)
Closed.upon(Inputs.stop).loop().returns(None)

machine = _builder.build()


class ReconnectingEventSource(Service):
    """
    A service that keeps one event stream open, and remembers where it was (WHATWG HTML 9.2.2, 9.2.3).

    It may be started again after it was stopped, and goes on after the last event that was delivered.
    """

    def __init__(
        self,
        open: Callable[[str], Deferred[IResponse]],
        receiver: IEventReceiver,
        clock: IReactorTime,
        *,
        retry_policy: Callable[[int], float] | None = None,
        on_response: Callable[[IResponse], Verdict] = judge_strictly,
        on_failure: Callable[[Failure], TryAgain | GiveUp] = judge_failure,
        connect_timeout: float = CONNECT_TIMEOUT,
        idle_timeout: float | None = None,
        max_event_size: int = MAX_EVENT_SIZE,
        last_event_id: str = "",
    ) -> None:
        """
        @param open: asks for the stream. Takes the last event id (C{""} for none); its result is the response as soon
            as the head is there, with the body unread. It is cancelled when it takes too long, or when the service is
            stopped.
        @param receiver: is told the events of all streams, and the end of each, but not of attempts that failed.
        @param clock: what all times are measured by.
        @param retry_policy: seconds to wait on top of the reconnection time, given how many attempts failed in a row: 0
            after a stream that was open. By default L{full_jitter}.
        @param on_response: decides what a response means. It may look at the head only.
        @param on_failure: decides whether a failure, of an attempt or of an open stream, is worth another attempt. The
            end of a response that the server finished is not a failure, and always is.
        @param connect_timeout: how long C{open} may take, in seconds.
        @param idle_timeout: how long an open stream may be silent, in seconds; see L{EventReceiver}.
        @param max_event_size: in bytes; see L{EventParser}.
        @param last_event_id: where an earlier run of the program had come to.
        """
        self._cycle = Cycle(
            open=open,
            receiver=receiver,
            clock=clock,
            retry_policy=full_jitter(random.random) if retry_policy is None else retry_policy,
            on_response=on_response,
            on_failure=on_failure,
            connect_timeout=connect_timeout,
            idle_timeout=idle_timeout,
            max_event_size=max_event_size,
            last_event_id=last_event_id,
        )
        self._machine = machine(self._cycle)

    @property
    def last_event_id(self) -> str:
        """Where the stream has come to, going by the events that the receiver was given."""
        stream = self._cycle.stream
        return self._cycle.last_event_id if stream is None else stream.last_event_id

    def startService(self) -> None:
        """Connect."""
        super().startService()
        self._machine.start()

    def stopService(self) -> None:
        """Close what is open. The receiver is called no more, also when this is called by the receiver itself."""
        super().stopService()
        # The machine puts off inputs that come from within a transition; the silence has to begin now.
        self._cycle.abandon()
        self._machine.stop()

    def pauseProducing(self) -> None:
        """Deliver no more events until resumed; see L{EventReceiver}. Does nothing while no stream is open."""
        if self._cycle.stream is not None:
            self._cycle.stream.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on delivering."""
        if self._cycle.stream is not None:
            self._cycle.stream.resumeProducing()

    def when_closed(self) -> Deferred[None]:
        """
        @return: fires with L{None} when the service was stopped, or the server said that there is no more to come.
            Fails with the reason when the source gave up: by default L{UnexpectedResponse} or L{EventTooLarge}.
        """
        observer: Deferred[None] = Deferred()
        if self._cycle.closed:
            self._cycle.tell(observer)
        else:
            self._cycle.observers.append(observer)
        return observer
