"""
The one place where HTTP clients are made.

treq is the face that everybody sees; under it stand, from the outside in: a decoration of the caller's choice
(proxies and authorization find their place there), the bounded decoder of bodies, and Twisted's Agent on our own
pool. The reactor is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from http.cookiejar import Cookie, CookieJar
from typing import Any

from hyperlink import EncodedURL
from treq.client import HTTPClient as TreqClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred, succeed
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    CookieAgent,
    HostnameCachingHTTPSPolicy,
    ProxyAgent,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from mcpbridge.net.inflate import IdentityAgent
from mcpbridge.net.pool import CONNECT, ConnectionPool, EndpointFactory
from mcpbridge.net.producer import MessageProducer, body_producer
from mcpbridge.net.proxy import NO_PROXIES, PlainProxyAgent, ProxyRules

#: Shared, since making the context for a host reads all trusted certificates anew.
_POLICY = HostnameCachingHTTPSPolicy(BrowserLikePolicyForHTTPS(), cacheSize=256)


#: Browsers keep 50 and more for a site, and it is one site here.
_MAX_COOKIES = 50


class PreparedURL(EncodedURL):
    """
    A URL that is parsed once, not by every request that is made with it: that would be a fifth of the cost of a
    request.
    """

    _prepared: str | None = None

    def to_uri(self) -> EncodedURL:
        """Itself, since it is one already."""
        return self

    def to_text(self, with_password: bool = False) -> str:
        """The text that it was made of."""
        return super().to_text(with_password) if self._prepared is None else self._prepared

    @classmethod
    def prepare(cls, url: str) -> PreparedURL:
        """
        @param url: an absolute URL; characters beyond ASCII are encoded.
        @raise hyperlink.URLParseError: it is none.
        """
        # Only then: to_uri() takes the colons of an IPv6 address for letters of a name, and refuses them.
        text = url if url.isascii() else EncodedURL.from_text(url).to_uri().to_text()
        prepared = cls.from_text(text)
        assert isinstance(prepared, cls)
        prepared._prepared = text
        return prepared


def prepared_headers(url: PreparedURL) -> Headers:
    """What every request to this URL has, so that it need not be found out and added each time (RFC 9110, 7.2)."""
    parsed = URI.fromBytes(url.to_text().encode("ascii"))
    host = b"[%b]" % parsed.host if b":" in parsed.host else parsed.host
    if parsed.port != (443 if parsed.scheme == b"https" else 80):
        host = b"%b:%d" % (host, parsed.port)
    return Headers({b"Host": [host], b"Accept-Encoding": [b"identity"]})


class _Jar(IndexableCookieJar):
    """Keeps the few cookies by which load balancers know a client, and no more."""

    def set_cookie(self, cookie: Cookie) -> None:
        """Keep one; who sends too many begins anew."""
        if len(self) >= _MAX_COOKIES:
            self.clear()
        super().set_cookie(cookie)


@implementer(IAgent)
class _Answered:
    """Has the response already: for whoever looks at responses only."""

    def __init__(self, response: IResponse) -> None:
        self._response = response

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """See L{IAgent}."""
        return succeed(self._response)


class HTTPClient(TreqClient):
    """
    A treq client with its own connections and cookies: make one for each upstream session, and close it at the end.
    """

    def __init__(self, agent: IAgent, pool: ConnectionPool | None = None) -> None:
        self._jar = _Jar()
        super().__init__(agent, cookiejar=self._jar, data_to_body_producer=body_producer)
        self._bare = agent
        self._pool = pool
        self._no_cookies = CookieJar()

    def perform(
        self, method: str, url: PreparedURL, headers: Headers, body: MessageProducer | None, reactor: Any
    ) -> Deferred[IResponse]:
        """
        Make a request as every one of ours is made: redirects are for the caller to judge, and bodies are read as
        they come.

        @param headers: not changed. Those of L{prepared_headers} need not be copied, which every call would feel.
        """
        if not len(self._jar):
            # What treq would add is cookies, of which there are none; without it a call costs a fifth less.
            uri = url.to_text().encode("ascii")
            own = headers if headers.hasHeader(b"Host") else headers.copy()
            bare = self._bare.request(method.encode("ascii"), uri, own, body)
            return bare.addCallback(self._keep_cookies, method.encode("ascii"), uri)
        response: Deferred[Any] = self.request(
            method,
            url,
            headers=headers,
            data=body,
            # Else treq makes a jar for each request.
            cookies=self._no_cookies,
            allow_redirects=False,
            unbuffered=True,
            reactor=reactor,
        )
        return response

    def _keep_cookies(self, response: IResponse, method: bytes, uri: bytes) -> IResponse | Deferred[IResponse]:
        if not response.headers.hasHeader(b"set-cookie"):
            return response
        answered: Deferred[IResponse] = CookieAgent(_Answered(response), self._jar).request(method, uri)
        return answered

    def close(self) -> Deferred[None]:
        """Close all connections at once. Fires when none is left."""
        return succeed(None) if self._pool is None else self._pool.close()


def http_client(
    reactor: Any,
    *,
    policy: IPolicyForHTTPS = _POLICY,
    decorate: Callable[[IAgent], IAgent] | None = None,
    connect_timeout: float = CONNECT,
    proxies: ProxyRules = NO_PROXIES,
) -> HTTPClient:
    """
    Make a client.

    @param reactor: resolves names, connects and keeps time.
    @param policy: how TLS servers are verified: by the system's certificates, if nothing is said.
    @param decorate: an agent round ours, for what every request needs, such as authorization.
    @param connect_timeout: seconds to resolve, connect and shake hands.
    @param proxies: what is reached through a proxy.
    """
    pool = ConnectionPool(reactor)
    endpoints = EndpointFactory(reactor, pool, policy, connect_timeout, proxies)
    agent: IAgent = Agent.usingEndpointFactory(reactor, endpoints, pool)
    if proxies.http is not None:
        agent = PlainProxyAgent(
            agent, proxies, lambda proxy: ProxyAgent(endpoints.endpointForURI(proxy.uri), reactor, pool)
        )
    agent = IdentityAgent(agent)
    if decorate is not None:
        agent = decorate(agent)
    return HTTPClient(agent, pool)
