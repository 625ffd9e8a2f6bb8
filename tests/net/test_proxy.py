"""
Tests of L{mcpbridge.net.proxy}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import URI
from zope.interface.verify import verifyObject

from mcpbridge.net.agent import http_client
from mcpbridge.net.failures import NotConnected
from mcpbridge.net.pool import ConnectionPool, EndpointFactory
from mcpbridge.net.proxy import Proxy, ProxyRules, TunnelEndpoint
from mcpbridge.net.trust import TrustPolicy

_proxy = Proxy("proxy.example", 3128)


class RulesTests(SynchronousTestCase):
    """Which proxy for which URL."""

    def test_environment(self) -> None:
        """Both spellings, the lower one first; one for all the rest."""
        table: list[tuple[dict[str, str], tuple[Proxy | None, Proxy | None]]] = [
            ({}, (None, None)),
            ({"HTTPS_PROXY": "http://proxy.example:3128"}, (None, _proxy)),
            ({"http_proxy": "proxy.example:3128", "HTTP_PROXY": "http://other"}, (_proxy, None)),
            ({"ALL_PROXY": "http://proxy.example:3128/"}, (_proxy, _proxy)),
            ({"HTTPS_PROXY": ""}, (None, None)),
        ]

        for environment, expected in table:
            rules = ProxyRules.from_environment(environment)
            self.assertEqual(expected, (rules.http, rules.https))

    def test_configured(self) -> None:
        """What is configured for one upstream goes before; empty means none."""
        environment = {"HTTPS_PROXY": "http://other", "NO_PROXY": "*"}

        self.assertEqual(
            ProxyRules(_proxy, _proxy), ProxyRules.from_environment(environment, "http://proxy.example:3128")
        )
        self.assertEqual(ProxyRules(), ProxyRules.from_environment(environment, ""))

    def test_credentials(self) -> None:
        """A user and a password go into a header, decoded, and into no repr."""
        proxy = Proxy.from_url("https://us%40er:pa%3Ass@proxy.example")

        self.assertEqual((443, True, b"Basic dXNAZXI6cGE6c3M="), (proxy.port, proxy.tls, proxy.authorization))
        self.assertNotIn("Basic", repr(proxy))

    def test_invalid(self) -> None:
        """What is none is said to be none, without showing it."""
        for url in ("socks5://user:hush@x", "http://", "://"):
            error = self.assertRaises(ValueError, Proxy.from_url, url)
            self.assertNotIn("hush", str(error))

    def test_exceptions(self) -> None:
        """Hosts, domains, addresses, networks, ports."""
        table = [
            ("example.com", "example.com", True),
            ("example.com", "mcp.example.com", True),
            ("example.com", "notexample.com", False),
            (".example.com", "mcp.example.com", True),
            ("*.example.com", "mcp.example.com", True),
            ("EXAMPLE.com.", "Example.COM", True),
            ("10.0.0.0/8", "10.1.2.3", True),
            ("10.0.0.0/8", "11.1.2.3", False),
            ("10.0.0.0/8", "ten.example", False),
            ("fd00::/8", "[fd00::1]", True),
            ("fd00::1", "fd00::1", True),
            ("10.1.2.3", "10.1.2.3", True),
            ("10.1.2.3:443", "10.1.2.3", True),
            ("example.com:443", "example.com", True),
            ("example.com:8443", "example.com", False),
            ("*", "anything", True),
            ("nonsense/x, ,,", "example.com", False),
            ("x y,example.com", "example.com", True),
        ]

        for entries, host, direct in table:
            rules = ProxyRules.from_environment({"HTTPS_PROXY": "http://p", "NO_PROXY": entries})
            self.assertEqual(direct, rules.proxy_for("https", host, 443) is None, (entries, host))

    def test_loopback(self) -> None:
        """Nobody else's loopback is ours."""
        rules = ProxyRules(_proxy, _proxy)

        for url in ("http://127.0.0.1:1/", "https://localhost/", "http://[::1]/"):
            self.assertFalse(rules.proxied(url))
        self.assertTrue(rules.proxied("https://mcp.example.com/"))


class _Inner(Protocol):
    data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data


class _Fixed(Factory):
    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: Any) -> Protocol:
        return self._protocol


class TunnelTests(SynchronousTestCase):
    """How a tunnel comes about."""

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.inner = _Inner()
        self.endpoint = TunnelEndpoint(
            TCP4ClientEndpoint(self.reactor, "10.0.0.1", 3128), "mcp.example.com", 443, b"Basic eA=="
        )
        self.connecting: Deferred[IProtocol] = self.endpoint.connect(_Fixed(self.inner))
        self.transport: Any = _Transport()

    def _connect(self) -> Any:
        protocol = self.reactor.tcpClients[0][2].buildProtocol(None)
        protocol.makeConnection(self.transport)
        return protocol

    def test_tunnel(self) -> None:
        """The proxy is asked, and then what was to be connected is, with all that came behind the answer."""
        protocol = self._connect()
        self.assertEqual(
            b"CONNECT mcp.example.com:443 HTTP/1.1\r\nHost: mcp.example.com:443\r\n"
            b"Proxy-Authorization: Basic eA==\r\n\r\n",
            self.transport.value(),
        )

        for part in (b"HTTP/1.1 200 Connection establ", b"ished\r\nVia: x\r\n\r", b"\nhel", b"lo"):
            protocol.dataReceived(part)

        self.assertIs(self.inner, self.successResultOf(self.connecting))
        self.assertEqual(b"hello", self.inner.data)

    def test_refused(self) -> None:
        """The text says what to do, and the connection is closed."""
        for answer, text in (
            (b"HTTP/1.1 407 Auth\r\n\r\n", "user:password"),
            (b"HTTP/1.1 403 No\r\n\r\n", "(403)"),
            (b"SSH-2.0\r\n\r\n", "not HTTP"),
            (b"HTTP/1.1 200" + b"x" * 20_000, "no end"),
        ):
            self.setUp()
            protocol = self._connect()
            protocol.dataReceived(answer)
            self.assertIn(text, str(self.failureResultOf(self.connecting, NotConnected).value))
            self.assertTrue(self.transport.aborted)

    def test_cancelled(self) -> None:
        """Who does not wait any longer leaves nothing open."""
        self._connect()

        self.connecting.cancel()

        self.failureResultOf(self.connecting)
        self.assertTrue(self.transport.aborted)

    def test_door(self) -> None:
        """It is an endpoint."""
        verifyObject(IStreamClientEndpoint, self.endpoint)
        self.connecting.cancel()
        self.failureResultOf(self.connecting)


class _Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class ClientTests(SynchronousTestCase):
    """How a client goes through one."""

    def test_plain(self) -> None:
        """What is not encrypted goes to the proxy as a whole, under its absolute URL, with the proxy's password."""
        reactor: Any = MemoryReactorClock()
        reactor.nameResolver = _Literal()
        client = http_client(reactor, proxies=ProxyRules.from_environment({"HTTP_PROXY": "http://u:p@10.0.0.9:3128"}))

        asked = client.get("http://mcp.example.com/x", reactor=reactor)
        host, port, factory = reactor.tcpClients[0][:3]
        protocol, transport = factory.buildProtocol(None), _Transport()
        protocol.makeConnection(transport)

        self.assertEqual(("10.0.0.9", 3128), (host, port))
        self.assertTrue(transport.value().startswith(b"GET http://mcp.example.com/x HTTP/1.1\r\n"), transport.value())
        self.assertIn(b"Proxy-Authorization: Basic dTpw\r\n", transport.value())
        self.assertNoResult(asked)

    def test_encrypted(self) -> None:
        """What is encrypted goes through a tunnel; exceptions go straight."""
        reactor: Any = MemoryReactorClock()
        reactor.nameResolver = _Literal()
        rules = ProxyRules.from_environment({"HTTPS_PROXY": "http://10.0.0.9:3128", "NO_PROXY": "10.0.0.7"})
        factory = EndpointFactory(reactor, ConnectionPool(reactor), TrustPolicy(), 10.0, rules)

        for uri in (b"https://mcp.example.com/", b"https://10.0.0.7/"):
            self.assertNoResult(factory.endpointForURI(URI.fromBytes(uri)).connect(Factory.forProtocol(Protocol)))

        self.assertEqual([("10.0.0.9", 3128), ("10.0.0.7", 443)], [one[:2] for one in reactor.tcpClients])


class _Literal:
    """Resolves addresses to themselves."""

    def resolveHostName(self, receiver: Any, host: str, portNumber: int = 0, **_: Any) -> Any:
        receiver.resolutionBegan(self)
        receiver.addressResolved(IPv4Address("TCP", host, portNumber))
        receiver.resolutionComplete()
        return self
