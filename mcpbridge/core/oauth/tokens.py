"""
What a token endpoint gives: tokens, or the reason why not (RFC 6749, 5).
"""

from __future__ import annotations

import attrs

from mcpbridge.core.oauth.documents import json_object, number_member, text_member
from mcpbridge.core.oauth.errors import TokenRefused
from mcpbridge.core.oauth.scopes import Scopes, parse_scopes
from mcpbridge.core.printable import printable

#: Characters. Servers bound a whole request head at 8 to 64 KiB.
MAX_TOKEN = 16 * 1024

#: Seconds before its end from which a token counts as expired: the time to send a request, and some skew of clocks.
SKEW = 60.0

#: Of short lives that much would be the whole of it; then a quarter is enough.
_SKEW_SHARE = 0.25


@attrs.frozen
class TokenSet:
    """
    What we may show to the resource.

    @ivar obtained_at: seconds since the epoch.
    @ivar expires_at: the same; L{None} if the server does not say.
    @ivar scopes: what was granted; L{None} if the server does not say, which means what was asked for.
    """

    access_token: str = attrs.field(repr=False)
    obtained_at: float
    expires_at: float | None = None
    refresh_token: str | None = attrs.field(default=None, repr=False)
    scopes: Scopes | None = None

    def stale(self, now: float) -> bool:
        """Whether it should not be shown any more."""
        return self.expires_at is not None and now >= self.expires_at - self.skew

    def refresh_at(self, spread: float) -> float | None:
        """
        When to get new ones without being asked, between 70 and 90 % of its life; L{None}: never.

        @param spread: from 0 to 1, a different one each time: servers do not love it if everybody comes at once.
        """
        if self.expires_at is None or self.refresh_token is None:
            return None
        life = max(self.expires_at - self.obtained_at, 0.0)
        return min(self.obtained_at + life * (0.7 + 0.2 * spread), self.expires_at - self.skew)

    @property
    def skew(self) -> float:
        """Seconds before its end from which on it is stale."""
        life = max((self.expires_at or 0.0) - self.obtained_at, 0.0)
        return min(SKEW, life * _SKEW_SHARE)


@attrs.frozen
class Denied:
    """
    The server says no (RFC 6749, 5.2).

    @ivar error: its code; C{http_403} and the like if it gives none.
    """

    error: str
    description: str = ""

    @property
    def text(self) -> str:
        """For a human."""
        return f"{self.error}: {self.description}" if self.description else self.error

    @property
    def over(self) -> bool:
        """Whether the grant itself is void. Nothing else is a reason to forget a token."""
        return self.error == "invalid_grant"


@attrs.frozen
class Unavailable:
    """
    There was no answer, or one that says nothing about the grant: asking again may help.

    @ivar retry_after: seconds the server asked for.
    """

    text: str
    retry_after: float | None = None


def read_token_response(
    status: int, body: bytes, now: float, *, previous: TokenSet | None = None, retry_after: float | None = None
) -> TokenSet | Denied | Unavailable:
    """
    What a token endpoint's answer means.

    @param previous: what is being refreshed: its refresh token stays if no new one comes (RFC 6749, 6), and so do its
        scopes.
    @raise TokenRefused: it says yes but gives no token that can be used.
    """
    document = json_object(body)
    error = None if document is None else text_member(document, "error")
    if document is not None and error is not None and (status < 500 or status == 503):
        description = text_member(document, "error_description") or ""
        if error in ("temporarily_unavailable", "server_error"):
            return Unavailable(f"the authorization server says {printable(error, 64)}", retry_after)
        return Denied(printable(error, 64), printable(description, 300))
    if status in (408, 425, 429) or status >= 500:
        return Unavailable(f"the authorization server answered HTTP {status}", retry_after)
    if status not in (200, 201):
        return Denied(f"http_{status}", "the authorization server gives no reason")
    if document is None:
        raise TokenRefused("the authorization server answered with something that is no JSON object")
    access_token = text_member(document, "access_token")
    refresh_token = text_member(document, "refresh_token")
    token_type = document.get("token_type", "bearer")
    if access_token is None or not usable(access_token) or not (refresh_token is None or usable(refresh_token)):
        raise TokenRefused(
            "the authorization server gave a token that cannot be one: empty, too long, or with odd characters"
        )
    if not isinstance(token_type, str) or token_type.lower() != "bearer":
        raise TokenRefused(
            f"the authorization server gave a token of type {printable(str(token_type), 64)}, not Bearer"
        )
    lifetime = number_member(document, "expires_in")
    scope = text_member(document, "scope")
    return TokenSet(
        access_token,
        now,
        None if lifetime is None else now + lifetime,
        refresh_token or (previous.refresh_token if previous is not None else None),
        parse_scopes(scope) or None if scope is not None else (previous.scopes if previous is not None else None),
    )


def usable(token: str) -> bool:
    """Visible ASCII and not too long: fit for a header, and no header of its own (CR, LF)."""
    return 0 < len(token) <= MAX_TOKEN and all("!" <= character <= "~" for character in token)
