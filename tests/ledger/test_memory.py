"""Tests for L{mcpbridge.ledger.memory}."""

from __future__ import annotations

import os
import tempfile

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import framing
from mcpbridge.ledger import memory
from mcpbridge.ledger.memory import INBOX, INBOX_AT, MAX_LINE, READ, SIZE, Memory, UnusableMemory
from tests.downstream.manual import memory_file


class MemoryTests(SynchronousTestCase):
    """The file."""

    def test_fresh(self) -> None:
        """An empty file becomes one that is fit for use, and is known again."""
        fd = memory_file()
        first = Memory(os.dup(fd))

        found = [first.inherited]
        first.close()
        second = Memory(fd)
        found.append(second.inherited)
        second.close()

        self.assertEqual([False, True], found)

    def test_costs_little(self) -> None:
        """A file in which little is written takes little memory."""
        fd = memory_file()
        opened = Memory(fd)
        self.addCleanup(opened.close)

        self.assertLess(os.fstat(fd).st_blocks * 512, 64 * 1024)

    def test_other_layout(self) -> None:
        """What was written in another layout is not read, and does not shine through."""
        fd = memory_file()
        os.pwrite(fd, b"X" * 4096, 0)
        os.pwrite(fd, b"X" * 100_000, INBOX_AT)
        opened = Memory(fd)
        self.addCleanup(opened.close)

        self.assertEqual(
            (False, 0, b"\0" * 10), (opened.inherited, opened.words[5], opened.copy(INBOX_AT, INBOX_AT + 10))
        )

    def test_wiping(self) -> None:
        """Wiped bytes are zero and their neighbours are not, however many there are."""
        opened = Memory(memory_file())
        self.addCleanup(opened.close)
        for start, end in ((INBOX_AT + 5, INBOX_AT + 9), (INBOX_AT + 5, INBOX_AT + 5_000_001)):
            opened.view[start - 1 : end + 1] = b"x" * (end - start + 2)

            opened.wipe(start, end)

            self.assertEqual(
                (b"x", 0, b"x"),
                (
                    opened.copy(start - 1, start),
                    opened.copy(start, end).count(b"x"),
                    opened.copy(end, end + 1),
                ),
            )

    def test_wiping_gives_memory_back(self) -> None:
        """What was wiped takes no memory any more."""
        fd = memory_file()
        opened = Memory(fd)
        self.addCleanup(opened.close)
        opened.view[INBOX_AT : INBOX_AT + 10_000_000] = b"x" * 10_000_000

        opened.wipe(INBOX_AT, INBOX_AT + 10_000_000)

        self.assertLess(os.fstat(fd).st_blocks * 512, 100_000)

    def test_cannot_be_cut_short(self) -> None:
        """Nobody can take the file's end away, for touching that would end the process."""
        fd = memory_file()
        opened = Memory(fd)
        self.addCleanup(opened.close)

        self.assertRaises(PermissionError, os.ftruncate, fd, 0)

    def test_file_on_a_disk(self) -> None:
        """An ordinary file does as well."""
        with tempfile.TemporaryFile() as file:
            opened = Memory(os.dup(file.fileno()))
            opened.view[SIZE - 1] = 7
            opened.close()
            again = Memory(os.dup(file.fileno()))
            self.addCleanup(again.close)

            self.assertEqual((True, 7), (again.inherited, again.view[SIZE - 1]))

    def test_no_file(self) -> None:
        """What is no file is refused, and closed."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)

        self.assertRaises(UnusableMemory, Memory, reading)
        self.assertRaises(OSError, os.fstat, reading)

    def test_cannot_be_written(self) -> None:
        """A file that cannot be written is refused."""
        with tempfile.NamedTemporaryFile() as file:
            fd = os.open(file.name, os.O_RDONLY)

            self.assertRaises(UnusableMemory, Memory, fd)

    def test_layout(self) -> None:
        """The limits fit together, and those of other rooms fit them."""
        self.assertEqual(framing.MAX_LINE, MAX_LINE)
        self.assertGreater(INBOX - MAX_LINE - READ, MAX_LINE + READ)
        self.assertEqual(0, memory.INBOX_AT % 4096)
