"""Tests for L{mcpbridge.orphan.shuttle}."""

from __future__ import annotations

import contextlib
import os
import select

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.orphan.shuttle import PIECE, Shuttle
from tests.downstream.manual import drained
from tests.orphan.fake_relay import FakeRelay, Left


class ShuttleTests(SynchronousTestCase):
    """Bytes, carried."""

    def setUp(self) -> None:
        """A client at one end, a daemon at the other."""
        self.relay = FakeRelay(self.addCleanup)
        self.shuttle = Shuttle(self.relay.leave, self.relay.wait, (self.relay.stdin, self.relay.stdout))
        self.addCleanup(os.close, self.shuttle.stdin)
        self.addCleanup(os.close, self.shuttle.stdout)

    def carry(self) -> None:
        """For a while."""
        self.shuttle.wait({}, 0.01)

    def test_both_ways(self) -> None:
        """What the client says reaches the daemon, and the other way round."""
        os.write(self.relay.client_stdin, b"question")
        os.write(self.shuttle.stdout, b"answer")

        self.carry()

        self.assertEqual((b"question", b"answer"), (drained(self.shuttle.stdin), drained(self.relay.client_stdout)))

    def test_large(self) -> None:
        """However much it is; what the daemon does not read is not read from the client."""
        os.set_blocking(self.relay.client_stdin, False)
        text = bytes(97 + number % 26 for number in range(50_000)) * 10
        written, heard = 0, b""
        while len(heard) < len(text):
            with contextlib.suppress(BlockingIOError):
                written += os.write(self.relay.client_stdin, text[written:])
            self.carry()
            self.assertLess(written - len(heard), 4 * PIECE)
            heard += drained(self.shuttle.stdin) if written - len(heard) > 2 * PIECE or written == len(text) else b""

        self.assertEqual(text, heard)

    def test_wakes(self) -> None:
        """Whoever waits for something else is told of it, and of nothing more."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        os.write(self.relay.client_stdin, b"question")
        os.write(writing, b"x")

        found = self.shuttle.wait({reading: select.POLLIN}, None)

        self.assertEqual(({reading: select.POLLIN}, b"question"), (found, drained(self.shuttle.stdin)))

    def test_end(self) -> None:
        """The daemon learns of the end when it has everything, and the shuttle does not spin."""
        os.write(self.relay.client_stdin, b"last")
        self.relay.close_stdin()

        self.carry()
        self.carry()

        self.assertEqual((b"last", b""), (os.read(self.shuttle.stdin, 100), os.read(self.shuttle.stdin, 100)))
        self.assertGreater(self.relay.now, 1000.0)

    def test_finish(self) -> None:
        """At the end what the daemon has left is carried to the client."""
        os.set_blocking(self.shuttle.stdout, False)
        os.write(self.shuttle.stdout, b"x" * 50_000)

        self.shuttle.finish()

        self.assertEqual(b"x" * 50_000, drained(self.relay.client_stdout))

    def test_nobody_reads(self) -> None:
        """When the client is gone the relay ends."""
        os.dup2(os.open(os.devnull, os.O_RDONLY), self.relay.client_stdout)
        os.write(self.shuttle.stdout, b"answer")

        self.assertRaises(Left, self.carry)

    def test_cannot_be_read(self) -> None:
        """A stdin that cannot be read, as a terminal that hung up, has ended."""
        directory = os.open("/", os.O_RDONLY)
        os.dup2(directory, self.relay.stdin)
        os.close(directory)

        self.carry()

        self.assertEqual(b"", os.read(self.shuttle.stdin, 100))
