"""
What clients have asked of a server for good: a level of log messages, updates of resources, and of tasks.

A server hears of such a wish from whoever has it first, once more in each new conversation, and that it is over when
the last one that had it is gone. To the server all its clients are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import attrs
from msgspec import Raw

from mcpbridge.core.conversations import Conversations, Phase
from mcpbridge.core.effects import SessionId
from mcpbridge.core.events import (
    Changed,
    Completed,
    Event,
    ExchangeId,
    LevelSet,
    Subscribed,
    TasksWatched,
    Unsubscribed,
)
from mcpbridge.core.exchanges import Exchange, Exchanges
from mcpbridge.core.levels import LEVELS, least

_EMPTY: Final = Raw(b"{}")

Wish: TypeAlias = LevelSet | Subscribed | Unsubscribed


@attrs.define(eq=False)
class ClientWishes:
    """
    Those of one client.

    @ivar uris: the resources that it has subscribed to, each with the params that it did it with.
    @ivar tasks: the tasks that it wants to hear of.
    """

    level: str | None = None
    tasks: frozenset[str] = frozenset()
    uris: dict[str, Raw | None] = attrs.Factory(dict)

    def granted(self, wish: object) -> None:
        """The server has agreed, if it is a wish."""
        match wish:
            case LevelSet(level=level):
                self.level = level
            case Subscribed(uri=uri, params=params):
                self.uris[uri] = params
            case Unsubscribed(uri=uri):
                # It may have been subscribed to when this was asked, and the answer have come after.
                self.uris.pop(uri, None)


@attrs.define(eq=False)
class Wishes:
    """See the top of this module."""

    _exchanges: Exchanges
    _conversations: Conversations
    _exchange_ids: Iterator[ExchangeId]
    _tell: Callable[[SessionId, Event], None]
    _by_session: dict[SessionId, ClientWishes] = attrs.Factory(dict)

    # Whose.

    def attach(self, session: SessionId) -> None:
        """A client that has none yet."""
        self._by_session[session] = ClientWishes()

    def detach(self, session: SessionId) -> ClientWishes:
        """The client is gone; L{undo} what it leaves."""
        return self._by_session.pop(session)

    def ask(self, session: SessionId, wish: Wish) -> None:
        """A client has one, or has one no more."""
        of = self._by_session[session]
        match wish:
            case LevelSet(level=level, standing=True):
                of.level = level
                self._renew_level()
            case LevelSet():
                self._exchanges.submit(session, wish, "logging/setLevel")
            case Subscribed(uri=uri, params=params, standing=True):
                of.uris[uri] = params
                self._renew_subscription(uri, params)
            case Subscribed(xid, uri) if self._is_subscribed(uri, but=session):
                of.granted(wish)
                self._tell(session, Completed(xid, _EMPTY))
            case Subscribed():
                self._exchanges.submit(session, wish, "resources/subscribe")
            case Unsubscribed(xid, uri):
                # At once: whoever subscribes from now on must ask the server again.
                of.granted(wish)
                if self.is_wanted(uri, but=session):
                    self._tell(session, Completed(xid, _EMPTY))
                else:
                    self._exchanges.submit(session, wish, "resources/unsubscribe")

    def granted(self, session: SessionId, asked: object) -> None:
        """The server has agreed to what was asked, which may be a wish."""
        self._by_session[session].granted(asked)

    # Levels.

    def shared_level(self, exchange: Exchange, event: LevelSet) -> LevelSet:
        """The least severe of what this client asks for and what others have, or are about to."""
        others = (of.level for session, of in self._by_session.items() if session != exchange.session)
        asked = (
            other.event.level
            for other in self._exchanges
            if other.session != exchange.session and isinstance(other.event, LevelSet)
        )
        return attrs.evolve(event, level=least((event.level, *others, *asked)) or event.level)

    def hears(self, session: SessionId, level: str | None) -> bool:
        """Whether a client wants log messages of this level."""
        wanted = self._by_session[session].level
        return wanted is None or level not in LEVELS or LEVELS.index(level) >= LEVELS.index(wanted)

    def _least(self) -> str | None:
        return least(of.level for of in self._by_session.values())

    def _renew_level(self) -> None:
        level = self._least()
        if level is not None and self._conversations.phase is Phase.READY:
            self._exchanges.submit(None, LevelSet(next(self._exchange_ids), level), "logging/setLevel")

    # Resources.

    def _renew_subscription(self, uri: str, params: Raw | None) -> None:
        if self._conversations.phase is Phase.READY:
            self._exchanges.submit(None, Subscribed(next(self._exchange_ids), uri, params), "resources/subscribe")

    def _is_subscribed(self, uri: str, but: SessionId | None = None) -> bool:
        """Whether another client than this one has subscribed to it."""
        return any(uri in of.uris for session, of in self._by_session.items() if session != but)

    def is_wanted(self, uri: str, but: SessionId | None = None) -> bool:
        """Whether another client has, or is about to."""
        asked = (exchange.event for exchange in self._exchanges if exchange.session not in (None, but))
        return self._is_subscribed(uri, but) or any(
            isinstance(event, Subscribed) and event.uri == uri for event in asked
        )

    def is_concerned(self, session: SessionId, updated: str) -> bool:
        """Resources, Subscriptions: what was updated may be a part of what was subscribed to."""
        uris = self._by_session[session].uris
        return any(updated == uri or updated.startswith(uri.rstrip("/") + "/") for uri in uris)

    # Tasks.

    def watch(self, session: SessionId, event: TasksWatched) -> None:
        """A client wants to hear of these tasks."""
        self._by_session[session].tasks = event.task_ids
        self._watch()

    def _watch(self) -> None:
        if self._conversations.phase is Phase.READY:
            every = frozenset(task_id for of in self._by_session.values() for task_id in of.tasks)
            self._conversations.say(self._conversations.current, TasksWatched(every))

    # A new conversation, and a client less.

    def restore(self) -> None:
        """The server knows nothing of them yet."""
        self._renew_level()
        every = {uri: params for of in self._by_session.values() for uri, params in of.uris.items()}
        for uri, params in every.items():
            self._renew_subscription(uri, params)
        for session, of in self._by_session.items():
            for uri in of.uris:
                # It may have been updated while nobody listened.
                self._tell(session, Changed("resources", uri))
        if any(of.tasks for of in self._by_session.values()):
            self._watch()

    def undo(self, gone: ClientWishes) -> None:
        """The server is told what only a client that is gone wanted."""
        for uri, params in gone.uris.items():
            if not self.is_wanted(uri):
                self._exchanges.submit(
                    None, Unsubscribed(next(self._exchange_ids), uri, params), "resources/unsubscribe"
                )
        if gone.level is not None:
            level = self._least() or "info"
            self._exchanges.submit(None, LevelSet(next(self._exchange_ids), level), "logging/setLevel")
        if gone.tasks:
            self._watch()
