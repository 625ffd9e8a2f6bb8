"""
Access without a human at a browser: in our own name, or in that of a user for whom an identity provider vouches.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from mcpbridge.configuration.authorization import Grant, OAuth
from mcpbridge.core.oauth.clients import Client, choose_client
from mcpbridge.core.oauth.discovery import Discovery
from mcpbridge.core.oauth.endpoint import client_credentials_params, jwt_bearer_params
from mcpbridge.core.oauth.records import Credentials
from mcpbridge.core.oauth.scopes import Scopes
from mcpbridge.core.oauth.tokens import Denied, TokenSet, Unavailable
from mcpbridge.oauth.exchange import Exchange


@attrs.frozen
class Refusal:
    """
    There is none.

    @ivar passes: whether it may be worth asking again.
    """

    text: str
    passes: bool


@attrs.frozen(eq=False)
class MachineGrant:
    """
    See the top of this module.

    @ivar _now: seconds since the epoch.
    """

    _oauth: OAuth
    _exchange: Exchange
    _now: Callable[[], float]

    async def ask(self, discovery: Discovery, scopes: Scopes | None, number: int) -> Credentials | Refusal:
        """
        Ask for a token.

        @param number: the generation of what comes of it.
        @raise McpbridgeError: something that is needed to ask is not there.
        """
        configured = await self._exchange.configured_client()
        server = discovery.server
        client = choose_client(server, configured, None, "", None, self._now())
        # The configuration has seen to it that there is a client id.
        assert isinstance(client, Client)
        resource = discovery.resource if self._oauth.resource else None
        if self._oauth.grant is Grant.ENTERPRISE:
            vouched = await self._exchange.identity_assertion(server.issuer, resource, scopes)
            if not isinstance(vouched, str):
                return _refusal("the identity provider", vouched)
            params = jwt_bearer_params(vouched, resource, scopes)
        else:
            params = client_credentials_params(resource, scopes)
        answer = await self._exchange.tokens(server, client, params)
        if not isinstance(answer, TokenSet):
            return _refusal("the authorization server", answer)
        # A token that is to be had for the asking is not worth keeping on the disk, nor is a refresh token beside it.
        tokens = attrs.evolve(answer, refresh_token=None)
        return Credentials(server, client, resource, scopes, tokens, number)


def _refusal(who: str, answer: Denied | Unavailable) -> Refusal:
    return Refusal(f"{who} gives no token: {answer.text}", isinstance(answer, Unavailable))
