"""
Which era does a client's message belong to? Each is looked at on its own: both eras may share one pipe.
"""

from __future__ import annotations

import functools
import hashlib
import re
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import is_object
from mcpbridge.core.eras import modern
from mcpbridge.core.eras.modern.envelope import (
    CLIENT_CAPABILITIES,
    CLIENT_INFO,
    PROTOCOL_VERSION,
    Facts,
    meta_of,
)
from mcpbridge.core.errors import INVALID_PARAMS, UNSUPPORTED_PROTOCOL_VERSION, ErrorObject
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request
from mcpbridge.core.negotiation import VERSIONS

#: Where neither is found, a message is of the session era: the name may be spelt with escapes of its letters. Two
#: searches for plain bytes take a fifth of the time of one for either.
_mark = re.compile(rb"io\.modelcontextprotocol/")
_letter = re.compile(rb"\\u00[2-7]")

#: Bytes of capabilities whose bucket is remembered. Real ones are below 1 KiB.
_MAX_REMEMBERED: Final = 4096


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
    if message.method in _ANY_ERA:
        return None
    text = memoryview(message.params)
    if _mark.search(text) is None and _letter.search(text) is None:
        return None
    try:
        meta = meta_of(message.params)
    except InvalidMessage:
        return None
    if isinstance(message, Notification):
        return _lenient(meta) if PROTOCOL_VERSION in meta else None
    if PROTOCOL_VERSION in meta:
        return _read(message, meta)
    if CLIENT_CAPABILITIES in meta:
        # Nobody in the session era says that; it is not quite what the stateless era says.
        return _invalid(message, f"Invalid params: _meta needs {PROTOCOL_VERSION} as well")
    return None


#: What belongs to the session era whatever it says of itself, and what belongs to whoever has the request it names.
_ANY_ERA: Final = frozenset(("initialize", "notifications/cancelled"))


def _read(request: Request, meta: dict[str, Raw]) -> Modern | Error:
    version = jsonrpc.decode_string(meta[PROTOCOL_VERSION])
    if version is None:
        return _invalid(request, f"Invalid params: {PROTOCOL_VERSION} in _meta must be a string")
    if version not in modern.VERSIONS:
        data = jsonrpc.value({"supported": list(VERSIONS), "requested": version[:64]})
        text = f"Unsupported protocol version; supported: {', '.join(VERSIONS)}"
        return Error(request.id, ErrorObject(UNSUPPORTED_PROTOCOL_VERSION, text, data))
    capabilities = meta.get(CLIENT_CAPABILITIES)
    info = meta.get(CLIENT_INFO)
    if capabilities is None or not is_object(capabilities):
        return _invalid(request, f"Invalid params: _meta needs {CLIENT_CAPABILITIES}, an object")
    if info is not None and not is_object(info):
        return _invalid(request, f"Invalid params: {CLIENT_INFO} in _meta must be an object")
    try:
        return _modern(version, capabilities, info)
    except InvalidMessage as invalid:
        return _invalid(request, str(invalid))


def _lenient(meta: dict[str, Raw]) -> Modern | None:
    """Of a notification, which nobody can be told that it is wrong."""
    version, capabilities = jsonrpc.decode_string(meta[PROTOCOL_VERSION]), meta.get(CLIENT_CAPABILITIES)
    if version not in modern.VERSIONS or capabilities is None or not is_object(capabilities):
        return None
    info = meta.get(CLIENT_INFO)
    try:
        return _modern(version, capabilities, info if info is not None and is_object(info) else None)
    except InvalidMessage:
        return None


def _modern(version: str, capabilities: Raw, info: Raw | None) -> Modern:
    # Copies of their own: slices would keep alive the whole message.
    said = bytes(capabilities)
    facts = Facts(version, Raw(said), None if info is None else Raw(bytes(info)))
    bucket = _bucket(said) if len(said) <= _MAX_REMEMBERED else _bucket.__wrapped__(said)
    return Modern(facts, f"{version} {bucket}")


@functools.lru_cache(maxsize=64)
def _bucket(capabilities: bytes) -> str:
    return hashlib.sha256(jsonrpc.canonical(jsonrpc.read(capabilities))).hexdigest()


def _invalid(request: Request, text: str) -> Error:
    return Error(request.id, ErrorObject(INVALID_PARAMS, text))
