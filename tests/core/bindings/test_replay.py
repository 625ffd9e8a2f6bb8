"""
Tests for L{mcpbridge.core.bindings.replay}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.replay import MAX_BYTES, MAX_EVENTS, MAX_FINISHED, MAX_TOTAL, ReplayShelf


class ReplayTests(SynchronousTestCase):
    """What can be had again."""

    def test_after(self) -> None:
        """What came after an event of that stream, and no other."""
        shelf = ReplayShelf()
        one, other = shelf.open(), shelf.open(is_standing=True)
        first = shelf.record(one, b"1")
        shelf.record(other, b"x")
        second = shelf.record(one, b"2")

        self.assertEqual((one, [(second, b"2")]), shelf.replay(first))
        self.assertEqual((one, [(first, b"1"), (second, b"2")]), shelf.replay(shelf.primer(one)))
        self.assertEqual((one, []), shelf.replay(second))
        self.assertEqual((False, True), (shelf.is_standing(one), shelf.is_standing(other)))

    def test_unknown(self) -> None:
        """An id that was never given gives nothing."""
        shelf = ReplayShelf()
        name = shelf.open()
        shelf.record(name, b"1")

        for event_id in ("", "r1", "r1-2", "r2-0", "s1-0", "r1--1", "r1-1\n", "r" + "9" * 99 + "-1", "r\u0661-0"):
            self.assertIsNone(shelf.replay(event_id))

    def test_events_are_bounded(self) -> None:
        """The oldest go first."""
        shelf = ReplayShelf()
        name = shelf.open()
        for number in range(MAX_EVENTS + 10):
            shelf.record(name, b"%d" % number)

        found = shelf.replay(shelf.primer(name))

        assert found is not None
        self.assertEqual((MAX_EVENTS, b"10"), (len(found[1]), found[1][0][1]))

    def test_bytes_are_bounded(self) -> None:
        """A large event leaves no room for those before it; one that is too large has a stand-in, or nothing."""
        shelf = ReplayShelf()
        name = shelf.open()
        shelf.record(name, b"small")
        large = shelf.record(name, b"x" * MAX_BYTES)
        kept = shelf.replay(shelf.primer(name))
        shelf.record(name, b"x" * (MAX_BYTES + 1))
        shelf.record(name, b"x" * (MAX_BYTES + 1), b"stand-in")

        self.assertEqual((name, [(large, b"x" * MAX_BYTES)]), kept)
        self.assertEqual((name, [("r1-4", b"stand-in")]), shelf.replay(shelf.primer(name)))

    def test_finished(self) -> None:
        """So many complete streams are kept, the newest."""
        shelf = ReplayShelf()
        names = [shelf.open() for _ in range(MAX_FINISHED + 2)]
        for name in names:
            shelf.finish(name)

        self.assertEqual([None, None], [shelf.replay(shelf.primer(name)) for name in names[:2]])
        self.assertTrue(all(shelf.replay(shelf.primer(name)) for name in names[2:]))

    def test_reopened(self) -> None:
        """A stream whose reader is back is not among the complete ones."""
        shelf = ReplayShelf()
        name = shelf.open()
        shelf.finish(name)
        shelf.reopen(name)
        for _ in range(MAX_FINISHED + 1):
            shelf.finish(shelf.open())

        self.assertEqual("r1-1", shelf.record(name, b"1"))

    def test_room(self) -> None:
        """When there is too much of all streams, complete ones go first, then the oldest events of the fullest."""
        shelf = ReplayShelf()
        done, live = shelf.open(), [shelf.open() for _ in range(MAX_TOTAL // MAX_BYTES)]
        shelf.record(done, b"x")
        shelf.finish(done)
        for name in live:
            shelf.record(name, b"x" * (MAX_BYTES // 2))
            shelf.record(name, b"x" * (MAX_BYTES // 2))
        kept = [shelf.replay(shelf.primer(name)) for name in live]
        more = shelf.open()

        shelf.record(more, b"y")

        self.assertIsNone(shelf.replay(shelf.primer(done)))
        self.assertEqual([2] * len(live), [len(found[1]) for found in kept if found is not None])
        found = [shelf.replay(shelf.primer(name)) for name in (*live, more)]
        self.assertEqual([1, *[2] * (len(live) - 1), 1], [len(each[1]) for each in found if each is not None])

    @settings(derandomize=True, max_examples=50)
    @given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from([1, 1000, MAX_BYTES // 2, MAX_BYTES])), max_size=80))
    def test_total_is_bounded(self, recorded: list[tuple[int, int]]) -> None:
        """However many streams there are; and a live stream never loses its name."""
        shelf = ReplayShelf()
        names = [shelf.open() for _ in range(41)]
        for number in range(10):
            shelf.finish(names[number])

        for number, size in recorded:
            if number >= 10:
                shelf.record(names[number], b"x" * size)

        kept = [shelf.replay(shelf.primer(name)) for name in names[10:]]
        self.assertNotIn(None, kept)
        total = sum(len(data) for found in kept if found is not None for _, data in found[1])
        self.assertLessEqual(total, MAX_TOTAL)
