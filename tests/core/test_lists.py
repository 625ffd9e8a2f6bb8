"""
Tests for L{mcpbridge.core.lists}, where L{tests.core.test_bridge_lists} does not reach.
"""

from __future__ import annotations

import itertools

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.conversations import Conversations
from mcpbridge.core.effects import BridgeEffect, Save, SessionId
from mcpbridge.core.eras.legacy import ClientPeer
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import Called, Changed, Completed, Envelope, Event, ExchangeId, Failed, Opened
from mcpbridge.core.exchanges import Exchange, Exchanges
from mcpbridge.core.lists import Lists
from mcpbridge.core.outage import Outage
from mcpbridge.core.policy import Policy
from mcpbridge.core.ticks import Ticks

TOOLS = Raw(b'{"tools":[{"name":"a"}]}')


class Library:
    """
    The lists of a server that is not there yet, with three clients.

    @ivar told: what clients were told.
    """

    def __init__(self) -> None:
        self.done: list[BridgeEffect] = []
        self.told: list[tuple[SessionId, Event]] = []
        do = self.done.append
        count = Ticks(do)
        outage = Outage(5.0, count, lambda: 0.0)
        conversations = Conversations(
            Opened(0, "2025-11-25", {}),
            Policy(),
            ClientPeer,
            itertools.count(1000),
            outage,
            do,
            lambda conversation, event: None,
            lambda conversation: None,
            lambda loss, established: None,
        )
        self.exchanges = Exchanges(
            "up",
            Policy(),
            count,
            outage,
            conversations,
            do,
            self.tell,
            lambda exchange, event: event,
            lambda uri: False,
            self.failed,
            lambda conversation, xid: None,
        )
        self.lists = Lists("up", self.exchanges, itertools.count(2000), conversations.want, do, self.tell)
        for session in (1, 2, 3):
            self.lists.attach(session)

    def tell(self, session: SessionId, event: Event) -> None:
        self.told.append((session, event))

    def failed(self, xid: ExchangeId, exchange: Exchange, error: ErrorObject) -> None:
        self.lists.failed(xid, exchange, error)

    def taken(self) -> list[tuple[SessionId, Event]]:
        """What was told since the last time."""
        told, self.told = self.told, []
        return told


class ListsTests(SynchronousTestCase):
    """What clients get."""

    def test_one_fetch(self) -> None:
        """All that wait are answered by one fetch; who has not asked is not told of a first list."""
        library = Library()

        library.lists.ask(1, Called(10, "tools/list", None))
        library.lists.ask(2, Called(20, "tools/list", None))
        under_way = [exchange.session for exchange in library.exchanges]
        library.lists.came("tools/list", TOOLS, None)

        self.assertEqual([1, None, 2], under_way)
        self.assertEqual([(1, Completed(10, TOOLS)), (2, Completed(20, TOOLS))], library.taken())

    def test_freshness(self) -> None:
        """What a server says of how long its list is good goes with it, if it is the whole list."""
        envelope = Envelope(Raw(b'"complete"'), Raw(b"5000"), Raw(b'"public"'))
        library = Library()
        library.lists.ask(1, Called(10, "prompts/list", None))
        library.lists.ask(1, Called(11, "tools/list", None))

        for more in (b',"nextCursor":"2"', b""):
            library.lists.came("prompts/list", Raw(b'{"prompts":[]%b}' % more), envelope)
        library.lists.came("tools/list", TOOLS, envelope)

        found = [event.envelope for _, event in library.taken() if isinstance(event, Completed)]
        self.assertEqual([None, envelope], found)

    def test_who_is_told_of_a_difference(self) -> None:
        """Whoever has been given the old one, and has not just been given the new one."""
        library = Library()
        library.lists.catalog.fill({"tools/list": Raw(b'{"tools":[]}')})
        library.lists.ask(1, Called(10, "tools/list", None))
        library.lists.ask(2, Called(20, "tools/list", None))
        library.lists.changed(Changed("tools"))
        library.lists.ask(2, Called(21, "tools/list", None))
        library.taken()
        library.done.clear()

        library.lists.came("tools/list", TOOLS, None)

        self.assertEqual([(2, Completed(21, TOOLS)), (1, Changed("tools"))], library.taken())
        self.assertEqual([Save()], library.done)

    def test_fetch_failed(self) -> None:
        """Whoever waits gets the old list, or the error if there is none."""
        error = ErrorObject(-32000, "no")
        library = Library()
        library.lists.catalog.fill({"tools/list": TOOLS})
        library.lists.changed(Changed("tools"))
        library.lists.ask(1, Called(10, "tools/list", None))
        library.lists.ask(1, Called(11, "prompts/list", None))

        library.exchanges.fail(2000, error)
        library.exchanges.fail(2001, error)

        self.assertEqual([(1, Completed(10, TOOLS)), (1, Failed(11, error))], library.taken())
        self.assertEqual(0, len(library.exchanges))
