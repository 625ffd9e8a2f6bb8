"""
Bytes to lines: the framing of stdio, of children and of clients alike (MCP, Transports, stdio).

Knows nothing of JSON, and holds at most one line.
"""

from __future__ import annotations

import attrs

#: Bytes in one line, the newline not counted. Whole documents and images come in one line; four times less is what
#: peers accept by default, ten times more is abuse.
MAX_LINE = 16 * 1024 * 1024

#: Bytes kept of either end of a line that is too long. The id of a message stands before or behind its payload: some
#: libraries write it first, others last.
KEPT = 4096

# Splitting costs up to some 20 times the input (an object for each line of two bytes). Done on a window at a time the
# cost is bounded, however much is handed over at once. It is more than transports deliver, so they go unsliced.
_WINDOW = 1024 * 1024

# Parts of a line smaller than this are gathered first: a list of many small ones would cost many times their size.
_SMALL_PART = 1024


@attrs.frozen
class OverlongLine:
    """
    In place of a line that was over the limit. Its middle is gone.

    @ivar head: how it began, L{KEPT} bytes.
    @ivar tail: how it ended, at most L{KEPT} bytes; it never overlaps the head.
    @ivar size: how many bytes it had.
    """

    head: bytes = attrs.field(repr=False)
    tail: bytes = attrs.field(repr=False)
    size: int


class LineFramer:
    """
    Cuts one stream into lines at C{\\n}: in linear time, and with memory for one line.

    A C{\\r} before the newline stays, being white space to whoever reads JSON. Blank lines are dropped.
    """

    def __init__(self, limit: int = MAX_LINE) -> None:
        """
        @param limit: the most bytes in one line; never less than twice L{KEPT}.
        """
        self._limit = max(limit, 2 * KEPT)
        self._size = 0
        self._parts: list[bytes] = []
        self._small = bytearray()
        self._head = b""

    @property
    def discarded(self) -> int:
        """
        Bytes of the overlong line that is being read; 0 if the line so far is within the limit.

        An L{OverlongLine} is told at its newline, and a hostile stream may never have one.
        """
        return self._size if self._head else 0

    def feed(self, data: bytes) -> list[bytes | OverlongLine]:
        """
        Take the next bytes of the stream, cut anywhere.

        @return: the lines that are complete now, in order, without their newlines.
        """
        if len(data) <= _WINDOW:
            return self._feed(data)
        found: list[bytes | OverlongLine] = []
        for offset in range(0, len(data), _WINDOW):
            found += self._feed(data[offset : offset + _WINDOW])
        return found

    def rest(self) -> bytes:
        """
        The stream is over. Its last line, if that had no newline; empty if there is none, or if it was overlong.
        """
        line = self._finish()
        return line if isinstance(line, bytes) and not line.isspace() else b""

    def _feed(self, data: bytes) -> list[bytes | OverlongLine]:
        lines = data.split(b"\n")
        rest = lines.pop()
        found: list[bytes | OverlongLine] = []
        if lines:
            if self._size:
                self._extend(lines[0])
                line = self._finish()
                if isinstance(line, OverlongLine) or not line.isspace():
                    found.append(line)
                del lines[0]
            found += [line for line in lines if line and not line.isspace()]
            if len(data) > self._limit:
                found = [self._measured(line) for line in found]
        if rest:
            self._extend(rest)
        return found

    def _extend(self, part: bytes) -> None:
        self._size += len(part)
        if len(part) < _SMALL_PART:
            self._small += part
            if len(self._small) >= _SMALL_PART:
                self._gather()
        else:
            self._gather()
            self._parts.append(part)
        if self._size > self._limit:
            self._discard()

    def _discard(self) -> None:
        line = self._join()
        if not self._head:
            self._head = line[:KEPT]
        self._parts = [line[-KEPT:]]

    def _finish(self) -> bytes | OverlongLine:
        line: bytes | OverlongLine = self._join()
        if self._head:
            assert isinstance(line, bytes)
            line = OverlongLine(self._head, line[-KEPT:], self._size)
        self._size = 0
        self._head = b""
        return line

    def _join(self) -> bytes:
        """Everything that is kept of the line, which is then kept no more."""
        self._gather()
        parts, self._parts = self._parts, []
        return b"".join(parts)

    def _gather(self) -> None:
        if self._small:
            self._parts.append(bytes(self._small))
            self._small.clear()

    def _measured(self, line: bytes | OverlongLine) -> bytes | OverlongLine:
        if isinstance(line, OverlongLine) or len(line) <= self._limit:
            return line
        return OverlongLine(line[:KEPT], line[-KEPT:], len(line))
