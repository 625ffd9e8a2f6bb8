"""
Whether a server hangs.

A client that is connected directly ends a server that hangs when it ends itself. Here the server outlives its clients,
and would hang for the next one too. So a server is asked for a sign of life when a request is given up; if it says
nothing at all for long, the conversation with it ends, and with it the process behind it.

Many servers can do one thing at a time, and are silent meanwhile. Its time begins when no client waits any more for
something that was asked before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversations import Conversations
from mcpbridge.core.effects import BridgeEffect, ConversationId, StartTimer, StopTimer
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.events import Called, ExchangeId
from mcpbridge.core.exchanges import Exchanges
from mcpbridge.core.policy import Policy
from mcpbridge.core.revisions import STATELESS

#: Seconds in which it may still be busy with what was given up.
SILENT: Final = 300.0
#: The same, for a client that comes to a server which another one has left so.
TAKEN_OVER: Final = 30.0


@attrs.define(eq=False)
class Pulse:
    """
    See the top of this module.

    @ivar _question: what any server of its era answers.
    @ivar _doubted: the conversation in which a request was given up, and nothing has been said since.
    @ivar _before: requests that clients waited for then, and still do.
    @ivar _asked: our question.
    @ivar _hurries: another client has come since.
    """

    _policy: Policy
    _exchanges: Exchanges
    _conversations: Conversations
    _exchange_ids: Iterator[ExchangeId]
    _do: Callable[[BridgeEffect], None]
    _question: str = "ping"
    _doubted: ConversationId | None = None
    _before: frozenset[ExchangeId] = frozenset()
    _asked: ExchangeId | None = None
    _hurries: bool = False

    def learn(self, opening: Raw) -> None:
        """What the server said of itself."""
        version = jsonrpc.decode_string(jsonrpc.members(opening).get("protocolVersion")) or ""
        self._question = "server/discover" if version >= STATELESS else "ping"

    def doubt(self, conversation: ConversationId, xid: ExchangeId) -> None:
        """
        A request was given up there.

        The server is asked at once: before it gets what clients want next, which may keep it busy for long.
        """
        if not self._policy.has_pulse or conversation != self._conversations.current:
            return
        if self._doubted is None:
            self._doubted = conversation
            self._before = frozenset(
                exchange.event.xid
                for exchange in self._exchanges
                if exchange.session is not None and exchange.conversation == conversation
            )
            self._asked = next(self._exchange_ids)
            self._exchanges.submit(None, Called(self._asked, self._question, None), self._question)
        elif xid not in self._before:
            return
        self._before -= {xid}
        self._wait()

    def trust(self, conversation: ConversationId) -> None:
        """The server has said something there; or that one is over, and the next one need not be asked."""
        if conversation != self._doubted:
            return
        if self._asked is not None:
            # Nobody waits for the answer: that it fails to come is no reason to doubt anew.
            self._exchanges.pop(self._asked)
        self._doubted, self._before, self._asked, self._hurries = None, frozenset(), None, False
        self._do(StopTimer("pulse"))

    def taken_over(self) -> None:
        """Another client comes. Those that come and go after it do not prolong the wait."""
        if self._doubted is not None and not self._hurries:
            self._hurries = True
            self._wait()

    def fired(self) -> None:
        """It has been silent all the time."""
        if self._doubted is not None:
            text = "it hangs: it has said nothing since a request was given up, not even to a ping; it is started anew"
            self._conversations.end(self._doubted, Loss(Fate.UNKNOWN, Reason.UPSTREAM_TIMEOUT, text))

    def _wait(self) -> None:
        """Its time begins when nobody waits any more for what was asked before."""
        self._before = frozenset(xid for xid in self._before if self._exchanges.get(xid) is not None)
        if not self._before:
            self._do(StartTimer("pulse", TAKEN_OVER if self._hurries else SILENT))
