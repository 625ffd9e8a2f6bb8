"""
A company's network: everything through a proxy, certificates of its own, and a server that wants to see ours. For
messages and for logins alike.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from twisted.internet import reactor as global_reactor  # noqa: TID251 - a test of the real thing
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.trial.unittest import TestCase
from twisted.web.client import readBody
from twisted.web.http_headers import Headers
from twisted.web.server import Site

from mcpbridge.configuration import HTTPUpstream
from mcpbridge.configuration.authorization import TLS, Authorization
from mcpbridge.core.errors import UpstreamUnavailable
from mcpbridge.net.agent import HTTPClient, PreparedURL
from mcpbridge.net.failures import NotConnected
from mcpbridge.net.producer import MessageProducer
from mcpbridge.service.authorizers import Authorizers
from mcpbridge.service.networks import network_for
from tests.authorization_server import Model, _Server
from tests.net.test_trust import certificate

reactor: Any = global_reactor

_CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}}).encode()


class _Far(Protocol):
    """The end of a tunnel."""

    def __init__(self, near: Any) -> None:
        self._near = near

    def dataReceived(self, data: bytes) -> None:
        self._near.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        self._near.transport.loseConnection()


class _Proxy(Protocol):
    """Takes CONNECT for one host, whose address it alone knows."""

    transport: Any

    def __init__(self, factory: Any) -> None:
        self._factory = factory
        self._head = b""
        self._far: Any = None

    def dataReceived(self, data: bytes) -> None:
        if self._far is not None:
            self._far.transport.write(data)
            return
        self._head += data
        if not self._head.endswith(b"\r\n\r\n"):
            return
        self._factory.heads.append(self._head)
        if not self._head.startswith(b"CONNECT mcp.test:443 HTTP/1.1\r\n"):
            self.transport.write(b"HTTP/1.1 403 No\r\n\r\n")
            self.transport.loseConnection()
            return
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self._factory.port)
        connectProtocol(endpoint, _Far(self)).addCallback(self._connected)

    def connectionLost(self, reason: Any = None) -> None:
        if self._far is not None:
            self._far.transport.loseConnection()

    def _connected(self, far: Any) -> None:
        self._far = far
        self.transport.write(b"HTTP/1.1 200 OK\r\n\r\n")


class _ProxyFactory(Factory):
    noisy = False

    def __init__(self, port: int) -> None:
        self.port = port
        self.heads: list[bytes] = []

    def buildProtocol(self, addr: Any) -> Protocol:
        return _Proxy(self)


class CompanyTests(TestCase):
    """One server behind all that."""

    timeout = 30

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder, 0o700)
        server, ours = certificate("mcp.test"), certificate("me")
        self.ca, self.mine = self._write("ca.pem", server[0]), self._write("me.pem", ours[0] + ours[1])
        self.model = Model(base="https://mcp.test", now=time.time)
        site = Site(_Server(self.model))
        site.noisy = False
        options = PrivateCertificate.loadPEM(server[0] + server[1]).options(Certificate.loadPEM(ours[0]))
        self.server = reactor.listenSSL(0, site, options, interface="127.0.0.1")
        self.proxy = _ProxyFactory(self.server.getHost().port)
        self.proxying = reactor.listenTCP(0, self.proxy, interface="127.0.0.1")
        self.environment = {"HTTPS_PROXY": f"http://me:pw@127.0.0.1:{self.proxying.getHost().port}"}
        self.authorizers = Authorizers(reactor, self.folder, self.environment)
        self.authorizers.start()
        self.clients: list[HTTPClient] = []

    async def tearDown(self) -> None:  # type: ignore[override]  # as above
        for client in self.clients:
            await client.close()
        await self.authorizers.stop()
        await self.proxying.stopListening()
        await self.server.stopListening()

    def _write(self, name: str, data: bytes) -> str:
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    async def _call(self, terms: Authorization) -> str:
        upstream = HTTPUpstream("company", self.model.upstream, authorization=terms)
        self.authorizers.serve([upstream])
        decorate = self.authorizers.decorate(upstream)
        client = network_for(upstream, self.environment).client(reactor, decorate=decorate)
        self.clients.append(client)
        headers = Headers({b"Content-Type": [b"application/json"]})
        url = PreparedURL.prepare(self.model.upstream)
        try:
            response = await client.perform("POST", url, headers, MessageProducer(_CALL), reactor)
        except UpstreamUnavailable as error:
            return error.loss.text
        return str(json.loads(await readBody(response))["result"]["content"][0]["text"])

    async def test_everything(self) -> None:
        """A call, the metadata, the registration, the tokens: all by the proxy, by its CA, with our certificate."""
        terms = Authorization(tls=TLS(self.ca, self.mine))
        text = await self._call(terms)
        url = text.split("open ")[1].split(", or")[0]
        back = self.model.authorize(dict(parse_qsl(urlsplit(url).query)))[1]
        order = json.dumps({"server": "company", "action": "finish", "response": back})

        finished = await self.authorizers.control(f"login {order}")  # type: ignore[misc]  # it is ours

        self.assertEqual("logged in", finished["outcome"])
        self.assertEqual("call 1", await self._call(terms))
        self.assertGreater(len(self.proxy.heads), 4)
        for head in self.proxy.heads:
            self.assertIn(b"\r\nProxy-Authorization: Basic bWU6cHc=\r\n", head)

    async def test_unknown_authority(self) -> None:
        """Without its CA the server is not believed, and sees nothing of us."""
        await self.assertFailure(self._failing(Authorization(tls=TLS(None, self.mine))), NotConnected)

        self.assertEqual(0, sum(self.model.seen.values()))

    async def test_refused_by_proxy(self) -> None:
        """What the proxy says is told."""
        self.model.base = "https://elsewhere.test"

        error = await self.assertFailure(self._failing(Authorization(tls=TLS(self.ca, self.mine))), NotConnected)

        self.assertIn("the proxy refuses the connection (403)", str(error))

    def _failing(self, terms: Authorization) -> Any:
        return Deferred.fromCoroutine(self._call(terms))
