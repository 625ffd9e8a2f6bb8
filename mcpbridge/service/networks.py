"""
How a server is reached: through which proxy, and by which certificates. The same for its messages and for its logins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.logger import Logger
from twisted.web.iweb import IAgent

from mcpbridge.configuration import HTTPUpstream
from mcpbridge.configuration.authorization import TLS
from mcpbridge.net.agent import HTTPClient, http_client
from mcpbridge.net.proxy import NO_PROXIES, ProxyRules
from mcpbridge.net.trust import TrustPolicy

_log = Logger()


@attrs.frozen
class Network:
    """
    @ivar policy: L{None}: the system's certificates, and none of ours.
    """

    proxies: ProxyRules = NO_PROXIES
    policy: TrustPolicy | None = None

    def client(self, reactor: Any, *, decorate: Callable[[IAgent], IAgent] | None = None) -> HTTPClient:
        """A client that goes this way."""
        if self.policy is None:
            return http_client(reactor, decorate=decorate, proxies=self.proxies)
        return http_client(reactor, policy=self.policy, decorate=decorate, proxies=self.proxies)


def network_for(upstream: HTTPUpstream, environment: Mapping[str, str]) -> Network:
    """How to reach this server. A proxy in the environment that cannot be understood is left aside, with a word."""
    terms = upstream.authorization
    policy = None
    if terms.tls != TLS():
        policy = TrustPolicy(terms.tls.ca_file, terms.tls.cert_file, terms.tls.key_file)
    try:
        proxies = ProxyRules.from_environment(environment, terms.proxy)
    except ValueError as error:
        # Its text may have a password in it, so it is not shown.
        _log.error("{name}: no proxy is used: {error}", name=upstream.name, error=str(error))
        proxies = NO_PROXIES
    return Network(proxies, policy)
