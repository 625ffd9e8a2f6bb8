"""
From bytes to events, to the letter of WHATWG HTML 9.2.5 and 9.2.6.

Nothing here reads a socket or a clock. Every byte sequence is an event stream; only size is refused.
"""

from __future__ import annotations

from txsse._errors import EventTooLarge
from txsse._events import MAX_RETRY, Event, Retry

MAX_EVENT_SIZE = 16 * 1024 * 1024
"""
Bytes of data in one event. Whole documents and images travel in one, base64 and all; at its peak a parser holds twice
this.
"""

MAX_ID_SIZE = 1024
"""Bytes. The id goes back as a request header, and servers refuse header lines of 8 to 16 KiB."""

MAX_NAME_SIZE = 256
"""Bytes. Names are there to be compared with a handful of words, and nothing sensible comes near this."""

_BOM = b"\xef\xbb\xbf"
_CR = 0x0D
_LF = 0x0A

_WINDOW = 64 * 1024
# Splitting into lines costs up to some 40 times the input (an object for each line of two bytes). Done on a window at a
# time the cost is bounded, also when a decompressor hands over 60 MB at once. It is what a transport delivers, which
# then goes unsliced.


class EventParser:
    """
    Turns the chunks of one stream into events. One parser reads one stream; a new connection needs a new one.

    An event that is still open when the stream ends is never dispatched, so there is nothing to call at the end.
    """

    def __init__(self, *, max_event_size: int = MAX_EVENT_SIZE, last_event_id: str = "") -> None:
        """
        @param max_event_size: the most bytes of data in one event, line ends between data lines included.
        @param last_event_id: what an earlier connection to the same source ended with, so that events before the first
            C{id} field of this one carry it, as browsers do.
        """
        self._max_event_size = max_event_size
        self._max_line_size = max_event_size + len(b"data: ")
        self._start: bytes | None = b""
        self._after_cr = False
        self._line = bytearray()
        self._data: bytes | bytearray | None = None
        self._name = ""
        self._id = last_event_id
        self._last_event_id = last_event_id
        self._breach: tuple[str, int] | None = None

    @property
    def last_event_id(self) -> str:
        """
        What a reconnection would send as C{Last-Event-ID}. It changes at the blank line that ends a block, also of a
        block without data (WHATWG HTML 9.2.6, dispatch, step 1).
        """
        return self._last_event_id

    def feed(self, data: bytes) -> list[Event | Retry]:
        """
        Take the next bytes of the stream, cut anywhere.

        @return: what these bytes completed, in order.
        @raise EventTooLarge: a line, an event, an id or a name is over its limit. Events that were complete by then are
            in its C{completed}. The parser is of no use after that, and says so again when fed.
        """
        if self._breach is not None:
            raise EventTooLarge(*self._breach)
        found: list[Event | Retry] = []
        if self._start is not None:
            data = self._without_bom(data)
        try:
            if len(data) <= _WINDOW:
                self._consume(data, found)
            else:
                for offset in range(0, len(data), _WINDOW):
                    self._consume(data[offset : offset + _WINDOW], found)
        except EventTooLarge as error:
            self._line.clear()
            self._data = None
            error.completed = found
            raise
        return found

    def _without_bom(self, data: bytes) -> bytes:
        # One leading BOM is stripped (9.2.5), and it may arrive a byte at a time.
        assert self._start is not None
        start = self._start + data
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(_BOM)

    def _consume(self, data: bytes, found: list[Event | Retry]) -> None:
        if not data:
            return
        if self._after_cr:
            # A CR ended its line at once; the LF after it, if there is one, belongs to the same end.
            self._after_cr = False
            if data[0] == _LF:
                data = data[1:]
                if not data:
                    return
        last = data[-1]
        self._after_cr = last == _CR
        complete = self._after_cr or last == _LF
        # For bytes, unlike for text, splitlines knows CR, LF and CRLF and nothing else.
        lines = data.splitlines()
        if self._line:
            self._extend_line(lines[0])
            if not complete and len(lines) == 1:
                return
            # Set free the first copy before the value makes another.
            lines[0] = bytes(self._line)
            self._line.clear()
        rest = b"" if complete else lines.pop()
        for line in lines:
            if line:
                self._field(line, found)
            else:
                self._dispatch(found)
        if rest:
            self._extend_line(rest)

    def _extend_line(self, part: bytes) -> None:
        self._line += part
        if len(self._line) > self._max_line_size:
            raise self._too_large("a line", self._max_line_size)

    def _field(self, line: bytes, found: list[Event | Retry]) -> None:
        if len(line) > self._max_line_size:
            raise self._too_large("a line", self._max_line_size)
        colon = line.find(b":")
        if colon == 0:
            return
        if colon < 0:
            name, value = line, b""
        else:
            name = line[:colon]
            value = line[colon + 2 :] if line.startswith(b" ", colon + 1) else line[colon + 1 :]
        if name == b"data":
            self._add_data(value)
        elif name == b"event":
            if len(value) > MAX_NAME_SIZE:
                raise self._too_large("an event name", MAX_NAME_SIZE)
            self._name = value.decode("utf-8", "replace")
        elif name == b"id":
            if b"\0" not in value:
                if len(value) > MAX_ID_SIZE:
                    raise self._too_large("an event id", MAX_ID_SIZE)
                self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit():
            # For bytes, unlike for text, isdigit is true of ASCII digits only.
            digits = value.lstrip(b"0")
            found.append(Retry(MAX_RETRY if len(digits) > len(str(MAX_RETRY)) else int(digits or b"0")))

    def _add_data(self, value: bytes) -> None:
        data = self._data
        if data is None:
            size = len(value)
            self._data = value
        else:
            # A bytearray, since a list of many short lines would cost many times their size.
            if isinstance(data, bytes):
                self._data = data = bytearray(data)
            data += b"\n"
            data += value
            size = len(data)
        if size > self._max_event_size:
            raise self._too_large("an event", self._max_event_size)

    def _dispatch(self, found: list[Event | Retry]) -> None:
        self._last_event_id = self._id
        data = self._data
        if data is not None:
            # The data buffer is not empty as soon as there was a data field, be it an empty one: each appends a line
            # feed, and only after the test for emptiness is the last one taken off (9.2.6, dispatch, steps 2 and 3).
            found.append(Event(self._name or "message", bytes(data), self._id))
            self._data = None
        self._name = ""

    def _too_large(self, what: str, limit: int) -> EventTooLarge:
        self._breach = (what, limit)
        return EventTooLarge(what, limit)
