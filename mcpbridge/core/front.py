"""
Which era does a client's message belong to? Each is looked at on its own: both eras may share one pipe.
"""

from __future__ import annotations

import hashlib
import re

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.eras import modern
from mcpbridge.core.eras.modern.envelope import CLIENT_CAPABILITIES, CLIENT_INFO, PROTOCOL_VERSION, Facts, meta_of
from mcpbridge.core.errors import INVALID_PARAMS, UNSUPPORTED_PROTOCOL_VERSION, ErrorObject
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request
from mcpbridge.core.negotiation import VERSIONS

#: Where this is not found, a message is of the session era. Its letters may be spelt with escapes.
_mark = re.compile(rb"protocolVersion|\\u00[4567]")


@attrs.frozen
class Modern:
    """
    A message of the stateless era.

    @ivar bucket: equal for clients that a server could not tell apart but for their names.
    """

    facts: Facts
    bucket: str


def classify(message: Message) -> Modern | Error | None:
    """
    Look at a client's message.

    @return: what it says of its client if it is of the stateless era; the error to answer it with; L{None} if it is of
        the session era.
    """
    if not isinstance(message, Request | Notification) or message.params is None:
        return None
    if isinstance(message, Request) and message.method == "initialize":
        return None
    if _mark.search(memoryview(message.params)) is None:
        return None
    try:
        meta = meta_of(message.params)
    except InvalidMessage:
        return None
    if PROTOCOL_VERSION not in meta:
        return None
    return _read(message, meta) if isinstance(message, Request) else _lenient(meta)


def _read(request: Request, meta: dict[str, Raw]) -> Modern | Error:
    version = jsonrpc.decode_string(meta[PROTOCOL_VERSION])
    if version not in modern.VERSIONS:
        data = jsonrpc.value({"supported": list(VERSIONS), "requested": jsonrpc.read(meta[PROTOCOL_VERSION])})
        text = f"Unsupported protocol version; supported: {', '.join(VERSIONS)}"
        return Error(request.id, ErrorObject(UNSUPPORTED_PROTOCOL_VERSION, text, data))
    capabilities = meta.get(CLIENT_CAPABILITIES)
    info = meta.get(CLIENT_INFO)
    if not _is_object(capabilities):
        return _invalid(request, f"Invalid params: _meta needs {CLIENT_CAPABILITIES}, an object")
    if info is not None and not _is_object(info):
        return _invalid(request, f"Invalid params: {CLIENT_INFO} in _meta must be an object")
    assert capabilities is not None
    return _modern(version, capabilities, info)


def _lenient(meta: dict[str, Raw]) -> Modern | None:
    """Of a notification, which nobody can be told that it is wrong."""
    version, capabilities = jsonrpc.decode_string(meta[PROTOCOL_VERSION]), meta.get(CLIENT_CAPABILITIES)
    if version not in modern.VERSIONS or capabilities is None or not _is_object(capabilities):
        return None
    return _modern(version, capabilities, meta.get(CLIENT_INFO))


def _modern(version: str, capabilities: Raw, info: Raw | None) -> Modern:
    # Copies of their own: slices would keep alive the whole message.
    facts = Facts(version, Raw(bytes(capabilities)), None if info is None else Raw(bytes(info)))
    bucket = hashlib.sha256(jsonrpc.canonical(jsonrpc.read(facts.capabilities))).hexdigest()
    return Modern(facts, f"{version} {bucket}")


def _is_object(raw: Raw | None) -> bool:
    return raw is not None and bytes(memoryview(raw)[:1]) == b"{"


def _invalid(request: Request, text: str) -> Error:
    return Error(request.id, ErrorObject(INVALID_PARAMS, text))
