"""
Tests for L{txsse._receiver}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.txsse.fakes import FakeResponse
from txsse import Event, EventParser, EventReceiver, EventTooLarge, IdleTimeout, IEventReceiver, discard
from txsse.testing import EventRecorder


@implementer(IEventReceiver)
class Acting(EventRecorder):
    """Does something at each event, as receivers do."""

    def __init__(self, act: Callable[[Event], None]) -> None:
        super().__init__()
        self.act = act

    def event_received(self, event: Event) -> None:
        super().event_received(event)
        self.act(event)


class ReceiverTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.recorder = EventRecorder()
        self.response = FakeResponse()

    def connect(self, receiver: EventReceiver) -> EventReceiver:
        self.response.deliverBody(receiver)
        return receiver

    def data(self) -> list[str]:
        return [event.data for event in self.recorder.events]

    def only_end(self) -> Failure:
        [reason] = self.recorder.ends
        assert reason is not None
        return reason


class DeliveryTests(ReceiverTestCase):
    def test_interfaces(self) -> None:
        """
        It is a producer of events; the recorder that users get is a receiver of them.
        """
        verifyObject(IPushProducer, EventReceiver(self.recorder, self.clock))
        verifyObject(IEventReceiver, self.recorder)

    def test_events(self) -> None:
        """
        Events and reconnection times arrive in their order.
        """
        self.connect(EventReceiver(self.recorder, self.clock))

        self.response.write(b"retry: 5\ndata: a\n")
        self.response.write(b"\ndata: b\n\n")

        self.assertEqual((["a", "b"], [5]), (self.data(), self.recorder.retries))

    def test_last_event_id(self) -> None:
        """
        The last event id follows the stream, from what the parser was given on.
        """
        receiver = self.connect(EventReceiver(self.recorder, self.clock, parser=EventParser(last_event_id="1")))
        seen = [receiver.last_event_id]
        for block in (b"id: 2\n", b"data: a\n\n", b"id: 3\n\n"):
            self.response.write(block)
            seen.append(receiver.last_event_id)

        self.assertEqual(["1", "1", "2", "3"], seen)

    def test_failing_receiver(self) -> None:
        """
        A receiver that raises loses its stream, is told so, and nobody else suffers.
        """

        def fail(event: Event) -> None:
            raise ArithmeticError("one and one")

        self.recorder = Acting(fail)
        self.connect(EventReceiver(self.recorder, self.clock, idle_timeout=5))

        self.response.write(b"data: a\n\ndata: b\n\n")
        self.response.write(b"data: c\n\n")
        self.response.lose()

        self.assertEqual(["a"], self.data())
        self.assertTrue(self.only_end().check(ArithmeticError))
        self.assertTrue(self.response.discarded)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual(1, len(self.flushLoggedErrors(ArithmeticError)))


class EndTests(ReceiverTestCase):
    def test_clean(self) -> None:
        """
        A finished response, and a closed connection where no length was announced, are clean ends.
        """
        for reason in (ResponseDone(), PotentialDataLoss()):
            self.setUp()
            self.connect(EventReceiver(self.recorder, self.clock, idle_timeout=1))

            self.response.write(b"data: open")
            self.response.lose(reason)

            self.assertEqual(([], [None]), (self.data(), self.recorder.ends))
            self.assertEqual([], self.clock.getDelayedCalls())

    def test_failure(self) -> None:
        """
        Any other end is a failure, and its reason is passed on.
        """
        self.connect(EventReceiver(self.recorder, self.clock))

        self.response.lose(ConnectionLost())

        self.assertTrue(self.only_end().check(ConnectionLost))

    def test_too_large(self) -> None:
        """
        A breach of a limit comes after the events before it, closes the connection, and is the only end.
        """
        self.connect(EventReceiver(self.recorder, self.clock, parser=EventParser(max_event_size=10)))

        self.response.write(b"data: a\n\n" + b"x" * 100)
        self.response.write(b"data: b\n\n")
        self.response.lose(ConnectionLost())

        self.assertEqual(["a"], self.data())
        self.assertTrue(self.only_end().check(EventTooLarge))
        self.assertTrue(self.response.discarded)


class CloseTests(ReceiverTestCase):
    def test_close(self) -> None:
        """
        Closing closes the connection, and nothing is heard afterwards, not even the end.
        """
        receiver = self.connect(EventReceiver(self.recorder, self.clock, idle_timeout=1))

        receiver.close()
        receiver.close()
        self.response.write(b"data: a\n\n")
        self.response.lose(ConnectionLost())

        self.assertEqual(["resume", "stop"], self.response.transport.calls)
        self.assertEqual(([], []), (self.recorder.events, self.recorder.ends))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_close_from_within(self) -> None:
        """
        A receiver that closes at an event does not get the next one of the same chunk.
        """
        self.recorder = Acting(lambda event: receiver.stopProducing())
        receiver = self.connect(EventReceiver(self.recorder, self.clock))

        self.response.write(b"data: a\n\ndata: b\n\n")

        self.assertEqual((["a"], []), (self.data(), self.recorder.ends))
        self.assertTrue(self.response.discarded)

    def test_close_before_body(self) -> None:
        """
        Closed before the body came, it closes the connection as soon as it has one.
        """
        receiver = EventReceiver(self.recorder, self.clock, idle_timeout=1)
        receiver.close()

        self.connect(receiver)

        self.assertEqual(["stop", "resume"], self.response.transport.calls)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_close_while_paused(self) -> None:
        """
        What a paused receiver holds is dropped when it is closed, and resuming brings nothing back.
        """
        receiver = self.connect(EventReceiver(self.recorder, self.clock))
        receiver.pauseProducing()
        self.response.write(b"data: a\n\n")

        receiver.close()
        receiver.resumeProducing()

        self.assertEqual(["resume", "pause", "pause", "stop"], self.response.transport.calls)
        self.assertEqual([], self.recorder.events)

    def test_discard(self) -> None:
        """
        A response that nobody wants has its connection closed.
        """
        discard(self.response)

        self.assertTrue(self.response.discarded)


class PauseTests(ReceiverTestCase):
    def test_reaches_transport(self) -> None:
        """
        Pausing and resuming reach the transport.
        """
        receiver = self.connect(EventReceiver(self.recorder, self.clock))

        receiver.pauseProducing()
        receiver.resumeProducing()

        self.assertEqual(["resume", "pause", "resume"], self.response.transport.calls)

    def test_holds_the_rest_of_a_chunk(self) -> None:
        """
        A receiver that pauses at an event gets the others of the chunk when it resumes, and the end after them.
        """
        self.recorder = Acting(lambda event: receiver.pauseProducing())
        receiver = self.connect(EventReceiver(self.recorder, self.clock))

        self.response.write(b"data: a\nid: 1\n\ndata: b\nid: 2\n\nid: 3\n\n")
        self.response.lose()
        self.assertEqual((["a"], [], "1"), (self.data(), self.recorder.ends, receiver.last_event_id))
        receiver.resumeProducing()
        self.assertEqual((["a", "b"], [], "2"), (self.data(), self.recorder.ends, receiver.last_event_id))
        receiver.resumeProducing()

        self.assertEqual((["a", "b"], [None], "3"), (self.data(), self.recorder.ends, receiver.last_event_id))

    def test_resume_from_within(self) -> None:
        """
        To pause and resume within one event changes nothing, least of all the order.
        """

        def flicker(event: Event) -> None:
            receiver.pauseProducing()
            receiver.resumeProducing()

        self.recorder = Acting(flicker)
        receiver = self.connect(EventReceiver(self.recorder, self.clock))

        self.response.write(b"data: a\n\ndata: b\n\ndata: c\n\n")

        self.assertEqual(["a", "b", "c"], self.data())

    def test_before_body(self) -> None:
        """
        Paused before the body came, it stays paused, though C{deliverBody} resumes the transport: the first chunk
        pauses it again.
        """
        receiver = EventReceiver(self.recorder, self.clock)
        receiver.pauseProducing()

        self.connect(receiver)
        self.response.write(b"data: a\n\n")

        self.assertEqual(["pause", "resume", "pause"], self.response.transport.calls)
        self.assertEqual([], self.data())


class IdleTests(ReceiverTestCase):
    def test_silence(self) -> None:
        """
        A stream that is silent for too long is given up.
        """
        self.connect(EventReceiver(self.recorder, self.clock, idle_timeout=30))

        self.clock.pump([29.0, 1.0])

        reason = self.only_end()
        self.assertTrue(reason.check(IdleTimeout))
        self.assertEqual("nothing received for 30 s", reason.getErrorMessage())
        self.assertTrue(self.response.discarded)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_any_byte(self) -> None:
        """
        Any byte shows that the peer is alive, also a comment or a part of one.
        """
        self.connect(EventReceiver(self.recorder, self.clock, idle_timeout=30))

        for byte in b":\n: x":
            self.clock.advance(29.0)
            self.response.write(bytes([byte]))

        self.assertEqual([], self.recorder.ends)

    def test_pause_is_not_silence(self) -> None:
        """
        While we do not read, silence is our own.
        """
        receiver = self.connect(EventReceiver(self.recorder, self.clock, idle_timeout=30))

        receiver.pauseProducing()
        self.clock.pump([20.0] * 10)
        receiver.resumeProducing()
        self.clock.advance(29.0)
        self.assertEqual([], self.recorder.ends)
        self.clock.advance(1.0)

        self.assertTrue(self.only_end().check(IdleTimeout))

    def test_not_before_body(self) -> None:
        """
        The time starts with the body.
        """
        EventReceiver(self.recorder, self.clock, idle_timeout=30)

        self.assertEqual([], self.clock.getDelayedCalls())
