"""
A client whose stdin and stdout are ours: its relay passed the descriptors, and keeps what has to outlive us.

Bytes are read straight into the L{Handover}, so that a daemon which is killed at any instant loses nothing: what was
read is found there by the next one, what was taken up is known to be open, and what was being said is known to be said
or not.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Sequence
from typing import ClassVar

from msgspec import Raw
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mcpbridge.core.errors import INVALID_REQUEST, Fate, LocalProtocolError, Loss, Reason
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, RequestId, Result, encode_batch, encode_parts
from mcpbridge.core.progress import is_progress
from mcpbridge.downstream.half_close import IHalfCloseableLink
from mcpbridge.downstream.handover import Handover
from mcpbridge.downstream.intake import Intake, overlong
from mcpbridge.downstream.outlet import IReactor, Outlet
from mcpbridge.interfaces import IClientTransport, IMessageLink
from mcpbridge.ledger.inbox import Overlong
from mcpbridge.ledger.memory import MAX_LINE

#: Seconds for which answers are waited for when the client has closed its stdin. Longer than most calls take.
LATE_ANSWERS = 30.0
#: Seconds that a client gets to read what is queued for it when we end the connection.
FLUSH = 5.0
#: Messages of one client that are dealt with before it is another's turn: some milliseconds. What a client wrote may
#: be a hundred thousand lines that each want an error.
TURN = 128
#: Bytes that a client's pipe holds if the kernel allows it. An answer of ten megabytes takes a fifth less time than
#: with the 64 KiB of a new pipe, bursts wait less often, and Linux grants hundreds of these to one user.
PIPE = 256 * 1024

_SET_SIZE = getattr(fcntl, "F_SETPIPE_SZ", None)


@implementer(IClientTransport, IReadDescriptor)
class PipeTransport:
    """
    One client. Good until it closes its stdin and has got its answers, is gone, or is disconnected.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, reactor: IReactor, stdin: int, stdout: int, memory: Handover, server: str = "mcpbridge") -> None:
        """
        @param stdin: what the client writes to; a pipe or socket. Owned from now on, like the others.
        @param stdout: what the client reads from; a pipe or socket.
        @param server: what the client asked for, for the texts of errors.
        """
        self._reactor = reactor
        self._stdin = stdin
        self._stdout = stdout
        self._memory = memory
        self._inbox = memory.inbox
        self._slots = memory.slots
        self._server = server
        os.set_blocking(stdin, False)
        os.set_blocking(stdout, False)
        _widen(stdout)
        self._outlet = Outlet(reactor, stdout, memory.output, memory.slots, self._lose, self._congestion, self._drained)
        #: Open requests of whose progress the client was told, and the number of the message that told it.
        self._progress: dict[RequestId, int] = {}
        self._link: IMessageLink | None = None
        self._intake: Intake | None = None
        self._open = True
        self._ending = False
        self._ended = False
        self._no_more = False
        self._paused = False
        self._reading = False
        self._taking = False
        self._soon: IDelayedCall | None = None
        self._deadline: IDelayedCall | None = None
        self._waiters: list[Deferred[None]] = []

    # IClientTransport

    def connect(self, link: IMessageLink) -> Deferred[None]:
        """See L{IClientTransport}. Never fails."""
        if self._link is not None:
            raise LocalProtocolError("a transport is good for one connection")
        self._link = link
        self._intake = Intake(link, self, self.send, self._refuse, self._server)
        self._take_soon()
        return succeed(None)

    def send(self, message: Message, within: RequestId | None = None) -> None:
        """See L{IClientTransport}."""
        if not self._open:
            return
        number = self._write(encode_parts(message), (message,))
        if within is not None and is_progress(message) and within in self._slots.taken:
            self._progress[within] = number

    def send_batch(self, messages: Sequence[Message]) -> None:
        """See L{IClientTransport}."""
        if self._open:
            self._write([encode_batch(messages)], messages)

    def abandon(self, request_id: RequestId) -> None:
        """See L{IClientTransport}. A client is told with a message of the owner's, or not at all."""

    def pause(self) -> None:
        """See L{IClientTransport}."""
        self._paused = True
        self._stop_reading()

    def resume(self) -> None:
        """See L{IClientTransport}."""
        self._paused = False
        self._take_soon()

    def disconnect(self) -> Deferred[None]:
        """See L{IClientTransport}. Requests that are open stay so for the next daemon."""
        if self._open and not self._ending:
            self._ending = True
            self._stop_reading()
            if self._outlet.busy:
                self._set_deadline(FLUSH, self._close)
            else:
                self._close()
        return self.when_closed()

    def remember(self, state: bytes) -> None:
        """See L{IClientTransport}."""
        if self._open:
            self._memory.remember(state)

    def remembered(self) -> bytes:
        """See L{IClientTransport}."""
        return self._memory.remembered() if self._open else b""

    def unanswered(self) -> Sequence[RequestId]:
        """See L{IClientTransport}."""
        return self._memory.unanswered() if self._open else ()

    def forget(self, request_id: RequestId) -> None:
        """See L{IClientTransport}."""
        if self._open:
            slot = self._slots.answer(request_id)
            if slot is not None:
                self._slots.release(slot)
                self._progress.pop(request_id, None)
                if self._no_more:
                    self._take_soon()

    # More for the owner

    def when_closed(self) -> Deferred[None]:
        """Fires when nothing of the connection is left."""
        if not self._open:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        return waiter

    @property
    def client_left(self) -> bool:
        """Whether the client has closed its stdin: there will be nothing more of it, whoever serves it."""
        return self._no_more

    def hold(self) -> None:
        """Take no more requests; they stay where they are for the next daemon. Answers of the client still come."""
        if self._intake is not None:
            self._intake.holding = True
        else:
            self._paused = True

    def gone(self, text: str) -> None:
        """
        The client is gone, as others have learned.

        @param text: how, as half a sentence.
        """
        self._lose(text)

    # Book

    def holds(self, request_id: RequestId) -> bool:
        """Whether this request is open."""
        return request_id in self._slots.taken

    def enter(self, request_id: RequestId) -> bool:
        """Note it down as open."""
        return self._slots.claim(request_id, self._inbox.after)

    # IReadDescriptor

    def doRead(self) -> None:
        """There is something to read, or there never will be again."""
        try:
            count = os.readv(self._stdin, [self._inbox.room()])
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(f"its standard input cannot be read ({error.strerror})")
            return
        if count:
            self._inbox.filled(count)
        else:
            self._end()
        self._take()

    def fileno(self) -> int:
        """The descriptor, or -1 if there is none any more."""
        return self._stdin if self._open else -1

    def logPrefix(self) -> str:
        """For Twisted's log."""
        return "client"

    def connectionLost(self, reason: Failure) -> None:
        """The client closed its end, and nothing is left to read."""
        self._reading = False
        if self._open:
            self._end()
            self._take_soon()

    # The rest is nobody's business.

    def _write(self, parts: Sequence[bytes | Raw], messages: Sequence[Message]) -> int:
        slots = []
        after = 0
        for message in messages:
            if isinstance(message, (Result, Error)) and message.id is not None:
                slot = self._slots.answer(message.id)
                if slot is not None:
                    slots.append(slot)
                    after = max(after, self._progress.pop(message.id, 0))
        number = self._outlet.write(parts, tuple(slots), after)
        if self._no_more:
            self._take_soon()
        return number

    def _end(self) -> None:
        self._ended = True
        self._stop_reading()

    def _take_soon(self) -> None:
        if self._soon is None and self._open:
            self._soon = self._reactor.callLater(0, self._take_now)

    def _take_now(self) -> None:
        self._soon = None
        self._take()

    def _take(self) -> None:
        """Deal with the lines that are there, then see to it that more come."""
        if self._taking or self._intake is None:
            return
        self._taking = True
        left = TURN
        try:
            while self._willing():
                if not left:
                    self._stop_reading()
                    self._take_soon()
                    return
                left -= 1
                line = self._inbox.next(self._ended)
                if line is None:
                    break
                if isinstance(line, Overlong):
                    self._take_overlong(line)
                elif not line or line.isspace():
                    self._inbox.consume()
                elif self._inbox.suspect:
                    self._take_suspect(line)
                elif not self._intake.take(line, self._consume):
                    self._inbox.put_back()
                    self._paused = True
        finally:
            self._taking = False
        if not self._willing():
            self._stop_reading()
        elif not self._ended:
            self._start_reading()
        else:
            self._half_closed()

    def _willing(self) -> bool:
        return self._open and not self._ending and not self._paused

    def _consume(self) -> None:
        # Nobody who is told of a message may end the connection without it counting as told.
        if self._open:
            self._inbox.consume()

    def _take_overlong(self, line: Overlong) -> None:
        assert self._intake is not None
        if line.settled:
            self._inbox.consume()
            return
        invalid = overlong(line.head, line.tail, MAX_LINE)
        if invalid.request_id is None and not line.tail:
            # The id may still come at its end.
            self._inbox.consume()
        else:
            self._intake.garbage(invalid, self._settle)

    def _settle(self) -> None:
        if self._open:
            self._inbox.settle()

    def _take_suspect(self, line: bytes) -> None:
        assert self._intake is not None
        self._log.error("a message of a client of {server} is skipped: two daemons ended over it", server=self._server)
        found = overlong(line[:4096], line[-4096:], 0)
        text = "Invalid request: mcpbridge was ended twice while it dealt with this message, and skipped it"
        self._intake.garbage(InvalidMessage(INVALID_REQUEST, text, found.request_id), self._consume)

    def _half_closed(self) -> None:
        assert self._link is not None
        if not self._no_more:
            self._no_more = True
            self._set_deadline(LATE_ANSWERS, self._lose, "it closed its standard input and waited too long")
            if IHalfCloseableLink.providedBy(self._link):
                self._link.no_more()
        if self._open and not self._ending and not self._slots.taken and not self._outlet.busy:
            self._lose("it closed its standard input")

    def _refuse(self, error: Error) -> None:
        """An answer of our own, which must not be taken for that to another request with the same id."""
        self._outlet.write(encode_parts(error))

    def _start_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._reactor.addReader(self)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._reactor.removeReader(self)

    def _congestion(self, congested: bool) -> None:
        if self._link is not None and not self._ending:
            if congested:
                self._link.congested()
            else:
                self._link.relieved()

    def _drained(self) -> None:
        if self._ending:
            self._close()
        elif self._no_more:
            self._take()

    def _lose(self, text: str) -> None:
        if not self._open:
            return
        told = self._ending
        self._close()
        if self._link is not None and not told:
            self._link.disconnected(Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, f"the client is gone: {text}"))

    def _set_deadline(self, seconds: float, call: Callable[..., None], *arguments: str) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = self._reactor.callLater(seconds, call, *arguments)

    def _close(self) -> None:
        if not self._open:
            return
        self._stop_reading()
        self._outlet.close()
        self._open = False
        for call in (self._soon, self._deadline):
            if call is not None and call.active():
                call.cancel()
        os.close(self._stdin)
        os.close(self._stdout)
        self._memory.close()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)


def _widen(fd: int) -> None:
    """Give a pipe room for more: each answer takes two of its places, of which it has 16 by default."""
    if _SET_SIZE is not None:
        with contextlib.suppress(OSError):  # It is no pipe, or our user has many wide ones already.
            fcntl.fcntl(fd, _SET_SIZE, PIPE)
