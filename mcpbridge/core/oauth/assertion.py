"""
Proof by key instead of by secret: the assertion a client signs (RFC 7523, 3; RFC 7519).

What is signed is made here; the signature is made by whoever holds the key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mcpbridge.core.oauth.attempt import base64url
from mcpbridge.core.oauth.errors import IdentityUnavailable

#: Seconds. Long enough for clocks that differ, short enough to be of no use in a log.
LIFETIME = 120

#: Random bytes of its name: servers remember them so that none is used twice.
ID_BYTES = 16


def client_assertion_claims(client_id: str, audience: str, now: float, jti: str) -> Mapping[str, Any]:
    """
    @param audience: the issuer, or the token endpoint for servers that want that.
    @param jti: different each time.
    """
    issued = int(now)
    return {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": jti,
        "iat": issued,
        "nbf": issued,
        "exp": issued + LIFETIME,
    }


def signing_input(algorithm: str, claims: Mapping[str, Any], key_id: str | None = None) -> bytes:
    """What is to be signed (RFC 7515, 5.1)."""
    header = {"alg": algorithm, "typ": "JWT"}
    if key_id is not None:
        header["kid"] = key_id
    return f"{_encoded(header)}.{_encoded(claims)}".encode("ascii")


def signed(signing_input: bytes, signature: bytes) -> str:
    """The whole in its compact form (RFC 7515, 7.1)."""
    return f"{signing_input.decode('ascii')}.{base64url(signature)}"


def choose_algorithm(fitting: tuple[str, ...], supported: tuple[str, ...] | None, configured: str | None) -> str:
    """
    @param fitting: what the key can do, the best first.
    @param supported: what the server takes; L{None} if it does not say.
    @raise IdentityUnavailable: there is none.
    """
    if configured is not None:
        if configured not in fitting:
            raise IdentityUnavailable(
                f"the private key cannot sign with {configured}; it can with {', '.join(fitting)}"
            )
        return configured
    for algorithm in fitting:
        if supported is None or algorithm in supported:
            return algorithm
    raise IdentityUnavailable(
        f"the authorization server takes signatures by {', '.join(supported or ())}, "
        f"the private key signs with {', '.join(fitting)}"
    )


def _encoded(value: Mapping[str, Any]) -> str:
    return base64url(json.dumps(value, separators=(",", ":")).encode("utf-8"))
