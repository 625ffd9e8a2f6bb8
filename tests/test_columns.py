"""Tests of L{mcpbridge.columns}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.columns import WIDEST, columns


class ColumnsTests(SynchronousTestCase):
    """L{columns}."""

    def test_widths(self) -> None:
        """Each column is as wide as its widest word; no line ends in spaces."""
        self.assertEqual(["  a    bb  c", "  ddd  e"], columns([("a", "bb", "c"), ("ddd", "e", "")]))

    def test_overlong(self) -> None:
        """An error sticks out of its own line, and does not push the others apart."""
        error = "e" * (WIDEST + 1)

        self.assertEqual(
            ["  name  links  next", "  a     up     -", f"  b     {error}  -"],
            columns([("name", "links", "next"), ("a", "up", "-"), ("b", error, "-")]),
        )

    def test_nothing(self) -> None:
        """No rows are no lines."""
        self.assertEqual([], columns([]))
