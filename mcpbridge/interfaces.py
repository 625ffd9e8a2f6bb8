"""
The doors between the outer rooms.

An interface stands where there are two providers, or one provider and one verified fake.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import Interface

from mcpbridge.core.errors import Loss
from mcpbridge.core.jsonrpc import InvalidMessage, Message, RequestId


class IMessageLink(Interface):
    """What a transport tells its owner. Never called from inside a call of the owner to the transport's C{send}."""

    def received(message: Message, within: RequestId | None) -> None:
        """
        The counterpart said something.

        @param within: the id of our request on whose response stream it came; L{None} for a shared channel.
        """

    def received_batch(messages: Sequence[Message | InvalidMessage]) -> None:
        """
        The counterpart sent a JSON array of messages (2025-03-26 only; the owner decides whether that is legal).
        """

    def received_garbage(invalid: InvalidMessage) -> None:
        """
        The counterpart sent bytes that are no message. The conversation goes on.

        Noise that a child prints on its stdout is not even that: a transport logs and skips it by itself.
        """

    def request_lost(request_id: RequestId, loss: Loss) -> None:
        """A request that we sent will get no answer on this connection. At most once for each request."""

    def disconnected(loss: Loss) -> None:
        """
        The connection is gone; nothing can be sent any more. Once at most, and never after C{disconnect()} was
        called. Requests still open are lost with it: C{request_lost} is not called for them.
        """

    def congested() -> None:
        """The counterpart reads more slowly than we write: what can wait should wait."""

    def relieved() -> None:
        """There is room again."""


class IMessageTransport(Interface):
    """Carries JSON-RPC messages to one counterpart, and back. Good for one connection; made anew for the next."""

    def connect(link: IMessageLink) -> Deferred[None]:
        """
        Begin. The result comes when messages can be sent.

        Cancelling gives up. Has a deadline of its own.

        @raise UpstreamUnavailable: (through the Deferred) there is nobody; C{loss} of the exception says more.
        """

    def send(message: Message, within: RequestId | None = None) -> None:
        """
        Send. Never raises and never blocks; what becomes of a request is told to the link.

        @param within: the id of the counterpart's request that this message belongs to; L{None} if to none.
        """

    def abandon(request_id: RequestId) -> None:
        """We no longer want the answer to this request of ours. Unknown ids are ignored."""

    def pause() -> None:
        """Stop reading from the counterpart. A few messages may still come."""

    def resume() -> None:
        """Go on reading."""

    def disconnect() -> Deferred[None]:
        """
        End in good order, with a deadline. Fires when nothing of the connection is left: no socket, no process.

        Idempotent.
        """


class IClientMemory(Interface):
    """
    What has to outlive the daemon so that a client does not notice its death: kept by the client's relay.
    """

    def remember(state: bytes) -> None:
        """Keep this in place of what was kept before; at most 256 KiB, more is refused with L{LimitExceeded}."""

    def remembered() -> bytes:
        """What was kept, also by an earlier daemon; empty if nothing was."""

    def unanswered() -> Sequence[RequestId]:
        """
        The client's requests that an earlier daemon took and never answered. Each must be answered through
        C{send}, once; they are forgotten as that happens.
        """

    def forget(request_id: RequestId) -> None:
        """The client cancelled this request: it will get no answer, so it is open no longer."""


class IClientTransport(IMessageTransport, IClientMemory):
    """A transport toward a client, and what its client's relay remembers."""

    def send_batch(messages: Sequence[Message]) -> None:
        """Send these answers as one JSON array (2025-03-26 only). Like C{send} in all else."""
