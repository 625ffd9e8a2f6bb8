"""Tests for L{mcpbridge.downstream.outlet}."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.interfaces import IWriteDescriptor
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.downstream.outlet import CONGESTED, MAX_QUEUED, Outlet
from mcpbridge.downstream.reader import LOOK, PATIENCE
from mcpbridge.ledger.memory import Memory
from mcpbridge.ledger.output import CUT, Output
from tests.downstream.manual import ManualReactor, drained, memory_file

MEGABYTE = 1024 * 1024


class FakeSlots:
    """Notes what is released."""

    def __init__(self, told: list[Any]) -> None:
        self._told = told

    def release(self, slot: int) -> None:
        """A slot."""
        self._told.append(("released", slot))

    def group(self, slots: Sequence[int]) -> None:
        """Several."""
        self._told.append(("grouped", *slots))


class OutletTests(SynchronousTestCase):
    """A client's stdout."""

    def setUp(self) -> None:
        """A pipe that is empty."""
        self.reactor = ManualReactor()
        self.told: list[Any] = []
        self.fd = memory_file()
        self.stdout, self.its_stdout = os.pipe()
        os.set_blocking(self.its_stdout, False)
        self.addCleanup(os.close, self.fd)
        self.addCleanup(os.close, self.its_stdout)
        self.addCleanup(self.hang_up)
        self.outlet = self.open()

    def open(self) -> Outlet:
        """As a daemon finds it."""
        memory = Memory(os.dup(self.fd))
        self.addCleanup(memory.close)
        return Outlet(
            self.reactor,
            self.its_stdout,
            Output(memory),
            FakeSlots(self.told),
            lambda text: self.told.append(("lost", text)),
            lambda congested: self.told.append(("congested", congested)),
            lambda: self.told.append("drained"),
        )

    def hang_up(self) -> None:
        """Read no more."""
        if self.stdout >= 0:
            os.close(self.stdout)
            self.stdout = -1

    def read_all(self) -> bytes:
        """What the client reads in the end."""
        parts = []
        while True:
            busy = self.reactor.turn()
            parts.append(drained(self.stdout))
            if not busy and not parts[-1]:
                return b"".join(parts)

    def test_interface(self) -> None:
        """It is what the reactor wants."""
        verifyObject(IWriteDescriptor, self.outlet)

    def test_at_once(self) -> None:
        """Where there is room a message is out when L{Outlet.write} returns, without the reactor."""
        self.outlet.write([b"one"])
        self.outlet.write([b"t", b"wo"], (3,))

        self.assertEqual((b"one\ntwo\n", [("released", 3)]), (drained(self.stdout), self.told))
        self.assertEqual(([], False), (self.reactor.writers, self.outlet.busy))

    def test_together(self) -> None:
        """Several answers in one line are released together."""
        self.outlet.write([b"[1,2]"], (4, 5))

        self.assertEqual(
            (b"[1,2]\n", [("grouped", 4, 5), ("released", 4), ("released", 5)]), (drained(self.stdout), self.told)
        )

    def test_waits(self) -> None:
        """Where there is no room it waits, and its slot with it; order is kept."""
        self.outlet.write([b"x" * MEGABYTE], (1,))
        self.outlet.write([b"two"], (2,))
        self.outlet.write([b"three"])
        before = list(self.told)

        heard = self.read_all()

        self.assertEqual(([], b"x" * MEGABYTE + b"\ntwo\nthree\n"), (before, heard))
        self.assertEqual([("released", 1), ("released", 2), "drained"], self.told)

    def test_newline_waits(self) -> None:
        """An answer for whose newline alone there is no room is not out yet."""
        filled = 0
        while not self.outlet.busy:
            self.outlet.write([b"y" * 4095], (0,))
            filled += 1

        released = len(self.told)
        heard = self.read_all()

        self.assertEqual((filled - 1, filled * 4096), (released, len(heard)))
        self.assertEqual([("released", 0)] * filled + ["drained"], self.told)

    def test_congestion(self) -> None:
        """The owner is told of a queue that grows, once, from the reactor; and of its end."""
        for _ in range(4):
            self.outlet.write([b"x" * (CONGESTED // 3)])
        before = list(self.told)
        self.reactor.advance(0)
        congested = list(self.told)

        self.read_all()

        self.assertEqual(
            ([], [("congested", True)], [("congested", True), ("congested", False), "drained"]),
            (before, congested, self.told),
        )

    def test_too_much(self) -> None:
        """A client that never reads is given up, from the reactor; what is written then goes nowhere."""
        for _ in range(MAX_QUEUED // MEGABYTE + 2):
            self.outlet.write([b"x" * MEGABYTE])
        before = list(self.told)

        self.reactor.advance(0)
        self.outlet.write([b"more"])

        self.assertEqual(([], [("lost", "it did not read what it was sent")]), (before, self.told))
        self.assertEqual(([], -1), (self.reactor.writers, self.outlet.fileno()))

    def test_single_giant(self) -> None:
        """One message may be as large as it likes."""
        self.outlet.write([b"x" * (MAX_QUEUED + 1)], (1,))

        self.assertTrue(self.read_all().endswith(b"x\n"))

    def test_nobody_reads(self) -> None:
        """A client that has closed its stdout is told of from the reactor, not from L{Outlet.write}."""
        self.hang_up()

        self.outlet.write([b"one"])
        before = list(self.told)
        self.reactor.advance(0)

        self.assertEqual(([], [("lost", "it closed its standard output (Broken pipe)")]), (before, self.told))

    def test_hangs_up_while_we_wait(self) -> None:
        """So is one that closes it while something waits."""
        self.outlet.write([b"x" * MEGABYTE])

        self.hang_up()
        self.reactor.settle()

        self.assertEqual([("lost", "it closed its standard output (Broken pipe)")], self.told)

    def test_cut(self) -> None:
        """After a line that was left unended the first thing written ends it."""
        self.outlet.write([b'{"id":' + b"x" * MEGABYTE], (1,))
        self.outlet.close()
        first = drained(self.stdout)

        self.outlet = self.open()
        self.outlet.write([b"next"])

        self.assertEqual((b"x", CUT + b"next\n"), (first[-1:], self.read_all()))

    def test_closed(self) -> None:
        """When it is closed nothing is written or told any more."""
        self.outlet.write([b"x" * 2 * MEGABYTE])

        self.outlet.close()
        self.outlet.close()
        self.outlet.write([b"more"])
        self.reactor.settle()

        self.assertEqual(([], []), (self.told, self.reactor.writers))

    def test_many_small(self) -> None:
        """Many small messages that wait are put together, and each is still whole."""
        self.outlet.write([b"x" * MEGABYTE])
        for number in range(5000):
            self.outlet.write([b"%d" % number])

        lines = self.read_all().split(b"\n")

        self.assertEqual([b"%d" % number for number in range(5000)], lines[1:-1])

    def test_held(self) -> None:
        """An answer waits until what it follows was read, and everything behind it waits in its order."""
        number = self.outlet.write([b"progress"])
        self.outlet.write([b"answer"], (1,), number)
        self.outlet.write([b"more"])
        self.outlet.write([b"other"], (2,))
        self.reactor.settle()
        before = (drained(self.stdout), list(self.told), self.outlet.busy, self.reactor.writers)

        self.reactor.advance(LOOK)
        self.reactor.settle()

        self.assertEqual((b"progress\n", [], True, []), before)
        self.assertEqual(b"answer\nmore\nother\n", drained(self.stdout))
        self.assertEqual([("released", 1), ("released", 2), "drained"], self.told)
        self.assertEqual(([], False), (self.reactor.writers, self.outlet.busy))

    def test_not_held(self) -> None:
        """It does not wait if that was read already, nor if it follows nothing."""
        number = self.outlet.write([b"progress"])
        drained(self.stdout)
        self.outlet.write([b"answer"], (1,), number)
        self.outlet.write([b"other"], (2,))

        self.assertEqual((b"answer\nother\n", []), (drained(self.stdout), self.reactor.getDelayedCalls()))

    def test_held_in_vain(self) -> None:
        """A client that does not read gets it nevertheless."""
        number = self.outlet.write([b"progress"])
        self.outlet.write([b"answer"], (1,), number)
        self.reactor.advance(PATIENCE)

        self.assertEqual((b"progress\nanswer\n", [("released", 1), "drained"]), (drained(self.stdout), self.told))

    def test_held_behind_others(self) -> None:
        """What had to wait for room is held too, when its turn comes."""
        number = self.outlet.write([b"x" * MEGABYTE])
        self.outlet.write([b"answer"], (1,), number)
        heard = b""
        while len(heard) <= MEGABYTE:
            self.reactor.settle()
            if len(heard) + 4096 > MEGABYTE:
                before = (self.outlet.busy, list(self.told), self.reactor.writers)
            heard += os.read(self.stdout, 4096)

        self.reactor.advance(LOOK)

        self.assertEqual((True, [], []), before)
        self.assertEqual((MEGABYTE + 1, b"answer\n"), (len(heard), drained(self.stdout)))

    def test_held_twice(self) -> None:
        """Of several answers in a row the first is held, and one behind new progress again."""
        first = self.outlet.write([b"progress 1"])
        second = self.outlet.write([b"progress 2"])
        self.outlet.write([b"answer 1"], (1,), first)
        self.outlet.write([b"answer 2"], (2,), second)
        third = self.outlet.write([b"progress 3"])
        self.outlet.write([b"answer 3"], (3,), third)
        heard = []
        for _ in range(3):
            heard.append(drained(self.stdout))
            self.reactor.advance(LOOK)

        self.assertEqual([b"progress 1\nprogress 2\n", b"answer 1\nanswer 2\nprogress 3\n", b"answer 3\n"], heard)

    def test_held_to_the_end(self) -> None:
        """Nobody looks any more when the outlet is closed."""
        number = self.outlet.write([b"progress"])
        self.outlet.write([b"answer"], (1,), number)

        self.outlet.close()
        self.reactor.advance(PATIENCE)

        self.assertEqual((b"progress\n", []), (drained(self.stdout), self.told))

    def test_held_too_much(self) -> None:
        """What waits behind one that is held is bounded like everything that waits."""
        number = self.outlet.write([b"progress"])
        self.outlet.write([b"answer"], (1,), number)
        for _ in range(MAX_QUEUED // MEGABYTE + 1):
            self.outlet.write([b"x" * MEGABYTE])

        self.reactor.advance(0)

        self.assertEqual([("lost", "it did not read what it was sent")], self.told)
        self.assertEqual(([], []), (self.reactor.writers, self.reactor.getDelayedCalls()))

    def test_hangs_up_while_held(self) -> None:
        """A client that closes its stdout meanwhile is told of."""
        number = self.outlet.write([b"progress"])
        self.outlet.write([b"answer"], (1,), number)

        self.hang_up()
        self.reactor.advance(PATIENCE)
        self.reactor.settle()

        self.assertEqual([("lost", "it closed its standard output (Broken pipe)")], self.told)

    @settings(max_examples=40, derandomize=True, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(0, 90_000), st.integers(1, 400), st.booleans(), st.integers(0, 3), st.integers(0, 3)),
            max_size=20,
        )
    )
    def test_anything(self, messages: list[tuple[int, int, bool, int, int]]) -> None:
        """Any messages in any pieces, read as slowly as you like, some held: all come out, whole and in order."""
        self.outlet = self.open()
        os.set_blocking(self.stdout, False)
        expected = b""
        heard = b""
        number = 0
        for size, count, answers, turns, back in messages:
            text = bytes(97 + number % 26 for number in range(size))
            step = max(size // count, 1)
            pieces = [text[at : at + step] for at in range(0, size, step)]
            after = max(number - back, 0) if answers and back else 0
            number = self.outlet.write(pieces, (0,) if answers else (), after)
            expected += text + b"\n"
            for _ in range(turns):
                self.reactor.turn()
                with contextlib.suppress(BlockingIOError):
                    heard += os.read(self.stdout, 5000)

        for _ in range(len(messages)):
            heard += self.read_all()
            self.reactor.advance(PATIENCE)

        self.assertEqual(expected, heard + self.read_all())
