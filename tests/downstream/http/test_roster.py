"""
Tests for L{mcpbridge.downstream.http.roster}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.downstream.http.roster import Roster


class Guest:
    """Somebody who is served."""

    patience = 100.0

    def __init__(self, roster: Roster[str, Guest], name: str, touched: float = 0, is_busy: bool = False) -> None:
        self.roster = roster
        self.name = name
        self.touched = touched
        self.is_busy = is_busy
        roster.add(name, self)

    def close(self, text: str) -> None:
        self.roster.remove(self.name)


class RosterTests(SynchronousTestCase):
    """Who is served, and for how long."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.roster: Roster[str, Guest] = Roster(self.clock, 3, 10)

    def names(self) -> list[str]:
        return [guest.name for guest in self.roster]

    def test_idle(self) -> None:
        """Who does nothing for long is let go; whoever is busy stays."""
        Guest(self.roster, "idle")
        Guest(self.roster, "busy", is_busy=True)
        Guest(self.roster, "used", touched=50)

        self.clock.pump([15.0] * 7)

        self.assertEqual(["busy", "used"], self.names())

    def test_room(self) -> None:
        """If there are as many as there may be, who has been idle for longest gives way."""
        for name, touched in (("a", 5), ("b", 3), ("c", 8)):
            self.assertTrue(self.roster.has_room())
            Guest(self.roster, name, touched)

        self.assertFalse(self.roster.has_room())
        self.clock.advance(13)
        self.assertTrue(self.roster.has_room())

        self.assertEqual(["a", "c"], self.names())

    def test_nobody_gives_way(self) -> None:
        """Who is busy does not give way."""
        for name in "abc":
            Guest(self.roster, name, is_busy=True)
        self.clock.advance(1000)

        self.assertFalse(self.roster.has_room())

    def test_nothing_is_left(self) -> None:
        """When the last one has gone nothing runs."""
        guest = Guest(self.roster, "a")

        guest.close("")

        self.assertEqual(([], 0, None), (self.clock.getDelayedCalls(), len(self.roster), self.roster.get("a")))
