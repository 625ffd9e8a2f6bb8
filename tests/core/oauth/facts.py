"""
Facts that several tests of authorization begin with.
"""

from __future__ import annotations

import json
from typing import Any

from mcpbridge.core.oauth.attempt import Attempt
from mcpbridge.core.oauth.clients import AuthMethod, Client, Origin
from mcpbridge.core.oauth.metadata import ServerMetadata

UPSTREAM = "https://mcp.example.com/tenant/mcp"
ISSUER = "https://auth.example.com"
REDIRECT = "http://127.0.0.1:33418/callback"
NOW = 1_800_000_000.0

SERVER = ServerMetadata(
    issuer=ISSUER,
    authorization_endpoint=f"{ISSUER}/authorize",
    token_endpoint=f"{ISSUER}/token",
    registration_endpoint=f"{ISSUER}/register",
    code_challenge_methods=("S256",),
)
CLIENT = Client("client-1", method=AuthMethod.NONE, origin=Origin.REGISTERED, redirect_uri=REDIRECT)
ATTEMPT = Attempt(
    server=SERVER,
    client=CLIENT,
    resource="https://mcp.example.com/tenant",
    scopes=("read", "write"),
    redirect_uri=REDIRECT,
    state="the-state",
    verifier="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    created_at=NOW,
)


def document(**members: Any) -> bytes:
    """A JSON object."""
    return json.dumps(members).encode()


def server_document(issuer: str = ISSUER, /, **members: Any) -> bytes:
    """Authorization server metadata that may be believed."""
    said: dict[str, Any] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "registration_endpoint": f"{issuer}/register",
        "code_challenge_methods_supported": ["S256"],
        **members,
    }
    return json.dumps(said).encode()
