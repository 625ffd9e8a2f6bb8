"""
Tests for L{mcpbridge.core.conversations}: what others get to know of them, and in which order.
"""

from __future__ import annotations

import itertools

import attrs
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.conversations import Conversations, Phase
from mcpbridge.core.effects import BridgeEffect, Connect, ConversationId, Hangup, Note, Send, StartTimer
from mcpbridge.core.eras.legacy import ClientPeer
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.events import Called, Completed, Event, Lost, Opened
from mcpbridge.core.jsonrpc import Request, Result
from mcpbridge.core.outage import Outage
from mcpbridge.core.policy import Policy
from mcpbridge.core.ticks import Ticks

ANSWER = Raw(b'{"protocolVersion":"2025-11-25","capabilities":{}}')

CRASHED = Loss(Fate.UNKNOWN, Reason.UPSTREAM_UNREACHABLE, "it crashed")


class Listener:
    """
    Conversations, and what is heard of them.

    @ivar heard: what they called back for; the phase at that moment is last.
    """

    def __init__(self) -> None:
        self.done: list[BridgeEffect] = []
        self.heard: list[tuple[object, ...]] = []
        self.conversations = Conversations(
            Opened(0, "2025-11-25", {}),
            Policy(),
            ClientPeer,
            itertools.count(1000),
            Outage(5.0, Ticks(self.done.append), lambda: 0.0),
            self.done.append,
            self.said,
            lambda conversation: self.heard.append(("over", conversation, self.conversations.phase)),
            lambda loss, established: self.heard.append(("cut off", established, self.conversations.phase)),
        )

    def said(self, conversation: ConversationId, event: Event) -> None:
        self.heard.append((conversation, event, self.conversations.phase))
        if isinstance(event, Completed) and self.conversations.is_opened_by(conversation, event.xid):
            self.conversations.opened(conversation)

    def opens(self, conversation: ConversationId) -> None:
        """It is wanted, connected and answered."""
        self.conversations.want()
        self.conversations.connected(conversation)
        self.conversations.received(conversation, Result(1, ANSWER), None)
        self.heard.clear()
        self.done.clear()


class ConversationsTests(SynchronousTestCase):
    """One after the other."""

    def test_wanted_once(self) -> None:
        """However many want it, one is begun."""
        listener = Listener()

        listener.conversations.want()
        listener.conversations.want()

        self.assertEqual([Connect(1)], [effect for effect in listener.done if isinstance(effect, Connect)])
        self.assertEqual(Phase.CONNECTING, listener.conversations.phase)

    def test_cut_off(self) -> None:
        """All that is lost with a conversation is heard of before it is decided what to do, and nothing is ready."""
        listener = Listener()
        listener.opens(1)
        listener.conversations.say(1, Called(7, "tools/call", None))

        listener.conversations.gone(1, CRASHED)

        self.assertEqual(
            [
                (1, Lost(7, CRASHED), Phase.WAITING),
                ("over", 1, Phase.WAITING),
                ("cut off", True, Phase.WAITING),
            ],
            listener.heard,
        )
        self.assertEqual((None, 0), (listener.conversations.current, len(listener.conversations)))

    def test_retired(self) -> None:
        """One that the server has forgotten goes on beside the next until nothing is under way in it."""
        listener = Listener()
        listener.opens(1)
        listener.conversations.say(1, Called(7, "tools/call", None))

        listener.conversations.forgotten(1)
        listener.conversations.retire_if_done(1)
        busy = (listener.conversations.current, len(listener.conversations))
        listener.conversations.received(1, Result(2, Raw(b"{}")), None)
        listener.conversations.retire_if_done(1)

        self.assertEqual((2, 2), busy)
        self.assertIn(StartTimer(("retire", 1), 5.0), listener.done)
        self.assertEqual([Hangup(1)], [effect for effect in listener.done if isinstance(effect, Hangup)])
        self.assertEqual(
            [(1, Completed(7, Raw(b"{}")), Phase.CONNECTING), ("over", 1, Phase.CONNECTING)], listener.heard
        )

    def test_forgotten_before(self) -> None:
        """That an old one is forgotten is no news."""
        listener = Listener()
        listener.opens(1)
        listener.conversations.forgotten(1)
        listener.done.clear()

        listener.conversations.forgotten(1)

        self.assertEqual([], listener.done)

    def test_closed(self) -> None:
        """No other is begun, whoever wants it."""
        listener = Listener()
        listener.opens(1)

        listener.conversations.close(CRASHED)
        listener.conversations.want()
        listener.conversations.fired("reconnect")

        self.assertEqual([("over", 1, Phase.CLOSED)], listener.heard)
        self.assertEqual([], [effect for effect in listener.done if isinstance(effect, Connect)])

    def test_said_when_it_is_over(self) -> None:
        """There is nobody to hear it."""
        listener = Listener()
        listener.opens(1)
        listener.conversations.say(1, Called(7, "tools/call", None))
        listener.conversations.gone(1, CRASHED)

        listener.conversations.say(1, Called(8, "tools/call", None))
        listener.conversations.say(None, Called(9, "tools/call", None))
        listener.conversations.received(1, Result(2, Raw(b"{}")), None)

        sent = [effect.message for effect in listener.done if isinstance(effect, Send)]
        self.assertEqual([Request(2, "tools/call")], sent)

    def test_noted_once(self) -> None:
        """Why a server cannot be had is noted once, until nobody wants it any more, or it is for another reason."""
        listener = Listener()
        refused, denied = attrs.evolve(CRASHED, text="refused"), attrs.evolve(CRASHED, text="denied")

        for number, loss in enumerate((refused, refused, denied, denied), 1):
            listener.conversations.connect()
            listener.conversations.gone(number, loss)
        listener.conversations.rest()
        listener.conversations.connect()
        listener.conversations.gone(5, denied)

        notes = [effect.text for effect in listener.done if isinstance(effect, Note)]
        self.assertEqual(["refused", "denied", "denied"], notes)

    def test_noted_again(self) -> None:
        """So it is when the server was there in between."""
        listener = Listener()
        listener.conversations.connect()
        listener.conversations.gone(1, CRASHED)
        listener.conversations.fired("reconnect")
        listener.conversations.connected(2)
        listener.conversations.received(2, Result(1, ANSWER), None)
        listener.conversations.forgotten(2)
        listener.done.clear()

        listener.conversations.gone(3, CRASHED)

        self.assertIn(Note(CRASHED.text, CRASHED), listener.done)
