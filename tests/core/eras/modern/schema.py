"""
Messages of mcpbridge against the official types of each revision.
"""

from __future__ import annotations

from typing import Any

from mcp_types import methods
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.jsonrpc import Message, Notification, Request

VERSION = "2026-07-28"


def read(raw: Raw | None) -> Any:
    """JSON as plain Python; an absent member as an empty object."""
    return {} if raw is None else jsonrpc.read(raw)


def check_result(method: str, result: Raw, version: str = VERSION) -> None:
    """Raise if this is no result of a server, of that method in that revision. Unknown methods have no type."""
    if (method, version) in methods.SERVER_RESULTS:
        methods.validate_server_result(method, version, read(result))


def check_answer(method: str, result: Raw, version: str = VERSION) -> None:
    """The same for a client's answer to what it was asked."""
    if (method, version) in methods.CLIENT_RESULTS:
        methods.validate_client_result(method, version, read(result))


def check_from_client(message: Message, version: str = VERSION) -> None:
    """Raise if a client may not say this in that revision."""
    if isinstance(message, Request) and (message.method, version) in methods.CLIENT_REQUESTS:
        methods.validate_client_request(message.method, version, read(message.params))
    elif isinstance(message, Notification) and (message.method, version) in methods.CLIENT_NOTIFICATIONS:
        methods.validate_client_notification(message.method, version, read(message.params))


def check_from_server(message: Message, version: str = VERSION) -> None:
    """Raise if a server may not say this in that revision."""
    if isinstance(message, Request):
        # A request that the revision does not have raises as well.
        methods.parse_server_request(message.method, version, read(message.params))
    elif isinstance(message, Notification) and (message.method, version) in methods.SERVER_NOTIFICATIONS:
        methods.parse_server_notification(message.method, version, read(message.params))
