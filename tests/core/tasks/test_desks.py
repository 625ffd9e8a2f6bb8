"""Tests of L{mcpbridge.core.tasks.desks}."""

from __future__ import annotations

import itertools
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.effects import StartTimer
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import Called, Completed, Failed, InputRequest, InputRequired, Opened
from mcpbridge.core.tasks.desks import Desks
from mcpbridge.core.tasks.steps import Down, Up
from tests.core.tasks.desks import SESSION, raw

OPENING = raw({"protocolVersion": "2025-11-25", "capabilities": SESSION})
TASK: Any = {"taskId": "t", "status": "working", "createdAt": "c", "lastUpdatedAt": "l", "ttl": 9}


def shared() -> Desks:
    """Two clients of one conversation, the first of which has a task."""
    desks = Desks(itertools.count(1000), lambda: "handle", lambda: "now", False, 60.0)
    desks.learn(OPENING)
    for session in (1, 2):
        desks.attach(session)
        desks.up(session, Opened(session, "2025-11-25", {}))
    desks.up(1, Called(5, "tools/call", raw({"name": "x", "task": {}})))
    desks.down(1, Completed(5, raw({"task": TASK})))
    return desks


class DesksTests(SynchronousTestCase):
    """L{Desks}."""

    def test_owner(self) -> None:
        """A question that says which task it is of is for whose task that is."""
        desks = shared()

        def owner(*named: str | None) -> int | None:
            requests = {}
            for key, task_id in enumerate(named):
                meta = {} if task_id is None else {"io.modelcontextprotocol/related-task": {"taskId": task_id}}
                requests[str(key)] = InputRequest("elicitation/create", raw({"_meta": meta}))
            return desks.owner_of(InputRequired(None, requests))

        self.assertEqual(
            [1, 1, None, None, None], [owner("t"), owner("t", "t"), owner("u"), owner(None), owner("t", "u")]
        )

    def test_apart(self) -> None:
        """What one client does is nothing to the other; how much is under way is counted of all."""
        desks = shared()
        call = Called(7, "tools/call", raw({"name": "x"}))

        (first,) = desks.up(1, call)
        (second,) = desks.up(2, Called(8, "tools/call", raw({"name": "x"})))

        assert isinstance(first, Up) and isinstance(second, Up)
        self.assertEqual(4, len(desks))
        desks.detach(1)
        self.assertEqual(2, len(desks))
        self.assertEqual((), tuple(desks.detach(2)))

    def test_time_and_end(self) -> None:
        """Timers are of one client, and so is the end."""
        desks = shared()
        (asked,) = desks.up(2, Called(7, "tools/call", raw({"name": "x"})))
        tools = raw({"tools": [{"name": "x", "execution": {"taskSupport": "required"}}]})
        assert isinstance(asked, Up) and isinstance(asked.event, Called)
        desks.down(2, Completed(asked.event.xid, tools))
        began = desks.down(2, Completed(7, raw({"task": TASK})))
        error = ErrorObject(1, "no")

        other = desks.fired(1, ("deadline", 7), error)
        ended = desks.end(2, error)

        self.assertEqual([StartTimer(("deadline", 7), 60.0), StartTimer(("look", 7), 1.0)], list(began))
        self.assertEqual((), tuple(other))
        self.assertIn(Down(Failed(7, error)), ended)
