"""
Tests for L{mcpbridge.core.questions}, where L{tests.core.test_bridge_questions} does not reach.
"""

from __future__ import annotations

import itertools

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.conversations import Conversations
from mcpbridge.core.effects import BridgeEffect, ConversationId, Send, SessionId
from mcpbridge.core.eras.legacy import ClientPeer
from mcpbridge.core.events import Event, InputRequest, InputRequired, InputSupplied, InputWithdrawn, Opened
from mcpbridge.core.exchanges import Exchanges
from mcpbridge.core.handovers import Handovers
from mcpbridge.core.jsonrpc import Request, Result
from mcpbridge.core.outage import Outage
from mcpbridge.core.policy import Policy
from mcpbridge.core.questions import Questions
from mcpbridge.core.ticks import Ticks

FIRST = InputRequired(None, {"a": InputRequest("roots/list", None)})
SECOND = InputRequired(None, {"b": InputRequest("roots/list", None)})


class Panel:
    """
    Two conversations of one server, and one client that may not be ready.

    @ivar told: what the client was told.
    """

    def __init__(self, *, ready: bool) -> None:
        self.done: list[BridgeEffect] = []
        self.told: list[tuple[SessionId, Event]] = []
        do = self.done.append
        count = Ticks(do)
        outage = Outage(5.0, count, lambda: 0.0)
        self.conversations = Conversations(
            Opened(0, "2025-11-25", {}),
            Policy(),
            ClientPeer,
            itertools.count(1000),
            outage,
            do,
            self.said,
            self.over,
            lambda loss, established: None,
        )
        exchanges = Exchanges(
            "up",
            Policy(),
            count,
            outage,
            self.conversations,
            do,
            self.tell,
            lambda exchange, event: event,
            lambda uri: False,
            lambda xid, exchange, error: None,
            lambda conversation, xid: None,
        )
        handovers = Handovers(exchanges, self.conversations, do)
        self.questions = Questions(
            "up", Policy(), {1: ready}, exchanges, self.conversations, handovers, self.tell, lambda _: None
        )
        for _ in range(2):
            self.conversations.connect()

    def tell(self, session: SessionId, event: Event) -> None:
        self.told.append((session, event))

    def over(self, conversation: ConversationId) -> None:
        self.questions.over(conversation)

    def said(self, conversation: ConversationId, event: Event) -> None:
        if isinstance(event, InputRequired):
            self.questions.ask(conversation, event)


def asked(*keys: str) -> tuple[SessionId, Event]:
    """What the client hears of such questions, each in a message of its own."""
    return 1, InputRequired(None, {key: InputRequest("roots/list", None) for key in keys})


class QuestionsTests(SynchronousTestCase):
    """Questions on their way."""

    def test_equal_keys(self) -> None:
        """Two conversations may use the same key; each gets its own answer."""
        panel = Panel(ready=True)

        for conversation in (1, 2):
            panel.conversations.received(conversation, Request(7, "roots/list"), None)
        keys = [key for _, event in panel.told if isinstance(event, InputRequired) for key in event.requests]
        panel.questions.supplied(InputSupplied(None, {key: Raw(b'"%b"' % key.encode()) for key in reversed(keys)}))

        sent = [(effect.conversation, effect.message) for effect in panel.done if isinstance(effect, Send)]
        self.assertEqual(2, len(set(keys)))
        self.assertEqual(
            [(2, Result(7, Raw(b'"%b"' % keys[1].encode()))), (1, Result(7, Raw(b'"%b"' % keys[0].encode())))], sent
        )
        self.assertEqual(0, len(panel.questions))

    def test_withdrawn_while_held(self) -> None:
        """A client that becomes ready is asked only what the server still wants to know."""
        panel = Panel(ready=False)
        panel.questions.ask(1, FIRST)
        panel.questions.ask(1, SECOND)

        panel.questions.withdrawn(1, InputWithdrawn("a"))
        panel.questions.ready(1)
        panel.questions.ready(1)

        self.assertEqual([(1, InputWithdrawn("1.a")), asked("1.b")], panel.told)

    def test_over(self) -> None:
        """With a conversation its questions are over, and no other."""
        panel = Panel(ready=True)
        panel.questions.ask(1, FIRST)
        panel.questions.ask(2, SECOND)
        panel.told.clear()

        panel.questions.over(1)
        panel.questions.withdrawn(1, InputWithdrawn("a"))

        self.assertEqual([(1, InputWithdrawn("1.a", "the connection to the server was lost"))], panel.told)
        self.assertEqual(1, len(panel.questions))
