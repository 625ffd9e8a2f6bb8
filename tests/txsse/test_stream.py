"""
Tests for L{txsse._stream}.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface.verify import verifyObject

from txsse import EventStream, StreamOverflow


class _Page(Resource):
    isLeaf = True
    request: Request

    def render(self, request: Request) -> int:
        self.request = request
        return NOT_DONE_YET


class StreamTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.page = _Page()
        self.channel = Site(self.page, reactor=self.clock, timeout=None).buildProtocol(None)
        self.transport = StringTransport()
        self.channel.makeConnection(self.transport)
        # HTTP/1.0, so that the body stands on the wire as it is written.
        self.channel.dataReceived(b"GET / HTTP/1.0\r\n\r\n")

    def stream(self, keep_alive: float | None = None, max_queue: int = 100) -> EventStream:
        return EventStream(self.page.request, self.clock, keep_alive=keep_alive, max_queue=max_queue)

    def started(self, keep_alive: float | None = None, max_queue: int = 100) -> EventStream:
        stream = self.stream(keep_alive, max_queue)
        stream.start()
        self.transport.clear()
        return stream

    def leave(self) -> None:
        self.transport.loseConnection()
        self.channel.connectionLost(Failure(ConnectionDone()))


class HeadTests(StreamTestCase):
    def test_producer(self) -> None:
        """
        It is the push producer of its response.
        """
        stream = self.stream()

        stream.start()

        verifyObject(IPushProducer, stream)
        self.assertIs(stream, self.page.request.producer)

    def test_head(self) -> None:
        """
        The head goes out at once, with what caches and proxies have to know, and nothing after it.
        """
        self.stream().start()

        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.assertEqual(b"HTTP/1.0 200 OK", lines[0])
        for line in (b"Content-Type: text/event-stream", b"Cache-Control: no-store", b"X-Accel-Buffering: no"):
            self.assertIn(line, lines)
        self.assertEqual(b"", body)

    def test_nothing_before_start(self) -> None:
        """
        Before the start nothing is written, and nothing can be sent.
        """
        stream = self.stream()

        self.assertRaises(RuntimeError, stream.send, "a")
        self.assertRaises(RuntimeError, stream.comment)
        self.assertRaises(RuntimeError, stream.finish)
        self.assertEqual(b"", self.transport.value())

    def test_started_once(self) -> None:
        """
        There is one start.
        """
        self.assertRaises(RuntimeError, self.started().start)


class SendTests(StreamTestCase):
    def test_send(self) -> None:
        """
        Events and comments go out as they are sent.
        """
        stream = self.started()

        stream.send("a", event="e", id="1", retry=5)
        stream.comment("b")

        self.assertEqual(b"event: e\nid: 1\nretry: 5\ndata: a\n\n: b\n\n", self.transport.value())

    def test_finish(self) -> None:
        """
        The response ends, and whoever waits for it hears of it.
        """
        stream = self.started(keep_alive=15)
        closed = stream.when_closed()

        stream.finish()
        stream.finish()
        stream.send("late")
        stream.abort()

        self.assertIsNone(self.successResultOf(closed))
        self.assertTrue(self.page.request.finished)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual((b"", True, False), (self.transport.value(), stream.closed, stream.ready))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_abort(self) -> None:
        """
        An abort cuts the connection.
        """
        stream = self.started(keep_alive=15)
        stream.pauseProducing()
        stream.send("a")

        stream.abort()

        self.assertTrue(self.transport.disconnected)
        self.assertEqual((b"", True), (self.transport.value(), stream.closed))
        self.assertEqual([], self.clock.getDelayedCalls())


class DisconnectionTests(StreamTestCase):
    def test_client_leaves(self) -> None:
        """
        The client may leave at any time; what is called afterwards does nothing.
        """
        stream = self.started(keep_alive=15)
        observers = [stream.when_closed()]
        stream.pauseProducing()
        observers.append(stream.when_ready())
        stream.send("a")

        self.leave()
        stream.send("b")
        stream.comment()
        stream.resumeProducing()
        stream.finish()
        stream.abort()

        for observer in [*observers, stream.when_closed(), stream.when_ready()]:
            self.assertIsNone(self.successResultOf(observer))
        self.assertEqual((b"", True), (self.transport.value(), stream.closed))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_client_leaves_before_start(self) -> None:
        """
        A start that comes too late does nothing either.
        """
        stream = self.stream(keep_alive=15)
        self.leave()

        stream.start()
        stream.send("a")

        self.assertEqual((b"", True), (self.transport.value(), stream.closed))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_transport_stops(self) -> None:
        """
        The transport may say so first.
        """
        stream = self.started()

        stream.stopProducing()

        self.assertTrue(stream.closed)


class BackPressureTests(StreamTestCase):
    def pause(self) -> None:
        IPushProducer(self.transport.producer).pauseProducing()

    def resume(self) -> None:
        IPushProducer(self.transport.producer).resumeProducing()

    def test_queue(self) -> None:
        """
        What is sent to a slow reader waits, and goes out in order.
        """
        stream = self.started()

        self.pause()
        stream.send("a")
        stream.comment("b")
        self.assertEqual((b"", False), (self.transport.value(), stream.ready))
        self.resume()

        self.assertEqual((b"data: a\n\n: b\n\n", True), (self.transport.value(), stream.ready))

    def test_overflow(self) -> None:
        """
        More than the bound does not wait: the sender is told, and what waits already is untouched.
        """
        stream = self.started(max_queue=len(b"data: a\n\n") * 2)
        self.pause()
        stream.send("a")
        stream.send("b")

        self.assertRaises(StreamOverflow, stream.send, "c")
        self.assertRaises(StreamOverflow, stream.comment)
        self.resume()
        self.pause()
        stream.send("d")
        stream.send("e")
        self.resume()

        self.assertEqual(b"data: a\n\ndata: b\n\ndata: d\n\ndata: e\n\n", self.transport.value())

    def test_ready(self) -> None:
        """
        Whoever waits for room hears when there is some.
        """
        stream = self.started()
        self.assertIsNone(self.successResultOf(stream.when_ready()))
        self.pause()
        stream.send("a")
        ready = stream.when_ready()
        self.assertNoResult(ready)

        ready.addCallback(lambda _: stream.send("b"))
        self.resume()

        self.successResultOf(ready)
        self.assertEqual(b"data: a\n\ndata: b\n\n", self.transport.value())

    def test_paused_again(self) -> None:
        """
        A transport that is full again after one block gets no second, and nobody is told that there is room.
        """
        stream = self.started()
        self.pause()
        stream.send("a")
        stream.send("b")
        ready = stream.when_ready()
        write = self.transport.write

        def write_and_fill(data: bytes) -> None:
            write(data)
            stream.pauseProducing()

        self.patch(self.transport, "write", write_and_fill)
        self.resume()

        self.assertEqual(b"data: a\n\n", self.transport.value())
        self.assertNoResult(ready)

    def test_finish_with_queue(self) -> None:
        """
        What waits goes out before the end.
        """
        stream = self.started()
        self.pause()
        stream.send("a")

        stream.finish()

        self.assertEqual(b"data: a\n\n", self.transport.value())
        self.assertTrue(self.transport.disconnecting)


class KeepAliveTests(StreamTestCase):
    def test_silence(self) -> None:
        """
        When nothing was sent for a while, a comment is.
        """
        self.started(keep_alive=15)

        self.clock.pump([14.0, 1.0, 14.0, 1.0])

        self.assertEqual(b":\n\n:\n\n", self.transport.value())

    def test_traffic(self) -> None:
        """
        Events keep a stream alive as well as comments do.
        """
        stream = self.started(keep_alive=15)

        self.clock.advance(10.0)
        stream.send("a")
        self.clock.pump([5.0, 9.0])
        self.assertEqual(b"data: a\n\n", self.transport.value())
        self.clock.advance(1.0)

        self.assertEqual(b"data: a\n\n:\n\n", self.transport.value())

    def test_slow_reader(self) -> None:
        """
        Comments do not pile up before a slow reader.
        """
        stream = self.started(keep_alive=15)

        stream.pauseProducing()
        self.clock.pump([15.0] * 10)
        stream.resumeProducing()

        self.assertEqual(b"", self.transport.value())

    def test_default(self) -> None:
        """
        Unless told otherwise it is every 15 seconds, and from the start on.
        """
        EventStream(self.page.request, self.clock).start()
        self.transport.clear()

        self.clock.advance(15.0)

        self.assertEqual(b":\n\n", self.transport.value())
