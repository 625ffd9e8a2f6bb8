"""
One HTTP request and whatever follows from it, as questions and steps: the seam between the bindings, which decide,
and the transports, which perform.

A transport makes a L{Dialogue}, performs the L{Step} that C{begin} returns, reports what happened, performs the step
that it gets for that, and so on until L{Finish}. What is to be told to the owner comes out as L{Delivery} values, in
order.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import attrs

from mcpbridge.core.bindings.http import HTTPRequest, ResponseHead
from mcpbridge.core.errors import Loss
from mcpbridge.core.jsonrpc import Batch, InvalidMessage, Message, RequestId


@attrs.frozen
class Noise:
    """Something to log, and no more than that."""

    text: str


#: A L{Loss} is that of the request which the dialogue carries.
Delivery: TypeAlias = Message | Batch | InvalidMessage | Loss | Noise


@attrs.frozen
class Send:
    """
    Make this request.

    @ivar after: seconds to wait before.
    @ivar deadline: seconds until the response head must be there; L{None} leaves that to whoever wants the answer.
    """

    request: HTTPRequest
    after: float = 0.0
    deadline: float | None = None


@attrs.frozen
class ReadBody:
    """
    Read the whole body.

    @ivar limit: in bytes; a larger one is a failure.
    @ivar deadline: in seconds.
    """

    limit: int
    deadline: float | None = None


@attrs.frozen
class ReadEvents:
    """
    Read the body as an event stream.

    @ivar limit: bytes of one event.
    @ivar idle: seconds of silence after which the stream is to be given up.
    """

    limit: int
    idle: float | None = None


@attrs.frozen
class Hold:
    """
    Do nothing until the owner has found out what this dialogue asks for; then comes C{proceed}. What was not read of
    the body is of no interest.
    """


@attrs.frozen
class Finish:
    """
    It is over. What was not read of the body is of no interest.

    @ivar deliveries: still to be told.
    """

    deliveries: tuple[Delivery, ...] = ()


Step: TypeAlias = Send | ReadBody | ReadEvents | Hold | Finish


class Dialogue(Protocol):
    """The rules for one request. Never asked anything after it returned L{Finish}."""

    @property
    def request_id(self) -> RequestId | None:
        """The id of the request that this carries; L{None} if none."""

    @property
    def settled(self) -> bool:
        """Whether the counterpart has done its part, though the stream may go on."""

    def begin(self) -> Step:
        """The first step."""

    def proceed(self) -> Step:
        """What was to be found out is, as far as it can be; after L{Hold}."""

    def head_received(self, head: ResponseHead, now: float) -> Step:
        """
        A response began.

        @param now: seconds on a clock that never goes back.
        """

    def body_received(self, body: bytes) -> Step:
        """The body is there; after L{ReadBody}."""

    def event_received(self, name: str, data: bytes) -> tuple[Delivery, ...]:
        """An event came; after L{ReadEvents}. The stream goes on."""

    def retry_received(self, milliseconds: int) -> None:
        """The stream set its reconnection time."""

    def ended(self, now: float, last_event_id: str) -> Step:
        """
        The event stream is over, in good order or cut.

        @param last_event_id: of the stream, empty if there was none.
        """

    def failed(self, loss: Loss, now: float) -> Step:
        """
        The request could not be made, no head came, or the body is no good.

        @param loss: what that means for the request just made.
        """


class BareDialogue:
    """For dialogues that look at a head and no further."""

    @property
    def request_id(self) -> RequestId | None:
        """There is none."""
        return None

    @property
    def settled(self) -> bool:
        """It never is."""
        return False

    def proceed(self) -> Step:
        """Never asked for."""
        return Finish()

    def body_received(self, body: bytes) -> Step:
        """Never asked for."""
        return Finish()

    def event_received(self, name: str, data: bytes) -> tuple[Delivery, ...]:
        """Never asked for."""
        return ()

    def retry_received(self, milliseconds: int) -> None:
        """Never asked for."""

    def ended(self, now: float, last_event_id: str) -> Step:
        """Never asked for."""
        return Finish()
