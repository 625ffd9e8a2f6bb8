"""
What a server says of itself when it opens, as its clients are told.

It is kept from one conversation to the next: a client that comes is answered from memory, also while the server is
away, and all are told when it turns out to be different.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.capabilities import with_list_changed
from mcpbridge.core.effects import SessionId
from mcpbridge.core.events import Completed, Event, Introduced, Opened
from mcpbridge.core.exchanges import Exchanges

#: What a server may turn out to offer once somebody has logged in.
_LOCKED: Final = {subject: {"listChanged": True} for subject in ("tools", "prompts", "resources")}


@attrs.define(eq=False)
class Openings:
    """
    The openings of clients.

    @ivar known: the server's own answer, as it came last.
    @ivar _from_memory: whether what is known may be said while the server is away.
    """

    _name: str
    _from_memory: bool
    _exchanges: Exchanges
    _tell: Callable[[SessionId, Event], None]
    known: Raw | None = None

    def learn(self, opening: Raw) -> bool:
        """
        The server says this of itself, or has said it before.

        @return: whether that is new.
        """
        before, self.known = self.known, opening
        return opening != before

    def ask(self, session: SessionId, event: Opened, is_up: bool) -> None:
        """A client opens."""
        if self.known is not None and (self._from_memory or is_up):
            self._tell(session, Completed(event.xid, self._for_clients(self.known)))
        else:
            self._exchanges.await_opening(session, event)

    def opened(self, sessions: Iterable[SessionId], changed: bool) -> None:
        """
        The server has opened.

        @param sessions: all of them. Those that have been told before are told again if it has changed.
        """
        assert self.known is not None
        said = self._for_clients(self.known)
        waiting = self._exchanges.take_openings()
        for xid, session in waiting.items():
            self._tell(session, Completed(xid, said))
        if changed:
            told = set(waiting.values())
            for session in sessions:
                if session not in told:
                    self._tell(session, Introduced(said))

    def let_in(self) -> None:
        """
        The server wants a login first, which is a state and no failure: clients that wait for it to open are let in,
        so that after the login they find what it offers without having to start again.
        """
        opening = jsonrpc.value(
            {"capabilities": _LOCKED, "serverInfo": {"name": self._name, "version": "unknown"}, "protocolVersion": ""}
        )
        for xid, session in self._exchanges.take_openings().items():
            self._tell(session, Completed(xid, opening))

    def _for_clients(self, opening: Raw) -> Raw:
        return with_list_changed(opening) if self._from_memory else opening
