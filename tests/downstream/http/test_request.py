"""
Tests for L{mcpbridge.downstream.http.request} and L{mcpbridge.downstream.http.channel}: bytes and deadlines.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.downstream.http.limits import EndpointLimits
from tests.downstream.http.world import HOST, TOKEN, Connection, World

LIMITS = EndpointLimits(body=100, head=2000, fields=10, connections=2)
POST = f"POST /mcp/demo HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n".encode()


class BodyTests(SynchronousTestCase):
    """Bodies, and what is too much."""

    def setUp(self) -> None:
        self.world = World(limits=LIMITS)
        self.connection = Connection(self.world)

    def test_announced(self) -> None:
        """A body that is too long is refused before it comes, and nobody is asked to send it."""
        self.connection.write(POST + b"Expect: 100-continue\r\nContent-Length: 101\r\n\r\n")

        self.assertEqual((413, "close"), (self.connection.seen.status, self.connection.seen.fields["connection"]))
        self.assertNotIn(b"100 Continue", self.connection.raw)

    def test_counted(self) -> None:
        """One without a length is counted while it comes."""
        self.connection.write(POST + b"Transfer-Encoding: chunked\r\n\r\n64\r\n" + b"x" * 100 + b"\r\n")
        self.assertTrue(self.connection.is_silent)

        self.connection.write(b"1\r\nx\r\n")

        self.assertEqual(413, self.connection.seen.status)

    def test_asked_for(self) -> None:
        """Who offers to ask first is asked to go on."""
        self.connection.write(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")

        self.assertEqual(b"HTTP/1.1 100 Continue\r\n\r\n", self.connection.raw)

    def test_rest_is_read(self) -> None:
        """The rest of a refused body is read, so that the refusal arrives, and then the connection is closed."""
        self.connection.write(POST + b"Content-Length: 101\r\n\r\n")
        self.assertFalse(self.connection.wire.closed)

        self.connection.write(b"x" * 101)

        self.assertTrue(self.connection.wire.closed)

    def test_rest_is_not_waited_for(self) -> None:
        """But not for long."""
        self.connection.write(POST + b"Content-Length: 101\r\n\r\n")

        self.world.clock.pump([2.0, 0])

        self.assertTrue(self.connection.wire.closed)

    def test_strangers(self) -> None:
        """Who may not come in is told so when the head is there."""
        world = World(with_token=True, limits=LIMITS)
        stranger, friend = Connection(world), Connection(world)

        stranger.write(POST + b"Content-Length: 50\r\n\r\n")
        friend.write(POST + f"Authorization: Bearer {TOKEN}\r\nContent-Length: 50\r\n\r\n".encode())

        self.assertEqual((401, True), (stranger.seen.status, friend.is_silent))

    def test_several_requests(self) -> None:
        """A connection serves one request after the other; pipelined ones wait for their turn."""
        bad = POST + b"Content-Length: 1\r\n\r\n{"

        self.connection.write(bad + bad)
        self.connection.write(bad)

        self.assertEqual(3, self.connection.raw.count(b"HTTP/1.1 400"))
        self.assertFalse(self.connection.wire.closed)

    def test_date(self) -> None:
        """Every response says what time it is."""
        self.connection.write(POST + b"Content-Length: 1\r\n\r\n{")

        self.assertIn("date", self.connection.seen.fields)


class HeadTests(SynchronousTestCase):
    """Heads, and what is too much."""

    def status(self, data: bytes) -> bytes:
        connection = Connection(World(limits=LIMITS))
        connection.write(data)
        self.assertTrue(connection.wire.closed)
        return connection.raw[:12]

    def test_too_much(self) -> None:
        """A line, a sum and a number of fields."""
        for data in (
            b"GET /" + b"x" * 3000,
            POST + b"X: " + b"x" * 1500 + b"\r\nY: " + b"y" * 600 + b"\r\n",
            POST + b"X: y\r\n" * 11 + b"\r\n",
        ):
            self.assertEqual(b"HTTP/1.1 400", self.status(data))

    def test_garbage(self) -> None:
        """What is no HTTP."""
        for data in (b"\x00\xff\r\n\r\n", b"GET\r\n", b"GET / HTTP/2.0\r\n", POST + b"no colon\r\n\r\n"):
            self.assertEqual(b"HTTP/1.1 400", self.status(data))

    def test_two_lengths(self) -> None:
        """Heads that can be read in two ways (RFC 9112, 6.3)."""
        for fields in (
            b"Content-Length: 1\r\nContent-Length: 2\r\n",
            b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            b"Content-Length: +1\r\n",
        ):
            self.assertEqual(b"HTTP/1.1 400", self.status(POST + fields + b"\r\n"))


class DeadlineTests(SynchronousTestCase):
    """Who takes too long."""

    def setUp(self) -> None:
        self.world = World()
        self.connection = Connection(self.world)

    def drip(self, seconds: int) -> int:
        """One byte a second: after how many the connection is closed."""
        for second in range(seconds):
            if self.connection.wire.closed:
                return second
            self.connection.write(b"x")
            self.world.clock.advance(1)
            self.world.clock.advance(0)
        return seconds

    def test_head(self) -> None:
        """A head has ten seconds from its first byte."""
        self.connection.write(b"GET /")

        self.assertEqual(10, self.drip(100))

    def test_body(self) -> None:
        """A body has two minutes from the end of its head."""
        self.connection.write(POST + b"Content-Length: 1000\r\n\r\n")

        self.assertEqual(120, self.drip(1000))

    def test_idle(self) -> None:
        """A connection on which nothing happens is closed, at its beginning as between two requests."""
        used = Connection(self.world)
        used.write(POST + b"Content-Length: 1\r\n\r\n{")

        self.world.clock.pump([60.0, 60.0, 0, 0])

        self.assertEqual((True, True), (self.connection.wire.closed, used.wire.closed))

    def test_not_while_answering(self) -> None:
        """A client that waits for an answer may be silent."""
        call = self.world.modern("x/y")

        self.world.clock.pump([10.0] * 60)

        self.assertFalse(call.wire.closed)

    def test_nothing_is_left(self) -> None:
        """A connection that is closed leaves no timer behind."""
        self.connection.write(b"GET /")

        self.connection.leave()

        self.assertEqual(([], set()), (self.world.clock.getDelayedCalls(), self.world.factory.channels))


class ConnectionsTests(SynchronousTestCase):
    """How many there may be."""

    def test_one_too_many(self) -> None:
        """It is turned away at the door; when another has gone there is room."""
        world = World(limits=LIMITS)
        first, _ = Connection(world), Connection(world)

        self.assertIsNone(world.factory.buildProtocol(None))
        first.leave()

        self.assertIsNotNone(world.factory.buildProtocol(None))

    def test_when_empty(self) -> None:
        """Whoever stops can wait for the last one."""
        world = World()
        connection = Connection(world)
        empty = world.factory.when_empty()
        self.assertNoResult(empty)

        connection.leave()

        self.successResultOf(empty)
        self.successResultOf(world.factory.when_empty())
