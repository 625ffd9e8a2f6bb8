"""Tests for L{mcpbridge.ledger.slots}."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.ledger.memory import LONG_IDS_AT, SLOT, SLOTS, SLOTS_AT, Memory
from mcpbridge.ledger.slots import GROUP, Slots
from tests.downstream.manual import Snapshots, memory_file
from tests.ledger.killing import at_every_line


class Case(SynchronousTestCase):
    """With a file."""

    def setUp(self) -> None:
        """An empty file."""
        self.fd = memory_file()
        self.addCleanup(os.close, self.fd)

    def open(self, position: int = 1 << 40, fd: int | None = None) -> Slots:
        """As the next one finds it."""
        memory = Memory(os.dup(self.fd) if fd is None else fd)
        slots = Slots(memory, position)
        self.addCleanup(memory.close)
        self.addCleanup(slots.close)
        return slots


class SlotsTests(Case):
    """Open requests."""

    def test_inherited(self) -> None:
        """Those that are open are found by the next one, in their order; those that were answered are not."""
        slots = self.open()
        ids: list[int | str] = [7, "7", "seven", -1, 10**30]
        for position, request_id in enumerate(ids):
            slots.claim(request_id, position)
        slot = slots.answer("seven")
        assert slot is not None
        slots.release(slot)

        self.assertEqual((7, "7", -1, 10**30), self.open().inherited)

    def test_being_answered(self) -> None:
        """One whose answer is on its way is open for the next one, and no longer for us."""
        slots = self.open()
        slots.claim(1, 10)

        slots.answer(1)

        self.assertEqual(({}, (1,)), (slots.taken, self.open().inherited))

    def test_only_noted(self) -> None:
        """One whose line is still unread never happened."""
        slots = self.open()
        slots.claim(1, 10)
        slots.claim(2, 20)

        self.assertEqual(((1,), (1,)), (self.open(19).inherited, self.open().inherited))

    def test_full(self) -> None:
        """There is an end to it, and again room after an answer."""
        slots = self.open()
        for number in range(SLOTS):
            slots.claim(number, number)

        refused = slots.claim("more", 1)
        slot = slots.answer(5)
        assert slot is not None
        slots.release(slot)

        self.assertEqual((False, True), (refused, slots.claim("more", 1)))

    def test_full_for_the_next(self) -> None:
        """The next one has as much room as is left."""
        slots = self.open()
        for number in range(SLOTS - 1):
            slots.claim(number, number)

        found = self.open()

        self.assertEqual((True, False), (found.claim("a", 1), found.claim("b", 1)))

    def test_too_long(self) -> None:
        """An id that nothing can hold is refused and takes no slot."""
        slots = self.open()

        self.assertEqual((False, {}), (slots.claim("x" * 4097, 1), slots.taken))

    @settings(max_examples=80, derandomize=True, deadline=None)
    @given(
        st.lists(
            st.one_of(st.integers(), st.text(max_size=300), st.text("\ud800é", min_size=900, max_size=1300)),
            unique=True,
        )
    )
    def test_any_id(self, ids: list[int | str]) -> None:
        """Every id comes back as it was, with its type."""
        fd = memory_file()
        slots = self.open(fd=os.dup(fd))
        for position, request_id in enumerate(ids):
            slots.claim(request_id, position)

        self.assertEqual(tuple(ids), self.open(fd=fd).inherited)

    @settings(max_examples=80, derandomize=True, deadline=None)
    @given(st.binary(max_size=3 * SLOT))
    def test_damage(self, text: bytes) -> None:
        """Whatever stands in the file, it can be opened, and works."""
        fd = memory_file()
        self.open(fd=os.dup(fd))
        os.pwrite(fd, text, SLOTS_AT)
        os.pwrite(fd, b"\xff" * 100, LONG_IDS_AT)

        slots = self.open(fd=fd)

        self.assertTrue(slots.claim("a new one that is long" * 20, 1))


class GroupTests(Case):
    """Requests that are answered together."""

    def test_answered(self) -> None:
        """If the line was written, none of them is open."""
        slots = self.open()
        for number in range(4):
            slots.claim(number, number)
        slots.group([0, 2])

        found = self.open()
        found.settle(GROUP)

        self.assertEqual(([1, 3], (1, 3)), (list(found.taken), self.open().inherited))

    def test_not_answered(self) -> None:
        """If it was not, all are, and their group is forgotten."""
        slots = self.open()
        slots.claim(0, 0)
        slots.claim(1, 1)
        slots.group([0, 1])

        self.open().settle(None)
        found = self.open()
        found.settle(GROUP)

        self.assertEqual([0, 1], list(found.taken))

    def test_single(self) -> None:
        """If another one was answered, that one is not."""
        slots = self.open()
        slots.claim(0, 0)
        slots.claim(1, 1)

        slots.settle(1)

        self.assertEqual([0], list(slots.taken))


class KilledTests(Case):
    """Killed at every line."""

    def test_claim(self) -> None:
        """A request is in the book as a whole, or not at all."""
        slots = self.open()
        snapshots = Snapshots(self.fd, (0, 128), (SLOTS_AT, SLOTS_AT + 4 * SLOT), (LONG_IDS_AT, LONG_IDS_AT + 4096 * 4))
        found = set()
        ids: list[int | str] = ["first", "second" * 50, 3]

        def run() -> None:
            for position, request_id in enumerate(ids):
                slots.claim(request_id, position)

        at_every_line(("ledger/slots.py",), run, lambda: found.add(snapshots.take()))

        self.assertEqual(
            {(), ("first",), ("first", ids[1]), tuple(ids)},
            {self.open(fd=snapshots.restore(snapshot)).inherited for snapshot in found},
        )
