"""
Tests for L{mcpbridge.upstream.pipes}.
"""

from __future__ import annotations

import os

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.upstream.pipes import READ_SIZE, PipeReader, PipeWriter
from tests.upstream.childworld import FakeReactor

#: More than a pipe holds.
LARGE = b"x" * 200_000


class PipeReaderTests(SynchronousTestCase):
    """Our end of a child's output."""

    def setUp(self) -> None:
        """A pipe with both ends open."""
        self.reactor = FakeReactor()
        self.events: list[object] = []
        ours, self.theirs = os.pipe()
        self.reader = PipeReader(self.reactor, ours, self.events.append, lambda: self.events.append("ended"))
        self.addCleanup(self.reader.close)

    def close_theirs(self) -> None:
        """Nobody writes any more."""
        os.close(self.theirs)

    def test_interface(self) -> None:
        """The reactor can read it."""
        self.assertTrue(verifyObject(IReadDescriptor, self.reader))
        self.close_theirs()

    def test_data_and_end(self) -> None:
        """What was written is received, then the end, once."""
        os.write(self.theirs, b"one")
        self.reactor.turn()
        os.write(self.theirs, b"two")
        self.close_theirs()
        self.reactor.turn()
        self.reader.connectionLost(Failure(ConnectionLost()))

        self.assertEqual(([b"one", b"two", "ended"], []), (self.events, self.reactor.getReaders()))

    def lose(self) -> None:
        """The reactor finds the pipe at its end, as it does: it lets go of it first."""
        self.reactor.removeReader(self.reader)
        self.reader.connectionLost(Failure(ConnectionLost()))

    def test_not_the_end(self) -> None:
        """What the reactor tells may be of another pipe that had this descriptor before: then it is not the end."""
        self.lose()
        os.write(self.theirs, b"one")
        self.lose()
        os.write(self.theirs, b"two")
        self.reactor.turn()
        self.close_theirs()
        self.lose()

        self.assertEqual([b"one", b"two", "ended"], self.events)

    def test_not_the_end_while_paused(self) -> None:
        """Then it stays paused."""
        self.reader.pause()
        self.lose()

        self.assertEqual(([], []), (self.events, self.reactor.getReaders()))
        self.close_theirs()

    def test_nothing_there(self) -> None:
        """A reactor that was wrong does no harm."""
        self.reader.doRead()

        self.assertEqual([], self.events)
        self.close_theirs()

    def test_pause(self) -> None:
        """While paused nothing is read, not even the end."""
        self.reader.pause()
        os.write(self.theirs, b"one")
        self.close_theirs()
        self.reactor.turn()
        paused = list(self.events)

        self.reader.resume()
        self.reactor.turn()

        self.assertEqual(([], [b"one", "ended"]), (paused, self.events))

    def test_drain(self) -> None:
        """What is there is read at once, paused or not."""
        self.reader.pause()
        os.write(self.theirs, b"one")

        self.reader.drain(10)

        self.assertEqual([b"one"], self.events)
        self.close_theirs()

    def test_drain_to_the_end(self) -> None:
        """The end is found too."""
        os.write(self.theirs, b"one")
        self.close_theirs()

        self.reader.drain(10)

        self.assertEqual([b"one", "ended"], self.events)

    def test_drain_is_bounded(self) -> None:
        """Whoever writes as fast as we read does not keep us for ever."""
        os.set_blocking(self.theirs, False)
        sizes: list[int] = []

        def received(data: bytes) -> None:
            sizes.append(len(data))
            os.write(self.theirs, b"x" * READ_SIZE)

        self.reader.close()
        ours, theirs = os.pipe()
        self.close_theirs()
        self.theirs = theirs
        os.set_blocking(theirs, False)
        reader = PipeReader(self.reactor, ours, received, lambda: None)
        self.addCleanup(reader.close)
        os.write(theirs, b"x" * READ_SIZE)

        reader.drain(3 * READ_SIZE)

        self.assertEqual([READ_SIZE] * 3, sizes)
        self.close_theirs()

    def test_close(self) -> None:
        """After it nothing is told, and nothing can be asked that would fail."""
        os.write(self.theirs, b"one")

        for _ in range(2):
            self.reader.close()
            self.reader.pause()
            self.reader.resume()
            self.reader.drain(10)
        self.reactor.turn()

        self.assertEqual(([], -1, []), (self.events, self.reader.fileno(), self.reactor.getReaders()))
        self.close_theirs()

    def test_close_from_within(self) -> None:
        """It may be closed while it hands over data."""
        ours, theirs = os.pipe()
        self.addCleanup(os.close, theirs)
        reader = PipeReader(self.reactor, ours, lambda data: reader.close(), lambda: self.events.append("ended"))
        os.write(theirs, b"one")

        reader.drain(10)

        self.assertEqual(([], -1), (self.events, reader.fileno()))
        self.close_theirs()


class PipeWriterTests(SynchronousTestCase):
    """Our end of a child's input."""

    def setUp(self) -> None:
        """A pipe with both ends open."""
        self.reactor = FakeReactor()
        self.events: list[str] = []
        self.theirs, ours = os.pipe()
        os.set_blocking(self.theirs, False)
        self.writer = PipeWriter(
            self.reactor, ours, lambda: self.events.append("moved"), lambda: self.events.append("broken")
        )
        self.addCleanup(self.writer.close)
        self.addCleanup(self.close_theirs)

    def close_theirs(self) -> None:
        """Nobody reads any more."""
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1

    def read(self) -> bytes | None:
        """What is in the pipe; L{None} if it is over."""
        found = b""
        while True:
            try:
                data = os.read(self.theirs, READ_SIZE)
            except BlockingIOError:
                return found
            if not data:
                return found or None
            found += data

    def read_all(self) -> bytes:
        """What comes while it is being read, until nothing does."""
        found = b""
        while data := self.read():
            found += data
            self.reactor.turn()
        return found

    def test_interface(self) -> None:
        """The reactor can write it."""
        self.assertTrue(verifyObject(IWriteDescriptor, self.writer))

    def test_at_once(self) -> None:
        """Where there is room nothing waits, and the reactor is not asked."""
        self.writer.write(b"one", 1)
        self.writer.write(b"two", None)

        self.assertEqual(
            (b"onetwo", 0, [], [], ["moved", "moved"]),
            (self.read(), self.writer.waiting, self.writer.unbegun(), self.reactor.getWriters(), self.events),
        )

    def test_order(self) -> None:
        """What does not fit waits, and all that comes later behind it."""
        frames = [LARGE, b"one", LARGE.replace(b"x", b"y"), b"two"] + [b"%d," % number for number in range(200)]
        for frame in frames:
            self.writer.write(frame, None)
        waiting = self.writer.waiting

        self.assertEqual(b"".join(frames), self.read_all())
        self.assertGreater(waiting, 300_000)
        self.assertEqual((0, []), (self.writer.waiting, self.reactor.getWriters()))

    def test_unbegun(self) -> None:
        """Requests are told apart by whether a byte of them was written."""
        for request_id, frame in ((1, LARGE), ("1", b"one"), (2, LARGE), (3, b"three")):
            self.writer.write(frame, request_id)
        before = self.writer.unbegun()
        for _ in range(4):
            self.read()
            self.reactor.turn()

        self.assertEqual((["1", 2, 3], [3]), (before, self.writer.unbegun()))

    def test_withdraw(self) -> None:
        """What was not begun can be taken back, once; nothing else is moved by it."""
        for request_id, frame in ((1, LARGE), (2, LARGE), (3, b"three")):
            self.writer.write(frame, request_id)
        waiting = self.writer.waiting

        withdrawn = [self.writer.withdraw(request_id) for request_id in (1, 2, 2, 9)]

        self.assertEqual(
            ([False, True, False, False], 200_000, [3]),
            (withdrawn, waiting - self.writer.waiting, self.writer.unbegun()),
        )
        self.assertEqual(LARGE + b"three", self.read_all())
        self.assertEqual(0, self.writer.waiting)

    def test_withdraw_all(self) -> None:
        """Also when nothing is left to be written behind it."""
        self.writer.write(LARGE, 1)
        self.writer.write(b"two", 2)
        self.writer.withdraw(2)

        self.assertEqual(LARGE, self.read_all())
        self.assertEqual((0, []), (self.writer.waiting, self.reactor.getWriters()))

    def test_same_id_again(self) -> None:
        """An id that comes twice confuses nobody."""
        self.writer.write(LARGE, 1)
        self.writer.write(b"two", 2)
        self.writer.write(b"again", 2)

        self.assertEqual(LARGE + b"twoagain", self.read_all())
        self.assertEqual([], self.writer.unbegun())

    def test_many_small_frames_count(self) -> None:
        """A frame of one byte costs more than a byte, and counts so."""
        self.writer.write(LARGE, None)
        before = self.writer.waiting

        for _ in range(100):
            self.writer.write(b"x", None)

        self.assertGreater(self.writer.waiting - before, 20_000)

    def test_broken(self) -> None:
        """A reader that is gone is noticed by a write, which did not begin the request."""
        self.close_theirs()

        self.writer.write(b"one", 1)
        self.writer.write(b"two", 2)

        self.assertEqual((["broken"], [1], 0), (self.events, self.writer.unbegun(), self.writer.waiting))

    def test_broken_while_waiting(self) -> None:
        """Or by the reactor, when something waits."""
        self.writer.write(LARGE, 1)
        self.writer.write(b"two", 2)
        self.events.clear()

        self.close_theirs()
        self.reactor.turn()
        self.writer.connectionLost(Failure(ConnectionLost()))

        self.assertEqual((["broken"], [2], []), (self.events, self.writer.unbegun(), self.reactor.getWriters()))

    def test_reactor_notices(self) -> None:
        """A reactor that finds the pipe broken by itself ends it as well."""
        self.writer.write(LARGE, 1)
        self.events.clear()

        self.close_theirs()
        self.reactor.removeWriter(self.writer)
        self.writer.connectionLost(Failure(ConnectionLost()))

        self.assertEqual((["broken"], -1), (self.events, self.writer.fileno()))

    def test_not_broken(self) -> None:
        """What the reactor tells may be of another pipe that had this descriptor before: then nothing is lost."""
        self.writer.write(LARGE, 1)
        self.reactor.removeWriter(self.writer)

        self.writer.connectionLost(Failure(ConnectionLost()))

        self.assertEqual(LARGE, self.read_all())

    def test_finish(self) -> None:
        """What is waiting is written, and then the pipe is closed."""
        self.writer.write(LARGE, None)

        self.writer.finish()
        self.writer.write(b"late", None)

        self.assertEqual((LARGE, None), (self.read_all(), self.read()))

    def test_finish_at_once(self) -> None:
        """With nothing to write it is closed at once."""
        self.writer.finish()

        self.assertEqual((None, []), (self.read(), self.events))

    def test_close(self) -> None:
        """What was not begun is known afterwards too, and writes do nothing."""
        self.writer.write(LARGE, 1)
        self.writer.write(b"two", 2)
        self.events.clear()

        for _ in range(2):
            self.writer.close()
            self.writer.finish()
            self.writer.write(b"late", 3)

        self.assertEqual(
            ([2], -1, [], []),
            (self.writer.unbegun(), self.writer.fileno(), self.events, self.reactor.getWriters()),
        )
