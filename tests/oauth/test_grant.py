"""
Tests of L{mcpbridge.oauth.grant}.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.authorization import Grant, OAuth
from mcpbridge.core.oauth.clients import AuthMethod, Client, ConfiguredClient
from mcpbridge.core.oauth.errors import TokenRefused
from mcpbridge.core.oauth.records import Credentials
from mcpbridge.core.oauth.scopes import Scopes
from mcpbridge.core.oauth.tokens import Denied, TokenSet, Unavailable
from mcpbridge.oauth.grant import MachineGrant, Refusal
from tests.core.oauth.facts import ISSUER, NOW, SERVER, UPSTREAM
from tests.oauth.fakes import DISCOVERY, FakeExchange

_TOKENS = TokenSet("a1", NOW, NOW + 60.0, "r1")
_MACHINE = Client("machine", "s", AuthMethod.BASIC, redirect_uri="")


class GrantTests(SynchronousTestCase):
    """A token without a human."""

    def setUp(self) -> None:
        self.exchange = FakeExchange(configured=ConfiguredClient("machine", "s"))

    def asking(self, grant: Grant, scopes: Scopes | None = ("mcp",), **oauth: Any) -> Deferred[Credentials | Refusal]:
        exchange: Any = self.exchange
        machine = MachineGrant(OAuth(grant, client_id="machine", **oauth), exchange, lambda: NOW)
        return Deferred.fromCoroutine(machine.ask(DISCOVERY, scopes, 7))

    def ask(self, grant: Grant, scopes: Scopes | None = ("mcp",), **oauth: Any) -> Credentials | Refusal:
        return self.successResultOf(self.asking(grant, scopes, **oauth))

    def test_in_our_own_name(self) -> None:
        """The configured client is all that it takes; a refresh token is not kept, since another is to be had."""
        self.exchange.answers.append(_TOKENS)

        found = self.ask(Grant.CLIENT)

        self.assertEqual(
            Credentials(SERVER, _MACHINE, UPSTREAM, ("mcp",), attrs.evolve(_TOKENS, refresh_token=None), 7), found
        )
        self.assertEqual(
            [{"grant_type": "client_credentials", "resource": UPSTREAM, "scope": "mcp"}], self.exchange.asked
        )
        self.assertEqual(([_MACHINE], []), (self.exchange.clients, self.exchange.vouching))

    def test_vouched_for(self) -> None:
        """What the identity provider says of the user, to this very server, is shown to it."""
        self.exchange.answers.append(_TOKENS)

        found = self.ask(Grant.ENTERPRISE)

        self.assertEqual(
            Credentials(SERVER, _MACHINE, UPSTREAM, ("mcp",), attrs.evolve(_TOKENS, refresh_token=None), 7), found
        )
        self.assertEqual([(ISSUER, UPSTREAM, ("mcp",))], self.exchange.vouching)
        self.assertEqual(
            [
                {
                    "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                    "assertion": "vouched",
                    "resource": UPSTREAM,
                    "scope": "mcp",
                }
            ],
            self.exchange.asked,
        )

    def test_no_resource(self) -> None:
        """Neither of the two is shown the parameter where that is not wanted, and no scope if there is none."""
        for grant in (Grant.CLIENT, Grant.ENTERPRISE):
            self.exchange.answers.append(_TOKENS)

            found = self.ask(grant, None, resource=False)

            assert isinstance(found, Credentials)
            asked = self.exchange.asked[-1]
            self.assertEqual(
                (None, None, None, None), (found.resource, found.requested, asked["resource"], asked["scope"])
            )
        self.assertEqual([(ISSUER, None, None)], self.exchange.vouching)

    def test_refused(self) -> None:
        """Who gives nothing, why, and whether it passes."""
        for answer, text, passes in (
            (Denied("invalid_scope", "no such thing"), "invalid_scope: no such thing", False),
            (Unavailable("HTTP 503"), "HTTP 503", True),
        ):
            self.exchange.answers = [answer]
            self.exchange.vouched = "vouched"
            self.assertEqual(
                Refusal(f"the authorization server gives no token: {text}", passes), self.ask(Grant.CLIENT)
            )

            self.exchange.vouched = answer
            self.assertEqual(
                Refusal(f"the identity provider gives no token: {text}", passes), self.ask(Grant.ENTERPRISE)
            )
        self.assertEqual(2, len(self.exchange.asked))

    def test_nonsense(self) -> None:
        """An answer that makes no sense is for who asked to judge, be it of the one or of the other."""
        self.exchange.answers.append(TokenRefused("nonsense"))
        self.failureResultOf(self.asking(Grant.CLIENT), TokenRefused)
        self.exchange.vouched = TokenRefused("nonsense")
        self.failureResultOf(self.asking(Grant.ENTERPRISE), TokenRefused)
