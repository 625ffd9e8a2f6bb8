"""
Tests of L{mcpbridge.core.oauth.device}.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.device import AskAgain, DeviceLogin, device_progress, read_device_response
from mcpbridge.core.oauth.errors import TokenRefused
from mcpbridge.core.oauth.tokens import Denied, TokenSet, Unavailable
from mcpbridge.core.oauth.urls import URLPolicy
from tests.core.oauth.facts import NOW, UPSTREAM, document

_policy = URLPolicy(UPSTREAM)
_said: dict[str, Any] = {
    "device_code": "dev",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://auth.example.com/device",
    "verification_uri_complete": "https://auth.example.com/device?user_code=WDJB-MJHT",
    "expires_in": 900,
    "interval": 7,
}
_login = DeviceLogin(
    "dev",
    "WDJB-MJHT",
    "https://auth.example.com/device",
    "https://auth.example.com/device?user_code=WDJB-MJHT",
    NOW + 900,
    7.0,
)


class BeginTests(SynchronousTestCase):
    """What the server offers."""

    def test_login(self) -> None:
        """RFC 8628, 3.2."""
        self.assertEqual(_login, read_device_response(200, document(**_said), NOW, _policy))

    def test_defaults(self) -> None:
        """What is not said, and what is said beyond measure."""
        bare = {name: _said[name] for name in ("device_code", "user_code", "verification_uri")}

        found = read_device_response(200, document(**bare), NOW, _policy)
        greedy = read_device_response(200, document(**bare, expires_in=1e9, interval=1e9), NOW, _policy)

        self.assertEqual((NOW + 600, 5.0, None), (found.expires_at, found.interval, found.complete_url))
        self.assertEqual((NOW + 1800, 60.0), (greedy.expires_at, greedy.interval))

    def test_refused(self) -> None:
        """No code, an untrusted place, an error."""
        for status, members in (
            (400, {"error": "unauthorized_client"}),
            (200, {**_said, "device_code": "a b"}),
            (200, {**_said, "user_code": None}),
            (200, {**_said, "verification_uri": "javascript:1"}),
            (200, {**_said, "verification_uri": None}),
            (200, {**_said, "verification_uri_complete": "http://auth.example.com/"}),
        ):
            self.assertRaises(TokenRefused, read_device_response, status, document(**members), NOW, _policy)

    def test_user_code_is_printable(self) -> None:
        """It is shown on a terminal."""
        found = read_device_response(200, document(**{**_said, "user_code": "A\x1b[2J"}), NOW, _policy)

        self.assertEqual("A\\x1b[2J", found.user_code)

    def test_secret_is_not_shown(self) -> None:
        """The device code is as good as a token."""
        self.assertNotIn("hush", repr(attrs.evolve(_login, device_code="hush")))


class ProgressTests(SynchronousTestCase):
    """How it goes on."""

    def test_table(self) -> None:
        """RFC 8628, 3.5."""
        tokens = TokenSet("a", NOW)
        denied = Denied("access_denied")
        table: list[tuple[TokenSet | Denied | Unavailable, float, TokenSet | Denied | AskAgain]] = [
            (tokens, NOW, tokens),
            (denied, NOW, denied),
            (Denied("authorization_pending"), NOW, AskAgain(_login)),
            (Denied("slow_down"), NOW, AskAgain(attrs.evolve(_login, interval=12.0))),
            (Unavailable("x"), NOW, AskAgain(attrs.evolve(_login, interval=14.0))),
            (Denied("authorization_pending"), NOW + 900, Denied("expired_token", "nobody finished the login in time")),
        ]

        for answer, now, expected in table:
            self.assertEqual(expected, device_progress(_login, answer, now))

    def test_bounded(self) -> None:
        """The wait never grows beyond a minute."""
        login = attrs.evolve(_login, interval=58.0)

        for answer in (Denied("slow_down"), Unavailable("x")):
            self.assertEqual(AskAgain(attrs.evolve(login, interval=60.0)), device_progress(login, answer, NOW))
