"""
Bodies that come compressed though we asked them not to.

We ask for C{identity}: messages are small, streams must not wait for a compressor, and what inflates can be a bomb.
A server that compresses all the same is understood within bounds.
"""

from __future__ import annotations

import zlib
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.components import proxyForInterface
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from mcpbridge.net.failures import CodingRefused

#: Bytes that are inflated at a time: what a transport delivers at a time.
_CHUNK = 64 * 1024

#: JSON shrinks to a tenth, repetitive lists to a thirtieth. Small bodies may do as they like.
_MAX_RATIO, _RATIO_FROM = 100, 1024 * 1024

_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class Inflater:
    """Inflates C{gzip} and C{deflate} (RFC 9110, 8.4.1) bit by bit, within bounds."""

    def __init__(self, coding: bytes) -> None:
        """
        @param coding: C{b"gzip"}, C{b"x-gzip"} or C{b"deflate"}.
        """
        self._gzip = coding != b"deflate"
        self._stream = zlib.decompressobj(_GZIP if self._gzip else _ZLIB)
        self._taken = 0
        self._given = 0
        self._begun = False

    @property
    def complete(self) -> bool:
        """Whether all of it has come."""
        return self._stream.eof or not self._begun

    def feed(self, data: bytes) -> list[bytes]:
        """
        Inflate the next part.

        @return: what that gave, in parts of at most 64 KiB.
        @raise CodingRefused: it is broken, or grows out of proportion.
        """
        self._taken += len(data)
        found = []
        try:
            while data:
                part, data = self._inflate(data)
                self._given += len(part)
                if self._given > _RATIO_FROM and self._given > self._taken * _MAX_RATIO:
                    raise CodingRefused(f"the compressed body grows to more than {_MAX_RATIO} times its size")
                if part:
                    found.append(part)
        except zlib.error as error:
            raise CodingRefused(f"the compressed body is broken: {error}") from None
        return found

    def _inflate(self, data: bytes) -> tuple[bytes, bytes]:
        """One part, and what is left to inflate."""
        if not self._begun:
            self._begun = True
            if not self._gzip and (data[0] & 0x0F) != zlib.DEFLATED:
                # "deflate" is a zlib stream by the letter, and was sent raw by so many that all browsers take both.
                self._stream = zlib.decompressobj(_RAW)
        if self._stream.eof:
            if not self._gzip:
                raise zlib.error("data after the end")
            # A gzip file may have several members (RFC 1952, 2.2).
            self._stream = zlib.decompressobj(_GZIP)
        part = self._stream.decompress(data, _CHUNK)
        return part, self._stream.unconsumed_tail or self._stream.unused_data


class _InflatingProtocol(Protocol):
    """Stands between a response and the protocol that reads its body."""

    def __init__(self, reader: IProtocol, inflater: Inflater) -> None:
        self._reader = reader
        self._inflater = inflater
        self._over = False

    def connectionMade(self) -> None:
        """The reader talks to the transport itself."""
        self._reader.makeConnection(cast(Any, self.transport))

    def dataReceived(self, data: bytes) -> None:
        """Compressed bytes."""
        if self._over:
            return
        try:
            parts = self._inflater.feed(data)
        except CodingRefused:
            self._refuse()
            return
        for part in parts:
            self._reader.dataReceived(part)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end of the compressed bytes, which is a cut if more should have come."""
        if self._over:
            return
        self._over = True
        if reason.check(ResponseDone, PotentialDataLoss) and not self._inflater.complete:
            reason = Failure(CodingRefused("the compressed body was cut off"))
        self._reader.connectionLost(reason)

    def _refuse(self) -> None:
        self._over = True
        reason = Failure()
        cast(IPushProducer, self.transport).stopProducing()
        self._reader.connectionLost(reason)


class _InflatingResponse(proxyForInterface(IResponse)):  # type: ignore[misc]  # made at run time
    def __init__(self, original: IResponse, coding: bytes) -> None:
        super().__init__(original)
        self._coding = coding
        self.length = UNKNOWN_LENGTH

    def deliverBody(self, protocol: IProtocol) -> None:
        """The body, inflated."""
        self.original.deliverBody(_InflatingProtocol(protocol, Inflater(self._coding)))


@implementer(IAgent)
class IdentityAgent:
    """
    Asks for bodies as they are, and inflates those that come compressed all the same.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """
        See L{IAgent}. The headers are changed where they do not ask for that yet.
        """
        headers = Headers() if headers is None else headers
        if headers.getRawHeaders(b"Accept-Encoding") != [b"identity"]:
            headers.setRawHeaders(b"Accept-Encoding", [b"identity"])
        return self._agent.request(method, uri, headers, bodyProducer).addCallback(_decoded)


def _decoded(response: IResponse) -> IResponse:
    """
    @raise CodingRefused: it is coded in a way that we do not know, or more than once.
    """
    values = response.headers.getRawHeaders(b"Content-Encoding")
    if not values:
        return response
    coding = b",".join(values).strip().lower()
    response.headers.removeHeader(b"Content-Encoding")
    if coding in (b"", b"identity"):
        return response
    if coding in (b"gzip", b"x-gzip", b"deflate"):
        return cast(IResponse, _InflatingResponse(response, coding))
    response.deliverBody(_Refusal())
    shown = coding[:40].decode("ascii", "backslashreplace")
    raise CodingRefused(f"the body is coded as {shown!r}, which nobody asked for")


class _Refusal(Protocol):
    """Closes the connection under a body that nobody wants."""

    def connectionMade(self) -> None:
        cast(IPushProducer, self.transport).stopProducing()
