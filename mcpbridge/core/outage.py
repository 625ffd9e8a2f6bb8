"""
How long a server has been away, how often it has let us down, and so how soon it is tried again and how long anybody
waits for it. It knows neither conversations nor exchanges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.retry import LONGEST_WAIT, MAX_REJECTIONS, backoff, wait_before_retry
from mcpbridge.core.ticks import TICK, Ticks, ticks

#: Between two attempts to reach a server that a client is waiting for, in seconds.
_LONGEST_BACKOFF: Final = 30.0
#: The same while requests wait for it, so that they do not wait in vain for one that is back.
_LONGEST_AT_FIRST: Final = 1.0


@attrs.define(eq=False)
class Outage:
    """
    The time in which a server cannot be had; it begins with the first loss and ends when the server opens.

    @ivar deadline: how long a request waits for a server that cannot be reached, in seconds.
    @ivar last_loss: of a conversation or of an exchange, since the server opened last.
    """

    deadline: float
    _ticks: Ticks
    _entropy: Callable[[], float]
    last_loss: Loss | None = None
    _since: int | None = None
    _failures: int = 0
    _flaps: int = 0
    _rejections: int = 0

    @property
    def lasts(self) -> bool:
        """Whether the server has been lost and has not opened since."""
        return self._since is not None

    @property
    def is_long(self) -> bool:
        """Whether nobody ought to wait any more for the server to come back."""
        away = 0.0 if self._since is None else (self._ticks.now - self._since) * TICK
        return away >= self.deadline

    def patience(self) -> int:
        """Until when what is asked now waits for a server that cannot be reached; a tick."""
        return max(self._ticks.now, self._since or 0) + ticks(self.deadline)

    def pause(self) -> float:
        """Seconds until it is tried again; a conversation that had lasted is opened anew at once."""
        flaps = max(self._flaps - 1, 0)
        attempt = self._failures + flaps
        longest = _LONGEST_BACKOFF if flaps or self.is_long else _LONGEST_AT_FIRST
        return backoff(attempt, self._entropy, longest=longest) if attempt else 0.0

    def glance(self) -> float:
        """Seconds until it is tried once more for somebody who asks, however long the pause is."""
        return backoff(1, self._entropy)

    def wait_before_retry(self, method: str, times: int, loss: Loss) -> float | None:
        """L{mcpbridge.core.retry.wait_before_retry}, for a request that got lost."""
        return wait_before_retry(method, times, loss, self._entropy)

    def began(self, loss: Loss, established: bool) -> bool:
        """
        The conversation is lost.

        @param established: the server had opened.
        @return: whether the server is there and has said when it will serve us: until then nobody need lose patience.
        """
        if self._since is None:
            self._since = self._ticks.now
        if established:
            self._flaps += 1
        else:
            self._failures += 1
        invited = loss.retry_after is not None and loss.retry_after <= LONGEST_WAIT
        if loss.retry_after is None or not invited or self._rejections >= MAX_REJECTIONS:
            return False
        self._rejections += 1
        self._since = self._ticks.now + ticks(loss.retry_after)
        return True

    def flapped(self) -> bool:
        """
        The server is there, but has forgotten our session.

        @return: whether that has happened once only since a conversation lasted. One that forgets every session at
            once must not be asked for one after the other.
        """
        self._flaps += 1
        return self._flaps == 1

    def ended(self) -> None:
        """The server has opened."""
        self.last_loss = None
        self._since = None
        self._failures = self._rejections = 0

    def settled(self) -> None:
        """A conversation has lasted: the next that is lost is the first again."""
        self._flaps = 0


def is_hopeless(loss: Loss) -> bool:
    """Whether a server that was lost so before it had opened would not be had by trying again."""
    refused = loss.fate is Fate.REJECTED and loss.reason is not Reason.UPSTREAM_UNREACHABLE
    return refused or loss.fate in (Fate.FAILED, Fate.SESSION_LOST)
