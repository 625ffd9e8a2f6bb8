"""
What can go wrong here, for others to tell apart.
"""

from __future__ import annotations

from mcpbridge.core.errors import ConfigurationError, McpbridgeError


class StoreFailure(McpbridgeError):
    """The store has something that it cannot read or write; the text says what to do. Nothing was overwritten."""


class KeyUnusable(ConfigurationError):
    """The key that seals the store is not there, or is no key; the text says what to do."""


class LoginFailed(McpbridgeError):
    """A login did not come about; the text is for the human."""


class Unready(McpbridgeError):
    """There are credentials, but they cannot be used now."""
