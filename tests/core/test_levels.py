"""
Tests for L{mcpbridge.core.levels}.
"""

from __future__ import annotations

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.levels import LEVELS, least


class LeastTests(SynchronousTestCase):
    """What a server must send so that all hear enough."""

    def test_least(self) -> None:
        """The least severe one that is set, whatever the order."""
        self.assertEqual("debug", least(["error", None, "debug", "info"]))
        self.assertEqual("emergency", least(["emergency"]))

    def test_none(self) -> None:
        """Where none is set there is none."""
        self.assertEqual([None, None], [least([]), least([None, None])])

    def test_order(self) -> None:
        """The order is that of RFC 5424."""
        found = [least(pair) for pair in pairwise(LEVELS)]

        self.assertEqual(list(LEVELS[:-1]), found)
