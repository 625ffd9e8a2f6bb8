"""
Tests for L{mcpbridge.core.ticks}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.effects import BridgeEffect, StartTimer, StopTimer
from mcpbridge.core.ticks import Ticks, ticks


class TicksTests(SynchronousTestCase):
    """Counting seconds."""

    def test_one_timer(self) -> None:
        """However many have a deadline, there is one timer; it does not go on by itself."""
        done: list[BridgeEffect] = []
        count = Ticks(done.append)

        count.start()
        count.start()
        count.fired()
        silent = done.copy()
        count.start()
        count.stop()
        count.start()

        tick = StartTimer("tick", 1.0)
        self.assertEqual([tick], silent)
        self.assertEqual([tick, tick, StopTimer("tick"), tick], done)
        self.assertEqual(1, count.now)

    def test_never_too_short(self) -> None:
        """The first tick may come at once."""
        self.assertEqual([1, 1, 2, 61], [ticks(seconds) for seconds in (0.0, 0.9, 1.0, 60.0)])
