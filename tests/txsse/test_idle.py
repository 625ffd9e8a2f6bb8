"""
Tests for L{txsse._idle}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txsse._idle import IdleTimer


class IdleTimerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[float] = []
        self.timer = IdleTimer(self.clock, 10.0, lambda: self.expired.append(self.clock.seconds()))

    def test_silence(self) -> None:
        """
        After so much silence it calls back, once.
        """
        self.timer.start()
        self.clock.pump([9.0, 1.0, 100.0])

        self.assertEqual([10.0], self.expired)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_touch(self) -> None:
        """
        It counts from the last touch, to the instant.
        """
        self.timer.start()
        self.clock.advance(7.0)
        self.timer.touch()
        self.clock.pump([3.0, 6.0, 1.0])

        self.assertEqual([17.0], self.expired)

    def test_touch_costs_no_call(self) -> None:
        """
        Touching makes no delayed calls.
        """
        self.timer.start()
        calls = self.clock.getDelayedCalls()
        for _ in range(5):
            self.clock.advance(1.0)
            self.timer.touch()

        self.assertEqual(calls, self.clock.getDelayedCalls())

    def test_stop(self) -> None:
        """
        Stopped, it leaves nothing behind, and it may be started anew.
        """
        self.timer.start()
        self.clock.advance(5.0)
        self.timer.stop()
        self.timer.stop()
        self.assertEqual([], self.clock.getDelayedCalls())
        self.clock.advance(5.0)
        self.timer.start()
        self.timer.start()
        self.clock.pump([9.0, 1.0])

        self.assertEqual([20.0], self.expired)
