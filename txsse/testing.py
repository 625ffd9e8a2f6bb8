"""
A server of event streams in memory, for the tests of programs that read them. No sockets, and no time but the one you
advance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import cast

import attrs
from treq.client import HTTPClient
from treq.testing import RequestTraversalAgent
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from txsse._events import Event
from txsse._stream import EventStream
from txsse.interfaces import IEventReceiver


@attrs.define(eq=False)
class MemoryConnection:
    """
    One request that the server got, and the server's end of the response.

    All that is done here has reached the client when the call returns.

    @ivar request: as it came.
    @ivar stream: what the response is written with, if it is an event stream.
    """

    _server: MemoryEventServer
    request: Request
    stream: EventStream | None = None

    @property
    def last_event_id(self) -> str:
        """What the client sent as C{Last-Event-ID}, or C{""}."""
        return (self.request.requestHeaders.getRawHeaders(b"last-event-id") or [b""])[-1].decode("utf-8")

    @property
    def closed(self) -> bool:
        """Whether the stream is over, be it ended, cut, or left by the client."""
        return self._opened().closed

    def send(
        self,
        data: str | bytes | None,
        *,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
    ) -> None:
        """Send an event, as L{EventStream.send} does."""
        self._opened().send(data, event=event, id=id, retry=retry)
        self._server.flush()

    def write(self, data: bytes) -> None:
        """Send bytes as they are: half an event, or nonsense."""
        self._opened()
        self.request.write(data)
        self._server.flush()

    def end(self) -> None:
        """End the response as HTTP wants it."""
        self._opened().finish()
        self._server.flush()

    def cut(self) -> None:
        """Lose the connection, in the middle of a response or before it."""
        self.request.channel.loseConnection()
        self._server.flush()

    def _opened(self) -> EventStream:
        if self.stream is None:
            raise RuntimeError("this request was not answered with a stream")
        return self.stream


class MemoryEventServer:
    """
    Answers every request with an event stream, unless told otherwise for the next ones.

        >>> server = MemoryEventServer()
        >>> receiver = EventRecorder()
        >>> ask = open_with(server.client, server.url, clock=server.clock)
        >>> source = ReconnectingEventSource(ask, receiver, server.clock, on_response=judge_patiently)
        >>> server.will_refuse(503)
        >>> source.startService()
        >>> server.advance(60)
        >>> server.connections[-1].send("hello", id="1")
        >>> receiver.events
        [Event(name='message', raw=b'hello', id='1')]

    @ivar clock: the time of the server; give it to the client as well.
    @ivar client: a treq client all of whose requests end up here, whatever their URL.
    @ivar url: some URL to ask for.
    @ivar connections: one for each request, in order, also for those that were refused.
    """

    url = "http://events.example/stream"

    def __init__(self) -> None:
        self.clock = Clock()
        self.connections: list[MemoryConnection] = []
        self._answers: deque[Callable[[MemoryConnection], None]] = deque()
        self._agent = RequestTraversalAgent(_Everything(self))
        self.client = HTTPClient(self._agent)

    def will_refuse(self, code: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """The next request not spoken for yet gets this response, whole and at once."""

        def refuse(connection: MemoryConnection) -> None:
            request = connection.request
            request.setResponseCode(code)
            for name, value in (headers or {}).items():
                request.setHeader(name, value)
            if body:
                request.write(body)
            request.finish()

        self._answers.append(refuse)

    def will_hang(self) -> None:
        """The next request not spoken for yet gets no answer."""
        self._answers.append(lambda connection: None)

    def will_stream(self) -> None:
        """The next request not spoken for yet gets its stream. Only of use between other answers."""
        self._answers.append(self._open)

    def flush(self) -> None:
        """Let everything reach the other side that is on its way. What a client closes by itself is noticed here."""
        self._agent.flush()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)
        self.flush()

    def _open(self, connection: MemoryConnection) -> None:
        connection.stream = EventStream(connection.request, self.clock)
        connection.stream.start()

    def _requested(self, request: Request) -> None:
        connection = MemoryConnection(self, request)
        self.connections.append(connection)
        answer = self._answers.popleft() if self._answers else self._open
        answer(connection)


class _Everything(Resource):
    isLeaf = True

    def __init__(self, server: MemoryEventServer) -> None:
        super().__init__()
        self._server = server

    def render(self, request: object) -> int:
        self._server._requested(cast(Request, request))
        return NOT_DONE_YET


@implementer(IEventReceiver)
@attrs.define(eq=False)
class EventRecorder:
    """
    Remembers what a stream brought.

    @ivar events: all of them, in order.
    @ivar retries: reconnection times, in milliseconds.
    @ivar ends: the reason of each stream that ended, L{None} for a clean end.
    """

    events: list[Event] = attrs.field(factory=list)
    retries: list[int] = attrs.field(factory=list)
    ends: list[Failure | None] = attrs.field(factory=list)

    def event_received(self, event: Event) -> None:
        self.events.append(event)

    def retry_received(self, milliseconds: int) -> None:
        self.retries.append(milliseconds)

    def stream_ended(self, reason: Failure | None) -> None:
        self.ends.append(reason)
