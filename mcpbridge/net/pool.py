"""
The connections of one HTTP client.

Twisted's pool, plus: every connection is known and can be closed, none is used that the peer has left, and a
handshake is part of connecting, with the same deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, cast

from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web.client import URI, HTTPConnectionPool
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from mcpbridge.net.connection import Connection, ConnectionFactory
from mcpbridge.net.failures import NotConnected
from mcpbridge.net.identity import NamedHost
from mcpbridge.net.proxy import NO_PROXIES, ProxyRules, TunnelEndpoint

#: Seconds. Node closes an idle connection after 5, uvicorn too; a request on one that is being closed is lost.
IDLE = 4

#: Seconds to resolve, connect and shake hands.
CONNECT = 10.0

#: Idle connections that are kept for one host; bounded anyway by how many requests are made at once.
MAX_IDLE = 64


class ConnectionPool(HTTPConnectionPool):
    """All connections of one client, idle and busy."""

    def __init__(self, reactor: IReactorTime) -> None:
        super().__init__(reactor, persistent=True)
        # A POST is never repeated by us, and a GET is repeated by whoever knows what for.
        self.retryAutomatically = False
        self.cachedConnectionTimeout = IDLE
        self.maxPersistentPerHost = MAX_IDLE
        self._open: dict[IProtocol, Connection] = {}
        self._closed: list[Deferred[None]] = []

    def getConnection(self, key: Hashable, endpoint: IStreamClientEndpoint) -> Deferred[Any]:
        """
        A connection that the peer has not left, as far as the kernel knows.
        """
        return super().getConnection(key, endpoint).addCallback(self._checked, key, endpoint)

    def _checked(self, http: IProtocol, key: Hashable, endpoint: IStreamClientEndpoint) -> Connection | Deferred[Any]:
        connection = self._open.get(http)
        if connection is None:
            return self.getConnection(key, endpoint)
        if connection.stale:
            connection.abort()
            return self.getConnection(key, endpoint)
        return connection

    def made(self, connection: Connection) -> Callable[[], None]:
        """A connection was made; the result is to be called when it is lost."""
        http = cast(IProtocol, connection.http)
        self._open[http] = connection

        def lost() -> None:
            del self._open[http]
            if not self._open:
                waiting, self._closed = self._closed, []
                if waiting:
                    # A response may have been completed on the way out, and its connection kept.
                    self.closeCachedConnections()
                for closed in waiting:
                    closed.callback(None)

        return lost

    def close(self) -> Deferred[None]:
        """
        Close every connection, at once. Fires when none is left.
        """
        # What is idle is in our table too; here it is only to forget it.
        self.closeCachedConnections()
        if not self._open:
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._closed.append(closed)
        for connection in list(self._open.values()):
            connection.abort()
        return closed


@implementer(IAgentEndpointFactory)
class EndpointFactory:
    """Makes an endpoint for each request. Cheap, since most requests find an idle connection and never connect."""

    def __init__(
        self,
        reactor: Any,
        pool: ConnectionPool,
        policy: IPolicyForHTTPS,
        connect_timeout: float = CONNECT,
        proxies: ProxyRules = NO_PROXIES,
    ) -> None:
        """
        @param reactor: resolves names and connects.
        @param policy: how TLS peers are verified.
        @param connect_timeout: seconds to resolve, connect and shake hands.
        @param proxies: which hosts are reached through a tunnel.
        """
        self._reactor = reactor
        self._pool = pool
        self._policy = policy
        self._connect_timeout = connect_timeout
        self._proxies = proxies

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """
        Where to connect for this URI.

        @raise SchemeNotSupported: neither http nor https.
        """
        if uri.scheme not in (b"http", b"https"):
            raise SchemeNotSupported(f"unsupported scheme: {uri.scheme!r}")
        return _Endpoint(self._reactor, self._pool, self._policy, self._connect_timeout, uri, self._proxies)


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(
        self,
        reactor: Any,
        pool: ConnectionPool,
        policy: IPolicyForHTTPS,
        connect_timeout: float,
        uri: URI,
        proxies: ProxyRules,
    ) -> None:
        self._reactor = reactor
        self._pool = pool
        self._policy = policy
        self._connect_timeout = connect_timeout
        self._uri = uri
        self._proxies = proxies

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Connect, over TLS if the scheme says so.

        @raise NotConnected: (through the Deferred) it did not come about; the text says why.
        """
        connecting = Deferred.fromCoroutine(self._connect(protocolFactory))
        connecting.addTimeout(self._connect_timeout, self._reactor)
        return connecting.addErrback(self._failed)

    async def _connect(self, protocolFactory: IProtocolFactory) -> IProtocol:
        tls = self._uri.scheme == b"https"
        factory = ConnectionFactory(protocolFactory, self._reactor, tls=tls, made=self._pool.made)
        endpoint = self._endpoint_for(self._uri.host.decode("ascii"))
        if tls:
            endpoint = self._over_tls(self._uri.host, self._uri.port, endpoint)
        connection = cast(Connection, await endpoint.connect(factory))
        await connection.ready
        return cast(IProtocol, connection.http)

    def _endpoint_for(self, host: str) -> IStreamClientEndpoint:
        """To a host, or to a tunnel that leads there. What is not encrypted needs none: the proxy reads it anyway."""
        proxy = self._proxies.proxy_for("https", host, self._uri.port) if self._uri.scheme == b"https" else None
        if proxy is None:
            return self._straight_to(host, self._uri.port)
        endpoint = self._straight_to(proxy.host, proxy.port)
        if proxy.tls:
            endpoint = self._over_tls(proxy.host.encode("ascii"), proxy.port, endpoint)
        return TunnelEndpoint(endpoint, host, self._uri.port, proxy.authorization)

    def _straight_to(self, host: str, port: int) -> IStreamClientEndpoint:
        # The deadline is that of the whole; this one, of a single attempt among several addresses, is not to be
        # shorter.
        return HostnameEndpoint(self._reactor, host, port, timeout=self._connect_timeout + 1)

    def _over_tls(self, host: bytes, port: int, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        creator = NamedHost(self._policy.creatorForNetloc(host, port), host.decode("ascii"))
        over: IStreamClientEndpoint = wrapClientTLS(creator, endpoint, self._reactor)
        return over

    def _failed(self, failure: Failure) -> Failure:
        where = f"{self._uri.host.decode('ascii', 'replace')}:{self._uri.port}"
        text = f"cannot connect to {where}: {_why(failure, self._connect_timeout)}"
        return Failure(NotConnected(text, refused=isinstance(failure.value, Refused)))


def _why(failure: Failure, seconds: float) -> str:
    error = failure.value
    if isinstance(error, TimeoutError | ConnectTimeout | ConnectingCancelledError):
        return f"no answer within {seconds:g} s"
    if isinstance(error, DNSLookupError):
        return "the host name cannot be resolved"
    if isinstance(error, ConnectError):
        # "Connection was refused by other side: 111: Connection refused." and the like.
        return str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__
    if isinstance(error, VerificationError):
        return "its certificate is for another host name"
    if isinstance(error, CertificateError):
        return "its certificate names no host"
    if isinstance(error, SSL.Error):
        # A list of library, function and reason; the function has been empty for years.
        reasons = [str(entry[-1]) for entry in error.args[0]] if error.args else []
        return f"TLS failed: {', '.join(reasons) or type(error).__name__}"
    text = str(error) or type(error).__name__
    return " ".join(text.split())[:200]
