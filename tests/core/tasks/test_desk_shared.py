"""
Tests of L{mcpbridge.core.tasks.desk} where several clients share a server.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.events import Notified
from tests.core.tasks.desks import (
    MODERN_CLIENT,
    OLD_CLIENT,
    T1_CLIENT,
    T1_SERVER,
    T2_CLIENT,
    T2_SERVER,
    WORKING,
    Ends,
    knowing,
    raw,
)


class SharedTests(SynchronousTestCase):
    """A server's conversation that several clients use."""

    def test_own_tasks_only(self) -> None:
        """A client sees, and can name, the tasks that it has asked for."""
        ends = Ends(T1_CLIENT, T1_SERVER, alone=False)
        ends.calls(5, "tools/call", {"name": "only", "task": {}})
        ends.answers(5, {"task": WORKING})

        other = ends.calls(6, "tasks/get", {"taskId": "other"})
        own = ends.calls(7, "tasks/get", {"taskId": "t"})
        ends.calls(8, "tasks/list", {})
        listed = ends.answers(8, {"tasks": [WORKING, {**WORKING, "taskId": "other"}], "nextCursor": "n"})

        self.assertEqual([("down", "error", 6, (-32602, "Invalid params: there is no such task"))], other)
        self.assertEqual([("up", 7, "tasks/get", {"taskId": "t"})], own)
        self.assertEqual([("down", "result", 8, {"tasks": [WORKING], "nextCursor": "n"}, None)], listed)
        self.assertEqual([True, False], [ends.desk.owns("t"), ends.desk.owns("other")])

    def test_changes(self) -> None:
        """A change of a task is told to whose task it is, and to nobody who knows no tasks."""
        ends, old = knowing(T1_CLIENT, alone=False), knowing(OLD_CLIENT)
        ends.calls(5, "tools/call", {"name": "only", "task": {}})
        ends.answers(5, {"task": WORKING})

        told = ends.tells(Notified(None, "notifications/tasks/status", raw(WORKING)))
        others = ends.tells(Notified(None, "notifications/tasks/status", raw({**WORKING, "taskId": "other"})))
        unknown = old.tells(Notified(None, "notifications/tasks/status", raw(WORKING)))

        self.assertEqual([("down", "Notified", None, "notifications/tasks/status", WORKING)], told)
        self.assertEqual(([], []), (others, unknown))

    def test_followed(self) -> None:
        """What a task is told of that a client waits for without knowing it, is progress, or the end of the wait."""
        seen = []
        for client in (OLD_CLIENT, T1_CLIENT):
            ends = knowing(client)
            ends.calls(5, "tools/call", {"name": "only"}, wants_progress=True)
            ends.answers(5, {"task": WORKING})

            def changes(ends: Ends = ends, **task: Any) -> list[Any]:
                return ends.tells(Notified(None, "notifications/tasks/status", raw({**WORKING, **task})))

            seen += [
                changes(statusMessage="one"),
                changes(statusMessage="one"),
                changes(statusMessage="not its", taskId="other"),
                changes(status="input_required", statusMessage="a question"),
                changes(statusMessage="two"),
                changes(status="completed"),
                list(ends.timers),
            ]

        def progress(number: int, message: str) -> Any:
            return [("down", "Progressed", 5, {"progress": number, "message": message})]

        asked = [("up", 1001, "tasks/result", {"taskId": "t"})]
        expected = [progress(1, "one"), [], [], asked, progress(2, "two"), [], [("deadline", 5)]]
        self.assertEqual([*expected, *expected], seen)

    def test_followed_meanwhile(self) -> None:
        """A task that is over while it is looked at is fetched once."""
        ends = knowing(OLD_CLIENT)
        ends.calls(5, "tools/call", {"name": "only"})
        ends.answers(5, {"task": WORKING})

        seen = [
            ends.fires("look", 5),
            ends.tells(Notified(None, "notifications/tasks/status", raw({**WORKING, "status": "completed"}))),
            ends.answers(1001, {**WORKING, "status": "completed"}),
        ]

        looked = [("up", 1001, "tasks/get", {"taskId": "t"})]
        self.assertEqual([looked, [], [("up", 1002, "tasks/result", {"taskId": "t"})]], seen)

    def test_listened_for(self) -> None:
        """What others hear of their tasks at a server of the extension, a client of sessions is not told."""
        seen = [
            Ends(client, T2_SERVER, alone=False).tells(Notified(None, "notifications/tasks", raw({"taskId": "t"})))
            for client in (T1_CLIENT, OLD_CLIENT, T2_CLIENT)
        ]

        told = ("down", "Notified", None, "notifications/tasks", {"taskId": "t"})
        self.assertEqual([[], [], [told]], seen)

    def test_taken_over(self) -> None:
        """Whoever takes over a session hears of the tasks in it from when it names them."""
        ends = Ends(T1_CLIENT, T1_SERVER)
        change = Notified(None, "notifications/tasks/status", raw(WORKING))

        before = ends.tells(change)
        ends.calls(5, "tasks/get", {"taskId": "t"})
        after = ends.tells(change)

        self.assertEqual(([], 1), (before, len(after)))

    def test_spoken_for(self) -> None:
        """What the server makes a task for all of them is followed for a client that has none, of either era."""
        task = {"taskId": "t", "status": "completed", "createdAt": "c", "lastUpdatedAt": "l", "ttlMs": 9}
        for client in (MODERN_CLIENT, OLD_CLIENT):
            ends = Ends(client, T2_SERVER, alone=False)
            ends.calls(5, "tools/call", {"name": "x"})

            looked = ends.answers(5, task, "task")
            got = ends.answers(1000, {**task, "result": {"content": []}}, "complete")

            self.assertEqual([("up", 1000, "tasks/get", {"taskId": "t"})], looked)
            self.assertEqual([("down", "result", 5, {"content": []}, "complete")], got)
