"""
A client at any stream that Twisted can read and write: one process serves it, and nothing is handed over.

For C{--standalone}, on Twisted's standard input and output.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mcpbridge.core.errors import Fate, LimitExceeded, LocalProtocolError, Loss, Reason
from mcpbridge.core.framing import MAX_LINE, LineFramer, OverlongLine
from mcpbridge.core.jsonrpc import Error, Message, RequestId, Result, encode, encode_batch
from mcpbridge.core.progress import is_progress
from mcpbridge.downstream.half_close import IHalfCloseableLink
from mcpbridge.downstream.intake import Intake, overlong
from mcpbridge.downstream.outlet import MAX_QUEUED
from mcpbridge.downstream.pipes import FLUSH, LATE_ANSWERS
from mcpbridge.downstream.reader import Reader
from mcpbridge.interfaces import IClientTransport, IMessageLink
from mcpbridge.ledger.memory import MAX_STATE, SLOTS


@implementer(IClientTransport, IHalfCloseableProtocol, IPushProducer)
class StreamTransport(Protocol):
    """
    One client. Made before its stream is: what is sent before L{makeConnection} waits for it.
    """

    _log: ClassVar[Logger] = Logger()
    # Streams differ in what they offer, and their interfaces do not tell.
    transport: Any

    def __init__(
        self, reactor: IReactorTime, server: str = "mcpbridge", unread: Callable[[], int] | None = None
    ) -> None:
        """
        @param server: what the client asked for, for the texts of errors.
        @param unread: how many bytes the client has not read of those that left this process, if somebody knows.
        """
        self._reactor = reactor
        self._server = server
        self._framer = LineFramer()
        self._lines: deque[bytes | OverlongLine] = deque()
        self._early: list[bytes] = []
        self._requests: set[RequestId] = set()
        self._state = b""
        self._link: IMessageLink | None = None
        self._intake: Intake | None = None
        self._open = True
        self._ending = False
        self._finishing = False
        self._ended = False
        self._no_more = False
        self._paused = False
        self._taking = False
        self._congested = False
        #: Bytes sent since the client stopped reading.
        self._queued = 0
        self._unread = unread
        self._reader = Reader(reactor, self._in_front, self._go_on, buffered=True)
        #: Lines that wait for the client to read those before them; each with the message to be read, and its number.
        self._held: deque[tuple[bytes, int, int]] = deque()
        self._held_size = 0
        #: Open requests of whose progress the client was told, and the number of the message that told it.
        self._progress: dict[RequestId, int] = {}
        self._soon: dict[Callable[[], None], IDelayedCall] = {}
        self._deadline: IDelayedCall | None = None
        self._waiters: list[Deferred[None]] = []

    # IClientTransport

    def connect(self, link: IMessageLink) -> Deferred[None]:
        """See L{IClientTransport}. Never fails."""
        if self._link is not None:
            raise LocalProtocolError("a transport is good for one connection")
        self._link = link
        self._intake = Intake(link, self, self.send, self._refuse, self._server)
        self._call_soon(self._take)
        return succeed(None)

    def send(self, message: Message, within: RequestId | None = None) -> None:
        """See L{IClientTransport}."""
        after = 0
        if isinstance(message, (Result, Error)) and message.id is not None:
            self._requests.discard(message.id)
            after = self._progress.pop(message.id, 0)
        self._write(encode(message), after)
        if self._unread is not None and within in self._requests and is_progress(message):
            self._progress[within] = self._reader.written

    def send_batch(self, messages: Sequence[Message]) -> None:
        """See L{IClientTransport}."""
        after = 0
        for message in messages:
            if isinstance(message, (Result, Error)) and message.id is not None:
                self._requests.discard(message.id)
                after = max(after, self._progress.pop(message.id, 0))
        self._write(encode_batch(messages), after)

    def abandon(self, request_id: RequestId) -> None:
        """See L{IClientTransport}. A client is told with a message of the owner's, or not at all."""

    def pause(self) -> None:
        """See L{IClientTransport}."""
        self._paused = True
        self._steer()

    def resume(self) -> None:
        """See L{IClientTransport}."""
        self._paused = False
        self._call_soon(self._take)

    def disconnect(self) -> Deferred[None]:
        """See L{IClientTransport}."""
        if self._open and not self._ending:
            self._ending = True
            self._finish()
        return self.when_closed()

    # What is remembered is so for as long as this process lives, which is all that there is.

    def remember(self, state: bytes) -> None:
        """See L{IClientTransport}."""
        if len(state) > MAX_STATE:
            raise LimitExceeded(f"the state of a client has {len(state)} bytes; {MAX_STATE} can be remembered")
        self._state = state

    def remembered(self) -> bytes:
        """See L{IClientTransport}."""
        return self._state

    def unanswered(self) -> Sequence[RequestId]:
        """See L{IClientTransport}."""
        return ()

    def forget(self, request_id: RequestId) -> None:
        """See L{IClientTransport}."""
        self._requests.discard(request_id)
        self._progress.pop(request_id, None)
        if self._no_more:
            self._call_soon(self._take)

    # More for the owner

    def when_closed(self) -> Deferred[None]:
        """Fires when nothing of the connection is left."""
        if not self._open:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        return waiter

    # Book

    def holds(self, request_id: RequestId) -> bool:
        """Whether this request is open."""
        return request_id in self._requests

    def enter(self, request_id: RequestId) -> bool:
        """Note it down as open."""
        if len(self._requests) >= SLOTS:
            return False
        self._requests.add(request_id)
        return True

    # Protocol

    def connectionMade(self) -> None:
        """The stream is there."""
        self.transport.registerProducer(self, True)
        early, self._early = self._early, []
        for line in early:
            self.transport.write(line)
        self._steer()

    def dataReceived(self, data: bytes) -> None:
        """Some of what the client wrote."""
        self._lines += self._framer.feed(data)
        self._take()

    def readConnectionLost(self) -> None:
        """The client has closed its end, and still reads."""
        if not self._ended:
            self._ended = True
            rest = self._framer.rest()
            if rest:
                self._lines.append(rest)
            self._take()

    def writeConnectionLost(self) -> None:
        """The client reads no more."""
        self._lose("it closed its standard output")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The stream is gone."""
        self._lose("it closed its standard input" if self._no_more else "its connection is closed")

    # IPushProducer: the stream says how quickly the client reads.

    def pauseProducing(self) -> None:
        """The client does not read as quickly as we write."""
        self._congested = True
        self._queued = 0
        self._call_soon(self._tell_congested)

    def resumeProducing(self) -> None:
        """It has read everything."""
        self._congested = False
        self._queued = 0
        self._call_soon(self._tell_relieved)
        if self._no_more:
            self._call_soon(self._take)

    def stopProducing(self) -> None:
        """The stream is gone; L{connectionLost} says so too."""

    # The rest is nobody's business.

    def _take(self) -> None:
        if self._taking or self._intake is None:
            return
        self._taking = True
        try:
            while self._lines and self._willing():
                line = self._lines.popleft()
                if isinstance(line, OverlongLine):
                    self._intake.garbage(overlong(line.head, line.tail, MAX_LINE), _nothing)
                else:
                    self._intake.take(line, _nothing)
        finally:
            self._taking = False
        self._steer()
        if self._ended and self._willing():
            self._half_closed()

    def _half_closed(self) -> None:
        assert self._link is not None
        if not self._no_more:
            self._no_more = True
            self._set_deadline(LATE_ANSWERS, self._finish)
            if IHalfCloseableLink.providedBy(self._link):
                self._link.no_more()
        if self._willing() and not self._requests:
            self._finish()

    def _willing(self) -> bool:
        return self._open and not self._ending and not self._paused

    def _steer(self) -> None:
        """Read if somebody wants to hear."""
        if self.transport is None or self._ended or not self._open:
            return
        if self._willing() and self._intake is not None:
            self.transport.resumeProducing()
        else:
            self.transport.pauseProducing()

    def _refuse(self, error: Error) -> None:
        self._write(encode(error))

    def _write(self, text: bytes, after: int = 0) -> None:
        if not self._open:
            return
        line = text + b"\n"
        self._reader.written += 1
        if self.transport is None:
            self._early.append(line)
        elif self._held or (after and self._reader.wait(after, self._reader.written)):
            self._held.append((line, after, self._reader.written))
            self._held_size += len(line)
            if self._held_size > MAX_QUEUED:
                self._call_soon(self._give_up)
        else:
            self._put(line)
        if self._no_more:
            self._call_soon(self._take)

    def _put(self, line: bytes) -> None:
        self._queued += len(line)
        if self._congested and self._queued > MAX_QUEUED:
            self._call_soon(self._give_up)
        else:
            self.transport.write(line)

    def _in_front(self) -> int:
        """Bytes that the client has not read, as far as that is known."""
        assert self._unread is not None
        return self._queued if self._congested else self._unread()

    def _go_on(self) -> None:
        """What was held is to be held no longer."""
        while self._held:
            line, after, number = self._held[0]
            if after and self._reader.wait(after, number):
                return
            self._held.popleft()
            self._held_size -= len(line)
            self._put(line)
        if self._finishing:
            self._finish()

    def _finish(self) -> None:
        """End the connection once the client has read what was written."""
        if self._held:
            self._finishing = True
            return
        if self.transport is None:
            self._close()
            return
        self._set_deadline(FLUSH, self._give_up)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _give_up(self) -> None:
        self._lose("it did not read what it was sent")

    def _tell_congested(self) -> None:
        if self._link is not None and self._congested and not self._ending:
            self._link.congested()

    def _tell_relieved(self) -> None:
        if self._link is not None and not self._congested and not self._ending:
            self._link.relieved()

    def _call_soon(self, call: Callable[[], None]) -> None:
        if self._open and call not in self._soon:
            self._soon[call] = self._reactor.callLater(0, self._called_soon, call)

    def _called_soon(self, call: Callable[[], None]) -> None:
        del self._soon[call]
        call()

    def _set_deadline(self, seconds: float, call: Callable[[], None]) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = self._reactor.callLater(seconds, call)

    def _lose(self, text: str) -> None:
        if not self._open:
            return
        told = self._ending
        self._close()
        if self._link is not None and not told:
            self._link.disconnected(Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, f"the client is gone: {text}"))

    def _close(self) -> None:
        if not self._open:
            return
        self._open = False
        for call in (*self._soon.values(), self._deadline):
            if call is not None and call.active():
                call.cancel()
        self._soon.clear()
        self._reader.close()
        self._held.clear()
        self._lines.clear()
        if self.transport is not None:
            # Some streams can only be closed politely.
            abort = getattr(self.transport, "abortConnection", self.transport.loseConnection)
            abort()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)


def _nothing() -> None:
    """Nobody keeps what was said."""
