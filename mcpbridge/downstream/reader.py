"""
Whether a client has read the progress of a call before it is given the answer.

The TypeScript SDKs (1.x and 2.x) hand on a notification a moment later than an answer, and forget whom to tell of a
call's progress when they see its answer: what they read in one go with the answer is lost
(github.com/modelcontextprotocol/typescript-sdk/issues/2580). So an answer is held for as long as its progress is
unread, and what is to be written after it is held behind it. An answer without progress never is, nor one whose
progress was read already.

Messages are numbered in the order in which they are written. Knows nothing of what is in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds between two looks. A client that does nothing else has read a burst in less.
LOOK: Final = 0.001
#: Seconds after which an answer goes out all the same. On a busy machine a client may not run for a tenth of one; and
#: while it does not read, it misses nothing.
PATIENCE: Final = 0.25

# Turns of the reactor in which Twisted's streams have written what they were given; the first may have begun before.
_TURNS = 2


class Reader:
    """
    One client that reads.

    @ivar written: how many messages were written, or wait for it: the number of the last one.
    """

    def __init__(
        self, clock: IReactorTime, unread: Callable[[], int], go_on: Callable[[], None], buffered: bool = False
    ) -> None:
        """
        @param unread: how many bytes the client has not read; see L{mcpbridge.downstream.unread}.
        @param go_on: called when there is no reason any more to wait.
        @param buffered: whether what is written may reach the kernel some turns of the reactor later.
        """
        self._clock = clock
        self._unread = unread
        self._go_on = go_on
        self._turns = _TURNS if buffered else 0
        self._quiet = 0
        self._until = 0.0
        # All messages up to this one were read, or waited for long enough.
        self._read = 0
        self._upto = 0
        self._look: IDelayedCall | None = None
        self.written = 0

    @property
    def waiting(self) -> bool:
        """Whether L{go_on} is still to be called."""
        return self._look is not None

    def wait(self, after: int, number: int) -> bool:
        """
        Whether a message that could be written now has to wait. All before it are written.

        @param after: the number of the message that the client has to have read before; 0 if there is none.
        @param number: that of the message itself.
        """
        if self._look is not None:
            return True
        if after <= self._read:
            return False
        self._upto = number - 1
        self._until = self._clock.seconds() + PATIENCE
        self._quiet = 0
        return self._waits()

    def close(self) -> None:
        """Wait for nothing any more. Idempotent."""
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _waits(self) -> bool:
        if self._clock.seconds() < self._until:
            if self._unread():
                self._quiet = 0
                self._look = self._clock.callLater(LOOK, self._looked)
                return True
            if self._quiet < self._turns:
                self._quiet += 1
                self._look = self._clock.callLater(0, self._looked)
                return True
        self._read = self._upto
        return False

    def _looked(self) -> None:
        self._look = None
        if not self._waits():
            self._go_on()
