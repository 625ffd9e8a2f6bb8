"""Tests for L{mcpbridge.ledger.output}."""

from __future__ import annotations

import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.ledger.memory import LINE_WORD, NEWLINES, Memory
from mcpbridge.ledger.output import CUT, Output
from mcpbridge.ledger.slots import GROUP
from tests.downstream.manual import drained, memory_file


class OutputTests(SynchronousTestCase):
    """The last line before the end."""

    def setUp(self) -> None:
        """A file and a pipe."""
        self.fd = memory_file()
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.writing, False)
        for fd in (self.fd, self.reading, self.writing):
            self.addCleanup(os.close, fd)
        self.output = self.open()

    def open(self) -> Output:
        """As the next one finds it."""
        self.memory = Memory(os.dup(self.fd))
        self.addCleanup(self.memory.close)
        return Output(self.memory)

    def left(self) -> tuple[bool, int | None]:
        """What the next one learns."""
        found = self.open()
        return found.cut, found.answered

    def test_fresh(self) -> None:
        """Nothing was begun."""
        self.assertEqual((False, None), self.left())

    def test_begun(self) -> None:
        """A line that was begun is cut."""
        self.output.begin()

        self.assertEqual((True, None), self.left())

    def test_ended(self) -> None:
        """A line that was ended is not."""
        self.output.begin()
        self.output.end()

        self.assertEqual((False, None), self.left())

    def test_answered(self) -> None:
        """When the newline is out, the slot is known to be answered, though nobody wrote that down."""
        self.output.begin()
        self.output.answer(self.writing, 5)

        self.assertEqual(((False, 5), b"\n"), (self.left(), drained(self.reading)))

    def test_first_and_last_slot(self) -> None:
        """So are the first slot and a group."""
        found = []
        for slot in (0, GROUP):
            self.output.begin()
            self.output.answer(self.writing, slot)
            found.append(self.left())
            self.output.end()

        self.assertEqual([(False, 0), (False, GROUP)], found)

    def test_not_answered(self) -> None:
        """When there was no room for the newline, the line is cut."""
        while True:
            try:
                os.write(self.writing, b"x" * 4096)
            except BlockingIOError:
                break
        self.output.begin()

        self.assertRaises(BlockingIOError, self.output.answer, self.writing, 5)

        self.assertEqual((True, None), self.left())

    def test_nobody_reads(self) -> None:
        """When nobody reads, that is said."""
        reading, writing = os.pipe()
        os.close(reading)
        self.addCleanup(os.close, writing)

        self.assertRaises(BrokenPipeError, self.output.answer, writing, 5)

    def test_settled(self) -> None:
        """What was settled is not learned again."""
        self.output.begin()
        self.output.answer(self.writing, 5)
        found = self.open()

        found.settled()

        self.assertEqual(((False, None), None), (self.left(), found.answered))

    def test_many(self) -> None:
        """It works for any number of answers, and at any of them."""
        wrong = []
        for number in range(2 * NEWLINES + 10):
            self.output.begin()
            before = self.left() if number % 500 == 0 or number % NEWLINES < 3 else (True, None)
            self.output.answer(self.writing, number % 1024)
            after = self.left() if number % 500 == 0 or number % NEWLINES < 3 else (False, number % 1024)
            self.output.end()
            os.read(self.reading, 10)
            if (before, after) != ((True, None), (False, number % 1024)):
                wrong.append((number, before, after))

        self.assertEqual([], wrong)

    def test_sockets(self) -> None:
        """A socket does as well as a pipe."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        self.output.begin()

        self.output.answer(ours.fileno(), 9)

        self.assertEqual(((False, 9), b"\n"), (self.left(), theirs.recv(10)))

    def test_uncounted(self) -> None:
        """Where nothing can count, the newline is written, and a killed writer's last answer is said again."""
        self.output._counted = False
        self.output.begin()

        self.output.answer(self.writing, 5)

        self.assertEqual(((True, None), b"\n"), (self.left(), drained(self.reading)))

    def test_unable(self) -> None:
        """A stdout that the kernel does not count for is written to."""

        def unable(*_: object) -> int:
            raise OSError(22, "Invalid argument")

        self.patch(os, "sendfile", unable)
        self.output.begin()

        self.output.answer(self.writing, 5)

        self.assertEqual(b"\n", drained(self.reading))

    def test_damage(self) -> None:
        """Whatever the word says, it can be read, and at worst a line is cut."""
        for word in (1 << 63, 0xFFFFFFFF, 5000 << 32 | 2, 2, 1 << 32):
            self.memory.words[LINE_WORD] = word
            os.lseek(self.fd, 0, os.SEEK_SET)

            self.assertEqual((True, None), self.left())

    def test_what_is_cut_is_no_message(self) -> None:
        """What ends a cut line can begin no value, and end none."""
        self.assertEqual(([], b"\n"), ([sign for sign in CUT if sign in b'{}[]"'], CUT[-1:]))
