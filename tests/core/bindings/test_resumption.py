"""
Tests for L{mcpbridge.core.bindings.resumption}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.resumption import Resumption


class ResumptionTests(SynchronousTestCase):
    """The delays of one stream."""

    def test_default(self) -> None:
        """
        One second, then twice as long each time, up to a minute, ten times.
        """
        resumption = Resumption(lambda: 0.0, 10, None)

        delays = [resumption.delay(0.0) for _ in range(11)]

        self.assertEqual([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0, None], delays)

    def test_told(self) -> None:
        """
        The server's own time is kept exactly the first time, within bounds.
        """
        delays = []
        for milliseconds in (500, 0, 10**15):
            resumption = Resumption(lambda: 1.0)
            resumption.told(milliseconds)
            delays.append(resumption.delay(0.0))

        self.assertEqual([0.5, 0.1, 60.0], delays)

    def test_jitter(self) -> None:
        """
        Later delays are longer by a part, never shorter.
        """
        resumption = Resumption(lambda: 1.0)

        delays = [resumption.delay(0.0) for _ in range(3)]

        self.assertEqual([1.0, 2.5, 5.0], delays)

    def test_heard(self) -> None:
        """
        An event makes it begin anew.
        """
        resumption = Resumption(lambda: 0.0, 2)
        first = [resumption.delay(0.0), resumption.delay(0.0), resumption.delay(0.0)]

        resumption.heard()

        self.assertEqual([1.0, 2.0, None], first)
        self.assertEqual(1.0, resumption.delay(1000.0))

    def test_too_long(self) -> None:
        """
        Five minutes without an event are enough.
        """
        resumption = Resumption(lambda: 0.0)
        resumption.delay(100.0)

        self.assertEqual([2.0, None], [resumption.delay(400.0), resumption.delay(400.1)])

    def test_wanted(self) -> None:
        """
        C{Retry-After} may make a delay longer, up to a minute.
        """
        self.assertEqual([7.0, 60.0], [Resumption(lambda: 0.0).delay(0.0, wanted) for wanted in (7.0, 3600.0)])

    def test_for_ever(self) -> None:
        """
        Without limits it never gives up, and never overflows.
        """
        resumption = Resumption(lambda: 1.0, None, None)

        self.assertEqual(60.0, [resumption.delay(float(n)) for n in range(5000)][-1])
