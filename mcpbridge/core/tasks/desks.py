"""
The tasks of all clients of one server.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

import attrs
from msgspec import Raw

from mcpbridge.core.effects import SessionId
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import Called, Event, ExchangeId, InputRequired, Introduced, Opened
from mcpbridge.core.tasks import shapes
from mcpbridge.core.tasks.desk import Desk
from mcpbridge.core.tasks.offer import Offer
from mcpbridge.core.tasks.steps import Step
from mcpbridge.core.tasks.terms import Terms


@attrs.define(eq=False, repr=False)
class Desks:
    """
    One for each client.

    @ivar _exchanges: numbers that no other exchange of the daemon has.
    @ivar _handles: gives texts that cannot be guessed.
    @ivar _timestamp: the time, as ISO 8601 writes it.
    @ivar _exclusive: there is one client at a time.
    @ivar _patience: seconds that a client's call may wait for what comes of a task.
    """

    _exchanges: Iterator[ExchangeId]
    _handles: Callable[[], str]
    _timestamp: Callable[[], str]
    _exclusive: bool = True
    _patience: float = 3600.0
    _offer: Offer = attrs.Factory(Offer)
    _by_session: dict[SessionId, Desk] = attrs.Factory(dict)

    def __len__(self) -> int:
        """How much of all of them is under way."""
        return sum(map(len, self._by_session.values()))

    def learn(self, opening: Raw) -> None:
        """The server says this of itself, or has said it before."""
        self._offer.opened(opening)

    def attach(self, session: SessionId) -> None:
        """A client comes."""
        self._by_session[session] = Desk(
            Terms(self._offer, self._exclusive), self._exchanges, self._handles, self._timestamp, self._patience
        )

    def detach(self, session: SessionId) -> Sequence[Step]:
        """A client is gone."""
        return self._by_session.pop(session).close()

    def passes(self, session: SessionId, event: Event) -> bool:
        """Whether there is nothing to do about what one side says to the other: this is asked of every message."""
        desk = self._by_session.get(session)
        return desk is None or (desk.is_idle and not isinstance(event, Opened | Introduced))

    def early(self, session: SessionId) -> Sequence[Called]:
        """What a client has asked too early: the server had not said what it is. It is to be asked again now."""
        return self._by_session[session].early()

    def up(self, session: SessionId, event: Event) -> Sequence[Step]:
        """A client says something."""
        return self._by_session[session].up(event)

    def down(self, session: SessionId, event: Event) -> Sequence[Step]:
        """The bridge has something for a client."""
        return self._by_session[session].down(event)

    def fired(self, session: SessionId, key: Hashable, overdue: ErrorObject) -> Sequence[Step]:
        """
        A timer has run out.

        @param overdue: what a client is told that has waited too long.
        """
        return self._by_session[session].fired(key, overdue)

    def end(self, session: SessionId, error: ErrorObject) -> Sequence[Step]:
        """The server is nobody's from now on."""
        return self._by_session[session].end(error)

    def owner_of(self, event: InputRequired) -> SessionId | None:
        """Whose task it is that asks, where it says which task it is."""
        named = {shapes.relation_of(request.params) for request in event.requests.values()}
        task_id = named.pop() if len(named) == 1 else None
        if task_id is None:
            return None
        return next((session for session, desk in self._by_session.items() if desk.owns(task_id)), None)

    def bearer_of(self, xid: ExchangeId) -> SessionId | None:
        """Whose call it was that became a task."""
        return next((session for session, desk in self._by_session.items() if desk.bears(xid)), None)
