"""
Many want the same; one goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

_Result = TypeVar("_Result")


@attrs.define(eq=False)
class SingleFlight(Generic[_Result]):
    """One piece of work under way at most; whoever asks meanwhile has its result too."""

    _waiting: list[Deferred[_Result]] | None = None

    @property
    def flying(self) -> bool:
        """Whether it is under way."""
        return self._waiting is not None

    def join(self, start: Callable[[], Deferred[_Result]]) -> Deferred[_Result]:
        """
        Wait for the work that is under way, or begin it.

        Cancelling the result is no longer to wait; the work goes on, since it may have an effect elsewhere that has to
        be written down.
        """
        waiter: Deferred[_Result] = Deferred(self._leave)
        if self._waiting is not None:
            self._waiting.append(waiter)
            return waiter
        self._waiting = [waiter]
        start().addCallbacks(self._succeeded, self._failed)
        return waiter

    def landed(self) -> Deferred[None]:
        """Fires when nothing is under way any more, whatever became of it."""
        if self._waiting is None:
            return succeed(None)
        landed: Deferred[None] = Deferred()
        waiter: Deferred[_Result] = Deferred(self._leave)
        waiter.addBoth(lambda _: landed.callback(None))
        self._waiting.append(waiter)
        return landed

    def _leave(self, waiter: Deferred[_Result]) -> None:
        if self._waiting is not None and waiter in self._waiting:
            self._waiting.remove(waiter)

    def _succeeded(self, result: _Result) -> None:
        waiting, self._waiting = self._waiting or [], None
        for waiter in waiting:
            waiter.callback(result)

    def _failed(self, failure: Failure) -> None:
        waiting, self._waiting = self._waiting or [], None
        for waiter in waiting:
            waiter.errback(failure)
