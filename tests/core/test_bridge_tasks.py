"""
Tests for L{mcpbridge.core.bridge}: calls that become tasks.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.effects import SessionId
from mcpbridge.core.eras import modern
from mcpbridge.core.errors import Reason
from mcpbridge.core.events import Called, Completed, InputRequired, InputSupplied, Opened, Progressed, TasksWatched
from mcpbridge.core.jsonrpc import Error, Notification, Request
from tests.core.rigs import PARAMS, Rig, errors, methods, raw, sends, tells


class TaskTests(SynchronousTestCase):
    """Calls that become tasks at a server of 2025-11-25 (L{mcpbridge.core.tasks.desk} says more)."""

    TASK: Any = {"taskId": "t", "status": "working", "createdAt": "c", "lastUpdatedAt": "l", "ttl": 9}

    def tasked(self, *sessions: SessionId, **policy: Any) -> Rig:
        """Clients of a server with one tool, which runs as nothing but a task."""
        opening = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}},
        }
        rig = Rig(snapshot=False, **policy)
        for session in sessions:
            rig.attach(session)
        rig.opens(1, opening)
        rig.taken()
        return rig

    def call(self, rig: Rig, session: SessionId, xid: int) -> None:
        """A client calls the tool, and it becomes a task; the server gives requests numbers in turn."""
        rig.deliver(session, Called(xid, "tools/call", raw({"name": "only"})))
        rig.answers(1, 2, {"tools": [{"name": "only", "execution": {"taskSupport": "required"}}]})
        rig.answers(1, 3, {"task": self.TASK})

    def test_finished(self) -> None:
        """A client that knows no tasks gets what comes of it."""
        rig = self.tasked(1)

        self.call(rig, 1, 11)
        rig.fire(("tasks", 1, ("look", 11)))
        rig.answers(1, 4, {**self.TASK, "status": "completed"})
        rig.answers(1, 5, {"content": []})

        effects = rig.taken()
        self.assertEqual(
            [(1, method) for method in ("tools/list", "tools/call", "tasks/get", "tasks/result")], methods(effects)
        )
        self.assertEqual([(1, Completed(11, raw({"content": []})))], tells(effects))
        self.assertEqual((False, 0), (rig.bridge.busy(), rig.bridge.counts()["tasks"]))

    def test_waits_while_nothing_is_asked(self) -> None:
        """Between two looks the client still waits, so the bridge is busy; its end is the client's answer."""
        rig = self.tasked(1)
        self.call(rig, 1, 11)
        rig.taken()

        is_busy = rig.bridge.busy()
        rig.do(rig.bridge.close(Reason.STOPPING, "up: the daemon stops"))

        self.assertEqual(True, is_busy)
        self.assertEqual([(11, "bridge_stopping", True)], errors(rig.taken()))
        self.assertEqual({}, rig.timers)

    def test_after_the_end(self) -> None:
        """What is asked of a bridge that is closed is refused at once, and starts nothing."""
        rig = self.tasked(1)
        extensions = raw({"extensions": {"io.modelcontextprotocol/tasks": {}}})
        rig.deliver(1, Opened(10, "2026-07-28", {"capabilities": extensions}))
        self.call(rig, 1, 11)
        rig.do(rig.bridge.close(Reason.STOPPING, "up: the daemon stops"))
        rig.taken()

        rig.deliver(
            1, Called(12, "tools/call", raw({"name": "only"})), Called(13, "tasks/result", raw({"taskId": "t"}))
        )
        rig.deliver(1, TasksWatched(frozenset("t")))

        self.assertEqual([(12, "bridge_stopping", True), (13, "bridge_stopping", True)], errors(rig.taken()))
        self.assertEqual(({}, 0, 0), (rig.timers, rig.bridge.counts()["tasks"], rig.bridge.counts()["exchanges"]))

    def test_called_before_it_opened(self) -> None:
        """A call that waits for a server which nothing is known of becomes a task as well, and is sent once."""
        rig = Rig(snapshot=False)
        rig.attach(1)
        rig.deliver(1, Called(11, "tools/call", raw({"name": "only"})))
        extra: Any = {"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}}

        rig.opens(1, {"protocolVersion": "2025-11-25", "capabilities": extra})
        rig.answers(1, 2, {"tools": [{"name": "only", "execution": {"taskSupport": "required"}}]})

        sent = [message for _, message in sends(rig.taken()) if isinstance(message, Request)]
        self.assertEqual(["initialize", "tools/list", "tools/call"], [request.method for request in sent])
        self.assertEqual(raw({"name": "only", "task": {"ttl": 3600000}}), sent[-1].params)

    def test_end_while_it_is_answered(self) -> None:
        """A task whose answer is under way when the bridge is closed is not cancelled: nobody could hear it."""
        rig = Rig(snapshot=False, peer=modern.ClientPeer)
        rig.attach(1)
        extensions: Any = {"io.modelcontextprotocol/tasks": {}}
        rig.opens(1, {"supportedVersions": ["2026-07-28"], "capabilities": {"extensions": extensions}})
        rig.deliver(1, Opened(10, "2025-11-25", PARAMS), Called(11, "tools/call", raw({"name": "x"})))
        task = {"taskId": "t", "status": "working", "createdAt": "c", "lastUpdatedAt": "l", "ttlMs": 9}
        rig.answers(1, 2, {**task, "resultType": "task"})
        rig.fire(("tasks", 1, ("look", 11)))
        asked = {"q": {"method": "elicitation/create", "params": {"message": "?"}}}
        task = {**task, "status": "input_required", "inputRequests": asked, "resultType": "complete"}
        rig.answers(1, 3, task)
        rig.deliver(1, InputSupplied(None, {"task-11.q": raw({"action": "cancel"})}))
        rig.taken()

        rig.do(rig.bridge.close(Reason.STOPPING, "up: the daemon stops"))

        self.assertEqual([11], [xid for xid, _, _ in errors(rig.taken())])
        self.assertEqual(({}, 0, 0), (rig.timers, rig.bridge.counts()["tasks"], rig.bridge.counts()["exchanges"]))

    def test_client_is_gone(self) -> None:
        """The server is told to cancel it, though nobody is there any more."""
        rig = self.tasked(1)
        self.call(rig, 1, 11)
        rig.taken()

        rig.detach(1)

        cancel = Request(4, "tasks/cancel", raw({"taskId": "t"}))
        self.assertEqual([(1, cancel)], sends(rig.taken()))
        rig.answers(1, 4, {})
        self.assertEqual([], rig.taken())

    def test_lasting(self) -> None:
        """The result of a task may take as long as a call, though it only reads."""
        rig = self.tasked(1, read_timeout=2.0, call_timeout=60.0)
        rig.deliver(1, Called(11, "tasks/result", raw({"taskId": "t"})))
        rig.taken()

        rig.tick(30)

        self.assertEqual([], rig.taken())

    def test_overdue(self) -> None:
        """A task that does not end is given up, as a call is."""
        rig = self.tasked(1, call_timeout=60.0)
        self.call(rig, 1, 11)
        rig.taken()

        rig.fire(("tasks", 1, ("deadline", 11)))

        effects = rig.taken()
        self.assertEqual([(1, "tasks/cancel")], methods(effects))
        self.assertEqual([(11, "upstream_timeout", False)], errors(effects))

    def test_progress(self) -> None:
        """It goes to whose call it was, also when the call has been answered with the task."""
        rig = self.tasked(1, 2, exclusive=False)
        rig.deliver(2, Called(21, "tools/call", raw({"name": "only", "task": {}}), wants_progress=True))
        rig.answers(1, 2, {"task": self.TASK})
        rig.taken()

        rig.says(1, Notification("notifications/progress", raw({"progressToken": 2, "progress": 1})))

        self.assertEqual([(2, Progressed(21, {"progress": Raw(b"1")}))], tells(rig.taken()))

    def test_shared(self) -> None:
        """On a conversation of several, what a task asks goes to whose task it is, wherever it is said."""
        rig = self.tasked(1, 2, exclusive=False)
        self.call(rig, 2, 21)
        rig.taken()
        related = {"io.modelcontextprotocol/related-task": {"taskId": "t"}}

        rig.says(1, Request(1, "elicitation/create", raw({"message": "?", "_meta": related})))
        rig.says(1, Request(2, "elicitation/create", raw({"message": "?"})))

        effects = rig.taken()
        ((session, asked),) = tells(effects)
        assert isinstance(asked, InputRequired)
        self.assertEqual((2, 21), (session, asked.xid))
        (refused,) = (message for _, message in sends(effects) if isinstance(message, Error))
        self.assertEqual(2, refused.id)
