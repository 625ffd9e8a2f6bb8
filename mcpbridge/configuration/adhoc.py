"""
A URL in place of a server's name.

Whoever may speak to the daemon may have it call a URL, never run a command.
"""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit, urlunsplit

from mcpbridge.configuration.facts import HTTPUpstream, Settings
from mcpbridge.configuration.urls import checked_url
from mcpbridge.core.errors import ConfigurationError

#: Enough to keep apart what one user opens; not enough to find a secret from.
_FINGERPRINT = 8


def ad_hoc(url: str, settings: Settings | None = None) -> HTTPUpstream:
    """
    A server that no configuration names.

    Its name is the URL; of a query, which may be a secret, the name holds a fingerprint only.

    @param settings: the configuration's defaults, if there are any.
    @raise ConfigurationError: this is no URL of a server; one line, which does not show it.
    """
    try:
        checked = checked_url(url)
    except ValueError as error:
        raise ConfigurationError(f"this URL {error}") from None
    scheme, host, path, query, _ = urlsplit(checked)
    mark = hashlib.sha256(query.encode("ascii")).hexdigest()[:_FINGERPRINT] if query else ""
    return HTTPUpstream(urlunsplit((scheme, host, path, mark, "")), checked, settings=settings or Settings())
