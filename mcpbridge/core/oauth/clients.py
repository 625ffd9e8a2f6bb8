"""
Who we are to an authorization server: a client identity, and how it is come by.

In the order that MCP wants: registered beforehand, a client ID metadata document, dynamic registration. An identity
belongs to the issuer that gave it and is never shown to another; a document's URL is everybody's.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from mcpbridge.core.oauth.documents import json_object, number_member, text_member
from mcpbridge.core.oauth.errors import IdentityUnavailable, TokenRefused
from mcpbridge.core.oauth.metadata import ServerMetadata, shown_issuer
from mcpbridge.core.oauth.scopes import Scopes
from mcpbridge.core.printable import printable

AUTHORIZATION_CODE = "authorization_code"
REFRESH_TOKEN = "refresh_token"  # noqa: S105 - the name of a grant type
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"

CLIENT_NAME = "mcpbridge"


class AuthMethod(enum.Enum):
    """How a client proves who it is at the token endpoint (RFC 7591, 2)."""

    NONE = "none"
    BASIC = "client_secret_basic"
    POST = "client_secret_post"
    PRIVATE_KEY_JWT = "private_key_jwt"


class Origin(enum.Enum):
    """Where an identity comes from."""

    CONFIGURED = "configured"
    DOCUMENT = "document"
    REGISTERED = "registered"


@attrs.frozen
class Client:
    """
    A client identity.

    @ivar redirect_uri: what was registered for it; L{None} if any will do, or none is needed.
    @ivar expires_at: seconds since the epoch after which the secret is void; L{None} if never.
    """

    id: str
    secret: str | None = attrs.field(default=None, repr=False)
    method: AuthMethod = AuthMethod.NONE
    origin: Origin = Origin.CONFIGURED
    redirect_uri: str | None = None
    expires_at: float | None = None

    def expired(self, now: float) -> bool:
        """Whether it has to be registered anew."""
        return self.expires_at is not None and self.expires_at <= now


@attrs.frozen
class ConfiguredClient:
    """
    What the user has configured.

    @ivar method: L{None}: what the server supports.
    @ivar has_key: whether there is a private key to sign assertions with.
    @ivar document: the URL of a client ID metadata document.
    """

    id: str | None = None
    secret: str | None = attrs.field(default=None, repr=False)
    method: AuthMethod | None = None
    has_key: bool = False
    document: str | None = None
    redirect_uri: str | None = None


@attrs.frozen
class Register:
    """There is no identity yet: send this to the registration endpoint."""

    url: str
    body: bytes


def choose_client(
    server: ServerMetadata,
    configured: ConfiguredClient,
    known: Client | None,
    redirect_uri: str,
    scopes: Scopes | None,
    now: float,
) -> Client | Register:
    """
    The identity to use with this server, or how to get one.

    @param known: what was registered with this very issuer earlier.
    @param redirect_uri: where a login would come back to.
    @raise IdentityUnavailable: there is no way; the text says what to configure.
    """
    if configured.id is not None:
        method = configured.method or method_for(server, configured)
        return Client(configured.id, configured.secret, method, redirect_uri=configured.redirect_uri or redirect_uri)
    if server.client_id_documents and configured.document is not None:
        method = AuthMethod.PRIVATE_KEY_JWT if configured.has_key else AuthMethod.NONE
        return Client(configured.document, method=method, origin=Origin.DOCUMENT, redirect_uri=redirect_uri)
    if known is not None and not known.expired(now) and known.redirect_uri == redirect_uri:
        return known
    if server.registration_endpoint is not None:
        return Register(server.registration_endpoint, _registration(server, redirect_uri, scopes))
    # Named, so that the one that is registered is the one that will be used.
    port = f', "callbackPort": {urlsplit(redirect_uri).port}' if redirect_uri.startswith("http://") else ""
    raise IdentityUnavailable(
        f"the authorization server {shown_issuer(server.issuer)} lets no client register itself; register one, "
        f'with the redirect URI {redirect_uri}, and configure "oauth": {{"clientId": "..."{port}}}'
    )


def read_registration(status: int, body: bytes, redirect_uri: str) -> Client:
    """
    What came of a registration (RFC 7591, 3.2).

    @raise IdentityUnavailable: it was refused; the text is the server's.
    @raise TokenRefused: the answer makes no sense.
    """
    document = json_object(body)
    if document is None or status not in (200, 201):
        raise IdentityUnavailable(
            f"the authorization server refuses to register a client: {_refusal(status, document)}"
        )
    client_id, secret = text_member(document, "client_id"), text_member(document, "client_secret")
    if client_id is None or not printable_ascii(client_id) or not (secret is None or printable_ascii(secret)):
        raise TokenRefused("the authorization server registered a client without a usable client_id")
    method = stated_method(text_member(document, "token_endpoint_auth_method"), secret)
    expires_at = number_member(document, "client_secret_expires_at") or None
    return Client(client_id, secret, method, Origin.REGISTERED, redirect_uri, expires_at if secret else None)


def printable_ascii(text: str) -> bool:
    """VSCHAR of RFC 6749, appendix A: what client ids and secrets are made of."""
    return all(" " <= character <= "~" for character in text)


def _registration(server: ServerMetadata, redirect_uri: str, scopes: Scopes | None) -> bytes:
    grants = [AUTHORIZATION_CODE, REFRESH_TOKEN]
    if server.device_authorization_endpoint is not None:
        grants.append(DEVICE_CODE)
    document: dict[str, Any] = {
        "client_name": CLIENT_NAME,
        "application_type": "native" if redirect_uri.startswith("http://") else "web",
        "redirect_uris": [redirect_uri],
        "grant_types": grants,
        "response_types": ["code"],
        "token_endpoint_auth_method": _registered_method(server).value,
    }
    if scopes:
        document["scope"] = " ".join(scopes)
    return json.dumps(document).encode("ascii")


def _registered_method(server: ServerMetadata) -> AuthMethod:
    """A public client where that is possible: a secret in every user's hands is none."""
    supported = server.auth_methods
    for method in (AuthMethod.NONE, AuthMethod.BASIC, AuthMethod.POST):
        if supported is None or method.value in supported:
            return method
    return AuthMethod.NONE


def method_for(server: ServerMetadata, configured: ConfiguredClient) -> AuthMethod:
    """How a client that is configured proves who it is, if its user does not say."""
    if configured.has_key:
        return AuthMethod.PRIVATE_KEY_JWT
    if configured.secret is None:
        return AuthMethod.NONE
    # RFC 8414, 2: basic is what holds where nothing is said.
    supported = server.auth_methods
    if supported is not None and AuthMethod.BASIC.value not in supported and AuthMethod.POST.value in supported:
        return AuthMethod.POST
    return AuthMethod.BASIC


def stated_method(said: str | None, secret: str | None) -> AuthMethod:
    """
    How a client that was registered proves who it is.

    @param said: C{token_endpoint_auth_method} of its registration.
    """
    try:
        method = AuthMethod(said)
    except ValueError:
        method = AuthMethod.NONE if secret is None else AuthMethod.BASIC
    # A key of ours was not registered, and without a secret there is nothing to show.
    if secret is None or method is AuthMethod.PRIVATE_KEY_JWT:
        return AuthMethod.NONE
    return method


def _refusal(status: int, document: Mapping[str, Any] | None) -> str:
    error = "" if document is None else text_member(document, "error") or ""
    description = "" if document is None else text_member(document, "error_description") or ""
    said = ": ".join(part for part in (error, description) if part)
    return printable(said, 300) if said else f"HTTP {status}"
