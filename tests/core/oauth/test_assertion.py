"""
Tests of L{mcpbridge.core.oauth.assertion}.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.assertion import choose_algorithm, client_assertion_claims, signed, signing_input
from mcpbridge.core.oauth.errors import IdentityUnavailable


class AssertionTests(SynchronousTestCase):
    """What is signed."""

    def test_claims(self) -> None:
        """RFC 7523, 3."""
        self.assertEqual(
            {"iss": "c", "sub": "c", "aud": "https://a", "jti": "j", "iat": 1000, "nbf": 1000, "exp": 1120},
            client_assertion_claims("c", "https://a", 1000.9, "j"),
        )

    def test_form(self) -> None:
        """Three parts, without padding, that say what they were made of."""
        made = signed(signing_input("ES256", {"a": "\u00e9"}, "k1"), b"\x00\xff\x10")

        header, claims, signature = made.split(".")
        self.assertEqual({"alg": "ES256", "typ": "JWT", "kid": "k1"}, json.loads(urlsafe_b64decode(header + "==")))
        self.assertEqual({"a": "\u00e9"}, json.loads(urlsafe_b64decode(claims + "==")))
        self.assertEqual("AP8Q", signature)

    def test_algorithm(self) -> None:
        """The user's, else the first that the server takes."""
        self.assertEqual("RS256", choose_algorithm(("RS256", "PS256"), None, None))
        self.assertEqual("PS256", choose_algorithm(("RS256", "PS256"), ("PS256",), None))
        self.assertEqual("PS256", choose_algorithm(("RS256", "PS256"), ("RS256",), "PS256"))
        self.assertRaises(IdentityUnavailable, choose_algorithm, ("ES256",), ("RS256",), None)
        self.assertRaises(IdentityUnavailable, choose_algorithm, ("ES256",), None, "none")
