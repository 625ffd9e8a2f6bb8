"""
Time as the bridge knows it: whole seconds, counted by one timer for all deadlines, and only while somebody has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from mcpbridge.core.effects import BridgeEffect, StartTimer, StopTimer

#: Seconds.
TICK: Final = 1.0


def ticks(seconds: float) -> int:
    """So many ticks last at least so long."""
    # One more than needed: a tick may be about to fire.
    return int(seconds / TICK) + 1


@attrs.define(eq=False)
class Ticks:
    """
    The count, by the timer C{"tick"}.

    @ivar now: it stands still while it is not started.
    """

    _do: Callable[[BridgeEffect], None]
    now: int = 0
    _running: bool = False

    def start(self) -> None:
        """Somebody has a deadline: count one more."""
        if not self._running:
            self._running = True
            self._do(StartTimer("tick", TICK))

    def fired(self) -> None:
        """The timer has run out. It goes on only if it is started again."""
        self._running = False
        self.now += 1

    def stop(self) -> None:
        """Nobody has a deadline any more."""
        self._running = False
        self._do(StopTimer("tick"))
