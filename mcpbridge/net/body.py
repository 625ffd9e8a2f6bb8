"""
Reading a body into memory, within bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from zope.interface import implementer

from mcpbridge.net.failures import BodyTimeout, BodyTooLarge


@implementer(IPushProducer)
class BodyReader(Protocol):
    """
    The protocol for C{response.deliverBody}: the whole body, or why not. Whatever is wrong, the connection is closed
    at once.
    """

    def __init__(
        self,
        limit: int,
        done: Callable[[bytes | Failure], None],
        clock: IReactorTime,
        deadline: float | None = None,
    ) -> None:
        """
        @param limit: in bytes.
        @param done: called once, with the body or what went wrong; not at all after L{close}.
        @param deadline: seconds from the start of the body to its end.
        """
        self._limit = limit
        self._done: Callable[[bytes | Failure], None] | None = done
        self._clock = clock
        self._deadline = deadline
        self._parts: list[bytes] = []
        self._size = 0
        self._paused = False
        self._producer: IPushProducer | None = None
        self._call: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """The body begins."""
        self._producer = cast(IPushProducer, self.transport)
        if self._done is None:
            self._stop_transport()
        elif self._deadline is not None:
            self._call = self._clock.callLater(self._deadline, self._too_late, self._deadline)

    def dataReceived(self, data: bytes) -> None:
        """A part of the body came."""
        if self._done is None:
            return
        self._size += len(data)
        if self._size > self._limit:
            self._finish(Failure(BodyTooLarge(self._limit)))
            return
        self._parts.append(data)
        if self._paused and self._producer is not None:
            # deliverBody resumes the transport when it returns, whatever was asked for meanwhile.
            self._producer.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body is over, or cut off."""
        self._producer = None
        if reason.check(ResponseDone, PotentialDataLoss):
            self._finish(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
        else:
            self._finish(reason)

    def pauseProducing(self) -> None:
        """Read no more until resumed."""
        self._paused = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on."""
        self._paused = False
        if self._producer is not None:
            self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """The same as L{close}."""
        self.close()

    def close(self) -> None:
        """Close the connection; nobody is told. Safe at any time."""
        self._done = None
        self._clean()

    def _too_late(self, seconds: float) -> None:
        self._call = None
        self._finish(Failure(BodyTimeout(seconds)))

    def _finish(self, result: bytes | Failure) -> None:
        done, self._done = self._done, None
        self._clean()
        if done is not None:
            done(result)

    def _clean(self) -> None:
        self._parts.clear()
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        self._stop_transport()

    def _stop_transport(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
            if self._paused:
                # TLS waits for the peer's farewell, which nobody would read.
                producer.resumeProducing()
