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

_ORDER: Final = (ASKED, ANSWERED, SETTLED)


@attrs.define(eq=False)
class _Handover:
    """
    @ivar conversation: what is taken over.
    @ivar wait: the one of the three that is on.
    """

    conversation: ConversationId
    wait: float


@attrs.define(eq=False)
class Handovers:
    """
    See the top of this module.

    @ivar _rooted: the conversations in which the server has asked for roots, and whether it keeps them.
    @ivar _open: those of clients whose roots it has not got yet.
    """

    _exchanges: Exchanges
    _conversations: Conversations
    _do: Callable[[BridgeEffect], None]
    _rooted: dict[ConversationId, bool] = attrs.Factory(dict)
    _open: dict[SessionId, _Handover] = attrs.Factory(dict)

    def begin(self, session: SessionId) -> None:
        """A client is ready, and the server has not asked it for its roots."""
        current = self._conversations.current
        if self._conversations.phase is not Phase.READY or current not in self._rooted:
            return
        if self._rooted[current]:
            self._open[session] = _Handover(current, ASKED)
            self._exchanges.hold(session)
            self._do(StartTimer(("roots", session), ASKED))
        self._conversations.say(current, RootsChanged())

    def asked(self, conversation: ConversationId, session: SessionId | None, keeps: bool) -> None:
        """
        The server asks for roots.

        @param session: whose; L{None} if there is nobody.
        @param keeps: no request of the client made it ask, so it has them in mind when there is one.
        """
        self._rooted[conversation] = keeps or self._rooted.get(conversation, False)
        if session is not None:
            self._await(session, ANSWERED)

    def answered(self, session: SessionId) -> None:
        """The client has told its roots, or has none to tell."""
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
        for session in [session for session, of in self._open.items() if of.conversation == conversation]:
            self.detach(session)

    def _await(self, session: SessionId, wait: float) -> None:
        """Go on to this wait. None comes twice: a server that asks and asks would hold the client up for ever."""
        of = self._open.get(session)
        if of is not None and _ORDER.index(wait) > _ORDER.index(of.wait):
            of.wait = wait
            self._do(StartTimer(("roots", session), wait))
