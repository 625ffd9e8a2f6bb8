"""
What an authorizer and its parts deal with: an authorization server that does what it is told to, and a lease.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed

from mcpbridge.core.oauth.challenge import BearerChallenge
from mcpbridge.core.oauth.clients import Client, ConfiguredClient, Register
from mcpbridge.core.oauth.device import DeviceLogin
from mcpbridge.core.oauth.discovery import Discovery
from mcpbridge.core.oauth.tokens import TokenSet
from tests.core.oauth.facts import CLIENT, ISSUER, NOW, SERVER, UPSTREAM

DISCOVERY = Discovery(UPSTREAM, SERVER, ("mcp",))


@attrs.define(eq=False)
class FakeExchange:
    """
    An authorization server, and an identity provider, that do what they are told to. What they are to give may be an
    exception, which is raised, a Deferred, which is waited for, or what makes it when it is asked for.

    @ivar answers: of the token endpoint, in order.
    @ivar vouched: by the identity provider.
    @ivar revocation: whether a token is forgotten.
    @ivar asked: what the token endpoint was asked for.
    @ivar clients: by whom.
    @ivar vouching: what the identity provider was asked for.
    @ivar revoked: what was to be forgotten.
    """

    discovery: Any = DISCOVERY
    configured: ConfiguredClient = attrs.Factory(ConfiguredClient)
    answers: list[Any] = attrs.Factory(list)
    vouched: Any = "vouched"
    revocation: Any = True
    asked: list[Mapping[str, Any]] = attrs.Factory(list)
    clients: list[Client] = attrs.Factory(list)
    vouching: list[tuple[Any, ...]] = attrs.Factory(list)
    revoked: list[TokenSet] = attrs.Factory(list)
    discovered: int = 0
    registered: int = 0

    async def probe(self) -> BearerChallenge | None:
        return None

    async def discover(self, challenge: BearerChallenge | None, known: Any) -> Any:
        self.discovered += 1
        return await _given(self.discovery)

    async def configured_client(self) -> ConfiguredClient:
        return self.configured

    async def register(self, registration: Register, redirect_uri: str) -> Client:
        self.registered += 1
        return attrs.evolve(CLIENT, id=f"client-{self.registered}", redirect_uri=redirect_uri)

    async def tokens(self, server: Any, client: Any, params: Any, previous: Any = None) -> Any:
        self.asked.append(dict(params))
        self.clients.append(client)
        return await _given(self.answers.pop(0))

    async def device(self, server: Any, client: Any, resource: Any, scopes: Any) -> DeviceLogin:
        return DeviceLogin("device-1", "WDJB-MJHT", f"{ISSUER}/code", None, NOW + 900.0, 5.0)

    async def identity_assertion(self, *wanted: Any) -> Any:
        self.vouching.append(wanted)
        return await _given(self.vouched)

    async def revoke(self, server: Any, client: Any, tokens: TokenSet) -> Any:
        self.revoked.append(tokens)
        return await _given(self.revocation)


async def _given(answer: Any) -> Any:
    if callable(answer):
        answer = answer()
    if isinstance(answer, Deferred):
        answer = await answer
    if isinstance(answer, Exception):
        raise answer
    return answer


@attrs.define(eq=False)
class FakeLeases:
    """
    One lease, which is free unless it is said when it will be.

    @ivar free: fires when it is.
    @ivar held: how many have it.
    """

    free: Deferred[None] | None = None
    held: int = 0

    def take(self, name: str) -> Deferred[Any]:
        free = self.free or succeed(None)
        return free.addCallback(lambda _: self._take())

    def _take(self) -> Any:
        self.held += 1
        return self._release

    def _release(self) -> None:
        self.held -= 1
