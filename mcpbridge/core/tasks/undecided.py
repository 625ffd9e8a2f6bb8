"""
Calls of a client that wait until it is known which tools of the server run as nothing but tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core.conversion.shapes import opened
from mcpbridge.core.events import Called, ExchangeId, Failed
from mcpbridge.core.tasks.offer import Offer
from mcpbridge.core.tasks.requests import Answer, Requests
from mcpbridge.core.tasks.steps import Step, Up

#: Calls that wait. Others go on without knowing.
_MAX_WAITING: Final = 64

#: Pages of a list of tools.
_MAX_PAGES: Final = 64


@attrs.define(eq=False, repr=False)
class Undecided:
    """
    See the top of this module.

    @ivar _offer: the server's, a session's.
    @ivar _call: what to do with a call once the tools are known.
    """

    _offer: Offer
    _requests: Requests
    _call: Callable[[Called, Mapping[str, str]], Up]
    _waiting: dict[ExchangeId, Called] = attrs.Factory(dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def decide(self, event: Called) -> Sequence[Step]:
        """The client calls a tool."""
        if self._offer.tools is not None:
            return (self._call(event, self._offer.tools),)
        if len(self._waiting) >= _MAX_WAITING:
            return (Up(event),)
        self._waiting[event.xid] = event
        return self._learn({}, 0, None) if len(self._waiting) == 1 else ()

    def _learn(self, known: Mapping[str, str], pages: int, cursor: Raw | None) -> Sequence[Step]:
        def answered(event: Answer) -> Sequence[Step]:
            if isinstance(event, Failed):
                # A tool that must become a task says so itself; nothing else has to wait.
                return self._go_on(known)
            found = self._offer.learn(known, event.result)
            following = opened(event.result).get("nextCursor")
            if following is not None and following != Raw(b"null") and pages < _MAX_PAGES:
                return self._learn(found, pages + 1, following)
            self._offer.tools = found
            return self._go_on(found)

        params = {} if cursor is None else {"cursor": cursor}
        return (self._requests.ask("tools/list", params, answered)[1],)

    def _go_on(self, tools: Mapping[str, str]) -> Sequence[Step]:
        waiting, self._waiting = self._waiting, {}
        return [self._call(event, tools) for event in waiting.values()]

    def forget(self, xid: ExchangeId) -> bool:
        """The client does not want to know any more; whether it waited here, so that the server was told nothing."""
        return self._waiting.pop(xid, None) is not None

    def clear(self) -> Sequence[ExchangeId]:
        """
        Nothing will be decided any more.

        @return: who waits.
        """
        waiting, self._waiting = self._waiting, {}
        return list(waiting)
