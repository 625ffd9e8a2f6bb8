"""
A login that waits for its human, as a fact that outlives the daemon.
"""

from __future__ import annotations

import attrs

from mcpbridge.core.oauth.attempt import Attempt
from mcpbridge.core.oauth.clients import Client
from mcpbridge.core.oauth.device import DeviceLogin
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
