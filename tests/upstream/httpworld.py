"""
An HTTP server in memory, on a fake clock. Twisted's own client and parser run; only the wire is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IPushProducer, IStreamClientEndpoint, ITransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from mcpbridge.net.agent import HTTPClient
from mcpbridge.net.connection import ConnectionFactory
from mcpbridge.net.failures import NotConnected
from mcpbridge.net.inflate import IdentityAgent
from mcpbridge.net.pool import ConnectionPool


@attrs.frozen
class Asked:
    """
    A request as the server sees it.

    @ivar headers: by lower-case name.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@implementer(ITransport, IPushProducer)
class Wire:
    """One connection, seen from the server."""

    def __init__(self, clock: Clock) -> None:
        self.protocol: Any = None
        self.open = True
        self.paused = False
        #: Whether what is written stays in a buffer, as when the peer does not read.
        self.clogged = False
        self._clock = clock
        self._heard = b""
        self._producer: Any = None

    def write(self, data: bytes) -> None:
        """The client wrote."""
        self._heard += data
        if self.clogged and self._producer is not None:
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """The client wrote."""
        self.write(b"".join(data))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """The client has a body."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """That was it."""
        self._producer = None

    def loseConnection(self) -> None:
        """The client hung up."""
        self._clock.callLater(0, self.drop, ConnectionDone())

    def abortConnection(self) -> None:
        """The client hung up, rudely."""
        self._clock.callLater(0, self.drop, ConnectionLost())

    stopProducing = loseConnection

    def pauseProducing(self) -> None:
        """The client does not read."""
        self.paused = True

    def resumeProducing(self) -> None:
        """The client reads."""
        self.paused = False

    def getPeer(self) -> Any:
        """Nobody in particular."""

    def getHost(self) -> Any:
        """Nobody in particular."""

    def take(self) -> Asked | None:
        """The next request, if it is complete."""
        head, found, rest = self._heard.partition(b"\r\n\r\n")
        if not found:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return None
        self._heard = rest[length:]
        method, target, _ = first.split(" ")
        return Asked(method, target, headers, rest[:length])

    def drop(self, reason: Exception | None = None) -> None:
        """The connection is gone."""
        if self.open:
            self.open = False
            self.protocol.connectionLost(Failure(reason or ConnectionLost()))

    def says(self, data: bytes) -> None:
        """The server writes."""
        if self.open:
            self.protocol.dataReceived(data)

    def answers(self, status: int, body: bytes = b"", **headers: str) -> None:
        """The server answers with a whole body."""
        self.begins(status, **{"Content_Length": str(len(body)), **headers})
        if body:
            self.says(body)

    def begins(self, status: int, **headers: str) -> None:
        """The server writes the head of an answer."""
        lines = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
        self.says(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode("latin-1"))

    def json(self, body: bytes, status: int = 200, **headers: str) -> None:
        """The server answers with JSON."""
        self.answers(status, body, Content_Type="application/json", **headers)

    def streams(self, *events: bytes, **headers: str) -> None:
        """The server begins an event stream, whose end is that of the connection."""
        self.begins(200, Content_Type="text/event-stream", **headers)
        for event in events:
            self.says(event)


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class World:
    """
    The server, the wires to it, and a client for it.

    @ivar unreachable: whether connections fail.
    @ivar slow: whether connections come only when L{connects} is called.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.pool = ConnectionPool(self.clock)
        agent = IdentityAgent(Agent.usingEndpointFactory(self.clock, self, self.pool))
        self.client = HTTPClient(agent, self.pool)
        self.wires: list[Wire] = []
        self.unreachable = False
        self.slow = False
        self.clogged = False
        self._connecting: list[tuple[Deferred[IProtocol], IProtocolFactory]] = []

    def endpointForURI(self, uri: URI) -> World:
        """Whatever the URL, it is here."""
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """A client connects."""
        if self.unreachable:
            return fail(NotConnected("cannot connect to server:80: Connection refused"))
        if self.slow:
            waiting: Deferred[IProtocol] = Deferred()
            self._connecting.append((waiting, protocolFactory))
            return waiting
        return succeed(self._connected(protocolFactory))

    def connects(self) -> None:
        """The connections that wait come about."""
        connecting, self._connecting = self._connecting, []
        for waiting, factory in connecting:
            if not waiting.called:
                waiting.callback(self._connected(factory))

    def _connected(self, protocolFactory: IProtocolFactory) -> IProtocol:
        wire = Wire(self.clock)
        wire.clogged = self.clogged
        factory = ConnectionFactory(protocolFactory, self.clock, tls=False, made=self.pool.made)
        connection = wire.protocol = factory.buildProtocol(None)
        self.wires.append(wire)
        connection.makeConnection(wire)
        http: Any = connection.http
        return http  # type: ignore[no-any-return]  # Twisted's own protocol.

    def take(self) -> tuple[Asked, Wire]:
        """The next request, and the wire that it came on."""
        for wire in self.wires:
            asked = wire.take() if wire.open else None
            if asked is not None:
                return asked, wire
        raise AssertionError("no request came")

    def asked(self) -> list[str]:
        """All requests that have come and were not taken: method and body."""
        found = []
        for wire in self.wires:
            while (asked := wire.take()) is not None:
                found.append(f"{asked.method} {asked.body.decode()}".strip())
        return found

    def turn(self, seconds: float = 0.0) -> None:
        """Time passes; what is due happens, and what that makes due at once."""
        self.clock.advance(seconds)
        self.clock.advance(0)

    @property
    def open(self) -> int:
        """How many connections there are."""
        return sum(wire.open for wire in self.wires)
