"""
What a client asks of a server of another revision.
"""

from __future__ import annotations

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import opened
from mcpbridge.core.revisions import COMPLETION_CONTEXT, STATELESS


def request_for(version: str, method: str, params: Raw | None) -> Raw | None:
    """
    The params of a client's request.

    @param version: the revision that the server speaks.
    """
    if params is None:
        return None
    if method == "completion/complete" and version < COMPLETION_CONTEXT:
        return _without(params, "context")
    if method == "tools/call" and version >= STATELESS:
        # There the server decides what becomes a task, and says so in other words.
        return _without(params, "task")
    return params


def _without(params: Raw, name: str) -> Raw:
    if b'"%b"' % name.encode("ascii") not in bytes(params):
        return params
    found = opened(params)
    if found.pop(name, None) is None:
        return params
    return jsonrpc.assemble(found)
