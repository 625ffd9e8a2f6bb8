"""
Tests for L{mcpbridge.downstream.http.site}.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.downstream.http.channel import ChannelFactory
from mcpbridge.downstream.http.settings import endpoint_settings
from mcpbridge.downstream.http.site import Site, open_site
from mcpbridge.interfaces import IClientTransport
from tests.downstream.http.world import Wire


class Reactor(MemoryReactorClock):
    """
    A machine.

    @ivar troubles: the error of an address at which nobody can listen.
    """

    def __init__(self, troubles: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.troubles = troubles or {}

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if interface in self.troubles:
            number = self.troubles[interface]
            raise CannotListenError(interface, port, OSError(number, os.strerror(number)))
        return super().listenTCP(port, factory, backlog, interface)


def nobody(server: str, transport: IClientTransport) -> None:
    raise ConfigurationError("there is no server")


class SiteTests(SynchronousTestCase):
    """The endpoint's ports."""

    def open(self, reactor: Reactor, http: str, authentication: str = "none") -> Site:
        settings = endpoint_settings(http, authentication)
        assert settings is not None
        return open_site(reactor, settings, self.mktemp(), nobody)

    def test_address(self) -> None:
        """It listens where it is told to, and says where that is."""
        reactor = Reactor()

        site = self.open(reactor, "127.0.0.1:8808")

        self.assertEqual([(8808, "127.0.0.1")], [(server[0], server[3]) for server in reactor.tcpServers])
        self.assertEqual(1, len(site.urls))
        self.assertEqual({"connections": 0, "sessions": 0, "stateless_clients": 0}, site.counts())

    def test_localhost(self) -> None:
        """localhost is both of its addresses, or the one that there is."""
        both, one = Reactor(), Reactor({"::1": errno.EADDRNOTAVAIL})

        self.open(both, "localhost:8808")
        self.open(one, "localhost:8808")

        self.assertEqual(["127.0.0.1", "::1"], [server[3] for server in both.tcpServers])
        self.assertEqual(["127.0.0.1"], [server[3] for server in one.tcpServers])

    def test_in_use(self) -> None:
        """A port that somebody else has is an error that says so; and on half of localhost it is too."""
        for troubles in ({"127.0.0.1": errno.EADDRINUSE}, {"::1": errno.EADDRINUSE}):
            error = self.assertRaises(ConfigurationError, self.open, Reactor(troubles), "localhost:8808")
            self.assertIn("another program", str(error))

    def test_not_allowed(self) -> None:
        """Another reason is told as it is."""
        error = self.assertRaises(ConfigurationError, self.open, Reactor({"127.0.0.1": errno.EACCES}), "127.0.0.1:80")

        self.assertIn("Permission denied", str(error))

    def test_token(self) -> None:
        """With a token there is a file of it, and requests without are refused."""
        reactor = Reactor()
        settings = endpoint_settings("127.0.0.1:8808", "token")
        assert settings is not None
        folder = self.mktemp()

        open_site(reactor, settings, folder, nobody)

        self.assertEqual(["http-token"], os.listdir(folder))

    def test_stop(self) -> None:
        """Connections are closed, and those that do not close are cut; then it is over."""
        reactor = Reactor()
        site = self.open(reactor, "127.0.0.1:8808")
        factory = reactor.tcpServers[0][1]
        assert isinstance(factory, ChannelFactory)
        channel = factory.buildProtocol(None)
        assert channel is not None
        wire = Wire(reactor)
        wire.protocol = channel  # type: ignore[assignment]  # it is a Channel
        channel.makeConnection(wire)
        self.assertEqual(1, site.counts()["connections"])

        stopped, again = site.stop(), site.stop()
        self.assertNoResult(stopped)
        reactor.pump([0, 0])

        self.successResultOf(stopped)
        self.successResultOf(again)
        self.assertEqual([], reactor.getDelayedCalls())
