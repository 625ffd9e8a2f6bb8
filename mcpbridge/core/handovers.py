"""
Clients that take over a conversation in which the server goes by the roots of the client before.

It is told that there are others, and asks for them. What the new client wants waits until it has got them, so that
nothing is done in folders of somebody else; but not for long, since a server need not ask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from mcpbridge.core.conversations import Conversations, Phase
from mcpbridge.core.effects import BridgeEffect, ConversationId, SessionId, StartTimer, StopTimer
from mcpbridge.core.events import RootsChanged
from mcpbridge.core.exchanges import Exchanges

#: Seconds for the server to ask, for the client to answer, and for the server to make the roots its own: it may have to
#: look at the folders.
ASKED: Final = 0.25
ANSWERED: Final = 2.0
SETTLED: Final = 0.1


@attrs.define(eq=False)
class Handovers:
    """
    See the top of this module.

    @ivar _rooted: the conversations in which the server has asked for roots, and whether it keeps them.
    @ivar _open: clients whose roots it has not got yet, and the conversation that each takes over.
    """

    _exchanges: Exchanges
    _conversations: Conversations
    _do: Callable[[BridgeEffect], None]
    _rooted: dict[ConversationId, bool] = attrs.Factory(dict)
    _open: dict[SessionId, ConversationId] = attrs.Factory(dict)

    def begin(self, session: SessionId) -> None:
        """A client is ready, and the server has not asked it for its roots."""
        current = self._conversations.current
        if self._conversations.phase is not Phase.READY or current not in self._rooted:
            return
        if self._rooted[current]:
            self._open[session] = current
            self._exchanges.hold(session)
            self._await(session, ASKED)
        self._conversations.say(current, RootsChanged())

    def asked(self, conversation: ConversationId, session: SessionId | None, keeps: bool) -> None:
        """
        The server asks for roots.

        @param session: whose; L{None} if there is nobody.
        @param keeps: no request of the client made it ask, so it has them in mind when there is one.
        """
        self._rooted[conversation] = keeps or self._rooted.get(conversation, False)
        if session in self._open:
            self._await(session, ANSWERED)

    def answered(self, session: SessionId) -> None:
        """The client has told its roots, or has none to tell."""
        if session in self._open:
            self._await(session, SETTLED)

    def fired(self, session: SessionId) -> None:
        """It has waited long enough."""
        if self._open.pop(session, None) is not None:
            self._exchanges.release(session)

    def detach(self, session: SessionId) -> None:
        """The client is gone, or what it took over is."""
        if session in self._open:
            self._do(StopTimer(("roots", session)))
            self.fired(session)

    def over(self, conversation: ConversationId) -> None:
        """The conversation is over; the next one knows nobody's roots."""
        self._rooted.pop(conversation, None)
        for session in [session for session, taken in self._open.items() if taken == conversation]:
            self.detach(session)

    def _await(self, session: SessionId, seconds: float) -> None:
        self._do(StartTimer(("roots", session), seconds))
