"""Tests of L{mcpbridge.core.tasks.owned}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.tasks import owned
from mcpbridge.core.tasks.owned import Owned
from tests.core.tasks.desks import plain, raw


class OwnedTests(SynchronousTestCase):
    """L{Owned}."""

    def test_kept(self) -> None:
        """A task stays with the request that it was known by first; the oldest is forgotten when there are too many."""
        self.patch(owned, "_MAX_OWN", 2)
        own = Owned()

        for number, task_id in enumerate(("a", "b", "a", "c")):
            own.add(task_id, number)

        self.assertEqual([False, True, True], [task_id in own for task_id in "abc"])
        self.assertEqual([False, True, False, True], [own.bears(number) for number in range(4)])

    def test_only(self) -> None:
        """Of a list only those are left; what else is there stays."""
        own = Owned()
        own.add("a", 1)

        found = own.only(raw({"tasks": [{"taskId": "a"}, {"taskId": "b"}, 5], "nextCursor": "n"}))

        self.assertEqual({"tasks": [{"taskId": "a"}], "nextCursor": "n"}, plain(found))
