"""
What the user wrote: the C{mcpServers} object that every MCP client uses, and a few settings beside it.

Plain values out, every mistake with its place. Refuses to know what is done with a server, and Twisted.
"""

from mcpbridge.configuration.adhoc import ad_hoc
from mcpbridge.configuration.facts import (
    ChildUpstream,
    Configuration,
    HTTPUpstream,
    Settings,
    Sharing,
    Upstream,
    digest,
)
from mcpbridge.configuration.loading import load, unknown_server
from mcpbridge.configuration.report import InvalidConfiguration, near_match
from mcpbridge.configuration.urls import looks_like_url
from mcpbridge.core.errors import ConfigurationError

__all__ = [
    "ChildUpstream",
    "Configuration",
    "ConfigurationError",
    "HTTPUpstream",
    "InvalidConfiguration",
    "Settings",
    "Sharing",
    "Upstream",
    "ad_hoc",
    "digest",
    "load",
    "looks_like_url",
    "near_match",
    "unknown_server",
]
