"""
A browser that comes to a page of ours, without a network.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport


class Transport(StringTransport):
    """Its connection."""

    def getHost(self) -> Any:
        return IPv4Address("TCP", "127.0.0.1", 1)

    def getPeer(self) -> Any:
        return IPv4Address("TCP", "127.0.0.1", 2)

    def loseConnection(self) -> None:
        self.disconnecting = True

    def setTcpNoDelay(self, on: bool) -> None:
        """As sockets have it."""


def connected(site: Any) -> Any:
    """A connection to it; L{None} if there are too many."""
    protocol = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 2))
    if protocol is not None:
        protocol.makeConnection(Transport())
    return protocol


def get(site: Any, request: bytes) -> bytes:
    """
    What it is answered.

    @param request: the method and the target.
    """
    protocol = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 2))
    transport = Transport()
    protocol.makeConnection(transport)
    protocol.dataReceived(request + b" HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    shown: bytes = transport.value()
    return shown
