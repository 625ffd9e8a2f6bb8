"""
Tests of L{mcpbridge.oauth.verdict}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.oauth.verdict import Retry, Stop


class VerdictTests(SynchronousTestCase):
    """What becomes of a request."""

    def test_by_value(self) -> None:
        """All who share a verdict are told the same, with nothing of their own in it; the two kinds are told apart."""
        loss = Loss(Fate.REJECTED, Reason.AUTH_REQUIRED, "open https://x")

        self.assertEqual(
            {Retry(), Stop(loss)}, {Retry(), Retry(), Stop(loss), Stop(Loss(loss.fate, loss.reason, loss.text))}
        )
