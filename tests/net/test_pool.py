"""
Tests for L{mcpbridge.net.pool}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import URI
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface.verify import verifyObject

from mcpbridge.net.agent import PreparedURL, http_client
from mcpbridge.net.failures import NotConnected
from mcpbridge.net.pool import ConnectionPool, EndpointFactory
from tests.upstream.httpworld import World

ONE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def ask(world: World) -> Deferred[Any]:
    """A request through treq."""
    return world.client.perform("GET", PreparedURL.prepare("http://server/"), Headers(), None, world.clock)


class PoolTests(SynchronousTestCase):
    """Connections."""

    def test_used_again(self) -> None:
        """
        A connection that is idle is used again, for four seconds.
        """
        world = World()
        for _ in range(2):
            ask(world)
            world.take()[1].says(ONE)
        before = len(world.wires)

        world.turn(4.0)
        ask(world)

        self.assertEqual((1, 2), (before, len(world.wires)))

    def test_lost_while_idle(self) -> None:
        """
        One that was lost is not.
        """
        world = World()
        ask(world)
        world.take()[1].says(ONE)
        world.wires[0].drop()

        ask(world)

        self.assertEqual("GET", world.take()[0].method)
        self.assertEqual(2, len(world.wires))

    def test_unasked_bytes(self) -> None:
        """
        Nor is one on which the server said something that nobody asked for.
        """
        world = World()
        ask(world)
        _, wire = world.take()
        wire.says(ONE)
        wire.says(ONE)

        second = ask(world)
        asked, other = world.take()
        world.turn()

        self.assertNoResult(second)
        self.assertIsNot(wire, other)
        self.assertEqual("GET", asked.method)

    def test_close(self) -> None:
        """
        Closing ends what is idle and what is busy, and waits for it.
        """
        world = World()
        ask(world)
        idle = world.take()[1]
        busy = ask(world)
        world.take()
        idle.says(ONE)

        closed = world.client.close()
        self.assertNoResult(closed)
        world.turn()

        self.successResultOf(closed)
        self.failureResultOf(busy)
        self.assertEqual((0, []), (world.open, world.clock.getDelayedCalls()))

    def test_close_nothing(self) -> None:
        """
        There may be nothing to close.
        """
        self.successResultOf(World().client.close())


class EndpointTests(SynchronousTestCase):
    """Connecting."""

    def test_provides(self) -> None:
        """
        It makes endpoints, for two schemes.
        """
        reactor = MemoryReactorClock()
        policy: Any = None
        factory = EndpointFactory(reactor, ConnectionPool(reactor), policy)

        self.assertTrue(verifyObject(IAgentEndpointFactory, factory))
        self.assertRaises(SchemeNotSupported, factory.endpointForURI, URI.fromBytes(b"ftp://h/"))

    def _asked(self, url: str = "http://127.0.0.1:81/") -> tuple[MemoryReactorClock, Deferred[Any]]:
        reactor = MemoryReactorClock()
        client = http_client(reactor, connect_timeout=3.0)
        response = client.perform("GET", PreparedURL.prepare(url), Headers(), None, reactor)
        return reactor, response

    def test_refused(self) -> None:
        """
        A refusal says where and why.
        """
        reactor, response = self._asked()
        _, _, factory, _, _ = reactor.tcpClients[0]

        factory.clientConnectionFailed(
            reactor.connectors[0], Failure(ConnectionRefusedError("111: Connection refused"))
        )
        reactor.advance(0.3)

        error = self.failureResultOf(response, NotConnected)
        self.assertEqual("cannot connect to 127.0.0.1:81: Connection refused", str(error.value))
        self.assertTrue(error.value.refused)

    def test_timeout(self) -> None:
        """
        So does silence.
        """
        reactor, response = self._asked()

        reactor.advance(3.0)

        error = self.failureResultOf(response, NotConnected)
        self.assertEqual("cannot connect to 127.0.0.1:81: no answer within 3 s", str(error.value))
        self.assertFalse(error.value.refused)

    def test_nameless(self) -> None:
        """
        So does a host that no certificate can name, at once.
        """
        reactor, response = self._asked("https://2130706433/")

        error = self.failureResultOf(response, NotConnected)
        self.assertEqual("cannot connect to 2130706433:443: Invalid DNS-ID.", str(error.value))
        self.assertEqual([], reactor.tcpClients)

    def test_cancelled(self) -> None:
        """
        A request that is given up leaves no attempt behind.
        """
        reactor, response = self._asked()

        response.cancel()

        self.failureResultOf(response)
        self.assertEqual("stopped", getattr(reactor.connectors[0], "state", "stopped"))
        self.assertEqual([], [call for call in reactor.getDelayedCalls() if call.active()])
