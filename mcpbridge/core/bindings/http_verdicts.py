"""
What an HTTP request to the local endpoint can be: the words of L{mcpbridge.core.bindings.http_ladder}.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from mcpbridge.core.bindings.http_guards import Accepted, Refusal
from mcpbridge.core.jsonrpc import InvalidMessage, Message, Notification, Request


@attrs.frozen
class ModernClient:
    """
    What a client of the stateless era says of itself with each request. Equal ones are served as one client.

    @ivar info: C{clientInfo} as it came, L{None} if it did not.
    @ivar capabilities: a digest of C{clientCapabilities}, the same for the same capabilities however they are written.
    """

    info: bytes | None
    capabilities: bytes


@attrs.frozen
class ModernCall:
    """A request of the stateless era; all but C{Mcp-Param-*} has been checked."""

    request: Request
    client: ModernClient
    accepted: Accepted


@attrs.frozen
class ModernNotice:
    """
    A notification of the stateless era, which has hardly any over HTTP.

    @ivar client: L{None} if it does not say of whom it is.
    """

    notification: Notification
    client: ModernClient | None


@attrs.frozen
class Opening:
    """An C{initialize}: it begins a session."""

    request: Request
    accepted: Accepted
    session_id: str | None


@attrs.frozen
class SessionPost:
    """
    What a client says in its session.

    @ivar messages: one, or the elements of an array. An invalid one that stands alone was meant as an answer: whoever
        waits for that answer has to learn that there will be none.
    """

    session_id: str
    messages: tuple[Message | InvalidMessage, ...]
    is_batch: bool
    accepted: Accepted


@attrs.frozen
class SessionStream:
    """
    A client wants to be told what belongs to none of its requests.

    @ivar last_event_id: or to go on with a stream that broke after this event.
    """

    session_id: str
    last_event_id: str | None


@attrs.frozen
class SessionEnd:
    """A client has done with its session."""

    session_id: str


Verdict: TypeAlias = ModernCall | ModernNotice | Opening | SessionPost | SessionStream | SessionEnd | Refusal
