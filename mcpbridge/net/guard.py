"""
Fetching what a server names: metadata, token endpoints, registration. The one way to such a URL, at every step of a
login and at every refresh.

A hostile server would have us ask things inside our own network for it. So: the scheme is https, the host is resolved
and what is not a public address is refused, the connection goes to the very address that was checked, no redirect is
followed, and there is a bound for size and time. Exceptions are for what the user configured, never for what a server
says.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface import implementer

from mcpbridge.core.bindings.http import ResponseHead, retry_after
from mcpbridge.core.oauth.errors import UntrustedURL
from mcpbridge.core.oauth.urls import URLPolicy, is_loopback, shown
from mcpbridge.net.addresses import AddressRule, is_literal, spelled_out
from mcpbridge.net.agent import HTTPClient, PreparedURL
from mcpbridge.net.body import BodyReader
from mcpbridge.net.failures import BodyTooLarge, HTTPFailure
from mcpbridge.net.producer import MessageProducer

#: Bytes of one document. The largest metadata seen have 8 KiB; token answers with several JWTs 20.
MAX_DOCUMENT = 64 * 1024

#: Seconds for one document, from resolving its host to its last byte. A human may be waiting.
DEADLINE = 10.0


class FetchRefused(HTTPFailure):
    """It was not fetched, since it must not be. Trying again is of no use until the configuration changes."""


class FetchFailed(HTTPFailure):
    """It could not be fetched now."""


@attrs.frozen
class Document:
    """
    What came.

    @ivar retry_after: seconds the server asks us to wait; L{None} if it does not say.
    @ivar challenges: the values of C{WWW-Authenticate}.
    """

    status: int
    body: bytes = attrs.field(repr=False)
    retry_after: float | None = None
    challenges: tuple[str, ...] = ()


@implementer(IResolutionReceiver)
class _Sieve:
    """Lets through the addresses that may be connected to."""

    def __init__(self, receiver: Any, permits: Callable[[str], bool], refused: list[str]) -> None:
        self._receiver = receiver
        self._permits = permits
        self._refused = refused

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """It begins."""
        self._receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: IAddress) -> None:
        """One address."""
        assert isinstance(address, IPv4Address | IPv6Address)
        if self._permits(address.host):
            self._receiver.addressResolved(address)
        else:
            self._refused.append(address.host)

    def resolutionComplete(self) -> None:
        """That was all."""
        self._receiver.resolutionComplete()


@implementer(IHostnameResolver)
class GuardedResolver:
    """
    A resolver that knows only addresses that may be connected to. Addresses in place of names go through it as well.

    @ivar refused: the addresses that it has kept back.
    """

    def __init__(self, resolver: IHostnameResolver, permits: Callable[[str, str], bool]) -> None:
        self.refused: list[str] = []
        self._resolver = resolver
        self._permits = permits

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """See L{IHostnameResolver}."""
        sieve = _Sieve(resolutionReceiver, lambda address: self._permits(hostName, address), self.refused)
        resolution: IHostResolution = self._resolver.resolveHostName(
            sieve, hostName, portNumber, addressTypes, transportSemantics
        )
        return resolution


@implementer(IReactorPluggableNameResolver)
class GuardedReactor:
    """
    The reactor, but for how it resolves names: whatever connects with it connects to what was checked, to nothing else.
    """

    def __init__(self, reactor: Any, resolver: IHostnameResolver) -> None:
        self.nameResolver = resolver
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Not here."""
        raise NotImplementedError("a guarded reactor keeps its resolver")


@attrs.define(eq=False)
class GuardedFetcher:
    """
    Fetches for one upstream.

    @ivar _reactor: resolves names, connects and keeps time.
    @ivar _make_client: an HTTP client on the reactor that it is given; made anew for each document and closed after it,
        so that no connection outlives the check of its address.
    @ivar _proxied: whether a URL is reached through a proxy, which then resolves its host; such a host is judged by its
        spelling alone, and what the proxy can reach is for those who run it to say.
    """

    _reactor: Any
    _make_client: Callable[[Any], HTTPClient]
    _policy: URLPolicy
    _rule: AddressRule
    _proxied: Callable[[str], bool] = lambda _: False

    def fetch(
        self,
        method: str,
        url: str,
        headers: Collection[tuple[bytes, bytes]] = (),
        body: bytes | None = None,
        limit: int = MAX_DOCUMENT,
    ) -> Deferred[Document]:
        """
        Make one request. Redirects are answers like others; whoever gets one has not got a document.

        @param limit: bytes of the body.
        @raise FetchRefused: (through the Deferred) it must not be fetched.
        @raise FetchFailed: (through the Deferred) no answer, too large or too late.
        """
        fetching = Deferred.fromCoroutine(self._fetch(method, url, headers, body, limit))
        fetching.addTimeout(DEADLINE, self._reactor)
        return fetching.addErrback(self._explain, url)

    async def _fetch(
        self, method: str, url: str, headers: Collection[tuple[bytes, bytes]], body: bytes | None, limit: int
    ) -> Document:
        try:
            checked = self._policy.document(url)
        except UntrustedURL as error:
            raise FetchRefused(f"this URL {error}") from None
        resolver = GuardedResolver(self._reactor.nameResolver, self._rule.permits)
        if self._proxied(checked):
            self._check_spelling(checked)
            client = self._make_client(self._reactor)
        else:
            client = self._make_client(GuardedReactor(self._reactor, resolver))
        try:
            sent = Headers({b"Accept": [b"application/json"], b"User-Agent": [b"mcpbridge"]})
            for name, value in headers:
                sent.setRawHeaders(name, [value])
            producer = None if body is None else MessageProducer(body)
            response = await client.perform(method, PreparedURL.prepare(checked), sent, producer, self._reactor)
            body_read = await _read(response, limit, self._reactor)
            return Document(response.code, body_read, _wait(response), challenges_of(response))
        except HTTPFailure as error:
            if resolver.refused:
                raise self._refusal(checked, resolver.refused[0]) from None
            raise error
        finally:
            await client.close()

    def _check_spelling(self, url: str) -> None:
        host = urlsplit(url).hostname or ""
        address = "127.0.0.1" if is_loopback(url) and not is_literal(host) else spelled_out(host)
        if is_literal(address) and not self._rule.permits(host, address):
            raise self._refusal(url, address)

    def _refusal(self, url: str, address: str) -> FetchRefused:
        host = urlsplit(url).hostname
        return FetchRefused(
            f"{host} is at {address}, which is no public address, and servers are not trusted to send us there; "
            f'if this is right, configure "oauth": {{"trustedHosts": ["{host}"]}}'
        )

    def _explain(self, failure: Failure, url: str) -> Failure:
        error = failure.value
        if isinstance(error, FetchRefused):
            return failure
        if isinstance(error, TimeoutError | CancelledError):
            return Failure(FetchFailed(f"{shown(url)} did not answer within {DEADLINE:g} s"))
        if isinstance(error, BodyTooLarge):
            return Failure(FetchRefused(f"what {shown(url)} answers is larger than {error.limit} bytes"))
        text = (
            str(error) if isinstance(error, HTTPFailure) else "the connection was lost before the answer was complete"
        )
        return Failure(FetchFailed(f"{shown(url)}: {text}"))


def challenges_of(response: IResponse) -> tuple[str, ...]:
    """The values of C{WWW-Authenticate}."""
    values = response.headers.getRawHeaders(b"www-authenticate", [])
    return tuple(value.decode("latin-1") for value in values or ())


def _read(response: IResponse, limit: int, clock: Any) -> Deferred[bytes]:
    done: Deferred[bytes] = Deferred(lambda _: reader.close())
    reader = BodyReader(limit, done.callback, clock)
    response.deliverBody(reader)
    return done


def _wait(response: IResponse) -> float | None:
    fields = {
        name: value[0].decode("latin-1")
        for name in ("retry-after", "date")
        if (value := response.headers.getRawHeaders(name.encode("ascii")))
    }
    return retry_after(ResponseHead(response.code, fields))
