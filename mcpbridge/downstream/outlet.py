"""
A client's stdout: messages go out whole, in order, at once where there is room, and as slowly as the client reads. One
that must not be read together with another is held, and those behind it with it.

Knows bytes and slots, not messages. Nothing of it calls back from inside L{Outlet.write}: what has to be told is told
from the reactor.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Protocol

import attrs
from msgspec import Raw
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from mcpbridge.downstream.reader import Reader
from mcpbridge.downstream.unread import unread_of
from mcpbridge.ledger.output import CUT, Output
from mcpbridge.ledger.slots import GROUP

#: Bytes waiting above which the owner is told to slow down, and below which it may go on. Most messages are a thousand
#: times smaller; the gap keeps the two from alternating.
CONGESTED = 1024 * 1024
RELIEVED = 256 * 1024
#: Bytes waiting with which a client is given up: it has not read for long, and its owner did not slow down.
MAX_QUEUED = 64 * 1024 * 1024

# Up to here copying is cheaper than handing over a list.
_JOINED = 16 * 1024
# Buffers in one writev; Linux takes 1,024.
_BUFFERS = 256
# Bytes written before the others get their turn.
_TURN = 1024 * 1024
# Messages that answer nothing are put together up to this size when they have to wait.
_MERGED = 64 * 1024


class IReactor(IReactorFDSet, IReactorTime):
    """What watching descriptors needs of a reactor."""


class Slots(Protocol):
    """Where open requests are noted down."""

    def release(self, slot: int) -> None:
        """The request in this slot was answered."""

    def group(self, slots: Sequence[int]) -> None:
        """These are answered by one line."""


@attrs.define
class _Line:
    """
    What is written in one go: one answer, or messages that answer nothing.

    @ivar after: the number of the message that has to be read before; 0 if there is none.
    @ivar number: of an answer, its own.
    """

    pieces: deque[memoryview]
    size: int
    slots: tuple[int, ...]
    after: int = 0
    number: int = 0


@implementer(IWriteDescriptor)
class Outlet:
    """
    @ivar queued: bytes that wait for the client to read.
    """

    def __init__(
        self,
        reactor: IReactor,
        fd: int,
        output: Output,
        slots: Slots,
        lost: Callable[[str], None],
        congestion: Callable[[bool], None],
        drained: Callable[[], None],
    ) -> None:
        """
        @param fd: not blocking; stays its owner's.
        @param lost: called once, with half a sentence, when nothing can be written any more.
        @param congestion: called with C{True} when what can wait should wait, with C{False} when there is room again.
        @param drained: called when nothing waits any more that had to wait.
        """
        self._reactor = reactor
        self._fd = fd
        self._output = output
        self._slots = slots
        self._lost = lost
        self._congestion = congestion
        self._drained = drained
        self._queue: deque[_Line] = deque()
        self._congested = False
        self._told: IDelayedCall | None = None
        self._reader = Reader(reactor, unread_of(fd), self._go_on)
        self._fault: str | None = None
        self._open = True
        self.queued = 0
        if output.cut:
            self._enqueue(_Line(deque([memoryview(CUT)]), len(CUT), ()))

    def write(self, parts: Sequence[bytes | Raw], slots: tuple[int, ...] = (), after: int = 0) -> int:
        """
        Write one message.

        @param parts: its pieces, without a newline.
        @param slots: those of the requests which it answers; released when the answer is out.
        @param after: the number of an earlier message that the client has to have read when this one is written; 0 if
            there is none. It is waited for in vain for some milliseconds at most.
        @return: the message's own number.
        """
        self._reader.written += 1
        number = self._reader.written
        if not self._open or self._fault is not None:
            return number
        if not slots:
            parts = [*parts, b"\n"]
        size = sum(map(len, parts))
        pieces: Sequence[bytes | Raw] = parts
        if size <= _JOINED:
            pieces = (b"".join(parts),)
        written = 0
        if self._queue:
            if self.queued + size > MAX_QUEUED:
                self._fail("it did not read what it was sent")
                return number
        elif not (after and self._reader.wait(after, number)):
            written = self._write_at_once(pieces, size, slots)
            if written < 0:
                return number
        line = _Line(deque(memoryview(piece) for piece in pieces), size, slots, after, number)
        if written:
            _advance(line, written)
        self._enqueue(line)
        return number

    @property
    def busy(self) -> bool:
        """Whether anything waits for the client to read, be it a newline."""
        return bool(self._queue)

    def close(self) -> None:
        """Write nothing any more. Idempotent; the descriptor is left alone."""
        if self._open:
            self._open = False
            self._reactor.removeWriter(self)
            self._reader.close()
            if self._told is not None and self._told.active():
                self._told.cancel()
            self._queue.clear()

    def doWrite(self) -> None:
        """There is room."""
        budget = _TURN
        try:
            while self._queue and budget > 0:
                line = self._queue[0]
                if line.after and self._reader.wait(line.after, line.number):
                    self._reactor.removeWriter(self)
                    break
                self._output.begin()
                while line.pieces and budget > 0:
                    written = os.writev(self._fd, list(islice(line.pieces, _BUFFERS)))
                    budget -= written
                    self._advance(line, written)
                if not line.pieces:
                    self._finish(line.slots)
                    self._queue.popleft()
        except BlockingIOError:
            pass
        except OSError as error:
            self._fail(f"it closed its standard output ({error.strerror})")
            return
        self._tell()

    def fileno(self) -> int:
        """The descriptor, or -1 if there is none any more."""
        return self._fd if self._open else -1

    def logPrefix(self) -> str:
        """For Twisted's log."""
        return "client"

    def connectionLost(self, reason: Failure) -> None:
        """The client closed its end."""
        if self._open:
            self._fail("it closed its standard output")

    def _write_at_once(self, pieces: Sequence[bytes | Raw], size: int, slots: tuple[int, ...]) -> int:
        """The bytes written; -1 if all is done."""
        written = 0
        self._output.begin()
        try:
            if len(pieces) == 1:
                written = os.write(self._fd, pieces[0])
            else:
                written = os.writev(self._fd, pieces[:_BUFFERS])
            if written == size:
                self._finish(slots)
                return -1
        except BlockingIOError:
            pass
        except OSError as error:
            self._fail(f"it closed its standard output ({error.strerror})")
            return -1
        return written

    def _finish(self, slots: tuple[int, ...]) -> None:
        if slots:
            if len(slots) > 1:
                self._slots.group(slots)
            self._output.answer(self._fd, slots[0] if len(slots) == 1 else GROUP)
            for slot in slots:
                self._slots.release(slot)
        self._output.end()

    def _enqueue(self, line: _Line) -> None:
        self.queued += line.size
        last = self._queue[-1] if self._queue else None
        if last is not None and not last.slots and not line.slots and last.size + line.size <= _MERGED:
            last.pieces += line.pieces
            last.size += line.size
        else:
            self._queue.append(line)
            if last is None and not self._reader.waiting:
                self._reactor.addWriter(self)
        if self.queued > CONGESTED and not self._congested:
            self._tell_soon()

    def _advance(self, line: _Line, written: int) -> None:
        self.queued -= written
        _advance(line, written)

    def _go_on(self) -> None:
        """What was held is to be held no longer."""
        self._reactor.addWriter(self)
        self.doWrite()

    def _fail(self, text: str) -> None:
        self._fault = text
        self._reactor.removeWriter(self)
        self._reader.close()
        self._tell_soon()

    def _tell_soon(self) -> None:
        if self._told is None or not self._told.active():
            self._told = self._reactor.callLater(0, self._tell)

    def _tell(self) -> None:
        if self._fault is not None:
            if self._open:
                self.close()
                self._lost(self._fault)
            return
        if self.queued > CONGESTED and not self._congested:
            self._congested = True
            self._congestion(True)
        elif self.queued < RELIEVED and self._congested:
            self._congested = False
            self._congestion(False)
        if not self._queue and self._open:
            self._reactor.removeWriter(self)
            self._drained()


def _advance(line: _Line, written: int) -> None:
    line.size -= written
    while written:
        first = line.pieces[0]
        if written < len(first):
            line.pieces[0] = first[written:]
            return
        written -= len(first)
        line.pieces.popleft()
