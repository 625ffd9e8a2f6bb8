"""
Tests of L{mcpbridge.core.oauth.tokens}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.errors import TokenRefused
from mcpbridge.core.oauth.tokens import Denied, TokenSet, Unavailable, read_token_response
from tests.core.oauth.facts import NOW, document


class ResponseTests(SynchronousTestCase):
    """What a token endpoint's answer means."""

    def test_granted(self) -> None:
        """Everything that is used."""
        body = document(access_token="a", token_type="BEARER", expires_in=3600, refresh_token="r", scope="x y")

        found = read_token_response(200, body, NOW)

        self.assertEqual(TokenSet("a", NOW, NOW + 3600, "r", ("x", "y")), found)

    def test_bare(self) -> None:
        """What is not said is not known."""
        self.assertEqual(TokenSet("a", NOW), read_token_response(200, document(access_token="a"), NOW))

    def test_lifetime_as_text(self) -> None:
        """Some servers write numbers in quotes."""
        found = read_token_response(200, document(access_token="a", expires_in="60"), NOW)

        self.assertEqual(TokenSet("a", NOW, NOW + 60), found)

    def test_refreshed(self) -> None:
        """The old refresh token and the old scopes stay if no new ones come."""
        previous = TokenSet("a", NOW, NOW, "old", ("x",))

        kept = read_token_response(200, document(access_token="b"), NOW, previous=previous)
        rotated = read_token_response(200, document(access_token="b", refresh_token="new"), NOW, previous=previous)

        self.assertEqual(TokenSet("b", NOW, None, "old", ("x",)), kept)
        self.assertEqual(TokenSet("b", NOW, None, "new", ("x",)), rotated)

    def test_denied(self) -> None:
        """With a reason, at whatever status; only one of them ends a grant."""
        table = [
            (400, document(error="invalid_grant", error_description="gone"), Denied("invalid_grant", "gone"), True),
            (200, document(error="bad_verification_code"), Denied("bad_verification_code"), False),
            (401, document(error="invalid_client"), Denied("invalid_client"), False),
            (404, b"nope", Denied("http_404", "the authorization server gives no reason"), False),
            (400, document(error="\x1b[2J"), Denied("\\x1b[2J"), False),
        ]

        for status, body, expected, over in table:
            found = read_token_response(status, body, NOW)
            self.assertEqual((expected, over), (found, isinstance(found, Denied) and found.over))

    def test_unavailable(self) -> None:
        """What says nothing about the grant."""
        for status, body in (
            (500, b""),
            (502, document(error="invalid_grant")),
            (429, b""),
            (408, b""),
            (503, document(error="temporarily_unavailable")),
        ):
            found = read_token_response(status, body, NOW, retry_after=7.0)
            self.assertTrue(isinstance(found, Unavailable) and found.retry_after == 7.0, (status, found))

    def test_unusable(self) -> None:
        """A yes without a token that fits a header is no yes."""
        for body in (
            b"access_token=a&token_type=bearer",
            document(),
            document(access_token=""),
            document(access_token="a\r\nX-Evil: 1"),
            document(access_token="a b"),
            document(access_token="\u00e9"),
            document(access_token="x" * 20_000),
            document(access_token="a", refresh_token="b\n"),
            document(access_token="a", token_type="mac"),
            document(access_token="a", token_type=5),
        ):
            self.assertRaises(TokenRefused, read_token_response, 200, body, NOW)

    @settings(max_examples=200, derandomize=True)
    @given(st.integers(100, 599), st.binary(max_size=40) | st.builds(lambda x: document(access_token=x), st.text()))
    def test_anything(self, status: int, body: bytes) -> None:
        """Any answer has a meaning or is refused, and a token is always fit for a header."""
        try:
            found = read_token_response(status, body, NOW)
        except TokenRefused:
            return
        if isinstance(found, TokenSet):
            self.assertTrue(found.access_token.isascii() and found.access_token.isprintable())


class LifeTests(SynchronousTestCase):
    """When tokens are stale, and when they are renewed."""

    def test_stale(self) -> None:
        """A minute before their end; of short lives a quarter."""
        long, short, endless = TokenSet("a", 0, 3600), TokenSet("a", 0, 40), TokenSet("a", 0)

        self.assertEqual([False, True], [long.stale(3539), long.stale(3540)])
        self.assertEqual([False, True], [short.stale(29.9), short.stale(30)])
        self.assertFalse(endless.stale(1e12))

    def test_refresh(self) -> None:
        """Spread over a fifth of their life, before they are stale; never without a refresh token or an end."""
        tokens = TokenSet("a", 1000.0, 4600.0, "r")

        self.assertEqual([3520.0, 4240.0], [tokens.refresh_at(spread) for spread in (0.0, 1.0)])
        self.assertEqual(1030.0, TokenSet("a", 1000.0, 1040.0, "r").refresh_at(1.0))
        self.assertEqual([None, None], [TokenSet("a", 0, 9).refresh_at(0), TokenSet("a", 0, None, "r").refresh_at(0)])

    def test_secrets_are_not_shown(self) -> None:
        """No repr has them."""
        self.assertNotIn("hush", repr(TokenSet("hush", 0, 1, "hush")))
