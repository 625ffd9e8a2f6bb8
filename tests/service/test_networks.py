"""
Tests of L{mcpbridge.service.networks}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IAgent

from mcpbridge.configuration import HTTPUpstream
from mcpbridge.configuration.authorization import TLS, Authorization
from mcpbridge.net.agent import HTTPClient
from mcpbridge.net.proxy import NO_PROXIES, Proxy, ProxyRules
from mcpbridge.net.trust import TrustPolicy
from mcpbridge.service.networks import Network, network_for

_OURS = Proxy("ours", 3128)
_THEIRS = Proxy("theirs", 8080)


def _upstream(**terms: Any) -> HTTPUpstream:
    return HTTPUpstream("it", "https://mcp.example.com/mcp", authorization=Authorization(**terms))


class NetworkForTests(SynchronousTestCase):
    """How a server is reached."""

    def test_proxies(self) -> None:
        """What is configured for the server comes before the environment; empty means none at all."""
        environment = {"HTTPS_PROXY": "http://theirs:8080", "NO_PROXY": "localhost"}
        for configured, found in (
            (None, ProxyRules(None, _THEIRS, ("localhost",))),
            ("http://ours:3128", ProxyRules(_OURS, _OURS)),
            ("", ProxyRules()),
        ):
            self.assertEqual(Network(found), network_for(_upstream(proxy=configured), environment), configured)
        self.assertEqual(Network(NO_PROXIES), network_for(_upstream(), {}))

    def test_no_proxy_at_all(self) -> None:
        """A variable that nobody understands is left aside; the log says so, without the password in it."""
        with capturedLogs() as logs:
            found = network_for(_upstream(), {"HTTPS_PROXY": "socks5://me:hush@theirs:1080"})

        self.assertEqual(Network(NO_PROXIES), found)
        ((level, name, error),) = [(event["log_level"], event["name"], event["error"]) for event in logs]
        self.assertEqual((LogLevel.error, "it", False), (level, name, "hush" in error))

    def test_certificates(self) -> None:
        """Only who configures some gets a policy other than the system's, with the files as they are named."""
        self.assertIsNone(network_for(_upstream(), {}).policy)
        for tls in (TLS(ca_file="/ca"), TLS(cert_file="/cert", key_file="/key"), TLS("/ca", "/cert", "/key")):
            policy = network_for(_upstream(tls=tls), {}).policy

            assert isinstance(policy, TrustPolicy)
            self.assertEqual(tls, TLS(policy._ca_file, policy._cert_file, policy._key_file))


class NetworkTests(SynchronousTestCase):
    """The client that goes this way."""

    def test_client(self) -> None:
        """With a policy or without, what authorizes is put round it."""
        decorated: list[IAgent] = []

        def decorate(agent: IAgent) -> IAgent:
            decorated.append(agent)
            return agent

        for network in (Network(), Network(ProxyRules(_OURS, _OURS)), Network(policy=TrustPolicy("/ca"))):
            client = network.client(MemoryReactorClock(), decorate=decorate)

            self.assertIsInstance(client, HTTPClient)
            self.successResultOf(client.close())
        self.assertEqual(3, len(decorated))
