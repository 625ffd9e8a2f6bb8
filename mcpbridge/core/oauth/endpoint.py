"""
Requests to a token endpoint and its neighbours: form in, form out (RFC 6749, 3.2; RFC 7009; RFC 8628, 3.1 and 3.4).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import TypeAlias
from urllib.parse import quote_plus, urlencode

import attrs

from mcpbridge.core.oauth.clients import AUTHORIZATION_CODE, DEVICE_CODE, REFRESH_TOKEN, AuthMethod, Client
from mcpbridge.core.oauth.scopes import Scopes

Params: TypeAlias = Mapping[str, str | None]

CLIENT_CREDENTIALS = "client_credentials"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - the name of a grant type
JWT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@attrs.frozen
class Form:
    """
    A POST of a form. All of it may be secret.

    @ivar headers: besides the content type and what is to be accepted.
    """

    url: str
    body: bytes = attrs.field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = attrs.field(default=(), repr=False)


def form(url: str, params: Params, client: Client, assertion: str | None = None) -> Form:
    """
    A request in the name of a client.

    @param params: those that are L{None} are left out.
    @param assertion: a signed one, where the client has a key (RFC 7523, 2.2).
    """
    fields = {name: value for name, value in params.items() if value is not None}
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if client.method is AuthMethod.BASIC and client.secret is not None:
        # RFC 6749, 2.3.1: both are form-encoded before they are joined.
        pair = f"{quote_plus(client.id)}:{quote_plus(client.secret)}"
        headers = ((b"Authorization", b"Basic " + b64encode(pair.encode("ascii"))),)
    else:
        fields["client_id"] = client.id
        if client.method is AuthMethod.POST and client.secret is not None:
            fields["client_secret"] = client.secret
        if client.method is AuthMethod.PRIVATE_KEY_JWT and assertion is not None:
            fields["client_assertion_type"] = JWT_ASSERTION
            fields["client_assertion"] = assertion
    return Form(url, urlencode(fields).encode("ascii"), headers)


def code_params(code: str, redirect_uri: str, verifier: str, resource: str | None) -> Params:
    """An authorization code for tokens (RFC 6749, 4.1.3; RFC 7636, 4.5)."""
    return {
        "grant_type": AUTHORIZATION_CODE,
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
        "resource": resource,
    }


def refresh_params(refresh_token: str, resource: str | None) -> Params:
    """
    A refresh token for tokens (RFC 6749, 6).

    No scope: what was granted is what is wanted again, and some servers narrow or refuse when it is spelled out.
    """
    return {"grant_type": REFRESH_TOKEN, "refresh_token": refresh_token, "resource": resource}


def client_credentials_params(resource: str | None, scopes: Scopes | None) -> Params:
    """The client's own credentials for a token (RFC 6749, 4.4.2)."""
    return {"grant_type": CLIENT_CREDENTIALS, "resource": resource, "scope": spelled(scopes)}


def device_params(resource: str | None, scopes: Scopes | None) -> Params:
    """The beginning of a login on another device (RFC 8628, 3.1)."""
    return {"scope": spelled(scopes), "resource": resource}


def device_code_params(device_code: str, resource: str | None) -> Params:
    """Asking whether that login is done (RFC 8628, 3.4)."""
    return {"grant_type": DEVICE_CODE, "device_code": device_code, "resource": resource}


def revocation_params(token: str, hint: str) -> Params:
    """
    Forget this token (RFC 7009, 2.1).

    @param hint: C{access_token} or C{refresh_token}.
    """
    return {"token": token, "token_type_hint": hint}


def exchange_params(
    subject_token: str,
    subject_type: str,
    requested_type: str,
    audience: str,
    resource: str | None,
    scopes: Scopes | None,
) -> Params:
    """One token for another (RFC 8693, 2.1)."""
    return {
        "grant_type": TOKEN_EXCHANGE,
        "requested_token_type": requested_type,
        "audience": audience,
        "resource": resource,
        "scope": spelled(scopes),
        "subject_token": subject_token,
        "subject_token_type": subject_type,
    }


def jwt_bearer_params(assertion: str, resource: str | None, scopes: Scopes | None) -> Params:
    """An assertion by somebody trusted for a token (RFC 7523, 2.1)."""
    return {"grant_type": JWT_BEARER, "assertion": assertion, "resource": resource, "scope": spelled(scopes)}


def spelled(scopes: Scopes | None) -> str | None:
    """Scopes as one text; L{None} if there are none."""
    return " ".join(scopes) if scopes else None
