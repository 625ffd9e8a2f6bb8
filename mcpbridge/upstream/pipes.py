"""
Our ends of a child's pipes.

Twisted's own read 8 KiB at a time, and cannot tell what was written of that which was given to them: that decides
whether a request may be asked again.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from itertools import islice

import attrs
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from mcpbridge.core.jsonrpc import RequestId

#: Bytes in one read: what a pipe holds on Linux.
READ_SIZE = 64 * 1024

#: Frames that go out in one system call; the kernel takes 1,024 at most.
_MAX_FRAMES = 64

#: Bytes that a frame costs besides its data, so that many small ones count for what they take.
_FRAME_COST = 256


@attrs.define(eq=False)
class _Frame:
    """A message on its way out. Withdrawn, it is empty."""

    data: memoryview
    request_id: RequestId | None
    is_begun: bool = False


@implementer(IReadDescriptor)
class PipeReader:
    """Reads a pipe until its end. Owns the descriptor."""

    def __init__(
        self, reactor: IReactorFDSet, descriptor: int, received: Callable[[bytes], None], ended: Callable[[], None]
    ) -> None:
        """
        @param descriptor: of the pipe; becomes non-blocking.
        @param received: called with what was read.
        @param ended: called once, when nobody can write to the pipe any more. Not after L{close}.
        """
        os.set_blocking(descriptor, False)
        self._reactor = reactor
        self._descriptor = descriptor
        self._received = received
        self._ended = ended
        self._is_paused = False
        reactor.addReader(self)

    def pause(self) -> None:
        """Read no more. The pipe fills, and who writes to it waits."""
        self._is_paused = True
        if self._descriptor >= 0:
            self._reactor.removeReader(self)

    def resume(self) -> None:
        """Read again."""
        self._is_paused = False
        if self._descriptor >= 0:
            self._reactor.addReader(self)

    def drain(self, limit: int) -> None:
        """
        Read what is in the pipe now, paused or not.

        @param limit: bytes at most, more or less: who writes may be as quick as we.
        """
        rest = limit
        while rest > 0 and self._descriptor >= 0:
            read = self._read()
            if read is None:
                return
            rest -= read

    def close(self) -> None:
        """Let go of the pipe. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(descriptor)

    def doRead(self) -> None:
        """The reactor found that there is something."""
        self._read()

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor found that there will be nothing more, or is stopping.

        It may be wrong: what it learned of a descriptor it tells to whoever has that number now, and within one turn
        a pipe may be closed and another one be opened.
        """
        if self._descriptor >= 0:
            self._read()
        if self._descriptor >= 0 and not self._is_paused:
            self._reactor.addReader(self)

    def fileno(self) -> int:
        """The descriptor, for the reactor."""
        return self._descriptor

    def logPrefix(self) -> str:
        """For the reactor, should one of our callbacks raise."""
        return "child"

    def _read(self) -> int | None:
        """How many bytes were read; L{None} if there are none for now, or ever."""
        try:
            data = os.read(self._descriptor, READ_SIZE)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self._end()
            return None
        self._received(data)
        return len(data)

    def _end(self) -> None:
        if self._descriptor >= 0:
            self.close()
            self._ended()


@implementer(IWriteDescriptor)
class PipeWriter:
    """Writes frames to a pipe, in order, as it takes them. Owns the descriptor."""

    def __init__(
        self, reactor: IReactorFDSet, descriptor: int, moved: Callable[[], None], broken: Callable[[], None]
    ) -> None:
        """
        @param descriptor: of the pipe; becomes non-blocking.
        @param moved: called when less is waiting than before; also from within L{write}.
        @param broken: called once, when nobody can read from the pipe any more; also from within L{write}. Not after
            L{close}.
        """
        os.set_blocking(descriptor, False)
        self._reactor = reactor
        self._descriptor = descriptor
        self._moved = moved
        self._broken = broken
        self._frames: deque[_Frame] = deque()
        self._unbegun: dict[RequestId, _Frame] = {}
        self._finishing = False
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Bytes in memory for what the pipe did not take yet."""
        return self._waiting

    def write(self, data: bytes, request_id: RequestId | None) -> None:
        """
        Write a frame when it is its turn. Nothing happens once the pipe is closed or L{finish} was called.

        @param request_id: of the request that it is; L{None} for anything else.
        """
        if self._descriptor < 0 or self._finishing:
            return
        frame = _Frame(memoryview(data), request_id)
        self._frames.append(frame)
        self._waiting += len(data) + _FRAME_COST
        if request_id is not None:
            self._unbegun[request_id] = frame
        if len(self._frames) == 1:
            # Mostly there is room, and to ask the reactor first would cost three system calls more.
            self._flush()
            if self._frames and self._descriptor >= 0:
                self._reactor.addWriter(self)

    def withdraw(self, request_id: RequestId) -> bool:
        """
        Do not write this request, if not a byte of it was written.

        @return: whether it was so.
        """
        frame = self._unbegun.pop(request_id, None)
        if frame is None:
            return False
        self._waiting -= len(frame.data)
        frame.data = memoryview(b"")
        self._moved()
        return True

    def unbegun(self) -> list[RequestId]:
        """The requests of which not a byte was written, in order."""
        return list(self._unbegun)

    def finish(self) -> None:
        """Close when everything is written."""
        self._finishing = True
        if not self._frames:
            self.close()

    def close(self) -> None:
        """Let go of the pipe. What was not written never is, and stays in L{unbegun}. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._reactor.removeWriter(self)
            os.close(descriptor)
            self._frames.clear()
            self._waiting = 0

    def doWrite(self) -> None:
        """The reactor found that there is room."""
        self._flush()
        if not self._frames and self._descriptor >= 0:
            self._reactor.removeWriter(self)

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor found that nobody reads any more, or is stopping. It may be wrong; see L{PipeReader.connectionLost}.
        """
        if self._frames:
            self._flush()
        if self._frames and self._descriptor >= 0:
            self._reactor.addWriter(self)

    def fileno(self) -> int:
        """The descriptor, for the reactor."""
        return self._descriptor

    def logPrefix(self) -> str:
        """For the reactor, should one of our callbacks raise."""
        return "child"

    def _flush(self) -> None:
        """Write as much as the pipe takes now, but not for ever: one call, as large as the pipe or larger."""
        frames = list(islice(self._frames, _MAX_FRAMES))
        try:
            written = os.writev(self._descriptor, [frame.data for frame in frames])
        except BlockingIOError:
            return
        except OSError:
            self._break()
            return
        self._waiting -= written
        self._account(frames, written)
        if self._finishing and not self._frames:
            self.close()
        self._moved()

    def _account(self, frames: list[_Frame], written: int) -> None:
        for frame in frames:
            size = len(frame.data)
            if (written or not size) and not frame.is_begun:
                frame.is_begun = True
                if frame.request_id is not None and self._unbegun.get(frame.request_id) is frame:
                    del self._unbegun[frame.request_id]
            if written < size:
                frame.data = frame.data[written:]
                return
            written -= size
            self._waiting -= _FRAME_COST
            self._frames.popleft()

    def _break(self) -> None:
        if self._descriptor >= 0:
            self.close()
            self._broken()
