"""
Tests for L{mcpbridge.core.wishes}, where L{tests.core.test_bridge_wishes} does not reach.
"""

from __future__ import annotations

import itertools

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.conversations import Conversations
from mcpbridge.core.effects import BridgeEffect, Send
from mcpbridge.core.eras.modern import ClientPeer
from mcpbridge.core.events import Event, Opened, TasksWatched
from mcpbridge.core.exchanges import Exchanges
from mcpbridge.core.jsonrpc import Request, Result, members, read
from mcpbridge.core.outage import Outage
from mcpbridge.core.policy import Policy
from mcpbridge.core.ticks import Ticks
from mcpbridge.core.wishes import Wishes


class Server:
    """A server of the stateless era, and two clients that have wishes."""

    def __init__(self) -> None:
        self.done: list[BridgeEffect] = []
        do = self.done.append
        count = Ticks(do)
        outage = Outage(5.0, count, lambda: 0.0)
        xids = itertools.count(1000)
        self.conversations = Conversations(
            Opened(0, "2026-07-28", {}), Policy(), ClientPeer, xids, outage, do, self.said, lambda _: None, self.cut_off
        )
        exchanges = Exchanges(
            "up",
            Policy(),
            count,
            outage,
            self.conversations,
            do,
            lambda session, event: None,
            lambda exchange, event: event,
            lambda uri: False,
            lambda xid, exchange, error: None,
            lambda conversation, xid: None,
        )
        self.wishes = Wishes(exchanges, self.conversations, xids, lambda session, event: None)
        for session in (1, 2):
            self.wishes.attach(session)

    def opens(self) -> None:
        """A conversation comes up."""
        self.conversations.connect()
        conversation = self.conversations.current
        assert conversation is not None
        self.conversations.connected(conversation)
        opening = Raw(b'{"supportedVersions":["2026-07-28"],"capabilities":{},"resultType":"complete"}')
        self.conversations.received(conversation, Result(1, opening), None)
        self.conversations.opened(conversation)
        self.wishes.restore()

    def said(self, conversation: int, event: Event) -> None:
        """What the server says here is its opening only."""

    def cut_off(self, loss: object, established: bool) -> None:
        """Nothing is lost here."""

    def watched(self) -> list[list[str]]:
        """The tasks that the server was asked to tell of since the last time."""
        sent = [effect.message for effect in self.done if isinstance(effect, Send)]
        self.done.clear()
        listens = [message for message in sent if isinstance(message, Request) and "listen" in message.method]
        return [read(members(each.params or b"{}")["notifications"]).get("taskIds", []) for each in listens]


class TaskTests(SynchronousTestCase):
    """Tasks that clients want to hear of."""

    def test_all(self) -> None:
        """The server is asked for those of all clients; without those of one that is gone."""
        server = Server()
        server.opens()

        server.wishes.watch(1, TasksWatched(frozenset(("a", "b"))))
        server.wishes.watch(2, TasksWatched(frozenset(("b", "c"))))
        server.wishes.undo(server.wishes.detach(1))

        self.assertEqual([["a", "b"], ["a", "b", "c"], ["b", "c"]], server.watched())

    def test_restored(self) -> None:
        """A new conversation is asked as well, and one that was not there yet."""
        server = Server()
        server.wishes.watch(1, TasksWatched(frozenset("a")))

        server.opens()
        server.opens()

        self.assertEqual([["a"], ["a"]], server.watched())
