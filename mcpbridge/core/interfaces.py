"""
The inner doors: what an era of the protocol provides.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from zope.interface import Attribute, Interface

from mcpbridge.core.effects import PeerEffect
from mcpbridge.core.errors import Loss
from mcpbridge.core.events import Event, ExchangeId
from mcpbridge.core.jsonrpc import InvalidMessage, Message, RequestId


class IPeer(Interface):
    """Our end of one MCP conversation. Pure: the same calls give the same answers."""

    def receive(message: Message, within: RequestId | None) -> Sequence[PeerEffect]:
        """
        Take one message from the counterpart.

        @param within: the id of our request on whose response stream it came; L{None} for a shared channel.
        """

    def receive_garbage(invalid: InvalidMessage) -> Sequence[PeerEffect]:
        """Take bytes that were no message: answer them, or end the exchange that they meant to answer."""

    def send(event: Event) -> Sequence[PeerEffect]:
        """Say a neutral event in this era's words."""

    def fired(key: Hashable) -> Sequence[PeerEffect]:
        """A timer asked for with C{StartTimer} has run out."""


class IServerPeer(IPeer):
    """We are the server; a client of this era is on the other side."""

    version: str | None = Attribute("The revision that is spoken; L{None} before it has been agreed on.")

    def close(error: str) -> Sequence[PeerEffect]:
        """Every open exchange ends with an error of this text; the conversation may begin anew."""

    def memento() -> bytes:
        """What has to be known to go on with this client after we have died; empty before it has opened."""

    def no_more() -> Sequence[PeerEffect]:
        """The client says nothing more, but still listens: what has no end of its own ends now."""

    def restore(memento: bytes) -> Sequence[PeerEffect]:
        """
        Go on with a client that an earlier daemon served: as if it had just said all of it again, but it is not
        answered.

        @raise ValueError: this is no memento of ours.
        """


class IClientPeer(IPeer):
    """We are the client; a server of this era is on the other side."""

    def lost(request_id: RequestId, loss: Loss) -> Sequence[PeerEffect]:
        """The stream of a request of ours broke before its answer."""

    def close(loss: Loss) -> Sequence[PeerEffect]:
        """The channel is gone. Every open exchange is delivered as lost, every open question as withdrawn."""

    def forget(xid: ExchangeId) -> None:
        """Whatever comes for this exchange is not wanted any more; the server is not told."""

    def busy() -> bool:
        """Whether an exchange is open."""
