"""
Blocks of content: what tools, prompts and models say (server/tools, Tool Result; server/prompts, Data Types).
"""

from __future__ import annotations

import hashlib

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import opened
from mcpbridge.core.revisions import AUDIO, RESOURCE_LINK

_TEXT = Raw(b'"text"')
_RESOURCE = Raw(b'"resource"')

#: Members of a block that mean the same in a block of any kind.
_OF_ANY_KIND = ("annotations", "_meta")


def is_strange(version: str, payload: bytes) -> bool:
    """Whether a payload may hold content of a kind that is newer than this revision. Costs a look at its bytes."""
    if version >= RESOURCE_LINK:
        return False
    return b'"resource_link"' in payload or (version < AUDIO and b'"audio"' in payload)


def block_for(version: str, block: Raw) -> Raw:
    """
    One block for a receiver of this revision.

    Audio becomes an embedded resource, which is the one other block that holds any kind of data; a link becomes the
    text that says as much.
    """
    if version >= RESOURCE_LINK:
        return block
    found = opened(block)
    kind = jsonrpc.decode_string(found.get("type"))
    if kind == "resource_link":
        return _link_as_text(block, found)
    if kind == "audio" and version < AUDIO:
        return _audio_as_resource(block, found)
    return block


def _audio_as_resource(block: Raw, found: dict[str, Raw]) -> Raw:
    data = found.get("data")
    if data is None or jsonrpc.decode_string(data) is None:
        return block
    # A resource needs a uri. This one is equal for equal data, and nobody can read it.
    uri = jsonrpc.value(f"mcpbridge:audio/{hashlib.sha256(memoryview(data)).hexdigest()}")
    resource = {"uri": uri, "mimeType": found.get("mimeType"), "blob": data}
    return _block(
        {"type": _RESOURCE, "resource": jsonrpc.assemble({k: v for k, v in resource.items() if v is not None})}, found
    )


def _link_as_text(block: Raw, found: dict[str, Raw]) -> Raw:
    uri = jsonrpc.decode_string(found.get("uri"))
    if uri is None:
        return block
    name = jsonrpc.decode_string(found.get("name"))
    description = jsonrpc.decode_string(found.get("description"))
    text = f"{name} <{uri}>" if name else f"<{uri}>"
    if description:
        text += f"\n{description}"
    return _block({"type": _TEXT, "text": jsonrpc.value(text)}, found)


def _block(members: dict[str, Raw], before: dict[str, Raw]) -> Raw:
    return jsonrpc.assemble({**members, **{name: before[name] for name in _OF_ANY_KIND if name in before}})
