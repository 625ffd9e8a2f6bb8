"""
Which HTTP transport a server speaks, and the one that finds out.

The way is that of the specification (2025-03-26, "Backwards Compatibility"): POST C{initialize}, and if that is
refused with 400, 404 or 405, GET the same URL and wait for an C{endpoint} event. What was refused has not run, so
the very same C{initialize} goes out again.

C{server/discover} may come before, and its answer settles the question too; its refusal does not, since servers of all
eras but one refuse it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, get_args

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mcpbridge.core.bindings.http import HTTPLimits, origin
from mcpbridge.core.errors import ConfigurationError, Fate, Loss, Reason, UpstreamUnavailable
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Request, RequestId, Result
from mcpbridge.interfaces import IMessageLink, IMessageTransport
from mcpbridge.net.agent import HTTPClient
from mcpbridge.upstream.http_sse import HTTPSSETransport
from mcpbridge.upstream.http_teller import Teller
from mcpbridge.upstream.streamable_http import StreamableHTTPTransport

TransportKind: TypeAlias = Literal["auto", "streamable-http", "sse"]

#: Messages that wait while the other transport is tried. An owner has little to say before C{initialize} is answered.
_MAX_HELD = 1024

_OVERLOADED = Loss(Fate.NEVER_SENT, Reason.OVERLOADED, "too many messages wait for the server to be reached")

#: Told which of the two a server speaks.
Found: TypeAlias = Callable[[TransportKind], None]


def http_transport(
    kind: TransportKind,
    clock: IReactorTime,
    client: HTTPClient,
    url: str,
    headers: Mapping[str, str],
    *,
    limits: HTTPLimits,
    random: Callable[[], float],
    found: Found | None = None,
    name: str = "an HTTP server",
) -> IMessageTransport:
    """
    Make a transport.

    @param client: for this transport only; it closes it.
    @param headers: as configured. Their values are secrets.
    @param random: numbers from 0 to 1, for jitter.
    @param found: told what C{"auto"} found out; what it was told may be the C{kind} next time.
    @param name: of the upstream, for the log.
    @raise ConfigurationError: the URL or a header cannot be used.
    """
    try:
        origin(url)
    except ValueError as error:
        raise ConfigurationError(f"this URL cannot be used: {error}") from None
    if kind not in get_args(TransportKind):
        raise ConfigurationError(
            f"there is no HTTP transport {kind!r}; there are: {', '.join(get_args(TransportKind))}"
        )
    # The fragment is not sent (RFC 9110, 4.2.5).
    url = url.partition("#")[0]

    def make_streamable() -> StreamableHTTPTransport:
        return StreamableHTTPTransport(clock, client, url, headers, limits=limits, random=random, name=name)

    def make_sse() -> HTTPSSETransport:
        return HTTPSSETransport(clock, client, url, headers, limits=limits, name=name)

    if kind == "sse":
        return make_sse()
    if kind == "streamable-http":
        return make_streamable()
    return DetectingTransport(clock, name, make_streamable, make_sse, found)


@implementer(IMessageTransport, IMessageLink)
class DetectingTransport:
    """
    Streamable HTTP, and HTTP+SSE in its place if it turns out that the server wants that. It stands between the
    owner and either.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        name: str,
        make_streamable: Callable[[], StreamableHTTPTransport],
        make_sse: Callable[[], HTTPSSETransport],
        found: Found | None,
    ) -> None:
        self._teller = Teller(clock, name)
        self._name = name
        self._make_streamable = make_streamable
        self._make_sse = make_sse
        self._found = found
        self._streamable = make_streamable()
        self._inner: StreamableHTTPTransport | HTTPSSETransport = self._streamable
        self._initialize: Request | None = None
        self._discover: RequestId | None = None
        self._switching: Deferred[None] | None = None
        self._held: deque[Message] = deque()
        self._paused = False

    def connect(self, link: IMessageLink) -> Deferred[None]:
        """See L{StreamableHTTPTransport.connect}."""
        self._teller.link = link
        return self._inner.connect(self)

    def send(self, message: Message, within: RequestId | None = None) -> None:
        """See L{IMessageTransport.send}."""
        if isinstance(message, Request) and message.method == "initialize":
            self._initialize = message
        if isinstance(message, Request) and message.method == "server/discover":
            self._discover = message.id
        if self._switching is None:
            self._inner.send(message, within)
        elif len(self._held) < _MAX_HELD:
            self._held.append(message)
        elif isinstance(message, Request):
            with self._teller.held():
                self._teller.lost(message.id, _OVERLOADED)

    def abandon(self, request_id: RequestId) -> None:
        """See L{IMessageTransport.abandon}."""
        if self._initialize is not None and self._initialize.id == request_id:
            self._initialize = None
        if self._discover == request_id:
            self._discover = None
        for message in [held for held in self._held if isinstance(held, Request) and held.id == request_id]:
            self._held.remove(message)
        self._inner.abandon(request_id)

    def pause(self) -> None:
        """See L{IMessageTransport.pause}."""
        self._paused = True
        self._inner.pause()

    def resume(self) -> None:
        """See L{IMessageTransport.resume}."""
        self._paused = False
        self._inner.resume()

    def disconnect(self) -> Deferred[None]:
        """See L{IMessageTransport.disconnect}."""
        self._teller.link = None
        self._held.clear()
        switching, self._switching = self._switching, None
        if switching is not None:
            switching.cancel()
        return self._inner.disconnect()

    def received(self, message: Message, within: RequestId | None) -> None:
        """See L{IMessageLink.received}."""
        if self._initialize is not None and isinstance(message, Result | Error) and message.id == self._initialize.id:
            self._initialize = None
            if isinstance(message, Result):
                self._found_out()
        if self._discover is not None and isinstance(message, Result | Error) and message.id == self._discover:
            self._discover = None
            if isinstance(message, Result):
                self._found_out()
        self._teller.deliver(message, within)

    def received_batch(self, messages: Sequence[Message | InvalidMessage]) -> None:
        """See L{IMessageLink.received_batch}."""
        self._teller.tell(lambda link: link.received_batch(messages))

    def received_garbage(self, invalid: InvalidMessage) -> None:
        """See L{IMessageLink.received_garbage}."""
        self._teller.deliver(invalid, None)

    def request_lost(self, request_id: RequestId, loss: Loss) -> None:
        """See L{IMessageLink.request_lost}. A refused C{initialize} is where the other transport is tried."""
        if self._discover == request_id:
            self._discover = None
        initialize = self._initialize
        if initialize is not None and initialize.id == request_id:
            if self._inner is self._streamable and self._streamable.not_spoken:
                self._switching = Deferred.fromCoroutine(self._switch(initialize, loss))
                self._switching.addErrback(self._switch_failed)
                return
            self._initialize = None
        self._teller.lost(request_id, loss)

    def disconnected(self, loss: Loss) -> None:
        """See L{IMessageLink.disconnected}."""
        self._teller.tell(lambda link: link.disconnected(loss))

    def congested(self) -> None:
        """See L{IMessageLink.congested}."""
        self._teller.tell(lambda link: link.congested())

    def relieved(self) -> None:
        """See L{IMessageLink.relieved}."""
        self._teller.tell(lambda link: link.relieved())

    async def _switch(self, initialize: Request, refused: Loss) -> None:
        discover, self._discover = self._discover, None
        if discover is not None:
            # It has never been answered, and cannot be any more.
            self._teller.lost(discover, refused)
        await self._streamable.disconnect()
        sse = self._inner = self._make_sse()
        if self._paused:
            sse.pause()
        try:
            await sse.connect(self)
        except UpstreamUnavailable as unavailable:
            self._neither(initialize, refused, unavailable.loss)
            return
        self._switching = None
        if self._initialize is initialize:
            self._inner.send(initialize)
        while self._held:
            self._inner.send(self._held.popleft())

    def _neither(self, initialize: Request, refused: Loss, also: Loss) -> None:
        self._switching = None
        text = f"Streamable HTTP: {refused.text}; HTTP+SSE: {also.text}"
        lost = [initialize, *(message for message in self._held if isinstance(message, Request))]
        self._held.clear()
        # Nobody found anything out, and whoever asks in another way is to be heard.
        self._inner = self._streamable = self._make_streamable()
        self._inner.connect(self)
        if self._paused:
            self._inner.pause()
        for request in lost:
            self.request_lost(request.id, attrs.evolve(also, text=text))

    def _switch_failed(self, failure: Failure) -> None:
        self._switching = None
        # Cancelled by disconnect(), when nobody listens any more.
        if self._teller.link is not None:
            self._log.failure("{upstream}: its transport could not be found out", failure=failure, upstream=self._name)

    def _found_out(self) -> None:
        if self._found is not None:
            found, self._found = self._found, None
            found("streamable-http" if self._inner is self._streamable else "sse")
