"""
Tests of L{mcpbridge.net.guard}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver, IResolutionReceiver
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mcpbridge.core.oauth.urls import URLPolicy
from mcpbridge.net.addresses import AddressRule
from mcpbridge.net.agent import http_client
from mcpbridge.net.guard import (
    DEADLINE,
    MAX_DOCUMENT,
    Document,
    FetchFailed,
    FetchRefused,
    GuardedFetcher,
    GuardedResolver,
)

_LOCAL = "http://127.0.0.1:8080/mcp"


@implementer(IHostnameResolver)
class _Resolver:
    """Knows some hosts."""

    def __init__(self, hosts: Mapping[str, Sequence[str]]) -> None:
        self._hosts = hosts

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        receiver: Any = resolutionReceiver
        receiver.resolutionBegan(self)
        for host in self._hosts.get(hostName, (hostName,) if hostName[0].isdigit() else ()):
            kind = IPv6Address if ":" in host else IPv4Address
            receiver.addressResolved(kind("TCP", host, portNumber))
        receiver.resolutionComplete()
        return self


@attrs.define(eq=False)
class _World:
    """A fetcher on a reactor that connects nowhere."""

    upstream: str = _LOCAL
    hosts: Mapping[str, Sequence[str]] = attrs.Factory(dict)
    trusted: frozenset[str] = frozenset()
    proxied: bool = False
    reactor: Any = attrs.field(init=False, factory=MemoryReactorClock)
    fetcher: GuardedFetcher = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reactor.nameResolver = _Resolver(self.hosts)
        self.fetcher = GuardedFetcher(
            self.reactor,
            http_client,
            URLPolicy(self.upstream),
            AddressRule(self.upstream, self.trusted),
            lambda _: self.proxied,
        )

    @property
    def tried(self) -> list[tuple[str, int]]:
        return [client[:2] for client in self.reactor.tcpClients]

    def connect(self) -> tuple[Any, _Transport]:
        """Let the last attempt succeed."""
        factory = self.reactor.tcpClients[-1][2]
        protocol = factory.buildProtocol(None)
        transport = _Transport()
        protocol.makeConnection(transport)
        transport.protocol = protocol
        return protocol, transport


class _Transport(StringTransport):
    """One that can be aborted."""

    protocol: Any = None

    lost = False

    def abortConnection(self) -> None:
        self.loseConnection()
        self.lose()

    def lose(self) -> None:
        """The connection breaks, once."""
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(ConnectionResetError()))


class FetchTests(SynchronousTestCase):
    """What is fetched, and how."""

    def test_document(self) -> None:
        """One request, with the headers and the body that were given; one answer."""
        world = _World()
        fetching = world.fetcher.fetch("POST", "http://127.0.0.1:9/token", [(b"X-A", b"1")], b"a=b")
        protocol, transport = world.connect()
        sent = transport.value()

        protocol.dataReceived(b"HTTP/1.1 400 No\r\nContent-Length: 2\r\nRetry-After: 7\r\n\r\n{}")

        self.assertEqual(Document(400, b"{}", 7.0), self.successResultOf(fetching))
        self.assertTrue(sent.startswith(b"POST /token HTTP/1.1\r\n"), sent)
        for line in (b"X-A: 1", b"Accept: application/json", b"\r\n\r\na=b"):
            self.assertIn(line, sent)
        self.assertEqual([], world.reactor.getDelayedCalls())

    def test_redirect_is_not_followed(self) -> None:
        """It is an answer like others."""
        world = _World()
        fetching = world.fetcher.fetch("GET", "http://127.0.0.1:9/")
        protocol, _ = world.connect()

        protocol.dataReceived(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:10/\r\nContent-Length: 0\r\n\r\n")

        self.assertEqual(302, self.successResultOf(fetching).status)
        self.assertEqual([("127.0.0.1", 9)], world.tried)

    def test_too_large(self) -> None:
        """More than a document has is not read."""
        world = _World()
        fetching = world.fetcher.fetch("GET", "http://127.0.0.1:9/")
        protocol, transport = world.connect()
        protocol.dataReceived(b"HTTP/1.1 200 OK\r\n\r\n")

        protocol.dataReceived(b"x" * (MAX_DOCUMENT + 1))

        self.failureResultOf(fetching, FetchRefused)
        self.assertTrue(transport.disconnecting)

    def test_too_late(self) -> None:
        """Ten seconds for all, however the bytes drip."""
        world = _World()
        fetching = world.fetcher.fetch("GET", "http://127.0.0.1:9/?code=secret")
        protocol, transport = world.connect()
        protocol.dataReceived(b"HTTP/1.1 200 OK\r\n\r\n")

        for _ in range(20):
            self.assertNoResult(fetching)
            world.reactor.advance(DEADLINE / 20)
            protocol.dataReceived(b" ")

        error = self.failureResultOf(fetching, FetchFailed)
        self.assertNotIn("secret", str(error.value))
        self.assertTrue(transport.disconnecting)
        self.assertEqual([], world.reactor.getDelayedCalls())

    def test_connection_lost(self) -> None:
        """No answer is a passing trouble."""
        world = _World()
        fetching = world.fetcher.fetch("GET", "http://127.0.0.1:9/")
        _, transport = world.connect()

        transport.lose()

        self.failureResultOf(fetching, FetchFailed)

    def test_unresolved(self) -> None:
        """A host that is nowhere may be somewhere later."""
        fetching: Deferred[Document] = _World("https://a.example").fetcher.fetch("GET", "https://a.example/")

        self.failureResultOf(fetching, FetchFailed)


class GuardTests(SynchronousTestCase):
    """What is not fetched."""

    def _world(self, **how: Any) -> _World:
        hosts = {
            "mcp.example.com": ["93.184.216.34"],
            "inside.example": ["10.0.0.1"],
            "mixed.example": ["169.254.169.254", "93.184.216.35"],
        }
        return _World("https://mcp.example.com/mcp", hosts=hosts, **how)

    def test_internal(self) -> None:
        """A name that leads inside leads nowhere, and the text says what to do if that is right."""
        world = self._world()

        for url in ("https://inside.example/", "https://10.0.0.1/", "https://169.254.169.254/", "https://127.0.0.1/"):
            error = self.failureResultOf(world.fetcher.fetch("GET", url), FetchRefused)
            self.assertIn("trustedHosts", str(error.value))
        self.assertEqual([], world.tried)

    def test_checked_address(self) -> None:
        """The connection goes to an address that was checked, and to none of the others."""
        world = self._world()

        fetching = world.fetcher.fetch("GET", "https://mixed.example/")
        world.reactor.advance(1)

        self.assertNoResult(fetching)
        self.assertEqual([("93.184.216.35", 443)], world.tried)

    def test_trusted(self) -> None:
        """The user knows better."""
        world = self._world(trusted=frozenset({"inside.example"}))

        fetching = world.fetcher.fetch("GET", "https://inside.example/")

        self.assertNoResult(fetching)
        self.assertEqual([("10.0.0.1", 443)], world.tried)

    def test_url(self) -> None:
        """A URL that could not have passed the door does not pass here either."""
        world = self._world()

        for url in ("http://mixed.example/", "file:///etc/passwd", "https://u@mixed.example/", "http://127.0.0.1/"):
            self.failureResultOf(world.fetcher.fetch("GET", url), FetchRefused)
        self.assertEqual([], world.tried)

    def test_proxied(self) -> None:
        """Behind a proxy names are the proxy's business; addresses are still ours."""
        world = self._world(proxied=True)

        for url in (
            "https://10.0.0.1/",
            "https://localhost/",
            "https://[::1]/",
            "https://2130706433/",
            "https://0x7f.1/",
        ):
            self.failureResultOf(world.fetcher.fetch("GET", url), FetchRefused)
        fetching = world.fetcher.fetch("GET", "https://inside.example/")

        self.assertNoResult(fetching)
        self.assertEqual([("10.0.0.1", 443)], world.tried)

    def test_doors(self) -> None:
        """It is a resolver as the reactor wants it."""
        verifyObject(IHostnameResolver, GuardedResolver(_Resolver({}), lambda host, address: True))
