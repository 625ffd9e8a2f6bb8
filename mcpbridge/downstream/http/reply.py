"""
The response to one request of a client, which becomes JSON or an event stream as late as possible.

If the answer is the first that comes, it is the whole response. If something else comes first, or nothing for a while,
the response is a stream. A reader that is slow is told of, one that does not read at all is cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport

from mcpbridge.core.bindings.http_guards import Accepted, Refusal
from mcpbridge.downstream.http.limits import EndpointLimits
from mcpbridge.downstream.http.request import Request
from txsse import EventStream, StreamOverflow


class Reader(Protocol):
    """Whoever wants to know how a client takes its response."""

    def left(self, reply: Reply) -> None:
        """It has closed the connection, or was cut off. Called once, and not when the response is complete."""

    def slow(self, reply: Reply) -> None:
        """It does not keep up."""

    def quick(self, reply: Reply) -> None:
        """It has caught up, or is gone."""


class Reply:
    """
    @ivar is_over: whether nothing more can be said.
    @ivar fields: header fields of the response, whatever it becomes.
    """

    def __init__(
        self,
        request: Request,
        clock: IReactorTime,
        reader: Reader,
        accepted: Accepted,
        limits: EndpointLimits,
        *,
        opening: Callable[[], Sequence[tuple[bytes, str | None]]] | None = None,
        fields: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        """
        @param accepted: what the client can read.
        @param opening: called when the response becomes a stream; gives the data and ids of the events to begin with.
        """
        self._request = request
        self._clock = clock
        self._reader = reader
        self._accepted = accepted
        self._limits = limits
        self._opening = opening
        self._stream: EventStream | None = None
        self._last: tuple[bytes, str | None] | None = None
        self._stall: IDelayedCall | None = None
        self._silence: IDelayedCall | None = None
        self.fields = fields
        self.is_over = False
        request.notifyFinish().addErrback(self._gone)
        if accepted.events:
            self._silence = clock.callLater(limits.silence, self._silent)

    @property
    def takes_events(self) -> bool:
        """Whether anything but an answer can be said."""
        return self._accepted.events and not self.is_over and self._last is None

    @property
    def is_stream(self) -> bool:
        """Whether it has become a stream."""
        return self._stream is not None

    @property
    def wants_stream(self) -> bool:
        """Whether the answer has to be an event too."""
        return self._stream is not None or not self._accepted.json

    def begin_stream(self) -> None:
        """It is a stream from now on."""
        if self._stream is not None or self.is_over:
            return
        self._stop_silence()
        self._request.set_date()
        for name, value in self.fields:
            self._request.setHeader(name, value)
        self._stream = EventStream(self._request, self._clock, max_queue=self._limits.queue)
        self._stream.start()
        for data, event_id in () if self._opening is None else self._opening():
            self._try_send(data, event_id)

    def event(self, data: bytes, event_id: str | None = None) -> None:
        """Say something that is not the last."""
        if not self.takes_events:
            return
        self.begin_stream()
        self._try_send(data, event_id)

    def answer(self, data: bytes, *, status: int = 200, event_id: str | None = None) -> None:
        """
        Say the last.

        @param status: of HTTP, if this is all there is.
        """
        if self.is_over or self._last is not None:
            return
        if not self.wants_stream:
            self._finish()
            self._request.respond(status, data, self.fields)
            return
        self.begin_stream()
        try:
            self._send(data, event_id)
        except StreamOverflow:
            # It is the one thing that the client waits for, so it waits for the client.
            self._last = (data, event_id)
        else:
            self.end()

    def end(self) -> None:
        """There is nothing more to say, and no answer."""
        if self.is_over:
            return
        self._finish()
        if self._stream is not None:
            self._stream.finish()
        else:
            # An event stream without events: of all ways to say nothing the one that clients take for no error.
            self._request.setHeader(b"Content-Type", b"text/event-stream")
            self._request.respond(200, fields=self.fields)

    def refuse(self, refused: Refusal) -> None:
        """It comes to nothing; a stream, which can say no such thing any more, just ends."""
        if self.is_over:
            return
        self._finish()
        if self._stream is not None:
            self._stream.finish()
        else:
            self._request.refuse(refused)

    def cut(self) -> None:
        """Close the connection, whatever waits to be read."""
        if self._stream is not None:
            self._stream.abort()
        elif not self._request.is_gone:
            cast(ITCPTransport, self._request.channel.transport).abortConnection()

    def _try_send(self, data: bytes, event_id: str | None) -> None:
        try:
            self._send(data, event_id)
        except StreamOverflow:
            self.cut()

    def _send(self, data: bytes, event_id: str | None) -> None:
        assert self._stream is not None
        self._stream.send(data, id=event_id)
        if not self._stream.ready and self._stall is None and not self._stream.closed:
            self._stall = self._clock.callLater(self._limits.stall, self._stalled)
            self._stream.when_ready().addCallback(self._caught_up)
            self._reader.slow(self)

    def _caught_up(self, _: None) -> None:
        self._stop_stall()
        self._reader.quick(self)
        last, self._last = self._last, None
        if last is not None and self._stream is not None and not self._stream.closed:
            data, event_id = last
            # What did not fit before may not fit now either, but now nothing is before it.
            self._stream.send(data, id=event_id)
            self.end()

    def _stalled(self) -> None:
        self._stall = None
        self.cut()

    def _silent(self) -> None:
        self._silence = None
        self.begin_stream()

    def _gone(self, _: object) -> None:
        if not self.is_over:
            self._finish()
            self._reader.left(self)

    def _finish(self) -> None:
        self.is_over = True
        self._stop_silence()
        if self._stall is not None:
            self._stop_stall()
            self._reader.quick(self)

    def _stop_silence(self) -> None:
        silence, self._silence = self._silence, None
        if silence is not None:
            silence.cancel()

    def _stop_stall(self) -> None:
        stall, self._stall = self._stall, None
        if stall is not None:
            stall.cancel()
