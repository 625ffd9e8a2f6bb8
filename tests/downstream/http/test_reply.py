"""
Tests for L{mcpbridge.downstream.http.reply}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.http_guards import Accepted, Refusal, refusal
from mcpbridge.core.bindings.param_headers import Fields
from mcpbridge.downstream.http.channel import ChannelFactory
from mcpbridge.downstream.http.limits import EndpointLimits
from mcpbridge.downstream.http.reply import Reply
from mcpbridge.downstream.http.request import Request
from tests.downstream.http.world import HOST, Connection

_EITHER = Accepted(json=True, events=True)
_JSON = Accepted(json=True, events=False)
_EVENTS = Accepted(json=False, events=True)
_LIMITS = EndpointLimits(silence=15.0, stall=60.0, queue=2000)


class ReplyTests(SynchronousTestCase):
    """
    One request and its reply; the test lets everybody in, and wants to know how the client takes it.

    @ivar told: what became known of that.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[str] = []
        self.factory = ChannelFactory(self.clock, _LIMITS, lambda channel, *_: Request(channel, self, _LIMITS))

    def begin(
        self, accepted: Accepted = _EITHER, opening: Callable[[], Sequence[tuple[bytes, str | None]]] | None = None
    ) -> None:
        self.accepted, self.opening = accepted, opening
        world: Any = self
        self.client = Connection(world)
        self.client.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())

    # The door.

    def check_head(self, target: bytes, fields: Fields) -> Refusal | None:
        return None

    def take(self, request: Request) -> None:
        self.reply = Reply(
            request, self.clock, self, self.accepted, _LIMITS, opening=self.opening, fields=((b"X-Field", b"f"),)
        )

    # The reader.

    def left(self, reply: Reply) -> None:
        self.told.append("left")

    def slow(self, reply: Reply) -> None:
        self.told.append("slow")

    def quick(self, reply: Reply) -> None:
        self.told.append("quick")

    # What a client does.

    def stops_reading(self) -> None:
        assert self.client.wire.producer is not None
        self.client.wire.producer.pauseProducing()

    def reads_on(self) -> None:
        assert self.client.wire.producer is not None
        self.client.wire.producer.resumeProducing()

    def quiet(self) -> None:
        """There is nothing that would still happen by itself to the reply."""
        self.clock.pump([_LIMITS.silence + _LIMITS.stall] * 2)

    def test_json(self) -> None:
        """An answer that comes first is the whole response; nothing is said after it."""
        self.begin()

        self.reply.answer(b'{"n":1}', status=201)
        self.reply.answer(b'{"n":2}')
        self.reply.event(b'{"n":3}')
        self.reply.begin_stream()
        self.reply.end()
        self.reply.refuse(refusal(400, "no"))
        self.quiet()

        seen = self.client.seen
        self.assertEqual((201, {"n": 1}, True), (seen.status, seen.json, seen.is_complete))
        self.assertEqual(("application/json", "f"), (seen.fields["content-type"], seen.fields["x-field"]))
        self.assertEqual((True, False, []), (self.reply.is_over, self.reply.is_stream, self.told))

    def test_stream(self) -> None:
        """What is not the last makes it a stream, which begins with what was to be said before; the answer ends it."""
        self.begin(opening=lambda: [(b'{"n":0}', "e0")])
        before = (self.reply.is_stream, self.reply.wants_stream, self.reply.takes_events)

        self.reply.event(b'{"n":1}', "e1")
        between = (self.reply.is_stream, self.reply.wants_stream, self.reply.takes_events)
        self.reply.answer(b'{"n":2}', status=400, event_id="e2")
        self.reply.event(b'{"n":3}')
        self.quiet()

        seen = self.client.seen
        self.assertEqual([("e0", {"n": 0}), ("e1", {"n": 1}), ("e2", {"n": 2})], seen.events)
        self.assertEqual((200, "f", True), (seen.status, seen.fields["x-field"], seen.is_complete))
        self.assertEqual(((False, False, True), (True, True, True)), (before, between))
        self.assertEqual((False, []), (self.reply.takes_events, self.told))

    def test_silence(self) -> None:
        """After a while of silence it becomes a stream, so that the client knows that somebody is there."""
        self.begin()

        self.clock.advance(14.0)
        before = self.client.is_silent
        self.clock.advance(1.0)

        self.assertEqual((True, 200, False), (before, self.client.seen.status, self.client.seen.is_complete))
        self.assertTrue(self.reply.is_stream)

    def test_json_only(self) -> None:
        """To a client that reads no streams nothing but the answer is said, however long that takes."""
        self.begin(_JSON)

        self.reply.event(b'{"n":1}')
        self.quiet()
        before = (self.client.is_silent, self.reply.takes_events)
        self.reply.answer(b'{"n":2}')

        self.assertEqual(((True, False), {"n": 2}), (before, self.client.seen.json))

    def test_stream_only(self) -> None:
        """To one that reads nothing else even the answer is an event."""
        self.begin(_EVENTS)

        self.reply.answer(b'{"n":1}', status=400)

        self.assertEqual((200, [(None, {"n": 1})]), (self.client.seen.status, self.client.seen.events))

    def test_end(self) -> None:
        """Without an answer it ends as an empty stream, or as the stream that it is."""
        self.begin()
        self.reply.end()
        empty = self.client.seen
        self.begin()
        self.reply.event(b'{"n":1}')
        self.reply.end()
        self.reply.answer(b'{"n":2}')

        self.assertEqual((200, "text/event-stream", b""), (empty.status, empty.fields["content-type"], empty.body))
        self.assertEqual(([{"n": 1}], True), (self.client.seen.data, self.client.seen.is_complete))

    def test_refused(self) -> None:
        """A refusal is a response of its own, unless a stream has begun: that just ends."""
        self.begin()
        self.reply.refuse(refusal(404, "there is no such session"))
        alone = self.client.seen
        self.begin()
        self.reply.begin_stream()
        self.reply.refuse(refusal(404, "there is no such session"))

        self.assertEqual((404, "there is no such session"), (alone.status, alone.json["error"]["message"]))
        self.assertEqual(
            (200, [], True), (self.client.seen.status, self.client.seen.data, self.client.seen.is_complete)
        )

    def test_left(self) -> None:
        """The client goes: that is told once, and nothing is said any more."""
        for begin in (lambda: None, self.begin_stream):
            self.told.clear()
            self.begin()
            begin()

            self.client.leave()
            self.reply.event(b'{"n":1}')
            self.reply.answer(b'{"n":2}')
            self.quiet()

            self.assertEqual((["left"], True), (self.told, self.reply.is_over))

    def begin_stream(self) -> None:
        self.reply.begin_stream()

    def test_cut(self) -> None:
        """The connection is closed, be it a stream or not yet anything."""
        for begin in (lambda: None, self.begin_stream):
            self.told.clear()
            self.begin()
            begin()

            self.reply.cut()
            self.clock.advance(0)
            self.reply.cut()

            self.assertEqual((True, ["left"]), (self.client.wire.closed, self.told))

    def test_slow(self) -> None:
        """A client that does not keep up is told of once, and when it has caught up."""
        self.begin()
        self.reply.begin_stream()

        self.stops_reading()
        for number in range(3):
            self.reply.event(b'{"n":%d}' % number)
        slow = list(self.told)
        self.reads_on()
        self.quiet()

        self.assertEqual((["slow"], ["slow", "quick"]), (slow, self.told))
        self.assertEqual([{"n": 0}, {"n": 1}, {"n": 2}], self.client.seen.data)
        self.assertFalse(self.client.wire.closed)

    def test_never_reads(self) -> None:
        """One that does not read at all is cut off after a while."""
        self.begin()
        self.reply.begin_stream()
        self.stops_reading()
        self.reply.event(b'{"n":1}')

        self.clock.advance(59.0)
        before = self.client.wire.closed
        self.clock.pump([1.0, 0.0])

        self.assertEqual((False, True), (before, self.client.wire.closed))
        self.assertEqual(["slow", "quick", "left"], self.told)

    def test_too_much(self) -> None:
        """One for which too much waits is cut off at once."""
        self.begin()
        self.reply.begin_stream()
        self.stops_reading()

        for _ in range(3):
            self.reply.event(b'"%b"' % (b"x" * 1000))
        self.clock.advance(0)

        self.assertTrue(self.client.wire.closed)
        self.assertEqual("left", self.told[-1])

    def test_answer_waits(self) -> None:
        """The answer is never too much: it waits until nothing is before it, and nothing is said meanwhile."""
        self.begin()
        self.reply.begin_stream()
        self.stops_reading()
        self.reply.event(b'"%b"' % (b"x" * 1000))

        self.reply.answer(b'"%b"' % (b"y" * 5000))
        self.reply.answer(b'"another"')
        waiting = (self.reply.is_over, self.reply.takes_events)
        self.reads_on()

        self.assertEqual((False, False), waiting)
        self.assertEqual(["x" * 1000, "y" * 5000], self.client.seen.data)
        self.assertEqual((True, True), (self.client.seen.is_complete, self.reply.is_over))
