"""
Going through an HTTP proxy: which one, when, and how (RFC 9110, 9.3.6 CONNECT; the variables that curl made common).
"""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from mcpbridge.net.failures import NotConnected

#: Bytes of a proxy's answer; real ones have some hundred, an error page behind it is not read.
_MAX_HEAD = 16 * 1024


@attrs.frozen
class Proxy:
    """
    One proxy.

    @ivar tls: whether it is spoken to over TLS itself.
    @ivar authorization: the value of C{Proxy-Authorization}; L{None} if it wants none.
    """

    host: str
    port: int
    tls: bool = False
    authorization: bytes | None = attrs.field(default=None, repr=False)

    @classmethod
    def from_url(cls, url: str) -> Proxy:
        """
        @param url: C{http://user:password@host:port}; without a scheme it is http.
        @raise ValueError: it is none.
        """
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("a proxy is written as http://host:port")
        authorization = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = b"Basic " + b64encode(pair.encode("utf-8"))
        tls = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls, authorization)

    @property
    def uri(self) -> URI:
        """It, as a place to connect to."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        uri: URI = URI.fromBytes(f"{'https' if self.tls else 'http'}://{host}:{self.port}/".encode("ascii"))
        return uri


@attrs.frozen
class ProxyRules:
    """
    Which proxy for which URL.

    @ivar exceptions: entries of C{NO_PROXY}: hosts, domains, addresses, networks, each maybe with a port; C{*} for all.
    """

    http: Proxy | None = None
    https: Proxy | None = None
    exceptions: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], configured: str | None = None) -> ProxyRules:
        """
        @param configured: for this one upstream, in place of what the environment says; empty: none at all.
        @raise ValueError: a proxy's URL is none.
        """
        if configured is not None:
            proxy = Proxy.from_url(configured) if configured else None
            return cls(proxy, proxy)

        def named(*names: str) -> Proxy | None:
            # In lower case first, as curl has it. HTTP_PROXY in upper case could be a header in a CGI; we are none.
            found = next((environment[name] for name in names if environment.get(name)), "")
            return Proxy.from_url(found) if found else None

        exceptions = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        return cls(
            named("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"),
            named("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
            tuple(entry for entry in exceptions.replace(",", " ").lower().split()),
        )

    def proxy_for(self, scheme: str, host: str, port: int) -> Proxy | None:
        """L{None}: straight there. Loopback always is: no proxy could get there."""
        proxy = self.https if scheme == "https" else self.http
        if proxy is None or _is_loopback(host) or any(_matches(entry, host.lower(), port) for entry in self.exceptions):
            return None
        return proxy

    def proxied(self, url: str) -> bool:
        """Whether a URL is reached through a proxy."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return self.proxy_for(parts.scheme, parts.hostname or "", port) is not None


#: Everything straight.
NO_PROXIES = ProxyRules()


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host.lower() == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    literal = _address(entry)
    if literal is not None:
        return address == literal
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isascii() and wanted.isdigit():
        if int(wanted) != port:
            return False
        entry = name
        literal = _address(entry)
        if literal is not None:
            return address == literal
    suffix = entry.removeprefix("*").removeprefix(".").rstrip(".")
    host = host.rstrip(".")
    return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))


class _Tunnel(Protocol):
    """Asks for a tunnel; when it is there, what was to be connected takes over."""

    def __init__(self, request: bytes, factory: IProtocolFactory, done: Deferred[IProtocol], addr: IAddress) -> None:
        self._request = request
        self._factory = factory
        self._done: Deferred[IProtocol] | None = done
        self._addr = addr
        self._head = b""
        self._inner: IProtocol | None = None

    def connectionMade(self) -> None:
        """The proxy is there."""
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Its answer, then what comes through it."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        if self._done is None:
            return
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if end:
            self._answered(head, rest)
        elif len(self._head) > _MAX_HEAD:
            self.give_up("the proxy's answer has no end")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Gone."""
        if self._inner is not None:
            self._inner.connectionLost(reason)
        else:
            self.give_up("the proxy hung up")

    def give_up(self, text: str) -> None:
        """There will be no tunnel."""
        done, self._done = self._done, None
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]  # TCP and TLS have it
        if done is not None:
            done.errback(NotConnected(text))

    def _answered(self, head: bytes, rest: bytes) -> None:
        words = head.split(b"\r\n")[0].split(b" ", 2)
        status = words[1] if len(words) > 1 and words[0].startswith(b"HTTP/1.") else b""
        if status == b"407":
            self.give_up("the proxy wants a user and a password; put them into its URL: http://user:password@host:port")
        elif len(status) != 3 or not status.startswith(b"2"):
            answer = status.decode("ascii", "replace") if status.isdigit() else "something that is not HTTP"
            self.give_up(f"the proxy refuses the connection ({answer})")
        else:
            self._open(rest)

    def _open(self, rest: bytes) -> None:
        done, self._done = self._done, None
        inner = self._factory.buildProtocol(self._addr)
        if inner is None or done is None:
            assert self.transport is not None
            self.transport.abortConnection()  # type: ignore[attr-defined]  # as above
            return
        self._head, self._inner = b"", inner
        assert self.transport is not None
        inner.makeConnection(self.transport)
        done.callback(inner)
        if rest:
            inner.dataReceived(rest)


@implementer(IStreamClientEndpoint)
@attrs.define(eq=False)
class TunnelEndpoint:
    """
    Connects to a host through a proxy, by CONNECT.

    @ivar _proxy: connects to the proxy.
    """

    _proxy: IStreamClientEndpoint
    _host: str
    _port: int
    _authorization: bytes | None = attrs.field(default=None, repr=False)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        @raise NotConnected: (through the Deferred) the proxy does not let us through.
        """
        host = f"[{self._host}]" if ":" in self._host else self._host
        target = f"{host}:{self._port}".encode("ascii")
        lines = [b"CONNECT " + target + b" HTTP/1.1", b"Host: " + target]
        if self._authorization is not None:
            lines.append(b"Proxy-Authorization: " + self._authorization)
        tunnels: list[_Tunnel] = []

        def cancel(_: Deferred[IProtocol]) -> None:
            connecting.cancel()
            for tunnel in tunnels:
                tunnel.give_up("it was not waited for")

        done: Deferred[IProtocol] = Deferred(cancel)
        request = b"\r\n".join([*lines, b"", b""])

        def make(addr: IAddress) -> _Tunnel:
            tunnels.append(_Tunnel(request, protocolFactory, done, addr))
            return tunnels[-1]

        connecting = self._proxy.connect(_Making(make))
        connecting.addErrback(lambda failure: None if done.called else done.errback(failure))
        return done


class _Making(Factory):
    noisy = False

    def __init__(self, make: Callable[[Any], Protocol]) -> None:
        self._make = make

    def buildProtocol(self, addr: Any) -> Protocol:
        """The proxy is there."""
        return self._make(addr)


@implementer(IAgent)
@attrs.define(eq=False)
class PlainProxyAgent:
    """
    Sends what is not encrypted to a proxy as a whole, as proxies want it; everything else goes on to the agent below.

    @ivar _through: an agent for a proxy, which sends absolute URLs (RFC 9112, 3.2.2).
    """

    _agent: IAgent
    _rules: ProxyRules
    _through: Callable[[Proxy], IAgent]

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Make a request."""
        parsed = URI.fromBytes(uri)
        proxy = self._rules.proxy_for("http", parsed.host.decode("ascii", "replace"), parsed.port)
        if parsed.scheme != b"http" or proxy is None:
            return self._agent.request(method, uri, headers, bodyProducer)
        sent = Headers() if headers is None else headers.copy()
        if proxy.authorization is not None:
            sent.setRawHeaders(b"Proxy-Authorization", [proxy.authorization])
        return self._through(proxy).request(method, uri, sent, bodyProducer)
