"""
Talking to authorization servers: fetches what L{mcpbridge.core.oauth} wants to see, always with the guard.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import attrs
from twisted.logger import Logger

from mcpbridge.configuration.authorization import OAuth, Secret
from mcpbridge.core.oauth.assertion import ID_BYTES, client_assertion_claims
from mcpbridge.core.oauth.attempt import base64url
from mcpbridge.core.oauth.challenge import BearerChallenge, bearer_challenge
from mcpbridge.core.oauth.clients import (
    AUTHORIZATION_CODE,
    REFRESH_TOKEN,
    AuthMethod,
    Client,
    ConfiguredClient,
    Origin,
    Register,
    method_for,
    read_registration,
)
from mcpbridge.core.oauth.device import DeviceLogin, read_device_response
from mcpbridge.core.oauth.discovery import Discovery, Fetched, discover
from mcpbridge.core.oauth.endpoint import Form, Params, device_params, exchange_params, form, revocation_params
from mcpbridge.core.oauth.enterprise import ID_JAG, read_exchange_response
from mcpbridge.core.oauth.metadata import ServerMetadata, required
from mcpbridge.core.oauth.scopes import Scopes
from mcpbridge.core.oauth.tokens import Denied, TokenSet, Unavailable, read_token_response
from mcpbridge.core.oauth.urls import URLPolicy
from mcpbridge.core.printable import printable
from mcpbridge.net.failures import HTTPFailure
from mcpbridge.net.guard import Document, FetchFailed, FetchRefused, GuardedFetcher
from mcpbridge.oauth.secrets import Secrets
from mcpbridge.oauth.signing import Signer

_FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
_JSON = (b"Content-Type", b"application/json")

#: Grants that are used long after the client was chosen. So is a device code, but every few seconds: too often to run a
#: program for the secret.
_LATER = (AUTHORIZATION_CODE, REFRESH_TOKEN)

#: Characters from which on something sent is masked in what comes back; shorter ones are words.
_SECRET = 8


@attrs.define(eq=False)
class Exchange:
    """
    For one upstream.

    @ivar _now: seconds since the epoch.
    """

    _upstream: str = attrs.field(repr=False)
    _oauth: OAuth
    _fetcher: GuardedFetcher
    _secrets: Secrets
    _now: Callable[[], float]
    _random: Callable[[int], bytes]
    _log = Logger()

    async def discover(self, challenge: BearerChallenge | None, known: Collection[str]) -> Discovery:
        """
        Who lets us in.

        @raise DiscoveryFailed: nobody, or nobody to be trusted.
        """
        script = discover(self._upstream, challenge, known, self._oauth.issuer)
        try:
            fetch = next(script)
            while True:
                fetch = script.send(await self._fetched(fetch.url))
        except StopIteration as end:
            found: Discovery = end.value
            return found

    async def probe(self) -> BearerChallenge | None:
        """
        What the upstream asks for when somebody comes without a token; L{None} if it does not say.
        """
        try:
            document = await self._fetcher.fetch("GET", self._upstream)
        except HTTPFailure:
            # Some stream for ever to whoever comes; they want nothing then.
            return None
        return bearer_challenge(document.challenges) if document.status == 401 else None

    async def _fetched(self, url: str) -> Fetched:
        try:
            # Servers of 2025-03-26 are asked with the version they know, the others do not mind.
            document = await self._fetcher.fetch("GET", url, [(b"MCP-Protocol-Version", b"2025-11-25")])
        except FetchRefused as error:
            return Fetched(None, text=str(error), refused=True)
        except FetchFailed as error:
            return Fetched(None, text=str(error))
        return Fetched(document.status, document.body)

    async def configured_client(self) -> ConfiguredClient:
        """
        What the user has configured, with its secrets.

        @raise ConfigurationError: one of them is not to be had.
        """
        oauth = self._oauth
        secret = await self._optional(oauth.client_secret, "oauth.clientSecret")
        return ConfiguredClient(
            oauth.client_id,
            secret,
            oauth.auth_method,
            oauth.private_key is not None,
            oauth.client_document,
            oauth.redirect_url,
        )

    async def register(self, registration: Register, redirect_uri: str) -> Client:
        """
        A new identity.

        @raise IdentityUnavailable: it was refused.
        @raise TokenRefused: the answer makes no sense.
        @raise FetchFailed: there was no answer.
        """
        document = await self._fetcher.fetch("POST", registration.url, [_JSON], registration.body)
        return read_registration(document.status, document.body, redirect_uri)

    async def tokens(
        self, server: ServerMetadata, client: Client, params: Params, previous: TokenSet | None = None
    ) -> TokenSet | Denied | Unavailable:
        """
        Ask the token endpoint.

        @param previous: what is being refreshed.
        @raise TokenRefused: the answer makes no sense.
        """
        url = required(server.token_endpoint, "token_endpoint", server.issuer)
        if params["grant_type"] in _LATER:
            client = await self._as_configured(server, client)
        document = await self._posted(form(url, params, client, await self._assertion(server, client)))
        if isinstance(document, Unavailable):
            return document
        answer = read_token_response(
            document.status, document.body, self._now(), previous=previous, retry_after=document.retry_after
        )
        return _without(answer, (*params.values(), client.secret)) if isinstance(answer, Denied) else answer

    async def device(
        self, server: ServerMetadata, client: Client, resource: str | None, scopes: Scopes | None
    ) -> DeviceLogin:
        """
        Begin a login on another device.

        @raise TokenRefused: there is none to be had.
        @raise FetchFailed: there was no answer.
        """
        url = required(server.device_authorization_endpoint, "device_authorization_endpoint", server.issuer)
        asked = form(url, device_params(resource, scopes), client, await self._assertion(server, client))
        document = await self._fetcher.fetch("POST", asked.url, [_FORM, *asked.headers], asked.body)
        return read_device_response(document.status, document.body, self._now(), URLPolicy(self._upstream))

    async def identity_assertion(
        self, audience: str, resource: str | None, scopes: Scopes | None
    ) -> str | Denied | Unavailable:
        """
        Have the user's identity provider vouch for the user at this authorization server.

        @raise TokenRefused: the answer makes no sense.
        @raise ConfigurationError: the user's token is not to be had.
        """
        provider = self._oauth.provider
        assert provider is not None
        token = await self._secrets.read(provider.token, "oauth.identityProvider.token")
        secret = await self._optional(provider.client_secret, "oauth.identityProvider.clientSecret")
        client = Client(provider.client_id or "", secret, AuthMethod.NONE if secret is None else AuthMethod.POST)
        params = exchange_params(token, provider.token_type, ID_JAG, audience, resource, scopes)
        document = await self._posted(form(provider.token_endpoint, params, client))
        return document if isinstance(document, Unavailable) else read_exchange_response(document.status, document.body)

    async def revoke(self, server: ServerMetadata, client: Client, tokens: TokenSet) -> bool:
        """
        Have the server forget them (RFC 7009).

        @return: whether it says that it did.
        """
        if server.revocation_endpoint is None:
            return False
        client = await self._as_configured(server, client)
        assertion = await self._assertion(server, client)
        token, hint = tokens.refresh_token or tokens.access_token, "access_token"
        if tokens.refresh_token is not None:
            hint = "refresh_token"
        document = await self._posted(
            form(server.revocation_endpoint, revocation_params(token, hint), client, assertion)
        )
        return isinstance(document, Document) and document.status == 200

    async def _posted(self, asked: Form) -> Document | Unavailable:
        try:
            return await self._fetcher.fetch("POST", asked.url, [_FORM, *asked.headers], asked.body)
        except (FetchFailed, FetchRefused) as error:
            return Unavailable(printable(str(error)))

    async def _as_configured(self, server: ServerMetadata, client: Client) -> Client:
        """The client of a login, with the secret that it has by now: a login outlives many."""
        if client.origin is not Origin.CONFIGURED or client.id != self._oauth.client_id:
            return client
        configured = await self.configured_client()
        method = configured.method or method_for(server, configured)
        return attrs.evolve(client, secret=configured.secret, method=method)

    async def _assertion(self, server: ServerMetadata, client: Client) -> str | None:
        if client.method is not AuthMethod.PRIVATE_KEY_JWT or self._oauth.private_key is None:
            return None
        signer = Signer.from_pem(await self._secrets.read(self._oauth.private_key, "oauth.privateKey"))
        audience = server.issuer if self._oauth.audience == "issuer" else server.token_endpoint or server.issuer
        claims = client_assertion_claims(client.id, audience, self._now(), base64url(self._random(ID_BYTES)))
        return signer.assertion(claims, server.signing_algorithms, self._oauth.algorithm, self._oauth.key_id)

    async def _optional(self, secret: Secret | None, what: str) -> str | None:
        return None if secret is None else await self._secrets.read(secret, what)


def _without(denied: Denied, secrets: Iterable[str | None]) -> Denied:
    """Servers that repeat what they were sent: it goes into a log and to a client."""
    description = denied.description
    for secret in secrets:
        if secret is not None and len(secret) >= _SECRET:
            description = description.replace(secret, "***")
    return attrs.evolve(denied, description=description)
