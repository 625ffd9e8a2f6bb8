"""
What a client wrote and nobody has dealt with yet.

Bytes go from the pipe straight into the file (L{Inbox.room} is where C{readv} puts them). Behind the last of them there
are always zeros, so that bytes which arrived just before the reader was killed are found by whoever comes next: no JSON
has a NUL in it. A line is gone only when L{Inbox.consume} says so.

The bounds of what is unread are four numbers that change together: two copies, and a word that says which one counts.
The I{position} counts all bytes ever consumed; it tells a request that was taken from one that was only noted down.
"""

from __future__ import annotations

from typing import NamedTuple

from mcpbridge.ledger.memory import (
    BOUNDS_WORDS,
    INBOX,
    INBOX_AT,
    MAX_LINE,
    READ,
    SUSPECT_WORD,
    TRIED_WORD,
    TURN_WORD,
    Memory,
)

#: Bytes kept of either end of a line that is too long: its id stands at one of them.
KEPT = 4096

# What becomes of the rest of an overlong line.
_WHOLE, _DISCARDING, _SETTLED = range(3)


class Overlong(NamedTuple):
    """
    In place of a line above the limit. It comes twice if it is long in coming: at the limit, and at its newline.

    @ivar head: how it began; empty at the second time.
    @ivar tail: how it ended; empty at the first time.
    @ivar settled: whether L{Inbox.settle} was said of it.
    """

    head: bytes
    tail: bytes
    settled: bool


class Inbox:
    """
    @ivar suspect: the line that comes next was being dealt with when two daemons in a row met their end.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._words = memory.words
        self._view = memory.view[INBOX_AT : INBOX_AT + INBOX]
        turn = self._words[TURN_WORD] & 1
        at = BOUNDS_WORDS + 4 * turn
        self._turn = turn
        self._start, self._end, self.position, self._fate = self._words[at : at + 4].tolist()
        if not (self._start <= self._end <= INBOX and self._fate <= _SETTLED and self.position < 1 << 62):
            self._memory.wipe(INBOX_AT, INBOX_AT + INBOX)
            self._commit(0, 0, _WHOLE, 0)
        if memory.inherited:
            self._recover()
        #: The part of the unread bytes that was taken out to be looked through, and where it begins.
        self._chunk = b""
        self._chunk_at = 0
        #: Up to here there is no newline.
        self._searched = self._start
        self._upto = self._start
        self._next_fate = _WHOLE
        self.suspect = self._words[TRIED_WORD] == self._words[SUSPECT_WORD] == self.position + 1
        if self._words[TRIED_WORD] == self.position + 1:
            self._words[SUSPECT_WORD] = self.position + 1

    @property
    def after(self) -> int:
        """The position behind the line that came last."""
        return self.position + self._upto - self._start

    @property
    def unread(self) -> bool:
        """Whether there is anything, be it a part of a line."""
        return self._start < self._end

    def room(self) -> memoryview:
        """Where the next bytes are to be put; all zeros, L{READ} of them."""
        start, end = self._start, self._end
        if start == end:
            if end:
                # In this order: between the two there is nothing unread, and zeros behind it.
                self._memory.wipe(INBOX_AT, INBOX_AT + end)
                self._commit(0, 0, self._fate, self.position)
                self._forget_chunk()
        elif (end > READ and start > end - start + READ) or end + READ > INBOX:
            self._move_to_front()
        return self._view[self._end : self._end + READ]

    def filled(self, count: int) -> None:
        """So many bytes were put there."""
        self._commit(self._start, self._end + count, self._fate, self.position)

    def next(self, ended: bool = False) -> bytes | Overlong | None:
        """
        The next line without its newline, still unread; L{None} if there is no whole one.

        @param ended: nothing will follow, so a last line without a newline is one too.
        """
        start = self._start
        newline = self._newline()
        if newline < 0:
            return self._unfinished(ended)
        self._upto = newline + 1
        self._next_fate = _WHOLE
        self._words[TRIED_WORD] = self.position + 1
        if self._fate != _WHOLE:
            return Overlong(b"", self._copy(max(start, newline - KEPT), newline), self._fate == _SETTLED)
        if newline - start > MAX_LINE:
            return Overlong(self._copy(start, start + KEPT), self._copy(newline - KEPT, newline), False)
        offset = start - self._chunk_at
        if offset >= 0:
            return self._chunk[offset : newline - self._chunk_at]
        return self._copy(start, newline)

    def consume(self) -> None:
        """The line that came last was dealt with, or is known to be open elsewhere in the file."""
        upto = self._upto
        self._commit(upto, self._end, self._next_fate, self.position + upto - self._start)
        self.suspect = False

    def settle(self) -> None:
        """Consume what came last of an overlong line, which then needs no more attention."""
        if self._next_fate == _DISCARDING:
            self._next_fate = _SETTLED
        self.consume()

    def put_back(self) -> None:
        """The line that came last was not looked at after all."""
        self._words[TRIED_WORD] = 0

    def close(self) -> None:
        """Let go of the memory."""
        self._view.release()

    def _unfinished(self, ended: bool) -> bytes | Overlong | None:
        start, end = self._start, self._end
        if self._fate != _WHOLE:
            self._upto = end if ended else max(start, end - KEPT)
            self._next_fate = _WHOLE if ended else self._fate
            if ended and self._fate == _DISCARDING:
                return Overlong(b"", self._copy(max(start, end - KEPT), end), False)
            if self._upto > start:
                self.consume()
            return None
        if end - start > MAX_LINE:
            self._upto = end if ended else end - KEPT
            self._next_fate = _WHOLE if ended else _DISCARDING
            return Overlong(self._copy(start, start + KEPT), self._copy(end - KEPT, end) if ended else b"", False)
        if not ended or start == end:
            return None
        self._upto = end
        self._next_fate = _WHOLE
        self._words[TRIED_WORD] = self.position + 1
        return self._copy(start, end)

    def _newline(self) -> int:
        """The offset of the first newline that is unread, or -1."""
        searched = max(self._searched, self._start)
        found = self._chunk.find(b"\n", searched - self._chunk_at) if searched >= self._chunk_at else -1
        if found < 0:
            chunk_end = self._chunk_at + len(self._chunk)
            if not self._chunk_at <= searched <= chunk_end or chunk_end > self._end:
                chunk_end = searched
            if chunk_end >= self._end:
                self._searched = self._end
                return -1
            self._chunk = self._copy(chunk_end, self._end)
            self._chunk_at = chunk_end
            found = self._chunk.find(b"\n")
            if found < 0:
                self._searched = self._end
                return -1
        self._searched = found + self._chunk_at
        return self._searched

    def _move_to_front(self) -> None:
        start, end = self._start, self._end
        size = end - start
        self._view[:size] = self._view[start:end]
        # What lies between is done with. Behind the new end there must be a zero before the new bounds count; the old
        # copy can be wiped only after that.
        self._memory.wipe(INBOX_AT + size, INBOX_AT + start)
        self._commit(0, size, self._fate, self.position)
        self._memory.wipe(INBOX_AT + start, INBOX_AT + end)
        self._forget_chunk()

    def _forget_chunk(self) -> None:
        self._chunk = b""
        self._chunk_at = 0
        self._searched = self._upto = self._start

    def _recover(self) -> None:
        """Find what was read but not yet counted, and make sure of the zeros behind it."""
        tail = self._copy(self._end, min(self._end + READ, INBOX))
        count = tail.find(b"\0")
        if count:
            self._commit(self._start, self._end + (count if count > 0 else len(tail)), self._fate, self.position)
        self._memory.wipe(INBOX_AT + self._end, INBOX_AT + INBOX)

    def _commit(self, start: int, end: int, fate: int, position: int) -> None:
        turn = self._turn ^ 1
        words = self._words
        at = BOUNDS_WORDS + 4 * turn
        words[at] = start
        words[at + 1] = end
        words[at + 2] = position
        words[at + 3] = fate
        words[TURN_WORD] = turn
        self._turn = turn
        self._start, self._end, self._fate, self.position = start, end, fate, position

    def _copy(self, start: int, end: int) -> bytes:
        return self._memory.copy(INBOX_AT + start, INBOX_AT + end)
