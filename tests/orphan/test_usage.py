"""Tests for L{mcpbridge.orphan.usage}. What it looks like from outside is in L{tests.test_stdio}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.orphan.usage import USAGE


class UsageTests(SynchronousTestCase):
    """How the relay is called."""

    def test_options(self) -> None:
        """Every option is explained, in lines that fit a terminal."""
        self.assertEqual(
            [], [option for option in ("--no-start", "--standalone", "NAME", "URL") if option not in USAGE]
        )
        self.assertLess(max(map(len, USAGE.splitlines())), 80)
