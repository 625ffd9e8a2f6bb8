"""
Tests of L{mcpbridge.core.oauth.clients}.
"""

from __future__ import annotations

import json
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.clients import (
    AuthMethod,
    Client,
    ConfiguredClient,
    Origin,
    Register,
    choose_client,
    read_registration,
)
from mcpbridge.core.oauth.errors import IdentityUnavailable, TokenRefused
from tests.core.oauth.facts import CLIENT, ISSUER, NOW, REDIRECT, SERVER, document

_nobody = ConfiguredClient()


class ChooseTests(SynchronousTestCase):
    """Which identity is used."""

    def test_configured_first(self) -> None:
        """What the user registered goes before a document and before what we registered."""
        server = attrs.evolve(SERVER, client_id_documents=True)
        configured = ConfiguredClient("mine", "secret", document="https://app.example/c.json")

        found = choose_client(server, configured, CLIENT, REDIRECT, None, NOW)

        self.assertEqual(Client("mine", "secret", AuthMethod.BASIC, Origin.CONFIGURED, REDIRECT), found)

    def test_document_second(self) -> None:
        """A document goes before a registration, where the server takes documents."""
        configured = ConfiguredClient(document="https://app.example/c.json")
        server = attrs.evolve(SERVER, client_id_documents=True)

        self.assertEqual(
            Client("https://app.example/c.json", None, AuthMethod.NONE, Origin.DOCUMENT, REDIRECT),
            choose_client(server, configured, CLIENT, REDIRECT, None, NOW),
        )
        self.assertEqual(CLIENT, choose_client(SERVER, configured, CLIENT, REDIRECT, None, NOW))

    def test_known(self) -> None:
        """A registration is used until its secret expires or the place to come back to is another."""
        expired = attrs.evolve(CLIENT, secret="s", expires_at=NOW)
        moved = attrs.evolve(CLIENT, redirect_uri="http://127.0.0.1:1/callback")

        self.assertEqual(CLIENT, choose_client(SERVER, _nobody, CLIENT, REDIRECT, None, NOW))
        for known in (expired, moved, None):
            self.assertIsInstance(choose_client(SERVER, _nobody, known, REDIRECT, None, NOW), Register)

    def test_registration(self) -> None:
        """What is asked for: a native, public client with refresh tokens."""
        found = choose_client(SERVER, _nobody, None, REDIRECT, ("a", "b"), NOW)

        assert isinstance(found, Register)
        self.assertEqual(f"{ISSUER}/register", found.url)
        self.assertEqual(
            {
                "client_name": "mcpbridge",
                "application_type": "native",
                "redirect_uris": [REDIRECT],
                "grant_types": ["authorization_code", "refresh_token"],
                "response_types": ["code"],
                "token_endpoint_auth_method": "none",
                "scope": "a b",
            },
            json.loads(found.body),
        )

    def test_registration_varies(self) -> None:
        """A method that the server has; a web client for a public callback; device logins where there are any."""

        def asked(redirect_uri: str, **members: Any) -> tuple[object, ...]:
            server = attrs.evolve(SERVER, **members)
            found = choose_client(server, _nobody, None, redirect_uri, None, NOW)
            assert isinstance(found, Register)
            said = json.loads(found.body)
            return (
                said["token_endpoint_auth_method"],
                said["application_type"],
                len(said["grant_types"]),
                "scope" in said,
            )

        self.assertEqual(
            ("client_secret_basic", "native", 2, False),
            asked(REDIRECT, auth_methods=("client_secret_post", "client_secret_basic")),
        )
        self.assertEqual(
            ("client_secret_post", "native", 2, False), asked(REDIRECT, auth_methods=("client_secret_post",))
        )
        self.assertEqual(("none", "native", 2, False), asked(REDIRECT, auth_methods=("private_key_jwt",)))
        self.assertEqual(
            ("none", "web", 3, False), asked("https://cb.example/x", device_authorization_endpoint=f"{ISSUER}/device")
        )

    def test_no_way(self) -> None:
        """Where nothing goes the text says what to do."""
        server = attrs.evolve(SERVER, registration_endpoint=None)

        error = self.assertRaises(IdentityUnavailable, choose_client, server, _nobody, None, REDIRECT, None, NOW)

        self.assertIn('"oauth": {"clientId": "...", "callbackPort": 33418}', str(error))
        self.assertIn(REDIRECT, str(error))

    def test_configured_methods(self) -> None:
        """The user's method, else one that fits what there is and what the server has."""
        table = [
            (ConfiguredClient("x"), None, AuthMethod.NONE),
            (ConfiguredClient("x", "s"), None, AuthMethod.BASIC),
            (ConfiguredClient("x", "s"), ("client_secret_post",), AuthMethod.POST),
            (ConfiguredClient("x", "s"), ("client_secret_post", "client_secret_basic"), AuthMethod.BASIC),
            (ConfiguredClient("x", "s", AuthMethod.POST), ("client_secret_basic",), AuthMethod.POST),
            (ConfiguredClient("x", has_key=True), None, AuthMethod.PRIVATE_KEY_JWT),
        ]

        for configured, methods, expected in table:
            found = choose_client(attrs.evolve(SERVER, auth_methods=methods), configured, None, REDIRECT, None, NOW)
            self.assertEqual(expected, found.method if isinstance(found, Client) else found)

    def test_secret_is_not_shown(self) -> None:
        """No repr has it."""
        self.assertNotIn("hush", repr([Client("x", "hush"), ConfiguredClient("x", "hush")]))


class RegistrationTests(SynchronousTestCase):
    """What a registration gives."""

    def test_methods(self) -> None:
        """The method that the server states, as far as it makes sense."""
        table = [
            ({}, AuthMethod.NONE),
            ({"client_secret": "s"}, AuthMethod.BASIC),
            ({"client_secret": "s", "token_endpoint_auth_method": "client_secret_post"}, AuthMethod.POST),
            ({"client_secret": "s", "token_endpoint_auth_method": "none"}, AuthMethod.NONE),
            ({"client_secret": "s", "token_endpoint_auth_method": "tls_client_auth"}, AuthMethod.BASIC),
            ({"token_endpoint_auth_method": "client_secret_basic"}, AuthMethod.NONE),
        ]

        for members, expected in table:
            found = read_registration(201, document(client_id="c", **members), REDIRECT)
            self.assertEqual((expected, Origin.REGISTERED, REDIRECT), (found.method, found.origin, found.redirect_uri))

    def test_expiry(self) -> None:
        """Zero means never (RFC 7591, 3.2.1)."""
        found = [
            read_registration(
                200, document(client_id="c", client_secret="s", client_secret_expires_at=at), REDIRECT
            ).expires_at
            for at in (0, 1_900_000_000, "x")
        ]

        self.assertEqual([None, 1_900_000_000.0, None], found)

    def test_refused(self) -> None:
        """The server's own words, made printable."""
        error = self.assertRaises(
            IdentityUnavailable,
            read_registration,
            400,
            document(error="invalid_redirect_uri", error_description="no \x1b[31mloopback"),
            REDIRECT,
        )

        self.assertEqual(
            "the authorization server refuses to register a client: invalid_redirect_uri: no \\x1b[31mloopback",
            str(error),
        )
        self.assertRaises(IdentityUnavailable, read_registration, 500, b"oops", REDIRECT)

    def test_nonsense(self) -> None:
        """An identity that cannot be sent is none."""
        for members in ({}, {"client_id": 5}, {"client_id": "a\r\nb"}, {"client_id": "c", "client_secret": "\n"}):
            self.assertRaises(TokenRefused, read_registration, 201, document(**members), REDIRECT)
