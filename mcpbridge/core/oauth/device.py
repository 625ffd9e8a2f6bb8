"""
A login on another device (RFC 8628): the human types a short code there, and we ask now and then whether it is done.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from mcpbridge.core.oauth.documents import json_object, number_member, text_member
from mcpbridge.core.oauth.errors import TokenRefused, UntrustedURL
from mcpbridge.core.oauth.tokens import Denied, TokenSet, Unavailable, usable
from mcpbridge.core.oauth.urls import URLPolicy
from mcpbridge.core.printable import printable

#: Seconds between two questions if the server does not say (RFC 8628, 3.2).
INTERVAL = 5.0

#: Seconds. Some servers allow 30 minutes; nobody types for longer.
MAX_LIFETIME = 1800.0

#: Seconds that the server may have us wait between two questions.
MAX_INTERVAL = 60.0

#: Seconds to add when asked to slow down (RFC 8628, 3.5).
SLOWER = 5.0


@attrs.frozen
class DeviceLogin:
    """
    A login under way.

    @ivar url: where the human has to go.
    @ivar complete_url: the same with the code in it; L{None} if there is none.
    @ivar expires_at: seconds since the epoch.
    @ivar interval: seconds between two questions.
    """

    device_code: str = attrs.field(repr=False)
    user_code: str
    url: str
    complete_url: str | None
    expires_at: float
    interval: float


@attrs.frozen
class AskAgain:
    """
    The human has not finished.

    @ivar login: with what to go on; its interval may have grown.
    """

    login: DeviceLogin


Progress: TypeAlias = TokenSet | Denied | AskAgain


def read_device_response(status: int, body: bytes, now: float, policy: URLPolicy) -> DeviceLogin:
    """
    The beginning of a login on another device (RFC 8628, 3.2).

    @raise TokenRefused: it was refused or makes no sense.
    """
    document = json_object(body)
    if document is None or status != 200 or "error" in document:
        error = "" if document is None else text_member(document, "error") or ""
        raise TokenRefused(
            f"the authorization server offers no device login: {printable(error, 64) or f'HTTP {status}'}"
        )
    device_code, user_code = text_member(document, "device_code"), text_member(document, "user_code")
    # Google's first servers said verification_url.
    written = document.get("verification_uri", document.get("verification_url"))
    complete = document.get("verification_uri_complete")
    if device_code is None or not usable(device_code) or user_code is None:
        raise TokenRefused("the authorization server offers a device login without a code")
    try:
        url = policy.endpoint(written)
        complete_url = None if complete is None else policy.endpoint(complete)
    except UntrustedURL as error:
        raise TokenRefused(f"the place for the device login cannot be trusted: this URL {error}") from None
    lifetime = min(number_member(document, "expires_in") or 600.0, MAX_LIFETIME)
    interval = min(max(number_member(document, "interval") or INTERVAL, 1.0), MAX_INTERVAL)
    return DeviceLogin(device_code, printable(user_code, 64), url, complete_url, now + lifetime, interval)


def device_progress(login: DeviceLogin, answer: TokenSet | Denied | Unavailable, now: float) -> Progress:
    """
    What the token endpoint's answer means for the login (RFC 8628, 3.5).
    """
    if isinstance(answer, TokenSet):
        return answer
    if now >= login.expires_at:
        return Denied("expired_token", "nobody finished the login in time")
    if isinstance(answer, Unavailable):
        # RFC 8628, 3.5: exponential back-off on a connection timeout.
        return AskAgain(attrs.evolve(login, interval=min(login.interval * 2, MAX_INTERVAL)))
    if answer.error == "slow_down":
        return AskAgain(attrs.evolve(login, interval=min(login.interval + SLOWER, MAX_INTERVAL)))
    if answer.error == "authorization_pending":
        return AskAgain(login)
    return answer
