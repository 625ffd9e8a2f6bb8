"""
Tests of L{mcpbridge.oauth.callback}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import succeed
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.oauth.callback import Callback
from tests.oauth.browser import get


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


class CallbackTests(SynchronousTestCase):
    """Where a browser comes back."""

    def setUp(self) -> None:
        self.reactor = _Reactor()
        self.callback = Callback(self.reactor, succeed)

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
        page = get(self.reactor.listening[3118], b"GET /back?code=x")
        self.assertTrue(page.startswith(b"HTTP/1.1 200 "))
        local = "http://localhost:3200/cb"
        self.assertEqual(local, self.callback.redirect_uri("b", None, local, None))
        self.assertIn(3200, self.reactor.listening)

    def test_paths(self) -> None:
        """Public URLs that end up at one port have a page each."""
        for name in ("a", "b"):
            self.callback.redirect_uri(name, 3118, f"https://cb.example.com/{name}", None)

        for path, status in ((b"/a", b"200"), (b"/b", b"200"), (b"/c", b"404")):
            page = get(self.reactor.listening[3118], b"GET " + path + b"?code=x")
            self.assertTrue(page.startswith(b"HTTP/1.1 " + status + b" "), path)
