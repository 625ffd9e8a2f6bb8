"""
Tests for L{mcpbridge.core.bindings.relabel}.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.relabel import relabel
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.jsonrpc import Error, Notification, Result, value

TAG = "io.modelcontextprotocol/subscriptionId"


class RelabelTests(SynchronousTestCase):
    """The client's own id, wherever it belongs."""

    def test_answers(self) -> None:
        """An answer has it as its id; the payload is the very same."""
        payload = Raw(b'{"a":1e400}')

        self.assertEqual(Result("x", payload), relabel(Result(7, payload), "x"))
        self.assertEqual(Error("x", ErrorObject(1, "no")), relabel(Error(7, ErrorObject(1, "no")), "x"))

    def test_tags(self) -> None:
        """A subscription is named by it."""
        tagged = value({"uri": "a:", "_meta": {"other": 1, TAG: 7}})
        expected = value({"uri": "a:", "_meta": {"other": 1, TAG: "x"}})

        self.assertEqual(Notification("n", expected), relabel(Notification("n", tagged), "x"))
        self.assertEqual(Result("x", expected), relabel(Result(7, tagged), "x"))

    def test_ended_by_the_server(self) -> None:
        """A subscription that the server cancels is too."""
        cancelled = Notification("notifications/cancelled", value({"requestId": 7, "reason": "r"}))

        self.assertEqual(value({"requestId": "x", "reason": "r"}), relabel(cancelled, "x").params)  # type: ignore[union-attr]  # it has some

    def test_untouched(self) -> None:
        """What names no subscription stays as it is, though it may say the word."""
        for params in (
            None,
            value({"subscriptionId": 7}),
            value({"_meta": {"subscriptionId": 7}}),
            Raw(b'["subscriptionId"]'),
        ):
            self.assertEqual(Notification("n", params), relabel(Notification("n", params), "x"))
