"""
Connections of the endpoint: HTTP/1.1 as twisted.web speaks it, with deadlines and bounds of our own.

twisted.web times out a connection that is silent. One that says a byte a second is not, so a head and a body have a
deadline each, from their first byte to their last; the first head from the connection on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http

from mcpbridge.downstream.http.limits import EndpointLimits


class Channel(http.HTTPChannel):
    """One connection."""

    _log = Logger()

    factory: ChannelFactory

    def __init__(self, clock: IReactorTime, limits: EndpointLimits) -> None:
        super().__init__()
        self._clock = clock
        self._limits = limits
        self._deadline: IDelayedCall | None = None
        self._serving = False
        self.maxHeaders = limits.fields
        self.totalHeadersSize = limits.head
        self.MAX_LENGTH = limits.head
        # What HTTPFactory does to its channels, but for a proxy around them that could switch to HTTP/2.
        self.timeOut = limits.idle  # type: ignore[assignment]  # seconds may have a fraction
        self.callLater = clock.callLater  # type: ignore[method-assign,assignment]  # as HTTPFactory does

    @property
    def target(self) -> bytes:
        """What the request that is coming in asks for, once its first line is there."""
        return self._path

    def connectionMade(self) -> None:
        """Somebody has connected."""
        super().connectionMade()
        # A client that has vanished without a word is noticed even where nothing is said to it.
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpKeepAlive(True)
        # Whoever connects wants something. Until then it is nobody who may take a place for long.
        self._set_deadline(self._limits.head_deadline)

    def dataReceived(self, data: bytes) -> None:
        """Bytes came; the first ones of a request among them, perhaps."""
        if self._deadline is None and not self._serving:
            self._set_deadline(self._limits.head_deadline)
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        """The head is complete."""
        self._set_deadline(self._limits.body_deadline)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        """The request is complete."""
        self._clear_deadline()
        self._serving = True
        super().allContentReceived()

    def requestDone(self, request: http.Request) -> None:
        """The response is complete."""
        self._serving = False
        super().requestDone(request)

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line of the head is too long."""
        self._respondToBadRequestAndDisconnect()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone."""
        self._clear_deadline()
        self.factory.lost(self)
        super().connectionLost(reason)

    def refuse_late(self, seconds: float) -> None:
        """A refusal is on its way; give the client so much time to read it, then close."""
        self._set_deadline(seconds)

    def _set_deadline(self, seconds: float) -> None:
        self._clear_deadline()
        self._deadline = self._clock.callLater(seconds, self._too_late)

    def _clear_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()

    def _too_late(self) -> None:
        self._deadline = None
        self._log.debug("A client of the HTTP endpoint took too long to send its request")
        cast(ITCPTransport, self.transport).abortConnection()


class ChannelFactory(http.HTTPFactory):
    """
    Makes L{Channel}s.

    @ivar channels: those that are open.
    """

    noisy = False

    def __init__(self, clock: IReactorTime, limits: EndpointLimits, make_request: Callable[..., http.Request]) -> None:
        """
        @param make_request: gives the L{http.Request} for a channel.
        """
        super().__init__(reactor=clock, timeout=limits.idle)
        self._clock = clock
        self._limits = limits
        self._make_request = make_request
        self.channels: set[Channel] = set()
        self._empty: list[Deferred[None]] = []

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:  # type: ignore[override]  # no proxy for HTTP/2
        """Somebody connects; one too many is turned away at the door."""
        if len(self.channels) >= self._limits.connections:
            return None
        channel = Channel(self._clock, self._limits)
        channel.requestFactory = self._make_request  # type: ignore[assignment]  # anything that makes one will do
        channel.factory = self
        self.channels.add(channel)
        return channel

    def lost(self, channel: Channel) -> None:
        """A connection is gone."""
        self.channels.discard(channel)
        if not self.channels:
            empty, self._empty = self._empty, []
            for waiter in empty:
                waiter.callback(None)

    def when_empty(self) -> Deferred[None]:
        """Fires when no connection is open."""
        if not self.channels:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._empty.append(waiter)
        return waiter

    def startFactory(self) -> None:
        """There is no access log: what matters is logged by who serves it."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def log(self, request: http.Request) -> None:
        """See L{startFactory}."""
