"""
Tests for L{txsse._source} and L{txsse._cycle}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IResponse
from zope.interface import implementer

from tests.txsse.fakes import FakeResponse
from tests.txsse.strategies import bounded
from txsse import (
    Accept,
    ConnectTimeout,
    Event,
    EventTooLarge,
    GiveUp,
    IdleTimeout,
    IEventReceiver,
    ReconnectingEventSource,
    TryAgain,
    UnexpectedResponse,
    judge_patiently,
    open_with,
)
from txsse._cycle import Cycle
from txsse._source import Closed, Connecting, Idle, Open, Waiting, machine
from txsse.testing import EventRecorder, MemoryEventServer


class Door:
    """An C{open} whose results the test decides on."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.attempts: list[Deferred[IResponse]] = []
        self.cancelled = 0

    def __call__(self, last_event_id: str) -> Deferred[IResponse]:
        self.asked.append(last_event_id)
        attempt: Deferred[IResponse] = Deferred(self._cancel)
        self.attempts.append(attempt)
        return attempt

    def _cancel(self, attempt: Deferred[IResponse]) -> None:
        self.cancelled += 1

    def answer(self, response: FakeResponse | None = None) -> FakeResponse:
        response = FakeResponse() if response is None else response
        self.attempts[-1].callback(response)
        return response

    def refuse(self) -> None:
        self.attempts[-1].errback(Failure(ConnectionRefusedError()))


@implementer(IEventReceiver)
class Acting(EventRecorder):
    """Does something at each event and each end."""

    def __init__(self) -> None:
        super().__init__()
        self.at_event: Callable[[], None] = lambda: None
        self.at_end: Callable[[], None] = lambda: None

    def event_received(self, event: Event) -> None:
        super().event_received(event)
        self.at_event()

    def stream_ended(self, reason: Failure | None) -> None:
        super().stream_ended(reason)
        self.at_end()


class SourceTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.door = Door()
        self.recorder = Acting()

    def source(self, **settings: Any) -> ReconnectingEventSource:
        settings.setdefault("retry_policy", lambda attempt: 10.0 * attempt)
        return ReconnectingEventSource(settings.pop("open", self.door), self.recorder, self.clock, **settings)

    def started(self, **settings: Any) -> ReconnectingEventSource:
        source = self.source(**settings)
        source.startService()
        return source

    def wait(self) -> float | None:
        """How long until the next attempt, if one is planned."""
        [*calls] = self.clock.getDelayedCalls()
        return calls[0].getTime() - self.clock.seconds() if calls else None

    def assertAtRest(self) -> None:
        self.assertEqual([], self.clock.getDelayedCalls())


class IdleStateTests(SourceTestCase):
    def test_nothing_happens(self) -> None:
        """
        A source that was not started asks for nothing.
        """
        self.source()

        self.assertEqual([], self.door.asked)
        self.assertAtRest()

    def test_start(self) -> None:
        """
        A start asks for the stream, from where an earlier run had come to.
        """
        source = self.started(last_event_id="7")

        self.assertEqual((["7"], "7"), (self.door.asked, source.last_event_id))

    def test_stop(self) -> None:
        """
        Stopped before it was started, it is closed.
        """
        source = self.source()
        closed = source.when_closed()

        source.stopService()

        self.assertIsNone(self.successResultOf(closed))


class ConnectingTests(SourceTestCase):
    def test_accepted(self) -> None:
        """
        A stream is read.
        """
        self.started()

        self.door.answer().write(b"data: a\n\n")

        self.assertEqual([Event(raw=b"a")], self.recorder.events)
        self.assertAtRest()

    def test_failed(self) -> None:
        """
        After a failure it waits for the reconnection time, and some more by the policy; longer each time.
        """
        self.started()
        waits = []
        for _ in range(3):
            self.door.refuse()
            waits.append(self.wait())
            self.clock.advance(waits[-1] or 0)

        self.assertEqual([11.0, 21.0, 31.0], waits)
        self.assertEqual(4, len(self.door.asked))
        self.assertEqual([], self.recorder.ends)

    def test_open_raises(self) -> None:
        """
        An C{open} that raises has failed.
        """

        def broken(last_event_id: str) -> Deferred[IResponse]:
            raise ArithmeticError("one and one")

        self.started(open=broken)

        self.assertEqual(11.0, self.wait())

    def test_failed_for_good(self) -> None:
        """
        Which failures are worth another attempt is for the judge to say.
        """
        error = ArithmeticError("one and one")
        source = self.started(on_failure=lambda failure: GiveUp(error))

        self.door.refuse()

        self.assertIs(error, self.failureResultOf(source.when_closed()).value)
        self.assertAtRest()

    def test_no_content(self) -> None:
        """
        204 ends the source, well.
        """
        source = self.started()
        closed = source.when_closed()

        response = self.door.answer(FakeResponse(204))

        self.assertIsNone(self.successResultOf(closed))
        self.assertTrue(response.discarded)
        self.assertAtRest()

    def test_unexpected(self) -> None:
        """
        A response that is no stream ends the source, and whoever asks is told why.
        """
        source = self.started()
        closed = source.when_closed()

        response = self.door.answer(FakeResponse(404))

        for observer in (closed, source.when_closed()):
            self.failureResultOf(observer, UnexpectedResponse)
        self.assertTrue(response.discarded)
        self.assertAtRest()

    def test_try_again(self) -> None:
        """
        A judge may have it try again: after the usual wait, or after the one it names.
        """
        verdicts = iter([TryAgain(), TryAgain(0.0), TryAgain(100.0), TryAgain(-1.0)])
        self.started(on_response=lambda response: next(verdicts))
        waits = []
        for _ in range(4):
            self.assertTrue(self.door.answer().discarded)
            waits.append(self.wait())
            self.clock.advance(waits[-1] or 0)

        self.assertEqual([11.0, 0.0, 100.0, 0.0], waits)
        self.assertEqual(5, len(self.door.asked))

    def test_patience(self) -> None:
        """
        The patient judge fits in.
        """
        self.started(on_response=judge_patiently)

        self.door.answer(FakeResponse(503, {"Retry-After": "7"}))

        self.assertEqual(7.0, self.wait())

    def test_broken_code_of_others(self) -> None:
        """
        A judge or a policy that raises ends the source with what it raised.
        """

        def broken(thing: object) -> Any:
            raise ArithmeticError("one and one")

        for settings in ({"on_response": broken}, {"on_failure": broken}, {"retry_policy": broken}):
            source = self.started(**settings)
            if "on_response" in settings:
                self.assertTrue(self.door.answer().discarded)
            else:
                self.door.refuse()

            self.failureResultOf(source.when_closed(), ArithmeticError)
            self.assertAtRest()

    def test_judge_reads_body(self) -> None:
        """
        A judge that takes the body away has made the response useless.
        """
        judged = EventRecorder()

        def greedy(response: IResponse) -> Accept:
            ReconnectingEventSource(lambda _: succeed(response), judged, self.clock).startService()
            return Accept()

        source = self.started(on_response=greedy)

        self.door.answer()

        self.failureResultOf(source.when_closed(), RuntimeError)

    def test_timeout(self) -> None:
        """
        An attempt that takes too long is cancelled, and has failed.
        """
        failures: list[Failure] = []

        def note(failure: Failure) -> TryAgain:
            failures.append(failure)
            return TryAgain()

        self.started(connect_timeout=5.0, on_failure=note)

        self.clock.advance(5.0)

        [failure] = failures
        self.assertTrue(failure.check(ConnectTimeout))
        self.assertEqual((1, 11.0), (self.door.cancelled, self.wait()))

    def test_timeout_lost_race(self) -> None:
        """
        A response that comes in spite of being cancelled is not left open.
        """
        late = FakeResponse()

        def stubborn(last_event_id: str) -> Deferred[IResponse]:
            return Deferred(lambda attempt: attempt.callback(late))

        self.started(open=stubborn, connect_timeout=5.0)

        self.clock.advance(5.0)

        self.assertTrue(late.discarded)
        self.assertEqual(11.0, self.wait())

    def test_stop(self) -> None:
        """
        A stop cancels the attempt; a response that comes all the same is not left open.
        """
        late = FakeResponse()
        source = self.started(open=lambda _: Deferred(lambda attempt: attempt.callback(late)))

        source.stopService()

        self.assertTrue(late.discarded)
        self.assertIsNone(self.successResultOf(source.when_closed()))
        self.assertAtRest()

    def test_start_again(self) -> None:
        """
        To start what was started asks for no second stream.
        """
        source = self.started()

        source.startService()

        self.assertEqual(1, len(self.door.asked))


class OpenTests(SourceTestCase):
    def test_clean_end(self) -> None:
        """
        After a clean end it comes back soon, and says where it was.
        """
        source = self.started()
        response = self.door.answer()
        response.write(b"id: 1\ndata: a\n\nid: 2\ndata: lost")

        response.lose()
        self.assertEqual(1.0, self.wait())
        self.clock.advance(1.0)

        self.assertEqual((["", "1"], "1"), (self.door.asked, source.last_event_id))
        self.assertEqual([None], self.recorder.ends)

    def test_id_carries_over(self) -> None:
        """
        Events of the next stream go by the last id of the one before.
        """
        self.started()
        first = self.door.answer()
        first.write(b"id: 1\n\n")
        first.lose()
        self.clock.advance(1.0)

        self.door.answer().write(b"data: b\n\n")

        self.assertEqual([Event(raw=b"b", id="1")], self.recorder.events)

    def test_failure(self) -> None:
        """
        A connection lost is reported, and made again.
        """
        self.started()

        self.door.answer().lose(ConnectionLost())

        [reason] = self.recorder.ends
        assert reason is not None
        self.assertTrue(reason.check(ConnectionLost))
        self.assertEqual(1.0, self.wait())

    def test_resets_attempts(self) -> None:
        """
        A stream that was open makes up for the failures before it.
        """
        self.started()
        for _ in range(3):
            self.door.refuse()
            self.clock.advance(self.wait() or 0)
        self.door.answer().lose(ConnectionLost())
        first = self.wait()
        self.clock.advance(first or 0)
        self.door.refuse()

        self.assertEqual((1.0, 11.0), (first, self.wait()))

    def test_retry(self) -> None:
        """
        The server sets the reconnection time, within bounds, and for all that follows.
        """
        for milliseconds, seconds in [(0, 1.0), (999, 1.0), (2500, 2.5), (10**15, 300.0)]:
            self.setUp()
            self.started()
            response = self.door.answer()
            response.write(b"retry: %d\n" % milliseconds)
            response.lose()
            first = self.wait()
            self.clock.advance(first or 0)
            self.door.refuse()

            self.assertEqual((seconds, seconds + 10), (first, self.wait()))

    def test_idle(self) -> None:
        """
        A silent stream is given up and asked for again.
        """
        self.started(idle_timeout=60.0)
        response = self.door.answer()

        self.clock.advance(60.0)

        [reason] = self.recorder.ends
        assert reason is not None
        self.assertTrue(reason.check(IdleTimeout))
        self.assertTrue(response.discarded)
        self.assertEqual(1.0, self.wait())

    def test_too_large(self) -> None:
        """
        An event over the limit ends the source: it would come again and again.
        """
        source = self.started(max_event_size=10)

        response = self.door.answer()
        response.write(b"x" * 100)

        self.failureResultOf(source.when_closed(), EventTooLarge)
        self.assertEqual(1, len(self.recorder.ends))
        self.assertTrue(response.discarded)
        self.assertAtRest()

    def test_stop(self) -> None:
        """
        A stop closes the stream, and nothing is heard afterwards.
        """
        source = self.started(idle_timeout=60.0)
        response = self.door.answer()
        response.write(b"id: 1\ndata: a\n\n")

        source.stopService()
        response.write(b"data: b\n\n")
        response.lose()

        self.assertTrue(response.discarded)
        self.assertEqual((1, []), (len(self.recorder.events), self.recorder.ends))
        self.assertEqual("1", source.last_event_id)
        self.assertIsNone(self.successResultOf(source.when_closed()))
        self.assertAtRest()

    def test_stop_from_within(self) -> None:
        """
        A receiver that stops the service at an event does not get the next, even if all of them came with the head.
        """

        class Eager(FakeResponse):
            def deliverBody(self, protocol: Any) -> None:
                super().deliverBody(protocol)
                self.write(b"data: a\n\ndata: b\n\n")

        source = self.source(open=lambda _: succeed(Eager()))
        self.recorder.at_event = source.stopService

        source.startService()

        self.assertEqual([Event(raw=b"a")], self.recorder.events)
        self.assertIsNone(self.successResultOf(source.when_closed()))
        self.assertAtRest()

    def test_restart_at_end(self) -> None:
        """
        A receiver that restarts the service at the end of a stream gets one new stream, not two.
        """
        source = self.started()

        def restart() -> None:
            source.stopService()
            source.startService()

        self.recorder.at_end = restart

        self.door.answer().lose()

        self.assertEqual(2, len(self.door.asked))
        self.door.answer().write(b"data: a\n\n")
        self.assertEqual(1, len(self.recorder.events))
        self.assertAtRest()

    def test_pause(self) -> None:
        """
        Back-pressure reaches the connection.
        """
        source = self.started()
        source.pauseProducing()
        source.resumeProducing()
        response = self.door.answer()

        source.pauseProducing()
        response.write(b"data: a\n\n")
        self.assertEqual([], self.recorder.events)
        source.resumeProducing()

        self.assertEqual(1, len(self.recorder.events))
        self.assertEqual(["resume", "pause", "pause", "resume"], response.transport.calls)


class WaitingTests(SourceTestCase):
    def test_waited(self) -> None:
        """
        When the wait is over it asks again, not before.
        """
        self.started()
        self.door.refuse()

        self.clock.advance(10.9)
        before = len(self.door.asked)
        self.clock.advance(0.1)

        self.assertEqual((1, 2), (before, len(self.door.asked)))

    def test_stop(self) -> None:
        """
        A stop ends the wait.
        """
        source = self.started()
        self.door.refuse()

        source.stopService()

        self.assertAtRest()
        self.assertIsNone(self.successResultOf(source.when_closed()))


class ClosedTests(SourceTestCase):
    def test_restart(self) -> None:
        """
        Started again it goes on where it was, with a clean slate.
        """
        source = self.started()
        self.door.answer().write(b"id: 1\n\n")
        source.stopService()

        source.startService()
        self.assertEqual(["", "1"], self.door.asked)
        self.assertNoResult(source.when_closed())
        self.door.refuse()

        self.assertEqual(11.0, self.wait())

    def test_restart_after_giving_up(self) -> None:
        """
        That it gave up is history once it is started again.
        """
        source = self.started()
        self.door.answer(FakeResponse(404))
        source.stopService()
        self.failureResultOf(source.when_closed(), UnexpectedResponse)

        source.startService()

        self.assertEqual(2, len(self.door.asked))
        self.assertNoResult(source.when_closed())

    def test_stop_twice(self) -> None:
        """
        To stop what was stopped is nothing.
        """
        source = self.started()
        source.stopService()
        source.stopService()

        self.assertIsNone(self.successResultOf(source.when_closed()))


class TransitionTests(SynchronousTestCase):
    def cycle(self, clock: Clock) -> Cycle:
        return Cycle(
            open=lambda _: Deferred(),
            receiver=EventRecorder(),
            clock=IReactorTime(clock),
            retry_policy=lambda attempt: 1.0,
            on_response=lambda response: Accept(),
            on_failure=lambda failure: TryAgain(),
            connect_timeout=30.0,
            idle_timeout=30.0,
            max_event_size=1024,
            last_event_id="",
        )

    def test_every_input_in_every_state(self) -> None:
        """
        No state is without an answer to any input.
        """
        for state in (Idle, Connecting, Open, Waiting, Closed):
            for put in (
                lambda inputs: inputs.start(),
                lambda inputs: inputs.accepted(FakeResponse()),
                lambda inputs: inputs.lost(1.0),
                lambda inputs: inputs.refused(None),
                lambda inputs: inputs.waited(),
                lambda inputs: inputs.stop(),
            ):
                put(machine(self.cycle(Clock()), state))

    @bounded
    @given(st.lists(st.integers(0, 12), max_size=40))
    def test_random_life(self, actions: list[int]) -> None:
        """
        Whatever happens, in whatever order: no input is without a transition, there is one attempt, stream or wait at a
        time, every
        stream has one end at most, and a stop leaves nothing behind.
        """
        clock, door, recorder = Clock(), Door(), EventRecorder()
        source = ReconnectingEventSource(
            door, recorder, clock, retry_policy=lambda attempt: 1.0, on_response=judge_patiently, idle_timeout=60.0
        )
        responses: list[FakeResponse] = []
        lost: set[FakeResponse] = set()

        def answer(code: int) -> None:
            if door.attempts and not door.attempts[-1].called:
                responses.append(door.answer(FakeResponse(code)))

        def refuse() -> None:
            if door.attempts and not door.attempts[-1].called:
                door.refuse()

        def write(data: bytes) -> None:
            if responses and responses[-1] not in lost:
                responses[-1].write(data)

        def lose(reason: BaseException | None) -> None:
            if responses and responses[-1] not in lost:
                lost.add(responses[-1])
                responses[-1].lose(reason)

        doings: list[Callable[[], object]] = [
            source.startService,
            source.stopService,
            lambda: answer(200),
            lambda: answer(503),
            lambda: answer(204),
            refuse,
            lambda: write(b"id: 1\ndata: a\n\nretry: 100\n"),
            lambda: lose(None),
            lambda: lose(ConnectionLost()),
            lambda: clock.advance(1.0),
            lambda: clock.advance(100.0),
            source.pauseProducing,
            source.resumeProducing,
        ]
        for action in actions:
            doings[action]()
            self.assertLessEqual(len(clock.getDelayedCalls()), 1)
            alive = [response for response in responses if not response.discarded and response not in lost]
            waiting = [attempt for attempt in door.attempts if not attempt.called]
            self.assertLessEqual(len(alive) + len(waiting), 1)
        self.assertLessEqual(len(recorder.ends), len(responses))

        source.stopService()

        self.assertEqual([], clock.getDelayedCalls())
        self.assertTrue(all(response.discarded or response in lost for response in responses))
        self.assertTrue(all(attempt.called for attempt in door.attempts))


class OverHTTPTests(SynchronousTestCase):
    def test_story(self) -> None:
        """
        Over a real HTTP client and server: trouble, a stream, a cut, the next stream, and the end.
        """
        server = MemoryEventServer()
        recorder = EventRecorder()
        source = ReconnectingEventSource(
            open_with(server.client, server.url, clock=server.clock),
            recorder,
            server.clock,
            retry_policy=lambda attempt: 0.0,
            on_response=judge_patiently,
            idle_timeout=60.0,
        )
        server.will_refuse(503, {"Retry-After": "5"})
        server.will_hang()

        source.startService()
        server.advance(5.0)
        server.advance(30.0)
        server.advance(1.0)
        stream = server.connections[2]
        stream.send("a", id="1")
        server.advance(59.0)
        stream.cut()
        server.advance(1.0)
        server.connections[3].send("b")
        source.stopService()
        server.flush()

        self.assertEqual([Event(raw=b"a", id="1"), Event(raw=b"b", id="1")], recorder.events)
        self.assertEqual(["", "", "", "1"], [connection.last_event_id for connection in server.connections])
        self.assertEqual(1, len(recorder.ends))
        self.assertTrue(server.connections[3].closed)
        self.assertEqual([], server.clock.getDelayedCalls())

    def test_default_policy(self) -> None:
        """
        Without a policy the wait is drawn from the first second after the reconnection time.
        """
        clock = Clock()
        source = ReconnectingEventSource(lambda _: fail(ConnectionLost()), EventRecorder(), clock)

        source.startService()

        [call] = clock.getDelayedCalls()
        self.assertTrue(1.0 <= call.getTime() < 3.0)
