"""Tests for L{mcpbridge.ledger.state}."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.ledger.memory import MAX_STATE, STATE_AT, STATE_WORD, Memory
from mcpbridge.ledger.state import State
from tests.downstream.manual import Snapshots, memory_file
from tests.ledger.killing import at_every_line


class StateTests(SynchronousTestCase):
    """One text."""

    def setUp(self) -> None:
        """An empty file."""
        self.fd = memory_file()
        self.addCleanup(os.close, self.fd)
        self.state = self.open()

    def open(self, fd: int | None = None) -> State:
        """As the next one finds it."""
        self.memory = Memory(os.dup(self.fd) if fd is None else fd)
        self.addCleanup(self.memory.close)
        return State(self.memory)

    def test_text(self) -> None:
        """What was written last is read, by us and by the next one."""
        found = [self.state.read()]
        for text in (b"one", b"a longer one", b"", b"x" * MAX_STATE):
            self.state.write(text)
            found += [self.state.read(), self.open().read()]

        expected = [b"", b"one", b"one", b"a longer one", b"a longer one", b"", b"", b"x" * MAX_STATE, b"x" * MAX_STATE]
        self.assertEqual(expected, found)

    def test_damage(self) -> None:
        """Whatever the word says, something can be read."""
        self.memory.words[STATE_WORD] = (1 << 64) - 1

        self.assertEqual(MAX_STATE, len(self.open().read()))

    def test_killed(self) -> None:
        """Whenever the writer is killed, the next one reads the old text or the new one."""
        self.state.write(b"the old text")
        snapshots = Snapshots(
            self.fd, (0, 128), (STATE_AT, STATE_AT + 32), (STATE_AT + MAX_STATE, STATE_AT + MAX_STATE + 32)
        )
        found = set()

        at_every_line(
            ("ledger/state.py",), lambda: self.state.write(b"something new"), lambda: found.add(snapshots.take())
        )

        self.assertEqual(
            {b"the old text", b"something new"}, {self.open(snapshots.restore(snapshot)).read() for snapshot in found}
        )
