"""
Tests for L{mcpbridge.core.errors}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import INTERNAL_ERROR, Fate, Loss, Reason, UpstreamUnavailable, bridge_error


class ErrorsTests(SynchronousTestCase):
    """What is told of a failure."""

    def test_bridge_error(self) -> None:
        """An error of the bridge's own is one for humans, and for programs: whose, why, and whether to come again."""
        error = bridge_error(Reason.OVERLOADED, 'a "näme"', "too much", retryable=True)

        assert error.data is not None
        self.assertEqual((INTERNAL_ERROR, "too much"), (error.code, error.message))
        self.assertEqual(
            {"mcpbridge": {"reason": "overloaded", "upstream": 'a "näme"', "retryable": True}},
            jsonrpc.read(error.data),
        )

    def test_not_retryable(self) -> None:
        """Unless somebody knows better, nothing is asked again."""
        error = bridge_error(Reason.OUTCOME_UNKNOWN, "up", "who knows")

        assert error.data is not None
        self.assertIs(False, jsonrpc.read(error.data)["mcpbridge"]["retryable"])

    def test_unavailable(self) -> None:
        """Why an upstream cannot be reached is the text of that."""
        loss = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "connection refused")

        error = UpstreamUnavailable(loss)

        self.assertEqual(("connection refused", loss), (str(error), error.loss))
