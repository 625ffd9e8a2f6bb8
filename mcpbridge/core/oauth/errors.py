"""
Why an authorization does not come about.
"""

from __future__ import annotations

from mcpbridge.core.errors import McpbridgeError, RemoteProtocolError


class UntrustedURL(RemoteProtocolError):
    """A server named a URL that is not to be used. The text is a clause that completes "this URL"."""


class MetadataRefused(RemoteProtocolError):
    """A metadata document is not to be believed. The text is a sentence without a full stop."""


class TokenRefused(RemoteProtocolError):
    """A token endpoint said something that is neither a token nor an error."""


class LoginRefused(McpbridgeError):
    """
    An authorization response is not acceptable, or says that the login failed.

    @ivar final: whether the login is over; if not, another response to it may still be the right one.
    """

    def __init__(self, text: str, *, final: bool) -> None:
        super().__init__(text)
        self.final = final


class DiscoveryFailed(McpbridgeError):
    """
    It cannot be found out how to log in.

    @ivar temporary: whether it may work later, without anybody changing anything.
    """

    def __init__(self, text: str, *, temporary: bool = False) -> None:
        super().__init__(text)
        self.temporary = temporary


class IdentityUnavailable(McpbridgeError):
    """There is no client identity for this authorization server; the text says what to configure."""
