"""
Tests for L{mcpbridge.net.connection}.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, ISystemHandle
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mcpbridge.net.connection import Connection
from mcpbridge.net.failures import HeadRefused


class HTTP:
    """Plays the part of Twisted's protocol."""

    def __init__(self) -> None:
        self.state = "QUIESCENT"
        self.transport: Any = None
        self.got: list[bytes] = []
        self.reasons: list[type[BaseException] | None] = []

    def makeConnection(self, transport: Any) -> None:
        """The transport is there."""
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        self.got.append(data)

    def connectionLost(self, reason: Failure) -> None:
        """The transport is gone."""
        self.reasons.append(reason.type)

    def request(self, request: Any) -> Deferred[Any]:
        """A request is made."""
        self.state = "WAITING"
        return succeed(request)


@implementer(ISystemHandle)
class SocketTransport(StringTransport):
    """A transport over a real socket."""

    def __init__(self, handle: socket.socket) -> None:
        super().__init__()
        self._handle = handle

    def getHandle(self) -> socket.socket:
        """The socket."""
        return self._handle


class Descriptor(FileDescriptor):
    """
    A transport that the reactor writes when it comes to it.

    @ivar written: what the kernel was given.
    @ivar takes: how much it takes at once.
    """

    connected = 1

    def __init__(self) -> None:
        super().__init__(MemoryReactor())
        self.written = b""
        self.takes: int | Exception = 100

    def writeSomeData(self, data: bytes) -> int | Exception:
        """The kernel takes some."""
        if isinstance(self.takes, Exception):
            return self.takes
        self.written += data[: self.takes]
        return min(self.takes, len(data))


class FlushTests(SynchronousTestCase):
    """What is written of a request does not wait for the reactor."""

    def _requested(self, transport: Descriptor) -> None:
        http = HTTP()

        def request(asked: bytes) -> Deferred[Any]:
            transport.write(asked)
            return succeed(asked)

        self.patch(http, "request", request)
        connection = Connection(http, Clock(), tls=False, made=lambda made: lambda: None)
        connection.makeConnection(transport)
        self.successResultOf(connection.request(b"x" * 150))

    def test_at_once(self) -> None:
        """
        The kernel gets it at once, as far as it takes it; the reactor writes the rest.
        """
        transport = Descriptor()

        self._requested(transport)
        first = transport.written
        transport.doWrite()

        self.assertEqual((100, 150), (len(first), len(transport.written)))

    def test_broken(self) -> None:
        """
        A connection that turns out to be broken is left for the reactor to find so.
        """
        transport = Descriptor()
        transport.takes = ConnectionLost()

        self._requested(transport)

        self.assertIs(transport.takes, transport.doWrite())

    def test_closing(self) -> None:
        """
        Nothing is done to one that is being closed.
        """
        transport = Descriptor()
        transport.disconnecting = True

        self._requested(transport)

        self.assertEqual(b"", transport.written)


class ConnectionTests(SynchronousTestCase):
    """The watch on a connection."""

    def _made(self, transport: StringTransport | None = None, *, tls: bool = False) -> Connection:
        self.clock = Clock()
        self.http = HTTP()
        self.lost: list[bool] = []
        self.transport = StringTransport() if transport is None else transport
        connection = Connection(self.http, self.clock, tls=tls, made=lambda made: lambda: self.lost.append(True))
        connection.makeConnection(self.transport)
        return connection

    def _sockets(self) -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            ours = socket.create_connection(server.getsockname())
            theirs, _ = server.accept()
        ours.setblocking(False)
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        return ours, theirs

    def test_provides(self) -> None:
        """
        It hears of handshakes.
        """
        self.assertTrue(verifyObject(IHandshakeListener, self._made()))

    def test_ready(self) -> None:
        """
        At once without TLS; with it when the handshake is done, which may be said again.
        """
        plain = self._made().ready
        connection = self._made(tls=True)
        self.assertNoResult(connection.ready)

        connection.handshakeCompleted()
        connection.handshakeCompleted()

        self.successResultOf(plain)
        self.successResultOf(connection.ready)

    def test_handshake_fails(self) -> None:
        """
        Then it is never ready.
        """
        connection = self._made(tls=True)

        connection.connectionLost(Failure(ConnectionLost()))

        self.failureResultOf(connection.ready, ConnectionLost)
        self.assertEqual([True], self.lost)

    def test_passes_on(self) -> None:
        """
        What answers a request goes through, and so does the end.
        """
        connection = self._made()
        connection.request("r")

        connection.dataReceived(b"HTTP/1.1 200 OK\r\n\r\nbo")
        connection.dataReceived(b"dy")
        connection.connectionLost(Failure(ConnectionDone()))

        self.assertEqual([b"HTTP/1.1 200 OK\r\n\r\nbo", b"dy"], self.http.got)
        self.assertEqual(([ConnectionDone], [True]), (self.http.reasons, self.lost))

    def test_refuses(self) -> None:
        """
        A bad head fails the request with the reason, and closes the connection at once; more is not looked at.
        """
        connection = self._made()
        connection.request("r")

        connection.dataReceived(b"garbage")
        connection.dataReceived(b"garbage")
        connection.connectionLost(Failure(ConnectionLost()))

        self.assertEqual(([], [HeadRefused]), (self.http.got, self.http.reasons))
        self.assertTrue(self.transport.disconnecting)

    def test_unasked(self) -> None:
        """
        Bytes that nobody asked for close the connection: they are not to answer the next request.
        """
        connection = self._made()

        connection.dataReceived(b"HTTP/1.1 200 OK\r\n\r\n")

        self.assertEqual([], self.http.got)
        self.assertTrue(self.transport.disconnecting)

    def test_stale(self) -> None:
        """
        A used connection is stale as soon as the kernel knows that the peer has closed it, or has data that nobody
        asked for.
        """
        ours, theirs = self._sockets()
        connection = self._made(SocketTransport(ours))
        fresh = connection.stale
        connection.request("r")
        alive = connection.stale
        theirs.close()

        self.assertEqual((False, False, True), (fresh, alive, _soon(lambda: connection.stale)))

    def test_stale_data(self) -> None:
        """
        The same with data.
        """
        ours, theirs = self._sockets()
        connection = self._made(SocketTransport(ours))
        connection.request("r")
        theirs.sendall(b"x")

        self.assertTrue(_soon(lambda: connection.stale))

    def test_keepalive(self) -> None:
        """
        Dead peers are noticed: the kernel asks after them.
        """
        ours, _ = self._sockets()

        self._made(SocketTransport(ours))

        self.assertTrue(ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            self.assertEqual(60_000, ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
            self.assertEqual(30, ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))

    def test_rude_tls_peer(self) -> None:
        """
        A TLS peer has five seconds to answer our goodbye.
        """
        connection = self._made(tls=True)
        connection.handshakeCompleted()
        aborted: list[float] = []
        self.transport.abortConnection = lambda: aborted.append(self.clock.seconds())  # type: ignore[method-assign]  # to see it

        self.http.transport.loseConnection()
        self.http.transport.loseConnection()
        self.clock.advance(5.0)
        connection.connectionLost(Failure(ConnectionLost()))

        self.assertEqual(([5.0], []), (aborted, self.clock.getDelayedCalls()))

    def test_polite_tls_peer(self) -> None:
        """
        One that answers leaves no timer behind.
        """
        connection = self._made(tls=True)
        connection.handshakeCompleted()

        self.http.transport.loseConnection()
        connection.connectionLost(Failure(ConnectionDone()))

        self.assertEqual([], self.clock.getDelayedCalls())


def _soon(look: Any) -> bool:
    """The loopback device delivers within this call, all but always; a hundred thousand looks are enough."""
    return any(look() for _ in range(100_000))
