"""
Tests of L{mcpbridge.oauth.imported}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.clients import AuthMethod, Client, Origin
from mcpbridge.core.oauth.tokens import TokenSet
from mcpbridge.oauth.errors import LoginFailed
from mcpbridge.oauth.imported import Imported, read_import

_NOW = 1000.0


class ImportTests(SynchronousTestCase):
    """What somebody else got."""

    def test_forms(self) -> None:
        """A token response, with a client, with an end, with a refresh token alone."""
        client = Client("c", None, AuthMethod.NONE, Origin.REGISTERED)
        table: list[tuple[dict[str, Any], Imported]] = [
            ({"access_token": "a"}, Imported(TokenSet("a", _NOW))),
            ({"access_token": "a", "expires_in": 5}, Imported(TokenSet("a", _NOW, 1005.0))),
            ({"access_token": "a", "expires_at": 7, "expires_in": 5}, Imported(TokenSet("a", _NOW, 7.0))),
            (
                {"access_token": "a", "refresh_token": "r", "scope": "x y", "client_id": "c"},
                Imported(TokenSet("a", _NOW, None, "r", ("x", "y")), client),
            ),
            ({"refresh_token": "r", "client_id": "c"}, Imported(TokenSet("-", _NOW, _NOW, "r"), client)),
        ]

        for document, expected in table:
            self.assertEqual(expected, read_import(document, _NOW))

    def test_secret(self) -> None:
        """A client with a secret shows it as it was registered to."""
        document = {"access_token": "a", "client_id": "c", "client_secret": "s"}

        methods = [
            read_import({**document, **more}, _NOW).client.method  # type: ignore[union-attr]  # it is there
            for more in (
                {},
                {"token_endpoint_auth_method": "client_secret_post"},
                {"token_endpoint_auth_method": "none"},
                {"token_endpoint_auth_method": "made_up"},
            )
        ]

        self.assertEqual([AuthMethod.BASIC, AuthMethod.POST, AuthMethod.NONE, AuthMethod.BASIC], methods)

    def test_refused(self) -> None:
        """What cannot be used is said to be of no use, and not shown."""
        documents: list[Any] = [
            None,
            [],
            {},
            {"access_token": "hush\r\n"},
            {"refresh_token": "hush hush"},
            {"access_token": "a", "client_id": "\n"},
        ]
        for document in documents:
            error = self.assertRaises(LoginFailed, read_import, document, _NOW)
            self.assertNotIn("hush", str(error))
