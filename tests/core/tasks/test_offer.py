"""Tests of L{mcpbridge.core.tasks.offer}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.tasks import offer
from mcpbridge.core.tasks.offer import Offer
from mcpbridge.core.tasks.shapes import Dialect
from tests.core.tasks.desks import SESSION, raw


class OfferTests(SynchronousTestCase):
    """L{Offer}."""

    def test_opened(self) -> None:
        """A server that opens anew may be another one."""
        found = Offer(tools={"x": "required"})

        found.opened(raw({"protocolVersion": "2025-11-25", "capabilities": SESSION}))

        self.assertEqual((Dialect.SESSION, None), (found.dialect, found.tools))

    def test_learns(self) -> None:
        """Pages add up, to a bound; a page that would go beyond is left out."""
        self.patch(offer, "_MAX_TOOLS", 2)

        def page(*names: str) -> dict[str, str]:
            tools = [{"name": name, "execution": {"taskSupport": "optional"}} for name in names]
            return Offer().learn({"x": "required"}, raw({"tools": tools}))

        self.assertEqual(
            [{"x": "required", "a": "optional"}, {"x": "required"}],
            [page("a"), page("a", "b")],
        )
