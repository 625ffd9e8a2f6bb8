"""
When to ask again for a stream that broke off.

Knows nothing of HTTP; the caller says what happened and when.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

#: Seconds, when the server did not say (Streamable HTTP leaves it open; browsers take 1 to 5).
DEFAULT_RETRY = 1.0

#: Seconds. A server that asks for less gets ten requests a second at most, one that asks for more is asked once a
#: minute.
MIN_RETRY, MAX_RETRY = 0.1, 60.0

#: Tries in a row that brought no event, and seconds in which they did not, after which a request is given up.
MAX_TRIES, MAX_SECONDS = 10, 300.0

#: A delay grows by up to this part of itself, lest all streams of a server that restarted come back at once.
_JITTER = 0.25


@attrs.define
class Resumption:
    """
    The delays of one stream.

    The first try comes when the server asked for it; those after it that bring nothing wait twice as long each time.
    """

    _random: Callable[[], float]
    _max_tries: int | None = MAX_TRIES
    _max_seconds: float | None = MAX_SECONDS
    _retry: float = DEFAULT_RETRY
    _tries: int = 0
    _since: float | None = None

    def told(self, milliseconds: int) -> None:
        """The server set the time to wait."""
        self._retry = min(max(milliseconds / 1000, MIN_RETRY), MAX_RETRY)

    def heard(self) -> None:
        """An event came: whatever went wrong before is forgotten."""
        self._tries = 0
        self._since = None

    def delay(self, now: float, wanted: float | None = None) -> float | None:
        """
        Seconds to wait before the next try; L{None} if it is time to give up.

        @param now: seconds on a clock that never goes back.
        @param wanted: what the server asked for in C{Retry-After}.
        """
        if self._since is None:
            self._since = now
        if self._max_tries is not None and self._tries >= self._max_tries:
            return None
        if self._max_seconds is not None and now - self._since > self._max_seconds:
            return None
        # Bounded before the power, which else outgrows a float on a server that is down for a month.
        grown: float = self._retry * 2 ** min(self._tries, 10)
        if self._tries:
            grown *= 1 + _JITTER * self._random()
        self._tries += 1
        return float(min(max(grown, wanted or 0.0), MAX_RETRY))
