"""
Who is being served: clients by their key, no more than there may be, and none that has gone without a word.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, Protocol, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds between two looks at who is idle.
_SWEEP = 15.0


class Guest(Protocol):
    """
    A client.

    @ivar touched: when it was last used.
    """

    touched: float

    @property
    def patience(self) -> float:
        """Seconds without use after which it may be let go."""

    @property
    def is_busy(self) -> bool:
        """Whether something is under way."""

    def close(self, text: str) -> None:
        """Let it go."""


_Key = TypeVar("_Key", bound=Hashable)
_Guest = TypeVar("_Guest", bound=Guest)


class Roster(Generic[_Key, _Guest]):
    """See the top of this module."""

    def __init__(self, clock: IReactorTime, limit: int, evictable: float) -> None:
        """
        @param limit: how many there may be.
        @param evictable: seconds without use after which one is let go where there is no room for another.
        """
        self._clock = clock
        self._limit = limit
        self._evictable = evictable
        self._guests: dict[_Key, _Guest] = {}
        self._sweeping: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._guests)

    def __iter__(self) -> Iterator[_Guest]:
        return iter(tuple(self._guests.values()))

    def get(self, key: _Key) -> _Guest | None:
        """The client of this key."""
        return self._guests.get(key)

    def has_room(self) -> bool:
        """Whether there is room for one more; who has been idle for longest gives way."""
        if len(self._guests) < self._limit:
            return True
        now = self._clock.seconds()
        idle = [guest for guest in self if not guest.is_busy and now - guest.touched >= self._evictable]
        if not idle:
            return False
        min(idle, key=lambda guest: guest.touched).close("it has made room for another client")
        return len(self._guests) < self._limit

    def add(self, key: _Key, guest: _Guest) -> None:
        """One more."""
        self._guests[key] = guest
        if self._sweeping is None:
            self._sweeping = self._clock.callLater(_SWEEP, self._sweep)

    def remove(self, key: _Key) -> None:
        """It is gone."""
        self._guests.pop(key, None)
        if not self._guests and self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def _sweep(self) -> None:
        self._sweeping = self._clock.callLater(_SWEEP, self._sweep)
        now = self._clock.seconds()
        for guest in self:
            if not guest.is_busy and now - guest.touched >= guest.patience:
                guest.close("it has been idle for too long")
