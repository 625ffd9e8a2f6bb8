"""
Children that die before they have said a word: a missing module, a key that is not set, a program that is not there.

One such death may have passing reasons, and the child is started again. A second one in a row has not, and whoever
waits for the server had better be told what the child's last words were.
"""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IReactorTime

#: Seconds: who lived longer did not die of how it was started. An interpreter that looks for its modules takes half a
#: second; a package runner (C{npx}, C{uvx}) two, and thrice that on a busy machine, before its program says a word.
_INFANCY = 10.0

#: Seconds after a death in which the next one has to be started to make a row: later, somebody may have
#: mended something.
_ROW = 10.0

#: What shells, C{env} and package runners exit with where there is no such program, or none that can be run (POSIX,
#: Shell Command Language, 2.8.2). It will not be there the next time either.
_NO_PROGRAM = frozenset((126, 127))


@attrs.define(eq=False)
class Stillbirths:
    """
    The children of one server, one after the other or several at once.

    @ivar _last: when the last one died that had said nothing; L{None} if one has spoken since.
    """

    _clock: IReactorTime
    _last: float | None = None

    def spoke(self) -> None:
        """One of them has said something."""
        self._last = None

    def died(self, born: float, status: int | None) -> bool:
        """
        One has died, and said nothing.

        @param born: when it was started, in seconds of the clock.
        @param status: its exit status; L{None} if it was killed.
        @return: whether to start another one is no use.
        """
        now = self._clock.seconds()
        if now - born >= _INFANCY:
            return False
        # One that was alive when another died was started no wiser for it, so the two are no row.
        before, self._last = self._last, now
        in_a_row = before is not None and before <= born < before + _ROW
        return in_a_row or status in _NO_PROGRAM
