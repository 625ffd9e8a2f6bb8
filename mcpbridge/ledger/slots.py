"""
Which requests of a client were taken and not answered yet.

A slot is 128 bytes: a word that makes it count (0: free; else the length of the id, and whether it is a string), a word
with the position behind the request's line, and the id. An id that is too long for that has 4,096 bytes elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mcpbridge.ledger.memory import LONG_ID, LONG_IDS_AT, SHORT_ID, SLOT, SLOTS, SLOTS_AT, Memory

#: In place of a slot: all that were put into one group.
GROUP: Final = SLOTS

_STRING: Final = 1 << 32
_GROUPED: Final = 1 << 33
_WORDS = SLOT // 8


class Slots:
    """
    @ivar taken: the slot of each open request. Typed: C{1} is not C{"1"}.
    @ivar inherited: the requests that were open when the file was opened, in the order in which they came.
    """

    def __init__(self, memory: Memory, position: int) -> None:
        """
        @param position: how far the client's words are known to be dealt with; what was noted of later ones never
            happened, they are still to come.
        """
        self._memory = memory
        self._view = memory.view
        self._words = memory.view[SLOTS_AT:LONG_IDS_AT].cast("Q")
        self.taken: dict[int | str, int] = {}
        self._free: list[int] = []
        self._unused = 0
        self._grouped: list[int] = []
        self.inherited: tuple[int | str, ...] = self._load(position) if memory.inherited else ()

    def claim(self, request_id: int | str, position: int) -> bool:
        """
        Note down a request, before its line counts as consumed.

        @param position: the position behind its line.
        @return: whether there was a slot left. The id must not be among those L{taken}.
        """
        if self._free:
            slot = self._free.pop()
        elif self._unused < SLOTS:
            slot = self._unused
            self._unused += 1
        else:
            return False
        data = (str(request_id) if isinstance(request_id, int) else request_id).encode("utf-8", "surrogatepass")
        size = len(data)
        if size > LONG_ID:
            self._free.append(slot)
            return False
        at = SLOTS_AT + slot * SLOT + 16 if size <= SHORT_ID else LONG_IDS_AT + slot * LONG_ID
        self._view[at : at + size] = data
        word = slot * _WORDS
        self._words[word + 1] = position
        self._words[word] = size if isinstance(request_id, int) else size | _STRING
        self.taken[request_id] = slot
        return True

    def answer(self, request_id: int | str) -> int | None:
        """
        An answer to this request is on its way: from now on it is not open for us, but for whoever comes after us.

        @return: its slot, which is to be L{release}d once the answer is written; L{None} if it is not open.
        """
        return self.taken.pop(request_id, None)

    def release(self, slot: int) -> None:
        """Its request was answered, or will never be."""
        self._words[slot * _WORDS] = 0
        self._free.append(slot)

    def group(self, slots: Sequence[int]) -> None:
        """These requests are answered by one line. There is one group at most, until it is released."""
        for slot in slots:
            self._words[slot * _WORDS] |= _GROUPED

    def settle(self, answered: int | None) -> None:
        """
        Strike out what was answered by the line that was being written when the file was left.

        @param answered: a slot, or L{GROUP}; L{None} if none was.
        """
        grouped, self._grouped = self._grouped, []
        done = grouped if answered == GROUP else [] if answered is None else [answered]
        for request_id in [found for found, slot in self.taken.items() if slot in done]:
            self.release(self.taken.pop(request_id))
        for slot in grouped:
            if slot not in done:
                self._words[slot * _WORDS] &= ~_GROUPED

    def close(self) -> None:
        """Let go of the memory."""
        self._words.release()

    def _load(self, position: int) -> tuple[int | str, ...]:
        order: list[tuple[int, int | str]] = []
        for slot in range(SLOTS):
            word = slot * _WORDS
            if not self._words[word]:
                self._free.append(slot)
                continue
            noted = self._words[word + 1]
            request_id = self._read(slot, self._words[word])
            if request_id is None or noted > position or request_id in self.taken:
                self.release(slot)
            else:
                self.taken[request_id] = slot
                order.append((noted, request_id))
                if self._words[word] & _GROUPED:
                    self._grouped.append(slot)
        self._unused = SLOTS
        self._free.reverse()
        order.sort(key=lambda found: found[0])
        return tuple(request_id for _, request_id in order)

    def _read(self, slot: int, word: int) -> int | str | None:
        size = word & (_STRING - 1)
        if size > LONG_ID or word >> 34:
            return None
        at = SLOTS_AT + slot * SLOT + 16 if size <= SHORT_ID else LONG_IDS_AT + slot * LONG_ID
        try:
            text = bytes(self._view[at : at + size]).decode("utf-8", "surrogatepass")
            return text if word & _STRING else int(text)
        except ValueError:
            return None
