"""
How an answer comes over Streamable HTTP, in whichever era: as JSON, as an event stream, or inside an error status.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from mcpbridge.core.bindings.dialogue import Finish, Noise, ReadBody, ReadEvents, Step
from mcpbridge.core.bindings.http import HTTPLimits, MediaType, ResponseHead, excerpt, masked, printable
from mcpbridge.core.errors import INVALID_REQUEST, PARSE_ERROR, Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Error, InvalidMessage, RequestId, decode

#: How the official SDKs of the session era refuse a request without a session, or of a revision that they do not know.
_SESSIONLESS: Final = (-32000, INVALID_REQUEST)

#: What is lost when a response ends too early.
CUT = "the answer was cut off before it was complete"


def unanswerable(head: ResponseHead) -> Finish | None:
    """
    Whether this success can hold no answer at all, though a request wants one.

    @return: the end of the request then.
    """
    if head.status not in (200, 201, 203) or head.length == 0:
        return malformed(f"the server answered HTTP {head.status} without a body to a request, which wants one")
    return None


def reading(head: ResponseHead, limits: HTTPLimits, idle: float | None) -> Step:
    """
    How to read the answer that begins with this head.

    @param idle: seconds of silence after which an event stream is given up; L{None} for never.
    """
    if head.media_type == MediaType.JSON:
        limit = limits.max_message
        if head.length is not None and head.length > limit:
            return malformed(f"the answer of {head.length} bytes is too large: at most {limit} are taken")
        return ReadBody(limit)
    if head.media_type == MediaType.EVENTS:
        return ReadEvents(limits.max_message, idle)
    what = printable(head.media_type)[:80] or "something of no type"
    return malformed(f"the server answered with {what}, which is neither JSON nor an event stream; check the URL")


def malformed(text: str) -> Finish:
    """The end of a request that was answered with something else than an answer."""
    return Finish((Loss(Fate.FAILED, Reason.MALFORMED, text),))


def garbage(invalid: InvalidMessage) -> InvalidMessage | Noise:
    """What to tell of bytes that are no message: nothing but a word in the log, unless somebody waits for it."""
    if invalid.code == PARSE_ERROR and invalid.request_id is None and invalid.response_id is None:
        return Noise(f"what the server sent is no message and was skipped: {excerpt(str(invalid))}")
    return invalid


def error_in(body: bytes, request_id: RequestId) -> Error | None:
    """The JSON-RPC error in the body of an error status, if it may answer this request."""
    try:
        message = decode(body)
    except InvalidMessage:
        return None
    return message if isinstance(message, Error) and message.id in (request_id, None) else None


def is_of_sessions(body: bytes, request_id: RequestId) -> bool:
    """
    Whether an error says that the server misses a session: those of that era answer without the id of the request,
    with a code that is not of the stateless one.
    """
    try:
        message = decode(body)
    except InvalidMessage:
        return False
    return isinstance(message, Error) and message.id != request_id and message.error.code in _SESSIONLESS


def answering(error: Error, request_id: RequestId, secrets: Iterable[str]) -> Error:
    """
    That error as the answer to this request.

    @param secrets: are replaced in its message, which may be logged.
    """
    said = attrs.evolve(error.error, message=masked(error.error.message, secrets))
    return attrs.evolve(error, id=request_id, error=said)


def plain_text(body: bytes) -> str:
    """The body of an error status for a human; nothing if it is a page for a browser."""
    text = body.decode("utf-8", "replace").strip()
    return "" if text.startswith("<") else text
