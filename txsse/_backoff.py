"""
How long to wait before the next attempt.
"""

from __future__ import annotations

from collections.abc import Callable


def full_jitter(
    random: Callable[[], float],
    *,
    initial: float = 1.0,
    factor: float = 2.0,
    maximum: float = 300.0,
) -> Callable[[int], float]:
    """
    Exponential backoff where the wait is drawn anew, from nothing up to the whole of the present ceiling. Clients that
    lost their server at the same instant so spread over the whole interval.

    @param random: gives a number from 0 up to and without 1, such as C{random.Random().random}.
    @param initial: the ceiling for attempt 0, in seconds.
    @param factor: what the ceiling grows by with each attempt that failed.
    @param maximum: the ceiling never passes this, in seconds.
    @return: a policy with the signature of the C{retryPolicy} that Twisted's C{ClientService} takes: how many attempts
        failed in a row to seconds.
    """

    def delay(attempt: int) -> float:
        # A float power overflows past some thousand attempts, which a server that stays away for a week does reach.
        return random() * min(maximum, initial * factor ** min(attempt, 64))

    return delay
