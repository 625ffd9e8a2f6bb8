"""
What was said on the event streams of one session, for a client that lost its connection (Streamable HTTP, Resumability
and Redelivery).

An event id names its stream and its place there, so that a stream is resumed and no other. Everything is bounded: of a
stream that nobody resumes the oldest events go first.
"""

from __future__ import annotations

import itertools
import re
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

#: Events and bytes kept of one stream. A tool that reports its progress once a second is covered for four minutes.
MAX_EVENTS: Final = 256
MAX_BYTES: Final = 1024 * 1024

#: Bytes kept of all streams of a session together.
MAX_TOTAL: Final = 16 * 1024 * 1024

#: Streams that are complete and yet kept, for a client that may not have got the end. Clients resume within seconds.
MAX_FINISHED: Final = 16

#: What the name of a stream that belongs to no request begins with, and of one that does.
_STANDING: Final = "s"
_PASSING: Final = "r"

_event_id = re.compile(r"([rs][0-9]{1,15})-([0-9]{1,15})")


@attrs.define(eq=False)
class _Stream:
    """
    @ivar last: how many events there were.
    """

    events: deque[tuple[int, bytes]] = attrs.Factory(deque)
    size: int = 0
    last: int = 0
    finished: bool = False

    def drop_oldest(self) -> int:
        _, data = self.events.popleft()
        self.size -= len(data)
        return len(data)


@attrs.define(eq=False)
class ReplayShelf:
    """The streams of one session, the oldest first."""

    _streams: OrderedDict[str, _Stream] = attrs.Factory(OrderedDict)
    _numbers: Iterator[int] = attrs.Factory(lambda: itertools.count(1))
    _total: int = 0

    def open(self, *, is_standing: bool = False) -> str:
        """
        A new stream.

        @param is_standing: whether it belongs to no request.
        @return: its name.
        """
        name = f"{_STANDING if is_standing else _PASSING}{next(self._numbers)}"
        self._streams[name] = _Stream()
        return name

    def primer(self, name: str) -> str:
        """The id of an event before the first, from which all of the stream can be had."""
        return f"{name}-0"

    def record(self, name: str, data: bytes, stand_in: bytes = b"") -> str:
        """
        One more event.

        @param stand_in: what is kept in its place if it is too large to be kept; empty to keep nothing.
        @return: its id.
        """
        stream = self._streams[name]
        stream.last += 1
        kept = data if len(data) <= MAX_BYTES else stand_in
        if kept:
            stream.events.append((stream.last, kept))
            stream.size += len(kept)
            self._total += len(kept)
            while len(stream.events) > MAX_EVENTS or stream.size > MAX_BYTES:
                self._total -= stream.drop_oldest()
            self._make_room()
        return f"{name}-{stream.last}"

    def replay(self, event_id: str) -> tuple[str, Sequence[tuple[str, bytes]]] | None:
        """
        What came after an event.

        @return: the name of its stream, and the events with their ids; L{None} if there is no such stream any more.
        """
        found = _event_id.fullmatch(event_id)
        stream = None if found is None else self._streams.get(found[1])
        if found is None or stream is None or int(found[2]) > stream.last:
            return None
        name, place = found[1], int(found[2])
        return name, [(f"{name}-{at}", data) for at, data in stream.events if at > place]

    def is_standing(self, name: str) -> bool:
        """Whether this stream belongs to no request."""
        return name.startswith(_STANDING)

    def finish(self, name: str) -> None:
        """Nothing more comes on this stream, or nobody is there to read it."""
        self._streams[name].finished = True
        self._streams.move_to_end(name)
        finished = [each for each, stream in self._streams.items() if stream.finished]
        for each in finished[:-MAX_FINISHED]:
            self.forget(each)

    def reopen(self, name: str) -> None:
        """Its reader is back."""
        self._streams[name].finished = False

    def forget(self, name: str) -> None:
        """Nobody will resume it."""
        stream = self._streams.pop(name, None)
        if stream is not None:
            self._total -= stream.size

    def _make_room(self) -> None:
        while self._total > MAX_TOTAL:
            finished = next((name for name, stream in self._streams.items() if stream.finished), None)
            if finished is not None:
                self.forget(finished)
                continue
            fullest = max(self._streams.values(), key=lambda stream: stream.size)
            self._total -= fullest.drop_oldest()
