"""Tests of L{mcpbridge.core.tasks.asked_for}: a client of the session dialect at a server of the extension."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.events import Cancelled
from mcpbridge.core.tasks.asked_for import MAX_TASKS
from tests.core.tasks.desks import T1_CLIENT, T2_SERVER, Ends

TASK: Any = {"taskId": "t", "status": "working", "createdAt": "c", "lastUpdatedAt": "l", "ttlMs": 9}
SHOWN: Any = {"taskId": "t", "status": "working", "createdAt": "c", "lastUpdatedAt": "l", "ttl": 9}
RELATED: Any = {"io.modelcontextprotocol/related-task": {"taskId": "t"}}


def asking(**task: Any) -> Ends:
    """A client whose call 5 has become a task, as it asked."""
    ends = Ends(T1_CLIENT, T2_SERVER)
    ends.calls(5, "tools/call", {"name": "x", "task": {"ttl": 7}})
    ends.answers(5, {**TASK, **task}, "task")
    return ends


class CreatedTests(SynchronousTestCase):
    """Calls."""

    def test_task(self) -> None:
        """What the server makes a task is one, in the client's words; the server is not told of the wish."""
        ends = Ends(T1_CLIENT, T2_SERVER)

        called = ends.calls(5, "tools/call", {"name": "x", "task": {"ttl": 7}})
        seen = ends.answers(5, {**TASK, "pollIntervalMs": 100, "_meta": {"a": 1}}, "task")

        self.assertEqual([("up", 5, "tools/call", {"name": "x"})], called)
        self.assertEqual(
            [("down", "result", 5, {"task": {**SHOWN, "pollInterval": 100}, "_meta": {"a": 1}}, None)], seen
        )
        self.assertEqual(0, len(ends.desk))

    def test_answered_at_once(self) -> None:
        """What it answers at once is a task that is over, and whose result is here."""
        ends = Ends(T1_CLIENT, T2_SERVER)
        ends.calls(5, "tools/call", {"name": "x", "task": {"ttl": 7}})
        ends.calls(6, "tools/call", {"name": "x", "task": {}})

        done = ends.answers(5, {"content": [1]}, "complete")
        failed = ends.answers(6, {"content": [], "isError": True}, "complete")
        got = ends.calls(7, "tasks/get", {"taskId": "mcpbridge-handle1"})
        result = ends.calls(8, "tasks/result", {"taskId": "mcpbridge-handle1"})

        first = {"taskId": "mcpbridge-handle1", "status": "completed", "createdAt": "now", "lastUpdatedAt": "now"}
        second = {"taskId": "mcpbridge-handle2", "status": "failed", "createdAt": "now", "lastUpdatedAt": "now"}
        self.assertEqual([("down", "result", 5, {"task": {**first, "ttl": 7}}, None)], done)
        self.assertEqual([("down", "result", 6, {"task": {**second, "ttl": 3600000}}, None)], failed)
        self.assertEqual([("down", "result", 7, {**first, "ttl": 7}, None)], got)
        related = {"io.modelcontextprotocol/related-task": {"taskId": "mcpbridge-handle1"}}
        self.assertEqual([("down", "result", 8, {"content": [1], "_meta": related}, "complete")], result)

    def test_error(self) -> None:
        """An error is one, and no task."""
        ends = Ends(T1_CLIENT, T2_SERVER)
        ends.calls(5, "tools/call", {"name": "x", "task": {}})

        self.assertEqual([("down", "error", 5, (-32602, "no"))], ends.fails(5, -32602, "no"))

    def test_bounded(self) -> None:
        """The oldest is forgotten when there are too many."""
        ends = Ends(T1_CLIENT, T2_SERVER)
        for number in range(MAX_TASKS + 1):
            ends.calls(5, "tools/call", {"name": "x", "task": {}})
            ends.answers(5, {**TASK, "taskId": f"t{number}"}, "task")

        listed = ends.calls(6, "tasks/list", {})

        names = [task["taskId"] for task in listed[0][3]["tasks"]]
        self.assertEqual([f"t{number}" for number in range(1, MAX_TASKS + 1)], names)

    def test_large_results(self) -> None:
        """Results are kept up to a size; the newest always is."""
        ends = Ends(T1_CLIENT, T2_SERVER)
        for _ in range(3):
            ends.calls(5, "tools/call", {"name": "x", "task": {}})
            ends.answers(5, {"content": [{"type": "text", "text": "x" * 9_000_000}]}, "complete")

        listed = ends.calls(6, "tasks/list", {})

        self.assertEqual(["mcpbridge-handle3"], [task["taskId"] for task in listed[0][3]["tasks"]])


class GetTests(SynchronousTestCase):
    """C{tasks/get} and C{tasks/list}."""

    def test_states(self) -> None:
        """Each state in the client's words; a result that says that it is an error is a failure there."""
        states: list[tuple[Any, Any]] = [
            ({"status": "working", "statusMessage": "m"}, {"status": "working", "statusMessage": "m"}),
            ({"status": "input_required", "inputRequests": {}}, {"status": "input_required"}),
            ({"status": "completed", "result": {"content": []}}, {"status": "completed"}),
            ({"status": "completed", "result": {"isError": True}}, {"status": "failed"}),
            (
                {"status": "failed", "error": {"code": 1, "message": "why"}},
                {"status": "failed", "statusMessage": "why"},
            ),
            ({"status": "cancelled"}, {"status": "cancelled"}),
        ]
        found = []
        for theirs, _ in states:
            ends = asking()
            asked = ends.calls(6, "tasks/get", {"taskId": "t"})
            self.assertEqual([("up", 1000, "tasks/get", {"taskId": "t"})], asked)
            found.append(ends.answers(1000, {**TASK, **theirs}, "complete"))

        self.assertEqual([[("down", "result", 6, {**SHOWN, **ours}, None)] for _, ours in states], found)

    def test_list(self) -> None:
        """The tasks that the client asked for, as they were when they were last seen."""
        ends = asking()
        ends.calls(6, "tasks/get", {"taskId": "t"})
        ends.answers(1000, {**TASK, "statusMessage": "m"}, "complete")

        seen = ends.calls(7, "tasks/list", {})

        self.assertEqual([("down", "result", 7, {"tasks": [{**SHOWN, "statusMessage": "m"}]}, None)], seen)

    def test_wrong(self) -> None:
        """What is none of ours the server knows; what names no task nobody does; what is the extension's is unknown."""
        ends = asking()

        ends.calls(6, "tasks/get", {"taskId": "other"})
        seen = [
            ends.fails(1000, -32602, "unknown"),
            ends.calls(7, "tasks/get", {}),
            ends.calls(8, "tasks/update", {"taskId": "t"}),
            ends.calls(9, "tasks/result", {"taskId": 5}),
        ]

        none = (-32602, "Invalid params: there is no such task")
        self.assertEqual(
            [
                [("down", "error", 6, (-32602, "unknown"))],
                [("down", "error", 7, none)],
                [("down", "error", 8, (-32601, "Method not found: tasks/update"))],
                [("down", "error", 9, none)],
            ],
            seen,
        )

    def test_cancelled_request(self) -> None:
        """A look that is not wanted any more is not answered."""
        ends = asking()
        ends.calls(6, "tasks/get", {"taskId": "t"})

        seen = ends.says(Cancelled(6))

        self.assertEqual([("up", "Cancelled", 1000, None)], seen)
        self.assertEqual(0, len(ends.desk))


class ResultTests(SynchronousTestCase):
    """C{tasks/result}."""

    def test_waits(self) -> None:
        """It is answered when the task is over, and says which one that is."""
        ends = asking()

        asked = ends.calls(6, "tasks/result", {"taskId": "t"})
        working = ends.answers(1000, {**TASK, "pollIntervalMs": 100}, "complete")
        ends.fires("look", 6)
        done = ends.answers(1001, {**TASK, "status": "completed", "result": {"content": []}}, "complete")

        self.assertEqual([("up", 1000, "tasks/get", {"taskId": "t"})], asked)
        self.assertEqual([], working)
        self.assertEqual([("down", "result", 6, {"content": [], "_meta": RELATED}, "complete")], done)

    def test_noticed(self) -> None:
        """What was seen of the task while its result was waited for, the list of tasks knows."""
        ends = asking()
        ends.calls(6, "tasks/result", {"taskId": "t"})
        ends.answers(1000, {**TASK, "status": "completed", "result": {"content": []}}, "complete")

        seen = ends.calls(7, "tasks/list", {})

        self.assertEqual([("down", "result", 7, {"tasks": [{**SHOWN, "status": "completed"}]}, None)], seen)

    def test_asks(self) -> None:
        """What the task asks is asked there, and says whose it is."""
        ends = asking()
        ends.calls(6, "tasks/result", {"taskId": "t"})
        question = {"method": "elicitation/create", "params": {"message": "?"}}

        asked = ends.answers(1000, {**TASK, "status": "input_required", "inputRequests": {"k": question}}, "complete")
        answered = ends.supplies(6, {"task-6.k": {"action": "accept", "_meta": RELATED}})

        related = {"message": "?", "_meta": RELATED}
        self.assertEqual([("down", "ask", 6, {"task-6.k": ("elicitation/create", related)})], asked)
        self.assertEqual(
            [("up", 1001, "tasks/update", {"taskId": "t", "inputResponses": {"k": {"action": "accept"}}})], answered
        )

    def test_cancelled(self) -> None:
        """Who does not wait any more has not cancelled the task; nor has who is gone."""
        ends = asking()
        ends.calls(6, "tasks/result", {"taskId": "t"})
        ends.calls(7, "tasks/result", {"taskId": "t"})

        cancelled = ends.says(Cancelled(6))
        closed = ends.closes()

        self.assertEqual([("up", "Cancelled", 1000, None)], cancelled)
        self.assertEqual([], closed)


class CancelTests(SynchronousTestCase):
    """C{tasks/cancel}."""

    def test_stays_cancelled(self) -> None:
        """The client is told that it is cancelled, and never anything else again."""
        ends = asking()

        asked = ends.calls(6, "tasks/cancel", {"taskId": "t"})
        looked = ends.answers(1000, {}, "complete")
        told = ends.answers(1001, TASK, "complete")
        ends.calls(7, "tasks/get", {"taskId": "t"})
        later = ends.answers(1002, {**TASK, "status": "completed"}, "complete")
        again = ends.calls(8, "tasks/cancel", {"taskId": "t"})

        self.assertEqual([("up", 1000, "tasks/cancel", {"taskId": "t"})], asked)
        self.assertEqual([("up", 1001, "tasks/get", {"taskId": "t"})], looked)
        self.assertEqual([("down", "result", 6, {**SHOWN, "status": "cancelled"}, None)], told)
        self.assertEqual([("down", "result", 7, {**SHOWN, "status": "cancelled"}, None)], later)
        text = "Cannot cancel task: already in terminal status 'cancelled'"
        self.assertEqual([("down", "error", 8, (-32602, text))], again)

    def test_over(self) -> None:
        """A task that is over cannot be cancelled (2025-11-25, Task Cancellation)."""
        ends = asking()
        ends.calls(6, "tasks/get", {"taskId": "t"})
        ends.answers(1000, {**TASK, "status": "completed", "result": {"content": []}}, "complete")

        seen = ends.calls(7, "tasks/cancel", {"taskId": "t"})

        text = "Cannot cancel task: already in terminal status 'completed'"
        self.assertEqual([("down", "error", 7, (-32602, text))], seen)

    def test_refused(self) -> None:
        """The server's error is the client's."""
        ends = asking()
        ends.calls(6, "tasks/cancel", {"taskId": "t"})

        self.assertEqual([("down", "error", 6, (-32602, "unknown"))], ends.fails(1000, -32602, "unknown"))
