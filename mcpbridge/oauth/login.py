"""
A login that waits for its human, as a fact that outlives the daemon.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import attrs

from mcpbridge.configuration.authorization import OAuth
from mcpbridge.core.oauth.attempt import Attempt
from mcpbridge.core.oauth.clients import Client, Origin
from mcpbridge.core.oauth.device import DeviceLogin
from mcpbridge.core.oauth.discovery import Discovery
from mcpbridge.core.oauth.metadata import ServerMetadata
from mcpbridge.core.oauth.scopes import Scopes


@attrs.frozen
class DeviceAttempt:
    """A login on another device, and what will be kept of it."""

    server: ServerMetadata
    client: Client
    resource: str | None
    scopes: Scopes | None
    login: DeviceLogin


@attrs.frozen
class PendingLogin:
    """
    One login, to be finished one way or another.

    @ivar attempt: by way of a browser and a redirect; L{None} where the server has no such way.
    @ivar device: by way of a code on another device; L{None} unless it was asked for and offered.
    """

    attempt: Attempt | None = None
    device: DeviceAttempt | None = None

    def expired(self, now: float) -> bool:
        """Whether there is no way left to finish it."""
        return (self.attempt is None or self.attempt.expired(now)) and (
            self.device is None or now >= self.device.login.expires_at
        )


def serves(found: Attempt | DeviceAttempt, oauth: OAuth, discovery: Discovery, scopes: Scopes | None) -> bool:
    """
    Whether a login that waits is what a new one would be. It outlives the configuration that it was begun under.

    @param oauth: what is configured now.
    """
    return (
        found.server == discovery.server
        and found.resource == (discovery.resource if oauth.resource else None)
        and set(scopes or ()) <= set(found.scopes or ())
        and (scopes is None) == (found.scopes is None)
        and _is_ours(found.client, oauth, discovery.server)
        and (isinstance(found, DeviceAttempt) or _leads_here(found.redirect_uri, oauth))
    )


def _is_ours(client: Client, oauth: OAuth, server: ServerMetadata) -> bool:
    known = oauth.client_id or (oauth.client_document if server.client_id_documents else None)
    return client.origin is Origin.REGISTERED if known is None else client.id == known


def _leads_here(redirect_uri: str, oauth: OAuth) -> bool:
    if oauth.redirect_url is not None:
        return redirect_uri == oauth.redirect_url
    place = urlsplit(redirect_uri)
    return place.hostname == "127.0.0.1" and oauth.callback_port in (None, place.port)
