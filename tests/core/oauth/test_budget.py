"""
Tests of L{mcpbridge.core.oauth.budget}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.budget import FLOW_WINDOW, Budget


class BudgetTests(SynchronousTestCase):
    """How often something is tried."""

    def test_flows(self) -> None:
        """Three in five minutes, then not until the first is old."""
        budget = Budget()

        self.assertEqual([True, True, True, False], [budget.take_flow(float(now)) for now in range(4)])
        self.assertEqual([False, True, False], [budget.take_flow(FLOW_WINDOW + now) for now in (-0.5, 0.0, 0.5)])

    def test_success(self) -> None:
        """A human's login clears them."""
        budget = Budget()
        for now in range(3):
            budget.take_flow(now)

        budget.succeeded()

        self.assertTrue(budget.take_flow(3))

    def test_step_ups(self) -> None:
        """Two for the same operation and the same scopes, in whatever order they are named."""
        budget = Budget()

        self.assertEqual(
            [True, True, False],
            [budget.take_step_up("POST /", scopes) for scopes in (("a", "b"), ("b", "a"), ("a", "b"))],
        )
        self.assertTrue(budget.take_step_up("POST /", ("c",)))
        self.assertTrue(budget.take_step_up("GET /", ("a", "b")))

    def test_bounded(self) -> None:
        """A server that makes scopes up does not fill our memory."""
        budget = Budget()

        for number in range(1000):
            budget.take_step_up("POST /", (str(number),))

        self.assertEqual(256, len(budget._step_ups))
