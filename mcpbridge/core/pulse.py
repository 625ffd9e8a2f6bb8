"""
Whether a server hangs.

A client that is connected directly ends a server that hangs when it ends itself. Here the server outlives its clients,
and would hang for the next one too. So a server that says nothing at all after a request was given up is asked for a
sign of life; if there is none for long, the conversation with it ends, and with it the process behind it.

Many servers can do one thing at a time, and are silent meanwhile. While a client waits for something that was asked
before, nobody is disturbed.
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

#: Seconds of silence after which it is asked; and from then on, in which it may still be busy with what was given up.
QUIET: Final = 30.0
SILENT: Final = 270.0
#: The same, all in all, for a client that comes to a server which another one has left so.
TAKEN_OVER: Final = 30.0


@attrs.define(eq=False)
class Pulse:
    """
    See the top of this module.

    @ivar _question: what any server of its era answers.
    @ivar _doubted: the conversation in which a request was given up, and nothing has been said since.
    @ivar _before: requests that clients waited for then.
    @ivar _asked: our question, once it has been asked.
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

    def doubt(self, conversation: ConversationId) -> None:
        """A request was given up there."""
        if not self._policy.has_pulse or conversation != self._conversations.current or self._doubted is not None:
            return
        self._doubted = conversation
        self._before = frozenset(
            exchange.event.xid
            for exchange in self._exchanges
            if exchange.session is not None and exchange.conversation == conversation
        )
        self._do(StartTimer("pulse", QUIET))

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
            self._ask(TAKEN_OVER)

    def fired(self) -> None:
        """It has been silent all the time."""
        if self._doubted is None:
            return
        if any(self._exchanges.get(xid) is not None for xid in self._before):
            self._do(StartTimer("pulse", QUIET))
        elif self._asked is None:
            self._ask(SILENT)
        else:
            text = "it hangs: it says nothing since a request was given up, and answers no ping; it is started anew"
            self._conversations.end(self._doubted, Loss(Fate.UNKNOWN, Reason.UPSTREAM_TIMEOUT, text))

    def _ask(self, patience: float) -> None:
        self._do(StartTimer("pulse", patience))
        if self._asked is None:
            self._asked = next(self._exchange_ids)
            self._exchanges.submit(None, Called(self._asked, self._question, None), self._question)
