"""
What a server says without having been asked, and who hears it.

What belongs to an exchange is for whoever began it. The rest is for the only client there is, or for those that have
wished to hear it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.effects import SessionId
from mcpbridge.core.events import Changed, Event, ExchangeId, Logged, Notified, Progressed
from mcpbridge.core.exchanges import Exchanges
from mcpbridge.core.jsonrpc import InvalidMessage
from mcpbridge.core.lists import Lists
from mcpbridge.core.policy import Policy
from mcpbridge.core.wishes import Wishes

_EMPTY = Raw(b"{}")

#: Bytes of a log message that several clients may or may not want. Larger ones nobody gets.
_MAX_LOG: Final = 1024 * 1024


@attrs.define(eq=False)
class News:
    """
    See the top of this module.

    @ivar _sessions: the clients, and whether each has said that it is ready.
    """

    _policy: Policy
    _sessions: Mapping[SessionId, bool]
    _exchanges: Exchanges
    _wishes: Wishes
    _lists: Lists
    _tell: Callable[[SessionId, Event], None]
    #: Whose call it was that became a task.
    _bearer_of: Callable[[ExchangeId], SessionId | None]

    def came(self, event: Progressed | Notified | Logged | Changed) -> None:
        """The server says this."""
        match event:
            case Logged() if self._policy.exclusive:
                # There is one client, and the level is its own.
                self._pass_on(None, event)
            case Logged(xid=None):
                self._logged(event)
            case Changed(uri=None):
                self._list_changed(event)
            case Changed(uri=str(uri)):
                for session in self._sessions:
                    if self._policy.exclusive or self._wishes.is_concerned(session, uri):
                        self._tell(session, event)
            case Progressed(xid) | Notified(xid) | Logged(xid):
                self._pass_on(xid, event)

    def _pass_on(self, xid: ExchangeId | None, event: Event) -> None:
        if xid is None:
            for session in self._sessions:
                self._tell(session, event)
            return
        exchange = self._exchanges.get(xid)
        bearer = self._bearer_of(xid) if exchange is None else exchange.session
        if bearer is not None:
            self._tell(bearer, event)

    def _logged(self, event: Logged) -> None:
        try:
            level = jsonrpc.decode_string(jsonrpc.members(event.params or _EMPTY, _MAX_LOG).get("level"))
        except InvalidMessage:
            return
        for session in self._sessions:
            if self._wishes.hears(session, level):
                self._tell(session, event)

    def _list_changed(self, event: Changed) -> None:
        if event.suspected and self._policy.snapshot:
            self._lists.suspected(event)
            return
        self._lists.changed(event)
        for session, is_ready in self._sessions.items():
            if is_ready:
                self._tell(session, event)
