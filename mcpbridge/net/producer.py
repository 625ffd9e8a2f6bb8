"""
A request body that is there already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

#: Bytes handed over at a time. A transport says "enough" at 64 KiB; several of those at once keep it busy.
_SLICE = 256 * 1024


@implementer(IBodyProducer)
class MessageProducer:
    """
    Writes bytes at once, as far as the transport takes them: no cooperator, no reactor (compare twisted/treq issue
    161).

    It is finished when the transport has passed all on, but for what fits its buffer: so a connection that is lost
    before then has certainly not carried the whole request.
    """

    def __init__(self, body: bytes, written: Callable[[], None] | None = None) -> None:
        """
        @param written: called once, when it is finished.
        """
        self.length = len(body)
        self._body = body
        self._written = written
        self._offset = 0
        self._paused = False
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None

    def again(self) -> MessageProducer:
        """The same, for another request; this one may still be under way."""
        return MessageProducer(self._body, self._written)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write to this consumer; fires when it is finished."""
        self._consumer = consumer
        self._offset = 0
        done = self._done = Deferred(self._cancelled)
        self._produce()
        return done

    def pauseProducing(self) -> None:
        """The transport has enough."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The transport has room."""
        self._paused = False
        self._produce()

    def stopProducing(self) -> None:
        """The connection is gone."""
        self._consumer = self._done = None

    def _produce(self) -> None:
        while self._consumer is not None and not self._paused and self._offset < self.length:
            start, self._offset = self._offset, self._offset + _SLICE
            # A slice of everything is the thing itself: small bodies are not copied.
            self._consumer.write(self._body[start : self._offset])
        if self._offset >= self.length and not self._paused:
            self._finish()

    def _finish(self) -> None:
        done, self._done, self._consumer = self._done, None, None
        if done is None:
            return
        written, self._written = self._written, None
        done.callback(None)
        if written is not None:
            written()

    def _cancelled(self, _: Deferred[None]) -> None:
        self._consumer = self._done = None


def body_producer(data: Any) -> IBodyProducer:
    """What treq is to make of its C{data} argument: bytes, or a producer that is one already."""
    return data if IBodyProducer.providedBy(data) else MessageProducer(data)
