"""
Tests for L{mcpbridge.core.eras.legacy.asking}.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.eras.legacy.asking import asked_by
from mcpbridge.core.errors import INVALID_PARAMS
from mcpbridge.core.events import Called, LevelSet, Subscribed, Unsubscribed
from mcpbridge.core.jsonrpc import InvalidMessage
from tests.core.eras.legacy.peers import request


class AskingTests(SynchronousTestCase):
    """What a request is."""

    def test_events(self) -> None:
        """What lasts longer than a call is told from calls; whatever is unknown is a call."""
        uri = Raw(b'{"uri":"a:b"}')
        table = [
            (request(1, "logging/setLevel", {"level": "error"}), LevelSet(7, "error")),
            (request(1, "resources/subscribe", {"uri": "a:b"}), Subscribed(7, "a:b", uri)),
            (request(1, "resources/unsubscribe", {"uri": "a:b"}), Unsubscribed(7, "a:b", uri)),
            (request(1, "resources/read", {"uri": "a:b"}), Called(7, "resources/read", uri, True)),
            (request(1, "x/new"), Called(7, "x/new", None, True)),
        ]

        self.assertEqual([event for _, event in table], [asked_by(asked, 7, True) for asked, _ in table])

    def test_broken(self) -> None:
        """A wish that cannot be understood is refused, and says what it lacks."""
        for method, params, text in (
            ("logging/setLevel", None, "level is one of debug"),
            ("logging/setLevel", {"level": "loud"}, "level is one of debug"),
            ("logging/setLevel", {"level": 1}, "level is one of debug"),
            ("resources/subscribe", None, "resources/subscribe needs a uri"),
            ("resources/subscribe", {"uri": 1}, "resources/subscribe needs a uri"),
            ("resources/unsubscribe", {}, "resources/unsubscribe needs a uri"),
        ):
            invalid = self.assertRaises(InvalidMessage, asked_by, request(1, method, params), 7, False)

            self.assertEqual(INVALID_PARAMS, invalid.code)
            self.assertIn(text, str(invalid))
