"""
No process left behind: what a child forked away is ended and buried, and so is what a killed daemon left.

Ending children in good order is for their own transports; this is for what escaped them.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet import process as twisted_process
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from mcpbridge.upstream.lineage import Lineage
from mcpbridge.upstream.processes import Running, become_subreaper

#: Seconds between two looks. A zombie costs next to nothing, and a look with nobody dead is one system call.
_INTERVAL = 1.0

#: Seconds that strays have from SIGTERM on; their owner had its own patience already.
_AFTER_TERM = 2.0

#: Seconds that the kernel has from SIGKILL on.
_AFTER_KILL = 2.0

_POLL = 0.05


class Reaper(Service):
    """The parent of orphans."""

    name = "reaper"
    _log = Logger()

    def __init__(self, clock: IReactorTime, lineage: Lineage) -> None:
        """
        @param lineage: of the daemon; the same that its transports have.
        """
        self._clock = clock
        self._lineage = lineage
        self._next: IDelayedCall | None = None
        self._ending: Deferred[int] | None = None
        self._inherited: frozenset[int] = frozenset()

    def startService(self) -> None:
        """Look at once, and then again and again."""
        super().startService()
        # Whoever became this daemon by exec may have had children, and they are none of our business.
        self._inherited = frozenset(child.pid for child in self._lineage.table.adopted(()))
        self._look()

    def stopService(self) -> Deferred[int]:
        """
        End the orphans that are still there, whosever they were. To be stopped after the upstreams.

        @return: fires when they are gone, with how many that were. Never fails.
        """
        super().stopService()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        return self._end("orphan", lambda: self._lineage.orphans(self._known()))

    def sweep(self) -> Deferred[int]:
        """
        End what other daemons with our state folder left behind when they were killed. To be called at the start.

        @return: fires when they are gone, with how many that were. Never fails.
        """
        return self._end("process of a dead daemon", self._lineage.left_behind)

    def _look(self) -> None:
        self._next = self._clock.callLater(_INTERVAL, self._look)
        self._lineage.table.reap(self._known())
        if self._ending is None and self._lineage.strays(self._known()):
            self._ending = self._end("stray", lambda: self._lineage.strays(self._known()))
            self._ending.addCallback(self._ended)

    def _ended(self, count: int) -> int:
        self._ending = None
        return count

    def _known(self) -> frozenset[int]:
        return self._inherited.union(twisted_process.reapProcessHandlers)

    def _end(self, what: str, find: Callable[[], list[Running]]) -> Deferred[int]:
        return Deferred.fromCoroutine(self._end_all(what, find)).addErrback(self._end_failed, what)

    async def _end_all(self, what: str, find: Callable[[], list[Running]]) -> int:
        seen: set[tuple[int, int]] = set()
        for number, seconds in ((signal.SIGTERM, _AFTER_TERM), (signal.SIGKILL, _AFTER_KILL)):
            signalled: set[tuple[int, int]] = set()
            deadline = self._clock.seconds() + seconds
            while found := find():
                # Also to those that appear while we wait, and to nobody twice.
                for process in found:
                    if (process.pid, process.started) not in signalled:
                        signalled.add((process.pid, process.started))
                        self._lineage.table.signal_process(process, number)
                new = signalled - seen
                if new:
                    seen |= new
                    self._log.info("ending {count} times a {what}", count=len(new), what=what)
                if self._clock.seconds() >= deadline:
                    break
                await deferLater(self._clock, _POLL)
                self._lineage.table.reap(self._known())
            else:
                return len(seen)
        self._log.error("{count} times a {what} cannot be killed", count=len(find()), what=what)
        return len(seen)

    def _end_failed(self, failure: Failure, what: str) -> int:
        self._log.failure("a {what} may be left", failure, what=what)
        return 0


__all__ = ["Reaper", "become_subreaper"]
