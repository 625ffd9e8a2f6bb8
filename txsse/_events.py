"""
What an event stream says, as facts.

Data stays bytes until somebody asks for text: most of it is handed to a decoder that wants bytes anyway.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Event:
    """
    One dispatched event (WHATWG HTML 9.2.6).

    @ivar name: the event type; C{"message"} when the stream gave none.
    @ivar raw: the data lines as they came, joined by C{b"\\n"}, without the final one.
    @ivar id: the last event ID string of the stream at the time of dispatch, which an earlier event may have set.
    """

    name: str = "message"
    raw: bytes = b""
    id: str = ""

    @property
    def data(self) -> str:
        """
        The data as text.

        Ill-formed UTF-8 becomes U+FFFD. Line ends are ASCII, and no ill-formed sequence reaches across one, so this
        equals what decoding the whole stream first (WHATWG HTML 9.2.5) would have given.
        """
        return self.raw.decode("utf-8", "replace")


@attrs.frozen
class Retry:
    """
    The server set the reconnection time (WHATWG HTML 9.2.6).

    @ivar milliseconds: as sent, up to L{MAX_RETRY}; what is sensible is for the reader to decide.
    """

    milliseconds: int


MAX_RETRY = 10**15 - 1
"""
Milliseconds. The standard sets no bound, and a line has room for a number that takes seconds to convert: this one, some
30,000 years, stands for all that are larger.
"""
