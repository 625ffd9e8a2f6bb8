"""
Scopes: which to ask for, and what a challenge adds (RFC 6749, 3.3; MCP authorization, scope selection strategy).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

#: In the order in which they came, each once.
Scopes: TypeAlias = tuple[str, ...]

#: A server that supports more is not asked for all of them by name; the largest known has some 200.
MAX_SCOPES = 512

#: Asks for a refresh token (OpenID Connect Core 1.0, 11).
OFFLINE_ACCESS = "offline_access"

_scope = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,512}")


def parse_scopes(text: str) -> Scopes:
    """A list with spaces between. What is no scope is left out."""
    return valid_scopes(text.split())


def valid_scopes(candidates: Iterable[object]) -> Scopes:
    """Those that are scopes, each once."""
    scopes = [candidate for candidate in candidates if isinstance(candidate, str) and _scope.fullmatch(candidate)]
    return tuple(dict.fromkeys(scopes))[:MAX_SCOPES]


def initial_scopes(
    challenged: Scopes | None, resource_scopes: Scopes | None, server_scopes: Scopes, configured: Scopes | None = None
) -> Scopes | None:
    """
    What to ask for at first; L{None}: say nothing of scopes.

    @param challenged: of the C{WWW-Authenticate} challenge.
    @param resource_scopes: C{scopes_supported} of the protected resource.
    @param server_scopes: C{scopes_supported} of the authorization server.
    @param configured: what the user wants instead.
    """
    chosen = configured or challenged or resource_scopes
    if not chosen:
        # "offline_access" alone would take the place of the server's own choice.
        return None
    if configured is None and OFFLINE_ACCESS in server_scopes:
        return union(chosen, (OFFLINE_ACCESS,))
    return chosen


def union(first: Scopes, second: Scopes) -> Scopes:
    """Both, each once, the first ones first. Scopes that were granted are not to be lost by asking for more."""
    return tuple(dict.fromkeys((*first, *second)))
