"""
The state of a client's conversation, as the daemon that served it last put it down. What is in it is not our business.

Two places: the new text goes where the old one is not, then a word says where, and how long it is.
"""

from __future__ import annotations

from mcpbridge.ledger.memory import MAX_STATE, STATE_AT, STATE_WORD, Memory

_PLACE_SHIFT = 32


class State:
    """One text that is replaced as a whole."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._place = (memory.words[STATE_WORD] >> _PLACE_SHIFT) & 1

    def write(self, state: bytes) -> None:
        """
        @param state: L{MAX_STATE} bytes at most.
        """
        place = self._place ^ 1
        at = STATE_AT + place * MAX_STATE
        self._memory.view[at : at + len(state)] = state
        self._memory.words[STATE_WORD] = place << _PLACE_SHIFT | len(state)
        self._place = place

    def read(self) -> bytes:
        """What was written last; empty if nothing was."""
        size = min(self._memory.words[STATE_WORD] & 0xFFFFFFFF, MAX_STATE)
        at = STATE_AT + self._place * MAX_STATE
        return self._memory.copy(at, at + size)
