"""Tests of L{mcpbridge.core.tasks.decided}: a client of the extension at a server of the session dialect."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.events import Notified, TasksWatched
from tests.core.tasks.desks import T1_SERVER, T2_CLIENT, TOOLS, Ends, raw
from tests.core.tasks.test_sights import FORM, OURS, SHOWN, TASK, running


class CreatedTests(SynchronousTestCase):
    """Calls."""

    def test_task(self) -> None:
        """A tool that runs as nothing else becomes a task, flat, with what was beside it."""
        ends = Ends(T2_CLIENT, T1_SERVER)
        ends.calls(5, "tools/call", {"name": "only"})

        called = ends.answers(1000, TOOLS)
        seen = ends.answers(5, {"task": TASK, "_meta": {"a": 1}})

        self.assertEqual([("up", 5, "tools/call", {"name": "only", "task": {"ttl": 3600000}})], called)
        self.assertEqual([("down", "result", 5, {**SHOWN, "_meta": {"a": 1}}, "task")], seen)
        self.assertEqual(0, len(ends.desk))

    def test_others(self) -> None:
        """A tool that may run at once does."""
        ends = running()

        self.assertEqual([("up", 6, "tools/call", {"name": "either"})], ends.calls(6, "tools/call", {"name": "either"}))


class CancelTests(SynchronousTestCase):
    """C{tasks/cancel}."""

    def test_acknowledged(self) -> None:
        """The client hears that it was heard."""
        ends = running()

        asked = ends.calls(6, "tasks/cancel", {"taskId": "t"})
        seen = ends.answers(1001, {**TASK, "status": "cancelled"})

        self.assertEqual([("up", 1001, "tasks/cancel", {"taskId": "t"})], asked)
        self.assertEqual([("down", "result", 6, {}, "complete")], seen)

    def test_over_already(self) -> None:
        """That it is over is no error in this dialect; that it is not there is."""
        found = []
        for is_there in (True, False):
            ends = running()
            ends.calls(6, "tasks/cancel", {"taskId": "t"})
            looked = ends.fails(1001, -32602, "over, or not there")
            self.assertEqual([("up", 1002, "tasks/get", {"taskId": "t"})], looked)
            found.append(ends.answers(1002, TASK) if is_there else ends.fails(1002, -32602, "not there"))

        self.assertEqual(
            [[("down", "result", 6, {}, "complete")], [("down", "error", 6, (-32602, "not there"))]],
            found,
        )

    def test_failed(self) -> None:
        """Other errors are the client's."""
        found = []
        for code, data in ((-32603, None), (-32602, OURS), (-32601, None)):
            ends = running()
            ends.calls(6, "tasks/cancel", {"taskId": "t"})
            found.append(ends.fails(1001, code, "no", data))

        self.assertEqual([[("down", "error", 6, (code, "no"))] for code in (-32603, -32602, -32601)], found)


class WatchTests(SynchronousTestCase):
    """Changes that a client wants to hear of."""

    def test_told(self) -> None:
        """The task is looked at, and told of when it is not what it was; until it is over."""
        ends = running()

        looked = ends.says(TasksWatched(frozenset(("t",))))
        first = ends.answers(1001, TASK)
        pause = dict(ends.timers)
        ends.fires("watch", "t")
        same = ends.answers(1002, TASK)
        ends.fires("watch", "t")
        ends.answers(1003, {**TASK, "status": "completed"})
        over = ends.answers(1004, {"content": []})

        self.assertEqual([("up", 1001, "tasks/get", {"taskId": "t"})], looked)
        self.assertEqual([("down", "Notified", None, "notifications/tasks", SHOWN)], first)
        self.assertEqual({("watch", "t"): 0.05}, pause)
        self.assertEqual([], same)
        done = {**SHOWN, "status": "completed", "result": {"content": [], "resultType": "complete"}}
        self.assertEqual([("down", "Notified", None, "notifications/tasks", done)], over)
        self.assertEqual((0, {}), (len(ends.desk), ends.timers))

    def test_server_tells(self) -> None:
        """When the server says that it has changed it is looked at at once; a word on another task is nothing."""
        ends = running()
        ends.says(TasksWatched(frozenset(("t",))))
        ends.answers(1001, {**TASK, "pollInterval": 5000})

        other = ends.tells(Notified(None, "notifications/tasks/status", raw({**TASK, "taskId": "other"})))
        before = dict(ends.timers)
        told = ends.tells(Notified(None, "notifications/tasks/status", raw(TASK)))

        self.assertEqual(([], []), (other, told))
        self.assertEqual([{("watch", "t"): 5.0}, {("watch", "t"): 0.05}], [before, ends.timers])

    def test_asks(self) -> None:
        """What it asks is told as soon as it is known."""
        ends = running()
        ends.says(TasksWatched(frozenset(("t",))))
        ends.answers(1001, {**TASK, "status": "input_required"})

        seen = ends.asks(1002, "1.q1", FORM)

        asked = {"1.q1": {"method": "elicitation/create", "params": FORM}}
        shown = {**SHOWN, "status": "input_required", "inputRequests": asked}
        self.assertEqual([("down", "Notified", None, "notifications/tasks", shown)], seen)

    def test_not_any_more(self) -> None:
        """What is not watched any more is not looked at any more, nor is anything for a client that is gone."""
        ends = running()
        ends.says(TasksWatched(frozenset(("t", "u"))))
        ends.answers(1001, TASK)

        fewer = ends.says(TasksWatched(frozenset(("u",))))
        closed = ends.closes()

        self.assertEqual([], fewer)
        self.assertEqual([], closed)
        self.assertEqual((0, {}), (len(ends.desk), ends.timers))

    def test_not_there(self) -> None:
        """A task that is not there is not looked at again; one that could not be looked at is, later."""
        ends = running()
        ends.says(TasksWatched(frozenset(("t", "u"))))

        seen = [ends.fails(1001, -32602, "no such task"), ends.fails(1002, -32603, "away", OURS)]

        self.assertEqual([[], []], seen)
        self.assertEqual({("watch", "u"): 30.0}, ends.timers)
