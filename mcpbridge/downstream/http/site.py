"""
The endpoint on the network: its ports, from the first connection to the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from errno import EADDRINUSE
from typing import Any, cast

from msgspec import Raw
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, ITCPTransport
from twisted.logger import Logger

from mcpbridge.core.bindings.http_guards import guard
from mcpbridge.core.errors import ConfigurationError
from mcpbridge.downstream.http.address import Address
from mcpbridge.downstream.http.channel import Channel, ChannelFactory
from mcpbridge.downstream.http.endpoint import Endpoint
from mcpbridge.downstream.http.limits import EndpointLimits
from mcpbridge.downstream.http.request import Request
from mcpbridge.downstream.http.settings import EndpointSettings
from mcpbridge.downstream.http.token import token
from mcpbridge.interfaces import IClientTransport

#: Connections that wait to be accepted.
_BACKLOG = 128

#: Seconds for responses that are complete to be read, when all else has ended.
_FLUSH = 2.0

_log = Logger()


class Site:
    """A running endpoint. Made by L{open_site}."""

    def __init__(self, reactor: Any, endpoint: Endpoint, factory: ChannelFactory, ports: list[IListeningPort]) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._factory = factory
        self._ports = ports
        self._closed: Deferred[None] | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        """Where it is, for humans."""
        return tuple(_url(port) for port in self._ports)

    def counts(self) -> Mapping[str, int]:
        """How much of everything there is, for an operator."""
        return {"connections": len(self._factory.channels), **self._endpoint.counts()}

    def stopping(self) -> Deferred[None]:
        """
        A planned stop begins: nobody new comes in, and no request is taken up; what is under way goes on.

        @return: fires when the ports are free for the next daemon.
        """
        self._endpoint.stopping()
        return Deferred.fromCoroutine(self._stop_listening())

    def stop(self) -> Deferred[None]:
        """Let all clients go. Fires when no socket is left. Idempotent."""
        if self._closed is None:
            self._closed = Deferred.fromCoroutine(self._stop())
        waiter: Deferred[None] = Deferred()
        self._closed.chainDeferred(waiter)
        return waiter

    async def _stop_listening(self) -> None:
        ports, self._ports = self._ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)

    async def _stop(self) -> None:
        await self.stopping()
        self._endpoint.close()
        for channel in tuple(self._factory.channels):
            channel.loseConnection()
        late = self._reactor.callLater(_FLUSH, self._abort)
        await self._factory.when_empty()
        if late.active():
            late.cancel()

    def _abort(self) -> None:
        for channel in tuple(self._factory.channels):
            cast(ITCPTransport, channel.transport).abortConnection()


def open_site(
    reactor: Any,
    settings: EndpointSettings,
    state_dir: str,
    attach: Callable[[str, IClientTransport], None],
    *,
    limits: EndpointLimits | None = None,
    tools: Callable[[str], Raw | None] = lambda server: None,
) -> Site:
    """
    Open the endpoint.

    @param state_dir: where the token is.
    @param attach: see L{Endpoint}.
    @param tools: see L{Endpoint}.
    @raise ConfigurationError: it cannot listen there, or there is something wrong with the token.
    """
    limits = limits or EndpointLimits()
    authorizes = token(state_dir).matches if settings.with_token else None
    # The port may be known only when it is open; the guard is made then, and nobody is accepted before.
    door: list[Endpoint] = []
    factory = ChannelFactory(reactor, limits, lambda channel, *_: _request(channel, door[0], limits))
    ports = _ports(reactor, settings.address, factory)
    number = _place(ports[0]).port
    checks = guard(settings.address.host, number, settings.names, authorizes)
    door.append(Endpoint(reactor, checks, attach, limits, tools=tools))
    site = Site(reactor, door[0], factory, ports)
    _log.info("The HTTP endpoint of a server NAME is {urls}NAME", urls="NAME or ".join(site.urls))
    return site


def _request(channel: Channel, endpoint: Endpoint, limits: EndpointLimits) -> Request:
    return Request(channel, endpoint, limits)


def _ports(reactor: Any, address: Address, factory: ChannelFactory) -> list[IListeningPort]:
    ports: list[IListeningPort] = []
    number = address.port
    for interface in address.interfaces:
        try:
            ports.append(reactor.listenTCP(number, factory, backlog=_BACKLOG, interface=interface))
        except CannotListenError as error:
            if ports and not _is_taken(error):
                # localhost has two addresses, of which this machine may have one.
                continue
            for port in ports:
                port.stopListening()
            raise ConfigurationError(_why(error, interface, number)) from None
        number = _place(ports[0]).port
    return ports


def _is_taken(error: CannotListenError) -> bool:
    return getattr(error.socketError, "errno", None) == EADDRINUSE


def _why(error: CannotListenError, interface: str, number: int) -> str:
    where = f"the HTTP endpoint cannot listen at port {number} of {interface}"
    if _is_taken(error):
        return f"{where}: another program, perhaps another mcpbridge, does already; stop that, or choose another port"
    return f"{where}: {getattr(error.socketError, 'strerror', None) or error.socketError}"


def _place(port: IListeningPort) -> IPv4Address | IPv6Address:
    return cast(IPv4Address | IPv6Address, port.getHost())


def _url(port: IListeningPort) -> str:
    place = _place(port)
    return f"http://[{place.host}]:{place.port}/mcp/" if ":" in place.host else f"http://{place.host}:{place.port}/mcp/"
