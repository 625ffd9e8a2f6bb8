"""
Tests of L{mcpbridge.oauth.callback}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.errors import LoginRefused
from mcpbridge.oauth.callback import Callback


class _Reactor(MemoryReactorClock):
    """One on which ports can be taken."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: set[int] = set()
        self.listening: dict[int, Any] = {}

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        assert interface == "127.0.0.1"
        if port in self.taken:
            raise CannotListenError(interface, port, OSError("taken"))
        number = port or 40000 + len(self.listening)
        self.listening[number] = factory
        return _Port(self, number)


class _Port:
    def __init__(self, reactor: _Reactor, number: int) -> None:
        self._reactor, self._number = reactor, number

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", self._number)

    def stopListening(self) -> None:
        del self._reactor.listening[self._number]


class _Transport(StringTransport):
    def getHost(self) -> Any:
        return IPv4Address("TCP", "127.0.0.1", 1)

    def getPeer(self) -> Any:
        return IPv4Address("TCP", "127.0.0.1", 2)

    def loseConnection(self) -> None:
        self.disconnecting = True

    def setTcpNoDelay(self, on: bool) -> None:
        pass


class CallbackTests(SynchronousTestCase):
    """Where a browser comes back."""

    def setUp(self) -> None:
        self.reactor = _Reactor()
        self.answers: list[str] = []
        self.result: Deferred[object] = succeed(None)
        self.callback = Callback(self.reactor, self._answer)

    def _answer(self, url: str) -> Deferred[object]:
        self.answers.append(url)
        return self.result

    def _get(self, request: bytes, port: int = 40000) -> bytes:
        protocol = self.reactor.listening[port].buildProtocol(IPv4Address("TCP", "127.0.0.1", 2))
        transport = _Transport()
        protocol.makeConnection(transport)
        protocol.dataReceived(request + b" HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        shown: bytes = transport.value()
        return shown

    def test_answer(self) -> None:
        """A browser brings an answer; what it is shown is always the same."""
        self.assertEqual("http://127.0.0.1:40000/callback", self.callback.redirect_uri(self, None, None, None))

        page = self._get(b"GET /callback?code=%3Cscript%3E&state=s")

        self.assertEqual(["http://127.0.0.1/callback?code=%3Cscript%3E&state=s"], self.answers)
        self.assertTrue(page.startswith(b"HTTP/1.1 200 "))
        self.assertIn(
            b"Content-Security-Policy: default-src 'none'",
            page.replace(b"content-security-policy", b"Content-Security-Policy"),
        )
        self.assertNotIn(b"script", page)

    def test_refused(self) -> None:
        """An answer that is none gets a page without a reason; the log has it."""
        self.callback.redirect_uri(self, None, None, None)
        self.result = fail(LoginRefused("not ours", final=False))

        page = self._get(b"GET /callback?error=%3Cb%3E")

        self.assertTrue(page.startswith(b"HTTP/1.1 400 "))
        self.assertNotIn(b"not ours", page)

    def test_broken(self) -> None:
        """So does a fault of ours."""
        self.callback.redirect_uri(self, None, None, None)
        self.result = fail(KeyError("x"))

        page = self._get(b"GET /callback?code=x")

        self.assertTrue(page.startswith(b"HTTP/1.1 400 "))
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))

    def test_nothing_else(self) -> None:
        """Other paths and methods, and requests without an answer, are nobody's."""
        self.callback.redirect_uri(self, None, None, None)

        for request in (
            b"GET /",
            b"GET /callback",
            b"GET /favicon.ico?x=1",
            b"POST /callback?code=x",
            b"GET //callback?x=1",
        ):
            self.assertTrue(self._get(request).startswith(b"HTTP/1.1 404 "), request)
        self.assertEqual([], self.answers)

    def test_shared(self) -> None:
        """A port is open while somebody waits on it, and no longer."""
        for user in ("a", "b"):
            self.callback.redirect_uri(user, 3118, None, None)

        self.callback.release("a")
        self.assertEqual({3118}, set(self.reactor.listening))
        self.callback.close()
        self.assertEqual({}, self.reactor.listening)

    def test_ports(self) -> None:
        """The one configured, the one used last, any; and if none can be had there is still pasting."""
        last = "http://127.0.0.1:5000/callback"

        self.assertEqual("http://127.0.0.1:3118/callback", self.callback.redirect_uri("a", 3118, None, last))
        self.assertEqual(last, self.callback.redirect_uri("b", None, None, last))
        self.reactor.taken |= {3119, 5001}
        self.assertEqual("http://127.0.0.1:3119/callback", self.callback.redirect_uri("c", 3119, None, None))
        moved = self.callback.redirect_uri("d", None, None, "http://127.0.0.1:5001/callback")
        self.assertNotIn("5001", moved)
        self.reactor.taken.add(0)
        self.assertEqual("http://127.0.0.1:1/callback", self.callback.redirect_uri("e", None, None, None))

    def test_again(self) -> None:
        """Who begins anew keeps the port: a closed one is not free at once. Another one is closed."""
        before = self.callback.redirect_uri(self, 3118, None, None)
        listener = self.reactor.listening[3118]

        self.assertEqual(before, self.callback.redirect_uri(self, 3118, None, None))
        self.assertEqual(before, self.callback.redirect_uri(self, None, None, before))
        self.assertIs(listener, self.reactor.listening[3118])
        self.callback.redirect_uri(self, 3119, None, None)
        self.assertEqual({3119}, set(self.reactor.listening))

    def test_public(self) -> None:
        """A public URL ends up at a port here, at its own path, or nowhere."""
        public = "https://cb.example.com/back"

        self.assertEqual(public, self.callback.redirect_uri("a", None, public, None))
        self.assertEqual({}, self.reactor.listening)
        self.assertEqual(public, self.callback.redirect_uri("a", 3118, public, None))
        self.assertTrue(self._get(b"GET /back?code=x", 3118).startswith(b"HTTP/1.1 200 "))
        local = "http://localhost:3200/cb"
        self.assertEqual(local, self.callback.redirect_uri("b", None, local, None))
        self.assertIn(3200, self.reactor.listening)

    def test_crowd(self) -> None:
        """No more come in than a browser needs."""
        self.callback.redirect_uri(self, None, None, None)
        made = []

        for _ in range(20):
            protocol = self.reactor.listening[40000].buildProtocol(IPv4Address("TCP", "127.0.0.1", 2))
            if protocol is not None:
                protocol.makeConnection(_Transport())
                made.append(protocol)

        self.assertEqual(16, len(made))
        for protocol in made:
            protocol.connectionLost(Failure(ConnectionDone()))
