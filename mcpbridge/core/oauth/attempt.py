"""
One attempt of a human to log in: the URL to open, and what comes back (RFC 6749, 4.1; RFC 7636; RFC 8707; RFC 9207).

An attempt is a plain fact, so it can be stored, and finished by another process than the one that began it.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs

from mcpbridge.core.oauth.clients import Client
from mcpbridge.core.oauth.errors import LoginRefused
from mcpbridge.core.oauth.metadata import ServerMetadata, required
from mcpbridge.core.oauth.scopes import OFFLINE_ACCESS, Scopes
from mcpbridge.core.oauth.tokens import usable
from mcpbridge.core.printable import printable

#: Seconds that an attempt is good for: who reads the URL in a chat window needs some minutes, and a stolen one should
#: not be good for long. Authorization servers keep their own side 10 minutes as well.
LIFETIME = 600.0

#: Random bytes in a state and in a verifier: 128 bit at least for the one, 256 for the other (RFC 7636, 7.1).
STATE_BYTES = 24
VERIFIER_BYTES = 32

#: Characters of a redirect URL that is pasted; codes have up to 2 KiB.
MAX_RESPONSE = 16 * 1024


@attrs.frozen
class Attempt:
    """
    What has to be known when the human comes back.

    @ivar resource: L{None} if the user has switched that parameter off.
    @ivar scopes: what is asked for; L{None} for the server's own choice.
    @ivar created_at: seconds since the epoch.
    """

    server: ServerMetadata
    client: Client
    resource: str | None
    scopes: Scopes | None
    redirect_uri: str
    state: str = attrs.field(repr=False)
    verifier: str = attrs.field(repr=False)
    created_at: float

    def expired(self, now: float) -> bool:
        """Whether it is too late to finish it."""
        return not 0 <= now - self.created_at < LIFETIME

    @property
    def url(self) -> str:
        """
        What the human has to open.

        @raise MetadataRefused: the server has no authorization endpoint.
        """
        endpoint = required(self.server.authorization_endpoint, "authorization_endpoint", self.server.issuer)
        parts = urlsplit(endpoint)
        params = {
            "response_type": "code",
            "client_id": self.client.id,
            "redirect_uri": self.redirect_uri,
            "state": self.state,
            "code_challenge": code_challenge(self.verifier),
            "code_challenge_method": "S256",
        }
        if self.scopes:
            params["scope"] = " ".join(self.scopes)
        if self.resource is not None:
            params["resource"] = self.resource
        if OFFLINE_ACCESS in (self.scopes or ()):
            # OpenID Connect Core 1.0, 11: without it the scope is ignored.
            params["prompt"] = "consent"
        # The endpoint's own query stays, but for what is ours to say (RFC 6749, 3.1).
        kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in params]
        return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode([*kept, *params.items()]), ""))


def code_challenge(verifier: str) -> str:
    """RFC 7636, 4.2, S256."""
    return base64url(sha256(verifier.encode("ascii")).digest())


def base64url(data: bytes) -> str:
    """Base64 for URLs, without padding (RFC 7515, 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def state_of(response: str) -> str | None:
    """The C{state} in an authorization response, to find its attempt by; L{None} if there is none."""
    try:
        return _params(response.strip()).get("state")
    except LoginRefused:
        return None


def read_response(attempt: Attempt, response: str, now: float) -> str:
    """
    Check what came back from the authorization server, by redirect or by hand.

    @param response: the whole redirect URL, its query, C{code#state}, or the bare code where it was shown to the human.
    @return: the authorization code.
    @raise LoginRefused: it is not acceptable.
    """
    text = response.strip()
    if attempt.expired(now):
        raise LoginRefused("this login is too old; start it again", final=True)
    if not text or len(text) > MAX_RESPONSE:
        raise LoginRefused("this is no redirect URL and no code", final=False)
    params = _params(text)
    if not params and "://" not in text:
        return _bare_code(attempt, text)
    # First of all: is it ours? (RFC 6749, 10.12). Then: is it from whom we asked? Only then is anything in it used.
    if not hmac.compare_digest(params.get("state", "").encode(), attempt.state.encode()):
        raise LoginRefused("this answer belongs to another login (its state differs); use the newest URL", final=False)
    _check_issuer(attempt.server, params.get("iss"))
    if "error" in params:
        said = ": ".join(filter(None, (params["error"], params.get("error_description"))))
        raise LoginRefused(f"the authorization server says: {printable(said, 300)}", final=True)
    return _checked_code(params.get("code", ""))


def _bare_code(attempt: Attempt, text: str) -> str:
    code, separator, state = text.partition("#")
    if separator and not hmac.compare_digest(state.encode(), attempt.state.encode()):
        raise LoginRefused("this answer belongs to another login (its state differs); use the newest URL", final=False)
    # Nothing says who gave it; PKCE makes sure that it is good for nothing but this attempt. Where the issuer must be
    # named that is not enough (RFC 9207, 2.4).
    checked = _checked_code(code)
    _check_issuer(attempt.server, None, final=False)
    return checked


def _check_issuer(server: ServerMetadata, said: str | None, *, final: bool = True) -> None:
    if said is None and server.names_itself:
        text = "this answer does not name the authorization server, which it must; paste the whole redirect URL"
        raise LoginRefused(text, final=final)
    # RFC 9207, 2.4 and RFC 3986, 6.2.1: as strings, nothing normalised.
    if said is not None and said != server.issuer:
        raise LoginRefused(
            "this answer comes from another authorization server than the one asked; it is not used", final=True
        )


def _checked_code(code: str) -> str:
    if not usable(code):
        raise LoginRefused("there is no authorization code in this", final=False)
    return code


def _params(text: str) -> dict[str, str]:
    """
    The parameters of a redirect URL or of its query.

    @raise LoginRefused: one comes twice, which it must not (RFC 6749, 3.1).
    """
    query = text
    if "://" in text:
        try:
            query = urlsplit(text).query
        except ValueError:
            return {}
    elif "=" not in text:
        return {}
    try:
        pairs = parse_qsl(query.removeprefix("?"), keep_blank_values=True, max_num_fields=64)
    except ValueError:
        return {}
    names = [name for name, _ in pairs]
    known = {"code", "state", "iss", "error", "error_description"}
    if any(names.count(name) > 1 for name in known):
        raise LoginRefused("this answer says something twice; it is not used", final=False)
    return {name: value for name, value in pairs if name in known}
