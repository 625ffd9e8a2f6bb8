"""
Tests for L{mcpbridge.net.agent}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from zope.interface import implementer

from mcpbridge.net.agent import HTTPClient, PreparedURL, http_client
from mcpbridge.net.producer import MessageProducer
from tests.upstream.httpworld import World


class PreparedURLTests(SynchronousTestCase):
    """URLs that are parsed once."""

    def test_same_text(self) -> None:
        """
        What goes out is what treq would have made of the text.
        """
        for url, prepared in [
            ("http://h/a?b=c&d", "http://h/a?b=c&d"),
            ("https://h:443/a%20b", "https://h:443/a%20b"),
            ("http://bücher.example/ü?ü", "http://xn--bcher-kva.example/%C3%BC?%C3%BC"),
            ("http://[::1]:8080/", "http://[::1]:8080/"),
        ]:
            made = PreparedURL.prepare(url)
            self.assertEqual(prepared, made.to_text())
            self.assertIs(made, made.to_uri())


@implementer(IAgent)
class Recorder:
    """Notes what goes through."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent
        self.asked: list[bytes] = []

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[Any]:
        """Note it, and never answer."""
        self.asked.append(uri)
        return Deferred()


class HTTPClientTests(SynchronousTestCase):
    """Clients."""

    def test_perform(self) -> None:
        """
        The body is written at once, headers are not changed, redirects not followed.
        """
        world = World()
        headers = Headers({"X": ["y"]})

        response: Any = world.client.perform(
            "POST", PreparedURL.prepare("http://server/a"), headers, MessageProducer(b"abc"), world.clock
        )
        asked, wire = world.take()
        wire.answers(302, Location="http://server/b")

        self.assertEqual(("POST", "/a", b"abc"), (asked.method, asked.target, asked.body))
        self.assertEqual([(b"X", [b"y"])], list(headers.getAllRawHeaders()))
        self.assertEqual(302, self.successResultOf(response).code)
        self.assertEqual([], world.asked())

    def test_cookies(self) -> None:
        """
        They stay with the client, as a load balancer wants; another client has none of them.
        """
        one, other = World(), World()
        url = PreparedURL.prepare("http://server/a")
        one.client.perform("GET", url, Headers(), None, one.clock)
        one.take()[1].answers(200, Set_Cookie="node=7; Path=/")

        one.client.perform("GET", url, Headers(), None, one.clock)
        other.client.perform("GET", url, Headers(), None, other.clock)

        self.assertEqual("node=7", one.take()[0].headers["cookie"])
        self.assertNotIn("cookie", other.take()[0].headers)

    def test_cookies_are_bounded(self) -> None:
        """
        A server cannot fill our memory with them.
        """
        world = World()
        url = PreparedURL.prepare("http://server/a")
        for n in range(120):
            world.client.perform("GET", url, Headers(), None, world.clock)
            world.take()[1].answers(200, Set_Cookie=f"c{n}=x; Path=/")

        world.client.perform("GET", url, Headers(), None, world.clock)

        self.assertLessEqual(len(world.take()[0].headers["cookie"].split(";")), 50)

    def test_decorated(self) -> None:
        """
        What decorates the agent sees every request.
        """
        recorders: list[Recorder] = []

        def decorate(agent: IAgent) -> IAgent:
            recorders.append(Recorder(agent))
            return recorders[0]

        reactor = MemoryReactorClock()
        client = http_client(reactor, decorate=decorate)
        client.perform("GET", PreparedURL.prepare("http://h/a"), Headers(), None, reactor)

        self.assertEqual([b"http://h/a"], recorders[0].asked)

    def test_without_pool(self) -> None:
        """
        A client on somebody else's agent has nothing to close.
        """
        agent: Any = Recorder(None)  # type: ignore[arg-type]  # It asks nobody.

        self.successResultOf(HTTPClient(agent).close())
        self.assertEqual([], Clock().getDelayedCalls())
