"""
Tests for L{mcpbridge.core.outage}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.outage import Outage, is_hopeless
from mcpbridge.core.retry import MAX_REJECTIONS
from mcpbridge.core.ticks import Ticks

REFUSED = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "connection refused")
BUSY = Loss(Fate.REJECTED, Reason.UPSTREAM_UNREACHABLE, "HTTP 429", retry_after=20.0)
ELSEWHERE = Loss(Fate.REJECTED, Reason.UPSTREAM_UNREACHABLE, "HTTP 503", retry_after=3600.0)


class OutageTests(SynchronousTestCase):
    """A server is away."""

    def outage(self) -> tuple[Outage, Ticks]:
        """One that nobody waits for longer than five seconds, and its clock."""
        count = Ticks(lambda effect: None)
        return Outage(5.0, count, lambda: 0.0), count

    def pass_seconds(self, count: Ticks, seconds: int) -> None:
        for _ in range(seconds):
            count.fired()

    def test_pauses(self) -> None:
        """They grow with each failure up to a bound, and begin anew when the server has opened."""
        outage, count = self.outage()

        pauses = [outage.pause()]
        for _ in range(10):
            outage.began(REFUSED, established=False)
            self.pass_seconds(count, 5)
            pauses.append(outage.pause())
        outage.ended()
        pauses.append(outage.pause())

        self.assertEqual([0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15.0, 15.0, 0.0], pauses)

    def test_short_pauses_at_first(self) -> None:
        """Who waits for a server that is back within that time does not wait in vain for the next attempt."""
        outage, count = self.outage()

        pauses = []
        for _ in range(8):
            outage.began(REFUSED, established=False)
            pauses.append(outage.pause())
        self.pass_seconds(count, 5)
        pauses.append(outage.pause())

        self.assertEqual([0.1, 0.2, 0.4, 0.5, 0.5, 0.5, 0.5, 0.5, 12.8], pauses)

    def test_crash_loop(self) -> None:
        """A server that opens and is lost is opened anew at once, but only once until a conversation has lasted."""
        outage, _ = self.outage()

        pauses = []
        for _ in range(3):
            outage.began(REFUSED, established=True)
            outage.ended()
            pauses.append(outage.pause())
        outage.settled()
        pauses.append(outage.pause())

        self.assertEqual([0.0, 0.1, 0.2, 0.0], pauses)

    def test_sessions_forgotten(self) -> None:
        """The first that is forgotten is one thing, all of them another."""
        outage, _ = self.outage()

        self.assertEqual([True, False, False], [outage.flapped() for _ in range(3)])

    def test_patience(self) -> None:
        """Who asks waits for so long from when he asks; the outage is long when it has lasted for so long."""
        outage, count = self.outage()
        self.pass_seconds(count, 100)
        before = (outage.lasts, outage.is_long)

        outage.began(REFUSED, established=False)
        self.pass_seconds(count, 4)
        short = (outage.lasts, outage.is_long, outage.patience())
        self.pass_seconds(count, 1)
        long = (outage.lasts, outage.is_long, outage.patience())
        outage.ended()

        self.assertEqual((False, False), before)
        self.assertEqual((True, False, 110), short)
        self.assertEqual((True, True, 111), long)
        self.assertEqual((False, False), (outage.lasts, outage.is_long))

    def test_invited(self) -> None:
        """A server that says when it will serve us is not away until then, as long as it can be believed."""
        outage, count = self.outage()

        invited = [outage.began(BUSY, established=False) for _ in range(MAX_REJECTIONS + 1)]
        until = outage.patience()
        self.pass_seconds(count, 25)

        self.assertEqual([True] * MAX_REJECTIONS + [False], invited)
        self.assertEqual(21 + 6, until)
        self.assertFalse(outage.is_long)
        self.assertFalse(outage.began(ELSEWHERE, established=False))

    def test_hopeless(self) -> None:
        """What trying again would not help against."""
        denied = Loss(Fate.REJECTED, Reason.AUTH_REQUIRED, "HTTP 401")
        broken = Loss(Fate.FAILED, Reason.MALFORMED, "no JSON")
        unknown = Loss(Fate.UNKNOWN, Reason.UPSTREAM_UNREACHABLE, "it crashed")

        self.assertEqual(
            [False, False, False, True, True], [is_hopeless(loss) for loss in (REFUSED, BUSY, unknown, denied, broken)]
        )
