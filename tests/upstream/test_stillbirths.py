"""
Tests for L{mcpbridge.upstream.stillbirths}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.upstream.stillbirths import Stillbirths


class StillbirthsTests(SynchronousTestCase):
    """Whether it is worth starting another one."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.stillbirths = Stillbirths(self.clock)

    def _life(self, seconds: float, status: int | None = 1) -> bool:
        born = self.clock.seconds()
        self.clock.advance(seconds)
        return self.stillbirths.died(born, status)

    def test_row(self) -> None:
        """The first may have passing reasons, the others have not, whatever they ended with."""
        self.assertEqual(
            [False, True, True, True], [self._life(0.1), self._life(0.1, 0), self._life(0.1, None), self._life(0.1)]
        )

    def test_no_program(self) -> None:
        """What is not there the first time will not be there the second time."""
        self.assertEqual([True, True], [self._life(0.1, 127), self._life(0.1, 126)])

    def test_spoke(self) -> None:
        """One that was there breaks the row."""
        self._life(0.1)
        self.stillbirths.spoke()

        self.assertEqual([False, True], [self._life(0.1), self._life(0.1)])

    def test_late(self) -> None:
        """Whoever lived for a while did not die of how it was started, and says nothing of the others."""
        self.assertEqual(
            [False, False, False, True], [self._life(10.0), self._life(10.0), self._life(0.1), self._life(9.9)]
        )
        self.assertEqual(False, self._life(10.0, 127))

    def test_package_runners(self) -> None:
        """What has to be fetched and unpacked first takes seconds before it can say what it lacks."""
        self.assertEqual([False, True, True], [self._life(2.5), self._life(9.0), self._life(2.5)])

    def test_long_ago(self) -> None:
        """Somebody may have mended it."""
        self._life(0.1)
        self.clock.advance(10.0)

        self.assertEqual(False, self._life(0.1))

    def test_at_once(self) -> None:
        """Two that were started together are no row: the second was not started in spite of the first."""
        born = self.clock.seconds()
        self.clock.advance(0.1)

        self.assertEqual([False, False], [self.stillbirths.died(born, 1), self.stillbirths.died(born, 1)])
        self.assertEqual(True, self._life(0.1))
