"""
Tests of L{mcpbridge.oauth.login}.
"""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.authorization import OAuth
from mcpbridge.core.oauth.attempt import LIFETIME, Attempt
from mcpbridge.core.oauth.clients import Client, Origin
from mcpbridge.core.oauth.device import DeviceLogin
from mcpbridge.core.oauth.discovery import Discovery
from mcpbridge.oauth.login import DeviceAttempt, PendingLogin, serves
from tests.core.oauth.facts import ATTEMPT, CLIENT, ISSUER, NOW, SERVER

_DEVICE = DeviceAttempt(
    SERVER, CLIENT, None, None, DeviceLogin("device-1", "WDJB-MJHT", f"{ISSUER}/code", None, NOW + LIFETIME + 60.0, 5.0)
)
_RESOURCE = str(ATTEMPT.resource)


class PendingLoginTests(SynchronousTestCase):
    """One login, to be finished one way or another."""

    def test_expired(self) -> None:
        """It waits as long as there is a way to finish it; one without a way waits for nothing."""
        times = [NOW, NOW + LIFETIME - 1, NOW + LIFETIME, NOW + LIFETIME + 59, NOW + LIFETIME + 60]
        table = {
            "no way": (PendingLogin(), [True] * 5),
            "a browser": (PendingLogin(ATTEMPT), [False, False, True, True, True]),
            "a code": (PendingLogin(None, _DEVICE), [False, False, False, False, True]),
            "both": (PendingLogin(ATTEMPT, _DEVICE), [False, False, False, False, True]),
        }

        for name, (login, expected) in table.items():
            self.assertEqual(expected, [login.expired(now) for now in times], name)


class ServesTests(SynchronousTestCase):
    """Whether a login that waits is shown again."""

    def test_server(self) -> None:
        """The same server is asked for no more than was asked for."""
        other = attrs.evolve(SERVER, token_endpoint=f"{ISSUER}/elsewhere")
        table = [
            (SERVER, ("read", "write"), True),
            (SERVER, ("read",), True),
            (SERVER, ("read", "admin"), False),
            (SERVER, None, False),
            (other, ("read",), False),
        ]

        for server, scopes, expected in table:
            discovery = Discovery(_RESOURCE, server, None)
            self.assertEqual(expected, serves(ATTEMPT, OAuth(), discovery, scopes), (server, scopes))

    def test_configuration(self) -> None:
        """It was begun under another configuration, maybe by another daemon: then it is of no use."""
        configured = attrs.evolve(ATTEMPT, client=Client("mine"))
        public = attrs.evolve(ATTEMPT, redirect_uri="https://box.example/callback")
        documented = attrs.evolve(ATTEMPT, client=Client("https://app.example/c.json", origin=Origin.DOCUMENT))
        device = attrs.evolve(_DEVICE, resource=ATTEMPT.resource, scopes=ATTEMPT.scopes)
        table: list[tuple[Attempt | DeviceAttempt, OAuth, bool]] = [
            (ATTEMPT, OAuth(), True),
            (ATTEMPT, OAuth(client_id="mine"), False),
            (configured, OAuth(client_id="mine"), True),
            (configured, OAuth(client_id="another"), False),
            (configured, OAuth(), False),
            (documented, OAuth(client_document="https://app.example/c.json"), True),
            (documented, OAuth(), False),
            (ATTEMPT, OAuth(callback_port=33418), True),
            (ATTEMPT, OAuth(callback_port=3118), False),
            (ATTEMPT, OAuth(redirect_url="https://box.example/callback"), False),
            (public, OAuth(redirect_url="https://box.example/callback"), True),
            (public, OAuth(), False),
            (ATTEMPT, OAuth(resource=False), False),
            (device, OAuth(callback_port=3118), True),
            (device, OAuth(client_id="mine"), False),
        ]
        server = attrs.evolve(SERVER, client_id_documents=True)
        discovery = Discovery(_RESOURCE, server, None)

        for found, oauth, expected in table:
            self.assertEqual(expected, serves(attrs.evolve(found, server=server), oauth, discovery, ("read",)), oauth)
