"""
One HTTP request, kept in memory and within bounds, and the plain ways of answering it.

twisted.web's own would write a large body to a temporary file, without a bound. And whoever is not to be let in is told
so when the head is there, not after 16 MiB.
"""

from __future__ import annotations

from typing import Protocol

from twisted.logger import Logger
from twisted.web import http
from twisted.web.http_headers import Headers

from mcpbridge.core.bindings.http_guards import JSON, Refusal, refusal
from mcpbridge.core.bindings.param_headers import Fields
from mcpbridge.core.jsonrpc import encode
from mcpbridge.downstream.http.channel import Channel
from mcpbridge.downstream.http.limits import EndpointLimits


class Door(Protocol):
    """Who lets requests in."""

    def check_head(self, target: bytes, fields: Fields) -> Refusal | None:
        """Whether a request with this head may come in."""

    def take(self, request: Request) -> None:
        """Answer a request that may; now or later."""


class Request(http.Request):
    """
    @ivar fields: header values by lower-case name.
    @ivar body: all of it, once L{Door.take} is called.
    """

    _log = Logger()

    channel: Channel

    def __init__(self, channel: Channel, door: Door, limits: EndpointLimits) -> None:
        super().__init__(channel)
        self._door = door
        self._limits = limits
        self._chunks: list[bytes] = []
        self._size = 0
        self._refused = False
        self.fields: Fields = {}
        self.body = b""

    # What the channel calls.

    def gotLength(self, length: int | None) -> None:
        """The head is complete, the body is so long; L{None} if that is not known."""
        self.fields = _fields(self.requestHeaders)
        refused = self._door.check_head(self.channel.target, self.fields)
        if refused is None and length is not None and length > self._limits.body:
            refused = self._too_large()
        if refused is not None:
            self._refuse_early(refused)

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body."""
        if self._refused:
            return
        self._size += len(data)
        if self._size > self._limits.body:
            self._refuse_early(self._too_large())
        else:
            self._chunks.append(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The request is complete."""
        if self._refused:
            self.finish()
            return
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        self.body = b"".join(self._chunks)
        self._chunks.clear()
        try:
            self._door.take(self)
        except Exception:  # noqa: BLE001  # it is logged, and the next request is served
            self._log.failure("A request to the HTTP endpoint could not be dealt with")
            self.refuse(refusal(500, "Internal error: mcpbridge failed at this request; its log says more"))

    # Answers.

    @property
    def is_gone(self) -> bool:
        """Whether there is nobody to answer, or nothing more to say."""
        return self._disconnected or bool(self.finished)

    def set_date(self) -> None:
        """RFC 9110, 6.6.1: whoever has a clock says what time it is."""
        self.setHeader(b"Date", http.datetimeToString())

    def respond(self, status: int, body: bytes = b"", fields: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """Answer with JSON, or with nothing. Does nothing if that is not possible any more."""
        if self.is_gone or self.startedWriting:
            return
        self._write(status, body, fields)
        self.finish()

    def refuse(self, refused: Refusal) -> None:
        """Answer with a refusal."""
        self.respond(refused.status, encode(refused.error), refused.fields)

    def _refuse_early(self, refused: Refusal) -> None:
        # A connection that is closed over unread bytes is reset, and the refusal lost with it: so the rest of the body
        # is read for a moment, and thrown away. Nobody is asked to send it who offered to ask (RFC 9110, 10.1.1).
        self._refused = True
        self._chunks.clear()
        self.requestHeaders.removeHeader(b"Expect")
        self.clientproto = b"HTTP/1.1"
        self.channel.persistent = 0
        self._write(refused.status, encode(refused.error), (*refused.fields, (b"Connection", b"close")))
        self.channel.refuse_late(self._limits.linger)

    def _write(self, status: int, body: bytes, fields: tuple[tuple[bytes, bytes], ...]) -> None:
        self.setResponseCode(status)
        self.set_date()
        self.setHeader(b"Cache-Control", b"no-store")
        for name, value in fields:
            self.setHeader(name, value)
        if body:
            self.setHeader(b"Content-Type", JSON.encode("ascii"))
        self.setHeader(b"Content-Length", b"%d" % len(body))
        self.write(body)

    def _too_large(self) -> Refusal:
        return refusal(413, f"Content too large: a message has at most {self._limits.body} bytes")


def _fields(headers: Headers) -> Fields:
    return {
        name.decode("latin-1").lower(): tuple(value.decode("latin-1") for value in values)
        for name, values in headers.getAllRawHeaders()
    }
