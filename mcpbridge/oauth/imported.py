"""
Tokens that somebody else got: from a file, from mcp-remote, from Claude Code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from mcpbridge.core.oauth.clients import Client, Origin, printable_ascii, stated_method
from mcpbridge.core.oauth.documents import number_member, text_member
from mcpbridge.core.oauth.scopes import parse_scopes
from mcpbridge.core.oauth.tokens import TokenSet, usable
from mcpbridge.oauth.errors import LoginFailed


@attrs.frozen
class Imported:
    """
    What was brought along.

    @ivar client: in whose name it was got; without it nothing can be renewed.
    """

    tokens: TokenSet
    client: Client | None = None


def read_import(document: object, now: float) -> Imported:
    """
    @param document: the members of a token response (RFC 6749, 5.1), and of a client's registration (RFC 7591, 3.2.1):
        C{client_id}, C{client_secret}, C{token_endpoint_auth_method}. C{expires_at} in seconds since the epoch in place
        of C{expires_in} if that is what there is.
    @raise LoginFailed: there is no token in it.
    """
    if not isinstance(document, Mapping):
        raise LoginFailed("what was brought is no JSON object with an access_token")
    access, refresh = text_member(document, "access_token"), text_member(document, "refresh_token")
    for name, token in (("access_token", access), ("refresh_token", refresh)):
        if token is not None and not usable(token):
            raise LoginFailed(f"the {name} has characters that no token has")
    if access is None and refresh is None:
        raise LoginFailed("what was brought has neither an access_token nor a refresh_token")
    expires_at = number_member(document, "expires_at")
    lifetime = number_member(document, "expires_in")
    if expires_at is None and lifetime is not None:
        expires_at = now + lifetime
    if access is None:
        # To be renewed at once.
        access, expires_at = "-", now
    scope = text_member(document, "scope")
    scopes = None if scope is None else parse_scopes(scope) or None
    return Imported(TokenSet(access, now, expires_at, refresh, scopes), _client(document))


def _client(document: Mapping[str, Any]) -> Client | None:
    client_id, secret = text_member(document, "client_id"), text_member(document, "client_secret")
    if client_id is None:
        return None
    if not printable_ascii(client_id) or not printable_ascii(secret or ""):
        raise LoginFailed("the client_id or the client_secret has characters that none has")
    method = stated_method(text_member(document, "token_endpoint_auth_method"), secret)
    return Client(client_id, secret, method, Origin.REGISTERED)
