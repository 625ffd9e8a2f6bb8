"""
What may be claimed to one side, given what the other can do. Never invents a capability.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.jsonrpc import InvalidMessage

_EMPTY = Raw(b"{}")


def with_list_changed(opening: Raw) -> Raw:
    """
    A server's opening answer for a client that is served from memory: lists may turn out to be different, and the
    client is told, so C{listChanged} is true for each list that the server has.
    """
    found = jsonrpc.members(opening)
    capabilities = declared(found)
    for subject in ("tools", "prompts", "resources"):
        if subject in capabilities:
            offered = _object(capabilities[subject])
            offered["listChanged"] = Raw(b"true")
            capabilities[subject] = jsonrpc.assemble(offered)
    found["capabilities"] = jsonrpc.assemble(capabilities)
    return jsonrpc.assemble(found)


def declared(opening: Mapping[str, Raw]) -> dict[str, Raw]:
    """The capabilities in the params or the result of an C{initialize}; empty if there are none."""
    return _object(opening.get("capabilities", _EMPTY))


def announces_changes(capabilities: Mapping[str, Raw], subject: str) -> bool:
    """Whether a server says that it tells when this list changes."""
    return _object(capabilities.get(subject, _EMPTY)).get("listChanged") == Raw(b"true")


def profile(version: str, params: Mapping[str, Raw]) -> str:
    """
    What of a client decides which server session it may take over: the revision and the capabilities that the server
    was told. Clients of equal profile look the same to a server, but for their name.
    """
    capabilities = jsonrpc.read(params.get("capabilities", _EMPTY))
    canonical = jsonrpc.canonical({"version": version, "capabilities": capabilities})
    return hashlib.sha256(canonical).hexdigest()[:32]


def _object(raw: Raw) -> dict[str, Raw]:
    try:
        return jsonrpc.members(raw)
    except InvalidMessage:
        return {}
