"""
Tests of L{mcpbridge.core.oauth.enterprise}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.enterprise import ID_JAG, read_exchange_response
from mcpbridge.core.oauth.errors import TokenRefused
from mcpbridge.core.oauth.tokens import Denied, Unavailable
from tests.core.oauth.facts import document


class ExchangeTests(SynchronousTestCase):
    """What the identity provider gives."""

    def test_assertion(self) -> None:
        """An identity assertion."""
        self.assertEqual(
            "jag", read_exchange_response(200, document(issued_token_type=ID_JAG, access_token="jag", token_type="N_A"))
        )

    def test_no(self) -> None:
        """With a reason, without one, and not now."""
        self.assertEqual(
            Denied("invalid_grant", "x"),
            read_exchange_response(400, document(error="invalid_grant", error_description="x")),
        )
        self.assertEqual(Denied("http_404", "the identity provider gives no reason"), read_exchange_response(404, b""))
        self.assertEqual(Unavailable("the identity provider answered HTTP 503"), read_exchange_response(503, b""))

    def test_another_kind(self) -> None:
        """An access token is no assertion."""
        for members in (
            {"issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "access_token": "a"},
            {"access_token": "a"},
            {"issued_token_type": ID_JAG},
            {"issued_token_type": ID_JAG, "access_token": "a\n"},
        ):
            self.assertRaises(TokenRefused, read_exchange_response, 200, document(**members))
