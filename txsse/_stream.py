"""
The server's end: one response that goes on.

Which events there are, and for whom, is for others to know.
"""

from __future__ import annotations

from collections import deque
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime, ITCPTransport
from twisted.web.http import Request
from zope.interface import implementer

from txsse._errors import StreamOverflow
from txsse._idle import IdleTimer
from txsse._parser import MAX_EVENT_SIZE
from txsse._writer import format_comment, format_event

KEEP_ALIVE = 15.0
"""Seconds. What WHATWG HTML 9.2.7 advises; proxies cut silent responses after 30 to 60."""

MAX_QUEUE = MAX_EVENT_SIZE
"""Bytes that may wait for a slow reader: one event of the largest size. Who serves many readers wants less."""


@implementer(IPushProducer)
class EventStream:
    """
    Writes events into the response of one request, from L{start} to L{finish}, or until the client is gone.

    Its methods are safe to call after that: they do nothing, so nobody has to race with a disconnection. In a
    resource::

        def render_GET(self, request):
            stream = EventStream(request, self.clock)
            stream.start()
            self.streams.add(stream)
            stream.when_closed().addCallback(lambda _: self.streams.discard(stream))
            return NOT_DONE_YET
    """

    def __init__(
        self,
        request: Request,
        clock: IReactorTime,
        *,
        keep_alive: float | None = KEEP_ALIVE,
        max_queue: int = MAX_QUEUE,
    ) -> None:
        """
        @param request: whose response this is. Nothing is written before L{start}; headers may be set up to then.
        @param clock: what the keep-alive is measured by.
        @param keep_alive: after so many seconds without anything sent a comment is; L{None} for never.
        @param max_queue: in bytes; how much may wait while the client does not read.
        """
        self._request = request
        self._max_queue = max_queue
        self._timer = None if keep_alive is None else IdleTimer(clock, keep_alive, self._keep_alive)
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._paused = False
        self._started = False
        self._closed = False
        self._ready_observers: list[Deferred[None]] = []
        self._close_observers: list[Deferred[None]] = []
        request.notifyFinish().addBoth(self._finished)

    @property
    def closed(self) -> bool:
        """Whether the response is over, be it finished or cut."""
        return self._closed

    @property
    def ready(self) -> bool:
        """Whether what is sent now goes straight to the transport."""
        return not self._paused and not self._closed

    def start(self) -> None:
        """
        Send the response head, so that the client knows at once that its stream is open.

        @raise RuntimeError: it was started before.
        """
        if self._started:
            raise RuntimeError("this stream was started before")
        self._started = True
        if self._closed:
            return
        self._request.setHeader(b"Content-Type", b"text/event-stream")
        self._request.setHeader(b"Cache-Control", b"no-store")
        # nginx and those who learned from it would else hold events back until a buffer is full.
        self._request.setHeader(b"X-Accel-Buffering", b"no")
        self._request.registerProducer(self, True)
        self._request.write(b"")
        if self._timer is not None and not self._closed:
            self._timer.start()

    def send(
        self,
        data: str | bytes | None,
        *,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
    ) -> None:
        """
        Send an event; the parameters are those of L{format_event}.

        @raise ValueError: C{event}, C{id} or C{retry} cannot be written.
        @raise StreamOverflow: the client does not read, and with this one too much would wait. It was not queued; the
            stream is as it was before. L{when_ready} tells when there is room, L{abort} is for readers who have had
            their chance.
        @raise RuntimeError: the stream was not started.
        """
        self._write(format_event(data, event=event, id=id, retry=retry))

    def comment(self, text: str | bytes = "") -> None:
        """
        Send a comment, which clients ignore.

        @raise StreamOverflow: as for L{send}.
        @raise RuntimeError: the stream was not started.
        """
        self._write(format_comment(text))

    def finish(self) -> None:
        """
        End the response. What waits for the client still goes out, as far as it reads.

        @raise RuntimeError: the stream was not started.
        """
        self._check_started()
        if self._closed:
            return
        # The transport takes what the queue held: as many bytes, in another place.
        waiting = b"".join(self._queue)
        self._release()
        if waiting:
            self._request.write(waiting)
        self._request.unregisterProducer()
        self._request.finish()

    def abort(self) -> None:
        """Cut the connection. What waits for the client is dropped."""
        if not self._closed:
            transport = cast(ITCPTransport, self._request.channel.transport)
            self._release()
            transport.abortConnection()

    def when_ready(self) -> Deferred[None]:
        """
        @return: fires as soon as the client reads again and nothing waits for it, which may be now; and when the stream
            is over, so look at L{closed} afterwards.
        """
        return self._observe(self._ready_observers, not self._paused or self._closed)

    def when_closed(self) -> Deferred[None]:
        """
        @return: fires when the stream is over: finished, aborted or left by the client.
        """
        return self._observe(self._close_observers, self._closed)

    def pauseProducing(self) -> None:
        """The client does not keep up; called by the transport."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The client reads again; called by the transport."""
        self._paused = False
        while self._queue and not self._paused:
            block = self._queue.popleft()
            self._queued -= len(block)
            self._pass_on(block)
        if not self._paused:
            self._fire(self._ready_observers)

    def stopProducing(self) -> None:
        """The client is gone; called by the transport."""
        self._release()

    def _check_started(self) -> None:
        if not self._started:
            raise RuntimeError("this stream was not started")

    def _write(self, block: bytes) -> None:
        self._check_started()
        if self._closed:
            return
        # The queue may be on its way out while we are called from within, and order is to be kept.
        if not (self._paused or self._queue):
            self._pass_on(block)
        elif self._queued + len(block) <= self._max_queue:
            self._queue.append(block)
            self._queued += len(block)
        else:
            raise StreamOverflow(self._max_queue)

    def _pass_on(self, block: bytes) -> None:
        if self._timer is not None:
            self._timer.touch()
        self._request.write(block)

    def _keep_alive(self) -> None:
        assert self._timer is not None
        if not self._paused:
            self._pass_on(format_comment())
        self._timer.start()

    def _finished(self, result: object) -> None:
        self._release()

    def _release(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._queue.clear()
        self._queued = 0
        if self._timer is not None:
            self._timer.stop()
        self._fire(self._ready_observers)
        self._fire(self._close_observers)

    def _observe(self, observers: list[Deferred[None]], already: bool) -> Deferred[None]:
        observer: Deferred[None] = Deferred()
        if already:
            observer.callback(None)
        else:
            observers.append(observer)
        return observer

    def _fire(self, observers: list[Deferred[None]]) -> None:
        present = observers[:]
        observers.clear()
        for observer in present:
            observer.callback(None)
