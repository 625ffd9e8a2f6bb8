"""
A server's errors, in the words of the client's revision.

A code means something only together with the revision that it is from: the session era leaves -32000 to -32099 to
whoever wants them, the stateless era has reserved most of them. So where a code could be anybody's own, the data beside
it must have the shape that goes with the meaning.

Nothing here knows what the bridge may do about an error instead of telling it.
"""

from __future__ import annotations

from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import listed, opened
from mcpbridge.core.errors import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    MISSING_CLIENT_CAPABILITY,
    RESOURCE_NOT_FOUND,
    UNSUPPORTED_PROTOCOL_VERSION,
    ErrorObject,
)
from mcpbridge.core.revisions import ELICITATION_MODES, STATELESS

#: URLElicitationRequired (2025-11-25, client/elicitation).
URL_ELICITATION_REQUIRED: Final = -32042

#: Codes that no server of the stateless era uses, and the session era gives no meaning (basic, Error Codes).
_ANYBODYS: Final = range(-32019, -31999)

#: What some servers of the stateless era still call things, from before it was published, by the member of C{data}
#: that goes with it.
_FORMER: Final = {
    -32003: ("requiredCapabilities", MISSING_CLIENT_CAPABILITY),
    -32004: ("supported", UNSUPPORTED_PROTOCOL_VERSION),
}

#: Capabilities that are declared in parts.
_DETAILED: Final = frozenset(("elicitation", "extensions", "sampling"))

#: URLs in one text: a person has to open them.
_MAX_URLS: Final = 8


def error_for(version: str, method: str, uri: str | None, error: ErrorObject) -> ErrorObject:
    """
    The error that ends a request.

    @param version: the revision that the client speaks.
    @param method: of the request.
    @param uri: what the request wanted, if it is a C{resources/read}; else L{None}.
    @return: the very same if the client understands it.
    """
    if error.code in _FORMER:
        member, code = _FORMER[error.code]
        if member in opened(error.data):
            error = attrs.evolve(error, code=code)
    if version >= STATELESS:
        return _for_stateless(uri, error)
    return _for_session(version, method, uri, error)


def _for_stateless(uri: str | None, error: ErrorObject) -> ErrorObject:
    if error.code == RESOURCE_NOT_FOUND:
        return attrs.evolve(error, code=INVALID_PARAMS, data=_with_uri(error.data, uri))
    if error.code in _ANYBODYS:
        original = Raw(jsonrpc.encode_error(error))
        return ErrorObject(INTERNAL_ERROR, error.message, jsonrpc.assemble({"upstreamError": original}))
    if error.code == URL_ELICITATION_REQUIRED:
        return _visit(error)
    return error


def _with_uri(data: Raw | None, uri: str | None) -> Raw | None:
    """The data of an error about a resource, with the resource's uri if that is known."""
    found = opened(data)
    if "uri" in found or uri is None:
        return data
    if data is not None and not found and data != Raw(b"{}"):
        found = {"details": data}
    return jsonrpc.assemble({**found, "uri": jsonrpc.value(uri)})


def _for_session(version: str, method: str, uri: str | None, error: ErrorObject) -> ErrorObject:
    code, data = error.code, opened(error.data)
    if code == INVALID_PARAMS and method == "resources/read" and uri is not None and _is(data.get("uri"), uri):
        return attrs.evolve(error, code=RESOURCE_NOT_FOUND)
    if code == URL_ELICITATION_REQUIRED and version < ELICITATION_MODES and "elicitations" in data:
        return _visit(error)
    if code == MISSING_CLIENT_CAPABILITY and "requiredCapabilities" in data:
        needed = ", ".join(_names(data["requiredCapabilities"]))
        text = f"{error.message} (the client would need: {needed})" if needed else error.message
        return attrs.evolve(error, code=INTERNAL_ERROR, message=text)
    if code == HEADER_MISMATCH or (code == UNSUPPORTED_PROTOCOL_VERSION and "supported" in data):
        return attrs.evolve(error, code=INTERNAL_ERROR)
    return error


def _is(raw: Raw | None, text: str) -> bool:
    return raw is not None and jsonrpc.decode_string(raw) == text


def _visit(error: ErrorObject) -> ErrorObject:
    """An error that only a person can do something about, who has to read where."""
    elicitations = listed(opened(error.data).get("elicitations"))
    found = (jsonrpc.decode_string(opened(one).get("url")) for one in elicitations)
    urls = [url for url in found if url is not None][:_MAX_URLS]
    if not urls:
        return attrs.evolve(error, code=INTERNAL_ERROR)
    text = f"{error.message.rstrip('.')}. Open this in a browser first, then ask again: {' '.join(urls)}"
    return attrs.evolve(error, code=INTERNAL_ERROR, message=text)


def _names(required: Raw) -> list[str]:
    """Capabilities in the shape that a client declares them in, as words: C{elicitation.url}."""
    names = []
    for name, details in opened(required).items():
        inner = opened(details) if name in _DETAILED else {}
        names += [f"{name}.{one}" for one in inner] or [name]
    return names
