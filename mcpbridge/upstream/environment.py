"""
What a child inherits of our environment: what programs need to find their way, and nothing that is anybody's secret.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

#: Names that are passed on. The daemon's environment is that of whoever happened to start it, with the keys of other
#: services in it, so this is a list of what may pass and not of what may not.
INHERITED = frozenset(
    (
        # Who and where the user is.
        *("HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "TZ", "TMPDIR", "TERM"),
        # XDG Base Directory Specification.
        *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"),
        *("XDG_CONFIG_DIRS", "XDG_DATA_DIRS"),
        # Which certificates this site trusts: OpenSSL, Node, and what Python's and curl's users read.
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        # How this site reaches the world; both spellings are read.
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    )
)

#: Carries which connection of which daemon a process belongs to, so that it can be found wherever it goes.
MARKER_NAME = "MCPBRIDGE_INSTANCE"


def child_environment(own: Mapping[str, str], configured: Mapping[str, str], marker: str) -> dict[str, str]:
    """
    The whole environment of a child.

    @param own: the daemon's.
    @param configured: what the user set for this server; it wins over what is inherited.
    @param marker: see L{MARKER_NAME}; it wins over everything.
    """
    # The marker comes last: programs that write a title over their arguments run into what stands first.
    return {"PATH": os.defpath, **dict(_inherited(own)), **configured} | {MARKER_NAME: marker}


def _inherited(own: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in own.items():
        # A value that begins so is a function that bash exported; what it runs is not for a child to import.
        if (name in INHERITED or name.startswith("LC_")) and not value.startswith("()"):
            yield name, value
