"""
One connection to an HTTP server: Twisted's, with a watch on it.

What the watch sees that L{twisted.web.client} does not: heads without end, a peer that hung up while the connection
lay idle, bytes that nobody asked for, and a TLS peer that does not say goodbye.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, cast
from typing import Protocol as Shape

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IProtocolFactory,
    IReactorTime,
    ISystemHandle,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse
from zope.interface import implementer

from mcpbridge.net.failures import HTTPFailure
from mcpbridge.net.head import HeadScanner

#: Seconds that a TLS peer has to answer our goodbye.
_FAREWELL = 5.0

#: Seconds: the first probe on a silent connection, the pause between probes, how many go unanswered; and the
#: milliseconds that sent data may stay unacknowledged. A peer that vanished without a word is noticed within a
#: minute either way.
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 60_000))


class HTTPProtocol(Shape):
    """What we use of the protocol that Twisted's pool makes for each connection."""

    transport: Any

    @property
    def state(self) -> str:
        """C{"QUIESCENT"} when no request is under way."""

    def makeConnection(self, transport: Any) -> None:
        """The transport is there."""

    def dataReceived(self, bytes: bytes) -> None:
        """Bytes came."""

    def connectionLost(self, reason: Failure) -> None:
        """The transport is gone."""

    def request(self, request: Any) -> Deferred[IResponse]:
        """Make a request."""


@implementer(IHandshakeListener)
class Connection(Protocol):
    """
    Stands between a transport and Twisted's HTTP client protocol.

    @ivar http: the latter.
    @ivar ready: fires when requests can be made: over TLS, when the handshake is done.
    """

    def __init__(
        self, http: HTTPProtocol, clock: IReactorTime, *, tls: bool, made: Callable[[Connection], Callable[[], None]]
    ) -> None:
        """
        @param made: told of the connection; returns what to call when nothing is left of it.
        """
        self.http = http
        self.ready: Deferred[None] = Deferred(self._cancelled)
        self._clock = clock
        self._tls = tls
        self._head: HeadScanner | None = None
        self._used = False
        self._dead = False
        self._spoilt = False
        self._lost = made(self)

    def connectionMade(self) -> None:
        """The transport is there."""
        transport = cast(Any, self.transport)
        handle = _tcp_socket(transport)
        if handle is not None:
            _keep_alive(handle)
        self.http.makeConnection(_Hanging(transport, self._clock) if self._tls else transport)
        if not self._tls:
            self._is_ready(None)

    def handshakeCompleted(self) -> None:
        """The TLS handshake is done; called again if the session is renegotiated."""
        self._is_ready(None)

    def request(self, request: Any) -> Deferred[IResponse]:
        """What L{twisted.web.client.Agent} calls to make a request."""
        self._used = True
        self._head = HeadScanner()
        answer = self.http.request(request)
        _flush(cast(Any, self.transport))
        return answer

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        if self._dead:
            return
        if self._head is not None:
            try:
                self._head.feed(data)
            except HTTPFailure:
                self._refuse(Failure())
                return
            if self._head.complete:
                self._head = None
        elif self.http.state == "QUIESCENT":
            # Nobody asked. If the next request took this for its answer, answers would cross.
            self._spoilt = True
            self.abort()
            return
        self.http.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport is gone."""
        was_dead, self._dead = self._dead, True
        transport = self.http.transport
        if isinstance(transport, _Hanging):
            transport.stop()
        self._is_ready(reason)
        if not was_dead:
            self.http.connectionLost(reason)
        self._lost()

    @property
    def stale(self) -> bool:
        """
        Whether the peer has closed an idle connection, or sent something on it, that the reactor has not come to see
        yet.

        Asked right before a request: what a server had closed by then is not taken for a request that it may have run.
        """
        if self._dead or self._spoilt:
            return True
        handle = _tcp_socket(cast(Any, self.transport)) if self._used else None
        if handle is None:
            return False
        try:
            peeked = handle.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        # TLS peers say things of their own, such as new session tickets; those are for TLS to read.
        return not peeked or not self._tls

    def abort(self) -> None:
        """Close at once. What was under way fails."""
        cast(Any, self.transport).abortConnection()

    def _refuse(self, reason: Failure) -> None:
        self._dead = True
        self.http.connectionLost(reason)
        self.abort()

    def _is_ready(self, result: Failure | None) -> None:
        if not self.ready.called:
            if result is None:
                self.ready.callback(None)
            else:
                self.ready.errback(result)

    def _cancelled(self, _: Deferred[None]) -> None:
        self.abort()


@implementer(ITCPTransport)
class _Hanging:
    """
    A TLS transport that hangs up for good if the peer does not answer our goodbye.

    All but L{loseConnection} is the transport's own.
    """

    def __init__(self, transport: Any, clock: IReactorTime) -> None:
        self._transport = transport
        self._clock = clock
        self._call: IDelayedCall | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def loseConnection(self) -> None:
        """Say goodbye."""
        if self._call is None:
            self._call = self._clock.callLater(_FAREWELL, self._hang_up)
        self._transport.loseConnection()

    def stop(self) -> None:
        """It is gone."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _hang_up(self) -> None:
        self._transport.abortConnection()


class ConnectionFactory(Factory):
    """Makes a L{Connection} around what Twisted's own factory makes."""

    noisy = False

    def __init__(
        self,
        http: IProtocolFactory,
        clock: IReactorTime,
        *,
        tls: bool,
        made: Callable[[Connection], Callable[[], None]],
    ) -> None:
        """
        @param made: told of each connection that is made; returns what to call when it is lost.
        """
        self._http = http
        self._clock = clock
        self._tls = tls
        self._made = made

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        """A connection is established."""
        http = cast(HTTPProtocol, self._http.buildProtocol(cast(IAddress, addr)))
        return Connection(http, self._clock, tls=self._tls, made=self._made)


def _flush(transport: Any) -> None:
    """
    Hand what was just written to the kernel, as far as it takes it, instead of waiting for the reactor to find out that
    it would: a turn of the reactor less for each request.
    """
    while isinstance(transport, Protocol):
        transport = transport.transport
    if isinstance(transport, FileDescriptor) and transport.connected and not transport.disconnecting:
        # What goes wrong goes wrong again when the reactor writes the rest, and is dealt with there.
        transport.doWrite()


def _tcp_socket(transport: Any) -> socket.socket | None:
    """The socket under a transport, also through TLS; L{None} if there is none, as in memory."""
    while isinstance(transport, Protocol):
        transport = transport.transport
    if transport is None or not ISystemHandle.providedBy(transport):
        return None
    handle = transport.getHandle()
    return handle if isinstance(handle, socket.socket) else None


def _keep_alive(handle: socket.socket) -> None:
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        option = getattr(socket, name, None)
        # Not every system has them all; macOS calls the first one otherwise and has no last one.
        if option is not None:
            handle.setsockopt(socket.IPPROTO_TCP, option, value)
