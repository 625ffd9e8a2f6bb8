"""Tests of L{mcpbridge.core.tasks.pursuit}, at a server of the extension; L{test_desk} has those at one of sessions."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import Cancelled, InputWithdrawn
from tests.core.tasks.desks import OLD_CLIENT, T1_CLIENT, T2_SERVER, Ends

TASK: Any = {"taskId": "t", "status": "working", "createdAt": "c", "lastUpdatedAt": "l", "ttlMs": 9}
NAME: Any = {"method": "elicitation/create", "params": {"message": "name?"}}
RETRYABLE: Any = {"mcpbridge": {"reason": "upstream_unreachable", "retryable": True}}


def running(client: tuple[str, Any] = OLD_CLIENT, **task: Any) -> Ends:
    """A client whose call 5 has become a task that it knows nothing of, and that has been looked at once."""
    ends = Ends(client, T2_SERVER)
    ends.calls(5, "tools/call", {"name": "x"})
    ends.answers(5, {**TASK, **task}, "task")
    return ends


def looked(ends: Ends, xid: int, **task: Any) -> list[Any]:
    """The next look finds this."""
    ends.fires("look", 5)
    return ends.answers(xid, {**TASK, **task}, "complete")


class EndTests(SynchronousTestCase):
    """What the client gets in the end."""

    def test_completed(self) -> None:
        """The result of the task is the result of the call, whatever it says of errors."""
        for client in (OLD_CLIENT, T1_CLIENT):
            ends = running(client, pollIntervalMs=200)
            timers = dict(ends.timers)

            seen = looked(
                ends, 1000, status="completed", result={"content": [], "isError": True, "resultType": "complete"}
            )

            self.assertEqual({("look", 5): 0.2, ("deadline", 5): 60.0}, timers)
            self.assertEqual([("down", "result", 5, {"content": [], "isError": True}, "complete")], seen)
            self.assertEqual((0, {}), (len(ends.desk), ends.timers))

    def test_failed(self) -> None:
        """So is its error, with all that it carries; of one that is none it is known that it failed."""
        found = [
            looked(running(), 1000, status="failed", error=error)
            for error in ({"code": -32000, "message": "no", "data": {"a": 1}}, None, {"code": "x"})
        ]

        self.assertEqual(
            [
                [("down", "error", 5, (-32000, "no"))],
                [("down", "error", 5, (-32603, "The task failed"))],
                [("down", "error", 5, (-32603, "The task failed"))],
            ],
            found,
        )

    def test_cancelled_by_the_server(self) -> None:
        """That it was cancelled is an error, with the reason if there is one."""
        found = [looked(running(), 1000, status="cancelled", **more) for more in ({}, {"statusMessage": "too late"})]

        self.assertEqual(
            [
                [("down", "error", 5, (-32600, "The server cancelled the task"))],
                [("down", "error", 5, (-32600, "The server cancelled the task: too late"))],
            ],
            found,
        )

    def test_nothing(self) -> None:
        """A task that is over without a result is an error, not a call without an end."""
        seen = looked(running(), 1000, status="completed")

        self.assertEqual([("down", "error", 5, (-32603, "The server ended the task without a result"))], seen)

    def test_over_at_once(self) -> None:
        """A call may become a task that is over; what became of it is asked for."""
        ends = Ends(OLD_CLIENT, T2_SERVER)
        ends.calls(5, "tools/call", {"name": "x"})

        began = ends.answers(5, {**TASK, "status": "completed"}, "task")
        got = ends.answers(1000, {**TASK, "status": "completed", "result": {"content": []}}, "complete")

        self.assertEqual([("up", 1000, "tasks/get", {"taskId": "t"})], began)
        self.assertEqual([("down", "result", 5, {"content": []}, "complete")], got)

    def test_no_task(self) -> None:
        """A call that is answered is answered; a client that could not ask for a task has not."""
        ends = Ends(OLD_CLIENT, T2_SERVER)

        called = ends.calls(5, "tools/call", {"name": "x", "task": {}})
        seen = ends.answers(5, {"content": []}, "complete")

        self.assertEqual([("up", 5, "tools/call", {"name": "x"})], called)
        self.assertEqual([("down", "result", 5, {"content": []}, "complete")], seen)

    def test_overdue(self) -> None:
        """A call that has waited too long ends, and its task is cancelled."""
        ends = running()

        seen = ends.fires("deadline", 5)

        self.assertEqual(
            [("post", 1000, "tasks/cancel", {"taskId": "t"}), ("down", "error", 5, (-32603, "overdue"))], seen
        )
        self.assertEqual((0, {}), (len(ends.desk), ends.timers))

    def test_server_is_gone_for_good(self) -> None:
        """Who waits is told so."""
        ends = running()

        seen = ends.ends(ErrorObject(-32603, "gone"))

        self.assertEqual([("down", "error", 5, (-32603, "gone"))], seen)
        self.assertEqual((0, {}), (len(ends.desk), ends.timers))


class LookTests(SynchronousTestCase):
    """Asking how it is."""

    def test_pauses(self) -> None:
        """As often as the server wishes, within reason."""
        wishes: list[Any] = [200, 0, -5, 10**9, "x", None]
        found = [running(pollIntervalMs=wish).timers[("look", 5)] for wish in wishes]

        self.assertEqual([0.2, 0.05, 0.05, 30.0, 1.0, 1.0], found)

    def test_failures(self) -> None:
        """A look that fails is repeated where that may help, a few times; other errors are the call's, but for one."""
        ends = running()

        seen = []
        for number in range(1000, 1005):
            ends.fires("look", 5)
            seen.append(ends.fails(number, -32603, "away", RETRYABLE))
        other = running()
        other.fires("look", 5)
        broken = other.fails(1000, -32603, "why")

        self.assertEqual([[], [], [], [], [("down", "error", 5, (-32603, "away"))]], seen)
        self.assertEqual([("down", "error", 5, (-32603, "why"))], broken)

    def test_forgotten(self) -> None:
        """A server that does not know the task any more: the client, which never did, learns that nothing is known."""
        ends = running()
        ends.fires("look", 5)

        seen = ends.fails(1000, -32602, "no such task")

        text = (
            "the server: it does not know the task any more that this call became: no such task. "
            "Whether tools/call took effect is not known; it was not sent again. Check before you repeat it"
        )
        self.assertEqual([("down", "error", 5, (-32603, text))], seen)

    def test_failures_in_a_row(self) -> None:
        """One that succeeds makes good for those before."""
        ends = running()
        for number in range(1000, 1004):
            ends.fires("look", 5)
            ends.fails(number, -32603, "away", RETRYABLE)

        looked(ends, 1004)
        ends.fires("look", 5)

        self.assertEqual([], ends.fails(1005, -32603, "away", RETRYABLE))


class QuestionTests(SynchronousTestCase):
    """What a task asks."""

    def test_asked_once(self) -> None:
        """Each question is put to the client once, and its answer goes to the task."""
        ends = running()

        first = looked(ends, 1000, status="input_required", inputRequests={"name": NAME})
        again = looked(ends, 1001, status="input_required", inputRequests={"name": NAME, "age": NAME})
        supplied = ends.supplies(5, {"task-5.name": {"action": "decline"}})
        updated = ends.answers(1002, {}, "complete")
        late = ends.supplies(5, {"task-5.name": {"action": "accept"}})

        self.assertEqual([("down", "ask", 5, {"task-5.name": ("elicitation/create", {"message": "name?"})})], first)
        self.assertEqual([("down", "ask", 5, {"task-5.age": ("elicitation/create", {"message": "name?"})})], again)
        self.assertEqual(
            [("up", 1002, "tasks/update", {"taskId": "t", "inputResponses": {"name": {"action": "decline"}}})], supplied
        )
        self.assertEqual([], updated)
        # It is nobody's any more; the bridge knows what to do with such.
        self.assertEqual([("up", "answer", 5, {"task-5.name": {"action": "accept"}})], late)

    def test_others_answers(self) -> None:
        """Answers to questions of others go where they belong, also in the same breath."""
        ends = running()
        looked(ends, 1000, status="input_required", inputRequests={"name": NAME})

        seen = ends.supplies(5, {"task-5.name": {"action": "accept"}, "1.q1": {"action": "cancel"}})

        self.assertEqual(
            [
                ("up", 1001, "tasks/update", {"taskId": "t", "inputResponses": {"name": {"action": "accept"}}}),
                ("up", "answer", 5, {"1.q1": {"action": "cancel"}}),
            ],
            seen,
        )

    def test_withdrawn(self) -> None:
        """What the task does not ask any more the client need not answer; nor what it asked when it ends."""
        ends = running()
        looked(ends, 1000, status="input_required", inputRequests={"name": NAME, "age": NAME})

        fewer = looked(ends, 1001, status="input_required", inputRequests={"age": NAME})
        over = looked(ends, 1002, status="completed", result={"content": []})

        self.assertEqual([("down", "InputWithdrawn", "task-5.name", "the server does not ask any more")], fewer)
        self.assertEqual(
            [
                ("down", "InputWithdrawn", "task-5.age", "the task is over"),
                ("down", "result", 5, {"content": []}, "complete"),
            ],
            over,
        )

    def test_refused(self) -> None:
        """A client that cannot elicit has not chosen; one that will not sample ends the call, and the task."""
        ends = running()
        sample: Any = {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}}
        looked(ends, 1000, status="input_required", inputRequests={"name": NAME, "sample": sample})

        elicited = ends.supplies(5, {"task-5.name": ErrorObject(-32601, "no")})
        sampled = ends.supplies(5, {"task-5.sample": ErrorObject(-1, "no")})

        self.assertEqual(
            [("up", 1001, "tasks/update", {"taskId": "t", "inputResponses": {"name": {"action": "cancel"}}})], elicited
        )
        text = "The client did not answer sampling/createMessage: no"
        self.assertEqual(
            [
                ("post", 1002, "tasks/cancel", {"taskId": "t"}),
                ("down", "result", 5, {"content": [{"type": "text", "text": text}], "isError": True}, "complete"),
            ],
            sampled,
        )

    def test_broken(self) -> None:
        """A task that asks what cannot be asked ends the call."""
        seen = looked(running(), 1000, status="input_required", inputRequests={"x": {"method": "tools/list"}})

        self.assertEqual(("post", 1001, "tasks/cancel", {"taskId": "t"}), seen[0])
        self.assertEqual(("down", "error", 5, -32603), (*seen[1][:3], seen[1][3][0]))

    def test_answers_not_taken(self) -> None:
        """An error for the answers is the call's."""
        ends = running()
        looked(ends, 1000, status="input_required", inputRequests={"name": NAME})
        ends.supplies(5, {"task-5.name": {"action": "accept"}})

        seen = ends.fails(1001, -32602, "no such task")

        self.assertEqual(
            [("post", 1002, "tasks/cancel", {"taskId": "t"}), ("down", "error", 5, (-32602, "no such task"))], seen
        )


class CancelTests(SynchronousTestCase):
    """A client that does not want to know any more."""

    def test_cancelled(self) -> None:
        """The task is cancelled; what it asked is not answered any more, and nothing is told."""
        ends = running()
        looked(ends, 1000, status="input_required", inputRequests={"name": NAME})

        seen = ends.says(Cancelled(5))

        self.assertEqual(
            [
                ("post", 1001, "tasks/cancel", {"taskId": "t"}),
                ("down", "InputWithdrawn", "task-5.name", "the task is over"),
            ],
            seen,
        )
        self.assertEqual((0, {}), (len(ends.desk), ends.timers))

    def test_before_it_is_a_task(self) -> None:
        """A call that may yet be answered at once is cancelled as ever."""
        ends = Ends(OLD_CLIENT, T2_SERVER)
        ends.calls(5, "tools/call", {"name": "x"})

        self.assertEqual([("up", "Cancelled", 5, None)], ends.says(Cancelled(5)))
        self.assertEqual(0, len(ends.desk))

    def test_bridge_withdraws(self) -> None:
        """What the bridge withdraws of other questions passes."""
        ends = running()

        seen = ends.tells(InputWithdrawn("1.q1", "why"))

        self.assertEqual([("down", "InputWithdrawn", "1.q1", "why")], seen)


class MessageTests(SynchronousTestCase):
    """What a task says of itself."""

    def test_progress(self) -> None:
        """It is progress for who wants some."""
        ends = Ends(OLD_CLIENT, T2_SERVER)
        ends.calls(5, "tools/call", {"name": "x"}, wants_progress=True)

        seen = ends.answers(5, {**TASK, "statusMessage": "on my way"}, "task")

        self.assertEqual([("down", "Progressed", 5, {"progress": 1, "message": "on my way"})], seen)
