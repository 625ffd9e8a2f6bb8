"""
Tests for L{mcpbridge.core.news}.
"""

from __future__ import annotations

from typing import Any

import attrs
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.effects import SessionId
from mcpbridge.core.events import Changed, Event, Logged, Notified, Progressed
from mcpbridge.core.news import News
from mcpbridge.core.policy import Policy

_ERROR = Logged(None, Raw(b'{"level":"error","data":1}'))
_TOOLS = Changed("tools", None)


@attrs.frozen
class FakeExchange:
    session: SessionId


@attrs.define(eq=False)
class FakeWishes:
    """Client 2 wants errors, and to hear of one resource."""

    def hears(self, session: SessionId, level: str | None) -> bool:
        return session == 2 and level == "error"

    def is_concerned(self, session: SessionId, uri: str) -> bool:
        return session == 2 and uri == "a:b"


@attrs.define(eq=False)
class FakeLists:
    """Writes down what it is told."""

    told: list[tuple[str, Changed]] = attrs.Factory(list)

    def suspected(self, event: Changed) -> None:
        self.told.append(("suspected", event))

    def changed(self, event: Changed) -> None:
        self.told.append(("changed", event))


class NewsTests(SynchronousTestCase):
    """Three clients of a server; the last one is not ready yet."""

    def setUp(self) -> None:
        self.told: list[tuple[SessionId, Event]] = []
        self.lists = FakeLists()

    def news(self, **policy: Any) -> News:
        """Exchange 20 is of client 2; exchange 30 was, of client 3, and became a task."""
        exchanges: Any = {20: FakeExchange(2)}
        wishes: Any = FakeWishes()
        lists: Any = self.lists
        sessions = {1: True, 2: True, 3: False}
        return News(
            Policy(**{"exclusive": False, **policy}),
            sessions,
            exchanges,
            wishes,
            lists,
            lambda session, event: self.told.append((session, event)),
            {30: 3}.get,
        )

    def test_of_an_exchange(self) -> None:
        """It is for whoever began it, also after that became a task; what nobody began is for nobody."""
        news = self.news()
        events = [
            event
            for xid in (20, 30, 40)
            for event in (Progressed(xid, {}), Notified(xid, "x/y", None), Logged(xid, _ERROR.params))
        ]

        for event in events:
            news.came(event)

        self.assertEqual([(2, event) for event in events[:3]] + [(3, event) for event in events[3:6]], self.told)

    def test_of_none(self) -> None:
        """What belongs to nothing is for all."""
        self.news().came(Notified(None, "x/y", None))

        self.assertEqual([1, 2, 3], [session for session, _ in self.told])

    def test_log(self) -> None:
        """Of several clients each hears what it wanted; a client alone has told the server so itself."""
        self.news().came(_ERROR)
        several, self.told = self.told, []
        self.news(exclusive=True).came(_ERROR)

        self.assertEqual(([2], [1, 2, 3]), ([session for session, _ in several], [session for session, _ in self.told]))

    def test_broken_log(self) -> None:
        """What has no level, or is huge, cannot be wanted."""
        huge = b'{"level":"error","data":"%b"}' % (b"x" * 1024 * 1024)

        for params in (None, Raw(b"[]"), Raw(b'{"level":1}'), Raw(huge)):
            self.news().came(Logged(None, params))

        self.assertEqual([], self.told)

    def test_resource(self) -> None:
        """A change of a resource is for those who have subscribed; where there is one client, it has."""
        self.news().came(Changed("resources", "a:b"))
        self.news().came(Changed("resources", "c:d"))
        several, self.told = self.told, []
        self.news(exclusive=True).came(Changed("resources", "c:d"))

        self.assertEqual(([2], [1, 2, 3]), ([session for session, _ in several], [session for session, _ in self.told]))

    def test_list(self) -> None:
        """A change of a list is for all who may be told anything yet, and for what is remembered of it."""
        self.news().came(_TOOLS)

        self.assertEqual([(1, _TOOLS), (2, _TOOLS)], self.told)
        self.assertEqual([("changed", _TOOLS)], self.lists.told)

    def test_suspected(self) -> None:
        """What may have changed is looked at first; where nothing is remembered clients have to look."""
        suspicion = attrs.evolve(_TOOLS, suspected=True)

        self.news().came(suspicion)
        before = list(self.told)
        self.news(snapshot=False).came(suspicion)

        self.assertEqual(([], [1, 2]), (before, [session for session, _ in self.told]))
        self.assertEqual([("suspected", suspicion), ("changed", suspicion)], self.lists.told)
