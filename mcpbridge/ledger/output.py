"""
How far the line that is being written to a client has come, known exactly at whatever instant its writer is killed.

What is lost with a writer is whether its last C{write} took place. For an answer that decides between silence and
saying it twice. So the newline that makes it count is sent by C{sendfile(2)} out of a page of newlines in this very
file: the kernel moves the file's position on in the same call, and that position belongs to the open file, which the
relay shares. The next one reads it, and knows.

The word says: 0, between two lines; 1, within a line; else that all of a line but its newline is written, which slot it
answers, and where the file's position will stand when the newline is gone.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

from mcpbridge.ledger.memory import LINE_WORD, NEWLINES, NEWLINES_AT, Memory
from mcpbridge.ledger.slots import GROUP

#: Ends a line that its writer did not live to end. Nothing that a JSON object may begin with becomes JSON by it.
CUT: Final = b" -- cut off: mcpbridge was restarted\n"

_WITHIN = 1
# Where nothing counts the newlines.
_UNCOUNTED = 0xFFFFFFFF
_SLOT_SHIFT = 32

#: What C{sendfile} says where it cannot write to what stdout is.
_UNABLE = frozenset((errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSOCK))


class Output:
    """
    @ivar cut: whether the line before was left unended: L{CUT} has to be written before anything else.
    @ivar answered: the slot that was answered by it, or L{GROUP}, which is not released yet.
    """

    def __init__(self, memory: Memory) -> None:
        self._fd = memory.fd
        self._words = memory.words
        self._counted = sys.platform == "linux"
        self._sent = os.lseek(self._fd, 0, os.SEEK_CUR) - NEWLINES_AT
        self.cut, self.answered = self._left_behind() if memory.inherited else (False, None)
        if not 0 <= self._sent <= NEWLINES:
            self._rewind()

    def begin(self) -> None:
        """Before the first byte of a line, or of several that answer nothing."""
        self._words[LINE_WORD] = _WITHIN

    def end(self) -> None:
        """After the last byte of what was begun, its newline with it."""
        self._words[LINE_WORD] = 0

    def settled(self) -> None:
        """What was L{answered} is released."""
        if self.answered is not None:
            self.answered = None
            self.end()

    def answer(self, out: int, slot: int) -> None:
        """
        Write the newline behind an answer to this descriptor. L{end} is to follow when the slot has been released.

        @param slot: of the request, or L{GROUP} if several were answered.
        @raise BlockingIOError: there is no room for it now; try again.
        @raise OSError: nobody reads any more.
        """
        if self._sent >= NEWLINES:
            self._rewind()
        self._words[LINE_WORD] = (slot + 1) << _SLOT_SHIFT | (self._sent + 2 if self._counted else _UNCOUNTED)
        if self._counted:
            try:
                if not os.sendfile(out, self._fd, None, 1):
                    raise BlockingIOError(errno.EAGAIN, "nothing was sent")
                self._sent += 1
                return
            except OSError as error:
                if error.errno not in _UNABLE:
                    raise
                self._counted = False
                self._words[LINE_WORD] = (slot + 1) << _SLOT_SHIFT | _UNCOUNTED
        os.write(out, b"\n")

    def _rewind(self) -> None:
        os.lseek(self._fd, NEWLINES_AT, os.SEEK_SET)
        self._sent = 0

    def _left_behind(self) -> tuple[bool, int | None]:
        word = self._words[LINE_WORD]
        if word == 0:
            return False, None
        slot = (word >> _SLOT_SHIFT) - 1
        due = (word & _UNCOUNTED) - 1
        if word <= _WITHIN or not 0 < due <= self._sent or not 0 <= slot <= GROUP:
            return True, None
        return False, slot
