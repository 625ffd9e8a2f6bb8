"""
A timer for silence.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime


@attrs.define(eq=False)
class IdleTimer:
    """
    Calls back when nothing has happened for a while.

    L{touch} is called for every chunk, so it only notes the time: a single delayed call looks at the note when it is
    due, and comes back later if there is time left.
    """

    _clock: IReactorTime
    _seconds: float
    _expired: Callable[[], None]
    _touched: float = attrs.field(init=False, default=0.0)
    _call: IDelayedCall | None = attrs.field(init=False, default=None)

    def start(self) -> None:
        """Count from now."""
        self.touch()
        if self._call is None:
            self._call = self._clock.callLater(self._seconds, self._look)

    def touch(self) -> None:
        """Something happened."""
        self._touched = self._clock.seconds()

    def stop(self) -> None:
        """Call back no more, until started again."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _look(self) -> None:
        remaining = self._touched + self._seconds - self._clock.seconds()
        if remaining > 0:
            self._call = self._clock.callLater(remaining, self._look)
        else:
            self._call = None
            self._expired()
