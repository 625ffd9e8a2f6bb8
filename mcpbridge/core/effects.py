"""
What whoever drives the core has to do. Plain values: the same inputs give the same effects.

A peer knows one side only: it emits messages there, and delivers events across. The bridge knows both: it tells
events to the clients' sessions, and addresses its upstream conversations by number.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeAlias

import attrs

from mcpbridge.core.errors import Loss
from mcpbridge.core.events import Event
from mcpbridge.core.jsonrpc import Message, RequestId

SessionId: TypeAlias = int
ConversationId: TypeAlias = int


@attrs.frozen
class Emit:
    """
    Of a peer: send this to the counterpart.

    @ivar within: the id of the counterpart's request that it belongs to, L{None} if to none.
    """

    message: Message
    within: RequestId | None = None


@attrs.frozen
class Abandon:
    """Of a peer: nobody waits any more for the answer to this request of ours."""

    request_id: RequestId


@attrs.frozen
class Forget:
    """Of a peer: this request of the counterpart will get no answer, and wants none."""

    request_id: RequestId


@attrs.frozen
class Deliver:
    """Of a peer: this crosses the bridge."""

    event: Event


@attrs.frozen
class Tell:
    """Of the bridge: say this to the client of a session."""

    session: SessionId
    event: Event


@attrs.frozen
class Send:
    """Of the bridge: send this to the server in an upstream conversation."""

    conversation: ConversationId
    message: Message
    within: RequestId | None = None


@attrs.frozen
class Drop:
    """Of the bridge: the answer to this request of ours is not wanted any more."""

    conversation: ConversationId
    request_id: RequestId


@attrs.frozen
class Connect:
    """Of the bridge: open a transport for a new upstream conversation of this number."""

    conversation: ConversationId


@attrs.frozen
class Hangup:
    """Of the bridge: end the transport of this conversation; nothing that it still says will be heard."""

    conversation: ConversationId


@attrs.frozen
class StartTimer:
    """Of either: call C{fired(key)} in so many seconds; a timer of that key that runs already starts anew."""

    key: Hashable
    seconds: float


@attrs.frozen
class StopTimer:
    """Of either: forget that timer; it may not even run."""

    key: Hashable


@attrs.frozen
class Save:
    """Of the bridge: what it knows of the server has changed and is worth keeping for the next client."""


@attrs.frozen
class Note:
    """Of the bridge: something the operator would want to read in the log."""

    text: str
    loss: Loss | None = None


PeerEffect: TypeAlias = Emit | Abandon | Forget | Deliver | StartTimer | StopTimer
BridgeEffect: TypeAlias = Tell | Send | Drop | Connect | Hangup | StartTimer | StopTimer | Save | Note
