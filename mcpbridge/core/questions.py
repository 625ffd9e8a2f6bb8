"""
What a server asks its clients, and the way back of their answers.

A question keeps the key that the server's era gave it, within the number of its conversation. It ends when it is
answered, withdrawn, or refused; when its client is gone it is refused, and when its conversation is over it is
withdrawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core.conversations import Conversations
from mcpbridge.core.effects import ConversationId, SessionId
from mcpbridge.core.errors import ErrorObject, Reason, bridge_error
from mcpbridge.core.events import (
    Event,
    ExchangeId,
    InputProgressed,
    InputRequired,
    InputSupplied,
    InputWithdrawn,
)
from mcpbridge.core.exchanges import Exchanges
from mcpbridge.core.handovers import Handovers
from mcpbridge.core.policy import Policy

#: Those that wait for one client to be ready.
_MAX_HELD: Final = 64

_ROOTS: Final = "roots/list"


@attrs.frozen
class _Question:
    conversation: ConversationId
    key: str
    session: SessionId
    method: str


@attrs.define(eq=False)
class Questions:
    """
    See the top of this module.

    @ivar _name: the server's, for texts.
    @ivar _sessions: the clients, and whether each has said that it is ready.
    """

    _name: str
    _policy: Policy
    _sessions: Mapping[SessionId, bool]
    _exchanges: Exchanges
    _conversations: Conversations
    _handovers: Handovers
    _tell: Callable[[SessionId, Event], None]
    #: The client whose task asks, if the question says so.
    _owner_of: Callable[[InputRequired], SessionId | None]
    _by_key: dict[str, _Question] = attrs.Factory(dict)
    _held: dict[SessionId, list[InputRequired]] = attrs.Factory(dict)

    def __len__(self) -> int:
        return len(self._by_key)

    # The server asks.

    def ask(self, conversation: ConversationId, event: InputRequired) -> None:
        """
        Ask whoever causes it, or the only client there is: now, or when it is ready.

        @param event: in the words of the server's era.
        """
        exchange = self._exchanges.get(event.xid)
        session = exchange.session if exchange is not None else self._owner_of(event)
        if session is None and self._policy.exclusive:
            session = next(iter(self._sessions), None)
        if _wants_roots(event):
            self._handovers.asked(conversation, session, exchange is None and self._policy.exclusive)
        if session is None:
            why = (
                "No client is connected" if self._policy.exclusive else "This server is shared: no client can be asked"
            )
            self._answer(conversation, event.xid, dict.fromkeys(event.requests, self._unavailable(why)))
            return
        self._exchanges.postpone_for(session)
        asked = self._register(conversation, event, session)
        held = self._held.get(session, [])
        if self._sessions[session]:
            self._tell(session, asked)
        elif len(held) < _MAX_HELD:
            self._held[session] = [*held, asked]
        else:
            self._refuse(asked, f"{_MAX_HELD} questions wait for the client already")

    def _register(self, conversation: ConversationId, event: InputRequired, session: SessionId) -> InputRequired:
        keys = {f"{conversation}.{key}": key for key in event.requests}
        for outer, inner in keys.items():
            self._by_key[outer] = _Question(conversation, inner, session, event.requests[inner].method)
        return attrs.evolve(event, requests={outer: event.requests[inner] for outer, inner in keys.items()})

    def withdrawn(self, conversation: ConversationId, event: InputWithdrawn) -> None:
        """The server does not want to know any more."""
        key = f"{conversation}.{event.key}"
        found = self._by_key.pop(key, None)
        if found is None:
            return
        held = self._held.pop(found.session, [])
        still = [asked for asked in held if key not in asked.requests]
        if still:
            self._held[found.session] = still
        self._tell(found.session, InputWithdrawn(key, event.reason))

    # A client answers.

    def supplied(self, event: InputSupplied) -> None:
        """What was asked together is answered together."""
        responses: dict[ConversationId, dict[str, Raw | ErrorObject]] = {}
        for key, response in event.responses.items():
            found = self._by_key.pop(key, None)
            if found is not None:
                responses.setdefault(found.conversation, {})[found.key] = response
            if found is not None and found.method == _ROOTS:
                self._handovers.answered(found.session)
        for conversation, answers in responses.items():
            self._conversations.say(conversation, InputSupplied(event.xid, answers))

    def progressed(self, event: InputProgressed) -> None:
        """It works on one."""
        found = self._by_key.get(event.key)
        if found is not None:
            self._conversations.say(found.conversation, InputProgressed(found.key, event.params))

    # Either is ready, or gone.

    def ready(self, session: SessionId) -> None:
        """The client may be asked from now on."""
        held = self._held.pop(session, [])
        for asked in held:
            self._tell(session, asked)
        if not any(map(_wants_roots, held)):
            self._handovers.begin(session)

    def detach(self, session: SessionId) -> None:
        """The client is gone."""
        self._handovers.detach(session)
        for asked in self._held.pop(session, []):
            self._refuse(asked, "The client is gone")
        for key, question in list(self._by_key.items()):
            if question.session == session:
                del self._by_key[key]
                self._answer(question.conversation, None, {question.key: self._unavailable("The client is gone")})

    def over(self, conversation: ConversationId) -> None:
        """The conversation is over."""
        self._handovers.over(conversation)
        for key, question in list(self._by_key.items()):
            if question.conversation == conversation:
                del self._by_key[key]
                self._tell(question.session, InputWithdrawn(key, "the connection to the server was lost"))

    def _refuse(self, asked: InputRequired, why: str) -> None:
        for key in asked.requests:
            found = self._by_key.pop(key, None)
            if found is not None:
                self._answer(found.conversation, asked.xid, {found.key: self._unavailable(why)})

    def _unavailable(self, why: str) -> ErrorObject:
        return bridge_error(Reason.INPUT_UNAVAILABLE, self._name, why)

    def _answer(
        self, conversation: ConversationId, xid: ExchangeId | None, responses: Mapping[str, Raw | ErrorObject]
    ) -> None:
        self._conversations.say(conversation, InputSupplied(xid, responses))


def _wants_roots(event: InputRequired) -> bool:
    return any(request.method == _ROOTS for request in event.requests.values())
