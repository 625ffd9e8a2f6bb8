"""Tests for L{mcpbridge.orphan.scratch}."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.ledger.memory import Memory
from mcpbridge.orphan.scratch import scratch_file


class ScratchTests(SynchronousTestCase):
    """A file without a name."""

    def test_nameless(self) -> None:
        """It is ours alone, has no name, and no child gets it."""
        fd = scratch_file()
        self.addCleanup(os.close, fd)

        found = os.fstat(fd)

        self.assertEqual(
            (0o600, 0, 0, False), (found.st_mode & 0o777, found.st_nlink, found.st_size, os.get_inheritable(fd))
        )

    def test_serves(self) -> None:
        """It does for a ledger."""
        memory = Memory(scratch_file())
        self.addCleanup(memory.close)

        self.assertFalse(memory.inherited)
