"""
Requests about tasks that we make ourselves, in a client's name and behind its back.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TypeAlias

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.events import Called, Cancelled, Completed, ExchangeId, Failed
from mcpbridge.core.tasks.steps import Post, Step, Up

Answer: TypeAlias = Completed | Failed
Then: TypeAlias = Callable[[Answer], Sequence[Step]]


@attrs.define(eq=False, repr=False)
class Requests:
    """
    All of one client that are under way.

    @ivar _by_who: those that are made for somebody, who may leave.
    """

    _exchanges: Iterator[ExchangeId]
    _open: dict[ExchangeId, Then] = attrs.Factory(dict)
    _by_who: dict[Hashable, ExchangeId] = attrs.Factory(dict)

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, xid: object) -> bool:
        return xid in self._open

    def ask(self, method: str, params: Mapping[str, Raw], then: Then) -> tuple[ExchangeId, Up]:
        """
        Make one.

        @param then: what to do with its answer.
        @return: its number, and what has to be done.
        """
        xid = next(self._exchanges)
        self._open[xid] = then
        return xid, Up(Called(xid, method, jsonrpc.assemble(params)))

    def ask_for(self, who: Hashable, method: str, params: Mapping[str, Raw], then: Then) -> Up:
        """
        Make one for somebody.

        @param who: nobody else's name, for as long as it waits: of the client, the number of its request.
        """

        def answered(event: Answer) -> Sequence[Step]:
            self._by_who.pop(who, None)
            return then(event)

        self._by_who[who], asked = self.ask(method, params, answered)
        return asked

    def leave(self, who: Hashable) -> Sequence[Step] | None:
        """
        Somebody does not want to know any more.

        @return: L{None} if nobody of that name waits.
        """
        ours = self._by_who.pop(who, None)
        return None if ours is None else self.drop(ours)

    def post(self, method: str, params: Mapping[str, Raw]) -> Post:
        """Make one whose answer does not matter."""
        return Post(Called(next(self._exchanges), method, jsonrpc.assemble(params)))

    def answered(self, event: Answer) -> Sequence[Step]:
        """The answer of one is there."""
        return self._open.pop(event.xid)(event)

    def drop(self, xid: ExchangeId) -> Sequence[Step]:
        """The answer of one is not wanted any more."""
        return () if self._open.pop(xid, None) is None else (Up(Cancelled(xid)),)

    def clear(self) -> None:
        """The client is gone, and all that was asked in its name is cancelled."""
        self._open.clear()
        self._by_who.clear()
