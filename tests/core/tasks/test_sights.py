"""Tests of L{mcpbridge.core.tasks.sights}: a client of the extension at a server of the session dialect."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import Cancelled, InputWithdrawn
from tests.core.tasks.desks import T1_SERVER, T2_CLIENT, TOOLS, Ends

TASK: Any = {"taskId": "t", "status": "working", "createdAt": "c", "lastUpdatedAt": "l", "ttl": 9, "pollInterval": 5}
SHOWN: Any = {
    "taskId": "t",
    "status": "working",
    "createdAt": "c",
    "lastUpdatedAt": "l",
    "ttlMs": 9,
    "pollIntervalMs": 5,
}
RELATED: Any = {"io.modelcontextprotocol/related-task": {"taskId": "t"}}
FORM: Any = {"message": "?", "mode": "form", "requestedSchema": {"type": "object", "properties": {}}}
OURS: Any = {"mcpbridge": {"reason": "session_lost", "retryable": False}}


def running() -> Ends:
    """A client whose call 5 has become a task."""
    ends = Ends(T2_CLIENT, T1_SERVER)
    ends.calls(5, "tools/call", {"name": "only"})
    ends.answers(1000, TOOLS)
    ends.answers(5, {"task": TASK})
    return ends


def asking() -> Ends:
    """The task has asked something, which the look 6 was answered with; our request 1002 waits for its result."""
    ends = running()
    ends.calls(6, "tasks/get", {"taskId": "t"})
    ends.answers(1001, {**TASK, "status": "input_required"})
    ends.asks(1002, "1.q1", FORM)
    return ends


class LookTests(SynchronousTestCase):
    """C{tasks/get}."""

    def test_working(self) -> None:
        """As it is, in the client's words."""
        ends = running()

        asked = ends.calls(6, "tasks/get", {"taskId": "t"})
        seen = ends.answers(1001, {**TASK, "statusMessage": "m", "ttl": None})

        self.assertEqual([("up", 1001, "tasks/get", {"taskId": "t"})], asked)
        self.assertEqual([("down", "result", 6, {**SHOWN, "statusMessage": "m", "ttlMs": None}, "complete")], seen)

    def test_over(self) -> None:
        """With what became of it: a result, whatever it says of errors, or an error."""
        found = []
        for status in ("completed", "failed"):
            ends = running()
            ends.calls(6, "tasks/get", {"taskId": "t"})
            fetched = ends.answers(1001, {**TASK, "status": status})
            self.assertEqual([("up", 1002, "tasks/result", {"taskId": "t"})], fetched)
            found.append(ends.answers(1002, {"isError": True, "_meta": RELATED}))
        ends = running()
        ends.calls(6, "tasks/get", {"taskId": "t"})
        ends.answers(1001, {**TASK, "status": "failed"})
        error = ends.fails(1002, -32000, "why")

        done = {**SHOWN, "status": "completed", "result": {"isError": True, "content": [], "resultType": "complete"}}
        self.assertEqual([[("down", "result", 6, done, "complete")]] * 2, found)
        failed = {**SHOWN, "status": "failed", "error": {"code": -32000, "message": "why"}}
        self.assertEqual([("down", "result", 6, failed, "complete")], error)

    def test_result_gone(self) -> None:
        """What keeps the result of a task that was completed from being told does not make the task a failed one."""
        ends = running()
        ends.calls(6, "tasks/get", {"taskId": "t"})
        ends.answers(1001, {**TASK, "status": "completed"})

        error = ends.fails(1002, -32602, "there is no such task")

        self.assertEqual([("down", "error", 6, (-32602, "there is no such task"))], error)

    def test_cancelled_task(self) -> None:
        """There is no result to fetch."""
        ends = running()
        ends.calls(6, "tasks/get", {"taskId": "t"})

        seen = ends.answers(1001, {**TASK, "status": "cancelled"})

        self.assertEqual([("down", "result", 6, {**SHOWN, "status": "cancelled"}, "complete")], seen)

    def test_not_known(self) -> None:
        """An error of the server is the client's; what went wrong on the way is no end of the task."""
        ends = running()

        ends.calls(6, "tasks/get", {"taskId": "other"})
        unknown = ends.fails(1001, -32602, "no such task")
        ends.calls(7, "tasks/get", {"taskId": "t"})
        ends.answers(1002, {**TASK, "status": "completed"})
        lost = ends.fails(1003, -32603, "lost", OURS)
        nameless = ends.calls(8, "tasks/get", {"taskId": 5})

        self.assertEqual([("down", "error", 6, (-32602, "no such task"))], unknown)
        self.assertEqual([("down", "error", 7, (-32603, "lost"))], lost)
        self.assertEqual([("down", "error", 8, (-32602, "Invalid params: there is no such task"))], nameless)
        self.assertEqual(0, len(ends.desk))

    def test_removed(self) -> None:
        """Requests about tasks that the extension does not have."""
        ends = running()

        seen = ends.calls(6, "tasks/other", {"taskId": "t"})

        self.assertEqual([("down", "error", 6, (-32601, "Method not found: tasks/other"))], seen)

    def test_cancelled_request(self) -> None:
        """A look that is not wanted any more is not answered, whatever it waits for."""
        ends = running()
        ends.calls(6, "tasks/get", {"taskId": "t"})
        first = ends.says(Cancelled(6))
        ends.calls(7, "tasks/get", {"taskId": "t"})
        ends.answers(1002, {**TASK, "status": "input_required"})
        second = ends.says(Cancelled(7))

        self.assertEqual([("up", "Cancelled", 1001, None)], first)
        self.assertEqual([], second)
        self.assertEqual({}, ends.timers)


class QuestionTests(SynchronousTestCase):
    """What a task asks."""

    def test_shown(self) -> None:
        """A look waits for what it is; later ones find it there."""
        ends = running()

        ends.calls(6, "tasks/get", {"taskId": "t"})
        waits = ends.answers(1001, {**TASK, "status": "input_required"})
        timers = dict(ends.timers)
        first = ends.asks(1002, "1.q1", {**FORM, "_meta": RELATED})
        ends.calls(7, "tasks/get", {"taskId": "t"})
        again = ends.answers(1003, {**TASK, "status": "input_required"})

        self.assertEqual([("up", 1002, "tasks/result", {"taskId": "t"})], waits)
        self.assertEqual({("wait", 6): 1.0}, timers)
        shown = {
            **SHOWN,
            "status": "input_required",
            "inputRequests": {"1.q1": {"method": "elicitation/create", "params": FORM}},
        }
        self.assertEqual([("down", "result", 6, shown, "complete")], first)
        self.assertEqual([("down", "result", 7, shown, "complete")], again)
        self.assertEqual({}, ends.timers)

    def test_nothing_yet(self) -> None:
        """A look does not wait for long: until it is known what it asks, it works."""
        ends = running()
        ends.calls(6, "tasks/get", {"taskId": "t"})
        ends.answers(1001, {**TASK, "status": "input_required"})

        seen = ends.fires("wait", 6)

        self.assertEqual([("down", "result", 6, SHOWN, "complete")], seen)

    def test_said_whose(self) -> None:
        """A question that came on another stream says which task it is of."""
        ends = asking()

        seen = ends.asks(None, "1.q2", {**FORM, "_meta": RELATED})
        other = ends.asks(None, "1.q3", FORM)

        self.assertEqual([], seen)
        self.assertEqual([("down", "ask", None, {"1.q3": ("elicitation/create", FORM)})], other)

    def test_answered(self) -> None:
        """An answer goes to who asked, and says which task it is of; what is not asked is ignored."""
        ends = asking()

        responses = {"1.q1": {"action": "accept"}, "other": {"action": "accept"}}
        first = ends.calls(7, "tasks/update", {"taskId": "t", "inputResponses": responses})
        again = ends.calls(8, "tasks/update", {"taskId": "t", "inputResponses": responses})

        self.assertEqual(
            [
                ("up", "answer", None, {"1.q1": {"action": "accept", "_meta": RELATED}}),
                ("down", "result", 7, {}, "complete"),
            ],
            first,
        )
        self.assertEqual([("down", "result", 8, {}, "complete")], again)

    def test_wrong_answers(self) -> None:
        """Answers that are none, and answers to no task."""
        ends = asking()

        seen = [
            ends.calls(7, "tasks/update", {"taskId": "t", "inputResponses": {"1.q1": 5}}),
            ends.calls(8, "tasks/update", {"taskId": "other", "inputResponses": {}}),
        ]

        self.assertEqual(
            [
                [("down", "error", 7, (-32602, "Invalid params: each of the inputResponses is an object"))],
                [("down", "error", 8, (-32602, "Invalid params: there is no such task"))],
            ],
            seen,
        )

    def test_cannot_be_asked(self) -> None:
        """What the client cannot answer is answered for it."""
        ends = running()
        ends.calls(6, "tasks/get", {"taskId": "t"})
        ends.answers(1001, {**TASK, "status": "input_required"})

        seen = ends.asks(1002, "1.q1", {"messages": [], "maxTokens": 1}, "sampling/createMessage")

        refused = (-32601, "The client does not support sampling/createMessage")
        self.assertEqual([("up", "answer", None, {"1.q1": refused})], seen)

    def test_withdrawn(self) -> None:
        """What the server does not ask any more is not shown any more."""
        ends = asking()

        withdrawn = ends.tells(InputWithdrawn("1.q1"))
        others = ends.tells(InputWithdrawn("1.q9"))
        ends.calls(7, "tasks/get", {"taskId": "t"})
        waits = ends.answers(1003, {**TASK, "status": "input_required"})

        self.assertEqual([], withdrawn)
        self.assertEqual([("down", "InputWithdrawn", "1.q9", None)], others)
        self.assertEqual([], waits)

    def test_over(self) -> None:
        """Looks that wait find the result."""
        ends = running()
        ends.calls(6, "tasks/get", {"taskId": "t"})
        ends.answers(1001, {**TASK, "status": "input_required"})

        looks = ends.answers(1002, {"content": []})
        ends.answers(1003, {**TASK, "status": "completed"})
        got = ends.answers(1004, {"content": [5], "_meta": RELATED})

        self.assertEqual([("up", 1003, "tasks/get", {"taskId": "t"})], looks)
        done = {**SHOWN, "status": "completed", "result": {"content": [5], "resultType": "complete"}}
        self.assertEqual([("down", "result", 6, done, "complete")], got)
        self.assertEqual((0, {}), (len(ends.desk), ends.timers))


class EndTests(SynchronousTestCase):
    """Clients and servers that are gone."""

    def test_server(self) -> None:
        """Looks that wait are told so."""
        ends = running()
        ends.calls(6, "tasks/get", {"taskId": "t"})
        ends.answers(1001, {**TASK, "status": "input_required"})

        seen = ends.ends(ErrorObject(-32603, "gone"))

        self.assertEqual([("down", "error", 6, (-32603, "gone"))], seen)
        self.assertEqual({}, ends.timers)

    def test_client(self) -> None:
        """Its tasks go on: it may come back for them."""
        ends = running()
        ends.calls(6, "tasks/get", {"taskId": "t"})
        ends.answers(1001, {**TASK, "status": "input_required"})

        seen = ends.closes()

        self.assertEqual([], seen)
        self.assertEqual((0, {}), (len(ends.desk), ends.timers))
