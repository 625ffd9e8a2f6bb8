"""Tests for L{mcpbridge.downstream.reader}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.downstream.reader import LOOK, PATIENCE, Reader


class ReaderTests(SynchronousTestCase):
    """A client that reads, or does not."""

    def setUp(self) -> None:
        """One that has not read what was written: two messages."""
        self.clock = Clock()
        self.unread = 10
        self.told: list[float] = []
        self.reader = Reader(self.clock, lambda: self.unread, lambda: self.told.append(self.clock.seconds()))

    def test_nothing_to_read(self) -> None:
        """A message that follows none of those goes out, and nothing is looked at."""
        waits = self.reader.wait(0, 3)

        self.assertEqual((False, False, []), (waits, self.reader.waiting, self.clock.getDelayedCalls()))

    def test_read(self) -> None:
        """So does one whose forerunner was read."""
        self.unread = 0

        self.assertEqual((False, []), (self.reader.wait(2, 3), self.clock.getDelayedCalls()))

    def test_reads(self) -> None:
        """Else it waits, until a look finds everything read."""
        waits = self.reader.wait(2, 3)
        self.clock.pump([LOOK] * 4)
        before = (list(self.told), self.reader.waiting)
        self.unread = 0
        self.clock.advance(LOOK)

        self.assertEqual((True, ([], True)), (waits, before))
        self.assertEqual(([5 * LOOK], False, []), (self.told, self.reader.waiting, self.clock.getDelayedCalls()))

    def test_never_reads(self) -> None:
        """It does not wait for ever, and one that follows the same forerunner not again."""
        self.reader.wait(2, 3)
        self.clock.pump([LOOK] * int(2 * PATIENCE / LOOK))

        self.assertEqual(1, len(self.told))
        self.assertApproximates(PATIENCE, self.told[0], LOOK)
        self.assertFalse(self.reader.wait(2, 4))

    def test_late(self) -> None:
        """When we could not look for long the client had its time too."""
        self.reader.wait(2, 3)
        self.clock.advance(1)

        self.assertEqual([1.0], self.told)

    def test_several(self) -> None:
        """Of several in a row the first waits, and the next one again for what came in between."""
        self.reader.wait(2, 4)
        self.unread = 0
        self.clock.advance(LOOK)
        self.unread = 10

        self.assertEqual([False, False, True], [self.reader.wait(*each) for each in ((2, 5), (3, 6), (7, 8))])

    def test_one_at_a_time(self) -> None:
        """While one waits so does everything."""
        self.reader.wait(2, 3)

        self.assertEqual((True, 1), (self.reader.wait(0, 4), len(self.clock.getDelayedCalls())))

    def looks(self, *found: int) -> tuple[list[float], list[int]]:
        """When a buffered message goes out if the looks find this, and what was not looked at."""
        left = list(found)
        reader = Reader(self.clock, lambda: left.pop(0), lambda: self.told.append(self.clock.seconds()), buffered=True)

        self.assertTrue(reader.wait(2, 3))
        while not self.told:
            self.clock.advance(LOOK)
        return self.told, left

    def test_buffered(self) -> None:
        """What may not have left us is given two turns of the reactor to do so, and no more time."""
        self.assertEqual(([LOOK], [7]), self.looks(0, 0, 0, 7))

    def test_buffered_comes_out(self) -> None:
        """It counts only if nothing is unread in both of them."""
        self.assertEqual(([3 * LOOK], [7]), self.looks(0, 10, 0, 0, 10, 0, 0, 0, 7))

    def test_close(self) -> None:
        """After the end nothing is looked at."""
        self.reader.wait(2, 3)

        self.reader.close()
        self.reader.close()
        self.clock.advance(1)

        self.assertEqual(([], False), (self.told, self.reader.waiting))
