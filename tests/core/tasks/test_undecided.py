"""Tests of L{mcpbridge.core.tasks.undecided}, where those of a desk do not reach."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.events import Called
from mcpbridge.core.tasks import undecided
from mcpbridge.core.tasks.offer import Offer
from mcpbridge.core.tasks.requests import Requests
from mcpbridge.core.tasks.steps import Up
from mcpbridge.core.tasks.undecided import Undecided


class UndecidedTests(SynchronousTestCase):
    """L{Undecided}."""

    def test_bounded(self) -> None:
        """More calls than are kept go on without knowing."""
        self.patch(undecided, "_MAX_WAITING", 2)
        waiting = Undecided(Offer(), Requests(itertools.count(1000)), self.call)
        calls = [Called(number, "tools/call", None) for number in range(3)]

        steps = [list(waiting.decide(call)) for call in calls]

        self.assertEqual([1, 0, 1], [len(each) for each in steps])
        self.assertEqual([Up(calls[2])], steps[2])
        self.assertEqual([True, False, True], [waiting.forget(number) for number in (0, 2, 1)])

    def test_cleared(self) -> None:
        """Who waits is known when nothing will be decided any more."""
        waiting = Undecided(Offer(), Requests(itertools.count(1000)), self.call)
        waiting.decide(Called(7, "tools/call", None))

        self.assertEqual(([7], [], 0), (waiting.clear(), waiting.clear(), len(waiting)))

    def call(self, event: Called, tools: Mapping[str, str]) -> Up:
        """A call goes on."""
        return Up(event)
