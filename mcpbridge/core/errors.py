"""
What can go wrong, by whose fault, and how it is told to the far end.

Inside the core a fault that belongs to one exchange is an event, never an exception; exceptions are for whoever
misuses the core, and for bytes that are no message at all.
"""

from __future__ import annotations

import enum
import json

import attrs
from msgspec import Raw

#: JSON-RPC 2.0, section 5.1, and the MCP codes of the session era.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
RESOURCE_NOT_FOUND = -32002

#: The codes of the stateless era (2026-07-28, basic, Error Codes).
HEADER_MISMATCH = -32020
MISSING_CLIENT_CAPABILITY = -32021
UNSUPPORTED_PROTOCOL_VERSION = -32022


class McpbridgeError(Exception):
    """Root of everything that mcpbridge raises on purpose."""


class LocalProtocolError(McpbridgeError):
    """We broke the rules: a bug of ours."""


class RemoteProtocolError(McpbridgeError):
    """They broke the rules. It is logged and answered, and the conversation goes on."""


class ConfigurationError(McpbridgeError):
    """The user's configuration cannot be used; the text says where and what to write instead."""


class LimitExceeded(McpbridgeError):
    """A bound was reached; the text names it."""


class Reason(enum.Enum):
    """Why the bridge itself fails a request: the slug in C{data.mcpbridge.reason} of the error."""

    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    OUTCOME_UNKNOWN = "upstream_lost_outcome_unknown"
    SESSION_LOST = "session_lost"
    VERSION_REFUSED = "upstream_version_refused"
    MALFORMED = "upstream_malformed"
    AUTH_REQUIRED = "auth_required"
    AUTH_FAILED = "auth_failed"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    INPUT_UNAVAILABLE = "input_unavailable"
    INPUT_REJECTED = "input_rejected"
    OVERLOADED = "overloaded"
    RESTARTED = "bridge_restarted"
    STOPPING = "bridge_stopping"
    REMOVED = "upstream_removed"


class Fate(enum.Enum):
    """What may have become of a request that will get no answer on the stream it was sent on."""

    #: The counterpart cannot have seen it whole: connection refused, TLS, DNS, or not a byte of it written.
    NEVER_SENT = "never sent"
    #: The counterpart said that it did not act on it (429, 503, 401).
    REJECTED = "rejected"
    #: The counterpart does not know our session any more, so it never looked at it (404, 400 without session).
    SESSION_LOST = "session lost"
    #: It may have run.
    UNKNOWN = "unknown"
    #: It ran or it did not, but what came back is no answer and asking again would not help.
    FAILED = "failed"


@attrs.frozen
class Loss:
    """
    How a request, or a whole connection, came to an end without an answer.

    @ivar fate: what may have become of the request; decides whether it may be asked again.
    @ivar reason: the slug for the client, should it be told.
    @ivar text: what failed, for a human; free of secrets, one line, no upstream name (the bridge adds it).
    @ivar retry_after: seconds that the counterpart asked us to wait, already clamped; L{None} if it did not.
    """

    fate: Fate
    reason: Reason
    text: str
    retry_after: float | None = None


class UpstreamUnavailable(McpbridgeError):
    """An upstream cannot be reached now. C{loss} says why."""

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss.text)
        self.loss = loss


@attrs.frozen
class ErrorObject:
    """
    The C{error} member of a JSON-RPC response (JSON-RPC 2.0, section 5.1).

    @ivar data: one JSON value as it came, or L{None} if absent.
    """

    code: int
    message: str
    data: Raw | None = None


def bridge_error(reason: Reason, upstream: str, message: str, *, retryable: bool = False) -> ErrorObject:
    """
    An error that the bridge itself makes.

    @param message: for the human at the far end: what failed and what to do next.
    @param retryable: whether asking the same again later may help and cannot do harm.
    """
    data = {"mcpbridge": {"reason": reason.value, "upstream": upstream, "retryable": retryable}}
    return ErrorObject(INTERNAL_ERROR, message, Raw(json.dumps(data).encode("ascii")))
