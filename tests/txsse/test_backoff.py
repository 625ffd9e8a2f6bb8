"""
Tests for L{txsse._backoff}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txsse import full_jitter


class FullJitterTests(SynchronousTestCase):
    def test_ceiling(self) -> None:
        """
        The ceiling doubles from attempt to attempt, up to the maximum.
        """
        policy = full_jitter(lambda: 1.0, initial=1.0, maximum=10.0)

        self.assertEqual([1.0, 2.0, 4.0, 8.0, 10.0, 10.0], [policy(attempt) for attempt in range(6)])

    def test_jitter(self) -> None:
        """
        The whole of what is below the ceiling is in play.
        """
        draws = iter([0.0, 0.25, 0.5])
        policy = full_jitter(lambda: next(draws), initial=4.0)

        self.assertEqual([0.0, 1.0, 2.0], [policy(0), policy(0), policy(0)])

    def test_long_absence(self) -> None:
        """
        No number of attempts overflows.
        """
        self.assertEqual(300.0, full_jitter(lambda: 1.0)(10**6))
