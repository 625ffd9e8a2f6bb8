"""
Tests of L{mcpbridge.oauth.lease}.
"""

from __future__ import annotations

import os

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.oauth.errors import StoreFailure
from mcpbridge.oauth.lease import Leases


class LeaseTests(SynchronousTestCase):
    """One at a time."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        self.clock = Clock()
        # Two open files of one process are as good as two processes to flock.
        self.first, self.second = Leases(self.folder, self.clock), Leases(self.folder, self.clock)

    def _descriptors(self) -> int:
        return len(os.listdir("/proc/self/fd"))

    def test_in_turn(self) -> None:
        """The second has it when the first gives it back; other names are free all the while."""
        release = self.successResultOf(self.first.take("a"))
        waiting = self.second.take("a")
        self.successResultOf(self.second.take("b"))()

        self.clock.pump([0.05] * 10)
        self.assertNoResult(waiting)
        release()
        self.clock.advance(0.05)

        self.successResultOf(waiting)()
        self.successResultOf(self.first.take("a"))()

    def test_patience(self) -> None:
        """Not for ever; and nothing stays open."""
        release = self.successResultOf(self.first.take("a"))
        before = self._descriptors()
        waiting = self.second.take("a")

        self.clock.pump([0.5] * 40)

        self.failureResultOf(waiting, StoreFailure)
        self.assertEqual(before, self._descriptors())
        release()

    def test_cancelled(self) -> None:
        """Who gives up leaves nothing behind."""
        release = self.successResultOf(self.first.take("a"))
        before = self._descriptors()
        waiting = self.second.take("a")

        waiting.cancel()

        self.failureResultOf(waiting, CancelledError)
        self.assertEqual((before, []), (self._descriptors(), self.clock.getDelayedCalls()))
        release()

    def test_unusable(self) -> None:
        """A folder that cannot be used is named."""
        with open(self.folder, "w"):
            pass

        self.failureResultOf(self.first.take("a"), StoreFailure)
