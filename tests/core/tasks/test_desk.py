"""
Tests of L{mcpbridge.core.tasks.desk}; one whose server is shared by several clients is in
L{tests.core.tasks.test_desk_shared}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.events import Called, Cancelled, Changed, Introduced, Progressed
from mcpbridge.core.tasks.shapes import Dialect
from tests.core.tasks.desks import (
    EXTENSION,
    MODERN_CLIENT,
    NO_TASKS,
    OLD_CLIENT,
    SESSION,
    T1_CLIENT,
    T1_SERVER,
    T2_CLIENT,
    T2_SERVER,
    TOOLS,
    WORKING,
    Ends,
    knowing,
    raw,
)


class IntroductionTests(SynchronousTestCase):
    """What the ends are told of each other."""

    def capabilities(self, client: tuple[str, Any], server: tuple[str, Any]) -> Any:
        """What the client is told of the server."""
        ends = Ends(client, server)
        return ends.opened[0][3]["capabilities"]

    def test_client(self) -> None:
        """A client of sessions declares the extension as well; one of the stateless era decides by itself."""
        other: tuple[str, Any] = ("2025-11-25", {"extensions": {"x": {}}})
        told = [Ends(client, NO_TASKS).introduced[0][2] for client in (OLD_CLIENT, other, MODERN_CLIENT, T2_CLIENT)]

        self.assertEqual(
            [
                EXTENSION,
                {"extensions": {"x": {}, "io.modelcontextprotocol/tasks": {}}},
                {"elicitation": {}},
                {"elicitation": {}, **EXTENSION},
            ],
            told,
        )

    def test_server(self) -> None:
        """Each client is told of tasks in its own dialect, and in no other."""
        found = {
            (client[0], client is T2_CLIENT, server[0]): self.capabilities(client, server)
            for client in (OLD_CLIENT, T1_CLIENT, MODERN_CLIENT, T2_CLIENT)
            for server in (T1_SERVER, T2_SERVER)
        }

        self.assertEqual(
            {
                ("2025-03-26", False, "2025-11-25"): SESSION,
                ("2025-03-26", False, "2026-07-28"): {},
                ("2025-11-25", False, "2025-11-25"): SESSION,
                ("2025-11-25", False, "2026-07-28"): SESSION,
                ("2026-07-28", False, "2025-11-25"): EXTENSION,
                ("2026-07-28", False, "2026-07-28"): EXTENSION,
                ("2026-07-28", True, "2025-11-25"): EXTENSION,
                ("2026-07-28", True, "2026-07-28"): EXTENSION,
            },
            found,
        )

    def test_again(self) -> None:
        """A server that introduces itself anew is told of in the same way."""
        ends = Ends(T1_CLIENT, T2_SERVER)
        opening = raw({"protocolVersion": "2026-07-28", "capabilities": EXTENSION})

        seen = ends.tells(Introduced(opening))

        self.assertEqual([("down", "Introduced", {"protocolVersion": "2026-07-28", "capabilities": SESSION})], seen)


class PassingTests(SynchronousTestCase):
    """Ends that understand each other."""

    def test_as_they_are(self) -> None:
        """Between equals, and where no tasks are, everything passes as the very same event."""
        for client, server in ((T2_CLIENT, T2_SERVER), (MODERN_CLIENT, T2_SERVER), (T1_CLIENT, NO_TASKS)):
            ends = Ends(client, server)
            call = Called(5, "tools/call", raw({"name": "x", "task": {}}))

            is_idle = ends.desk.is_idle
            steps = ends.desk.up(call)

            self.assertTrue(is_idle)
            self.assertIs(call, steps[0].event)  # type: ignore[union-attr] # it is an Up

    def test_session_dialect(self) -> None:
        """A client that asks a server of its own dialect for a task gets what the server says."""
        ends = Ends(T1_CLIENT, T1_SERVER)

        seen = [
            ends.calls(5, "tools/call", {"name": "only", "task": {"ttl": 1}}),
            ends.answers(5, {"task": WORKING}),
            ends.calls(6, "tasks/get", {"taskId": "t"}),
            ends.calls(7, "tasks/list", {}),
        ]

        self.assertEqual(
            [
                [("up", 5, "tools/call", {"name": "only", "task": {"ttl": 1}})],
                [("down", "result", 5, {"task": WORKING}, None)],
                [("up", 6, "tasks/get", {"taskId": "t"})],
                [("up", 7, "tasks/list", {})],
            ],
            seen,
        )


class RequiredTests(SynchronousTestCase):
    """Tools of a server of the session dialect that run as nothing but tasks."""

    def test_learns(self) -> None:
        """The tools are asked for once, before the first call; what waits for them goes on in order."""
        ends = Ends(OLD_CLIENT, T1_SERVER)

        first = ends.calls(5, "tools/call", {"name": "never"})
        second = ends.calls(6, "tools/call", {"name": "only"})
        known = ends.answers(1000, TOOLS)
        third = ends.calls(7, "tools/call", {"name": "either"})

        self.assertEqual([("up", 1000, "tools/list", {})], first)
        self.assertEqual([], second)
        self.assertEqual(
            [
                ("up", 5, "tools/call", {"name": "never"}),
                ("up", 6, "tools/call", {"name": "only", "task": {"ttl": 3600000}}),
            ],
            known,
        )
        self.assertEqual([("up", 7, "tools/call", {"name": "either"})], third)

    def test_pages(self) -> None:
        """A list that comes in pages is read to its end."""
        ends = Ends(OLD_CLIENT, T1_SERVER)
        ends.calls(5, "tools/call", {"name": "only"})

        more = ends.answers(1000, {"tools": [], "nextCursor": "two"})
        known = ends.answers(1001, TOOLS)

        self.assertEqual([("up", 1001, "tools/list", {"cursor": "two"})], more)
        self.assertEqual([("up", 5, "tools/call", {"name": "only", "task": {"ttl": 3600000}})], known)

    def test_no_list(self) -> None:
        """Without a list every call goes on as it was made, and the next one asks again."""
        ends = Ends(OLD_CLIENT, T1_SERVER)
        ends.calls(5, "tools/call", {"name": "only"})

        failed = ends.fails(1000, -32603, "no")
        after = ends.calls(6, "tools/call", {"name": "only"})

        self.assertEqual([("up", 5, "tools/call", {"name": "only"})], failed)
        self.assertEqual([("up", 1001, "tools/list", {})], after)

    def test_changed(self) -> None:
        """When the tools change they are asked for again."""
        ends = knowing(OLD_CLIENT)

        told = ends.tells(Changed("tools"))
        seen = ends.calls(5, "tools/call", {"name": "only"})

        self.assertEqual([("down", "Changed", "tools", None, None, False)], told)
        self.assertEqual([("up", 1001, "tools/list", {})], seen)

    def test_finished(self) -> None:
        """The client gets what came of the task as the answer of its call."""
        for client in (OLD_CLIENT, T1_CLIENT, MODERN_CLIENT):
            ends = knowing(client)
            ends.calls(5, "tools/call", {"name": "only"})

            began = ends.answers(5, {"task": WORKING})
            timers = dict(ends.timers)
            looked = ends.fires("look", 5)
            over = ends.answers(1001, {**WORKING, "status": "completed"})
            got = ends.answers(
                1002, {"content": [], "_meta": {"io.modelcontextprotocol/related-task": {"taskId": "t"}, "x": 1}}
            )

            self.assertEqual([], began)
            self.assertEqual({("look", 5): 0.5, ("deadline", 5): 60.0}, timers)
            self.assertEqual([("up", 1001, "tasks/get", {"taskId": "t"})], looked)
            self.assertEqual([("up", 1002, "tasks/result", {"taskId": "t"})], over)
            self.assertEqual([("down", "result", 5, {"content": [], "_meta": {"x": 1}}, None)], got)
            self.assertEqual((0, {}), (len(ends.desk), ends.timers))

    def test_asks(self) -> None:
        """
        What the task asks is asked within the call, whether it comes with the result or says whose it is; of a task the
        client does not know. Its answer says whose question that was (2025-11-25, Related Task Metadata).
        """
        ends = knowing(MODERN_CLIENT)
        ends.calls(5, "tools/call", {"name": "only"})
        ends.answers(5, {"task": {**WORKING, "status": "input_required"}})
        related = {"message": "?", "_meta": {"io.modelcontextprotocol/related-task": {"taskId": "t"}}}

        within = ends.asks(1001, "1.q1", {"message": "?"})
        said = ends.asks(None, "1.q2", related)
        other = ends.asks(None, "1.q3", {"message": "?"})
        answer = ends.supplies(5, {"1.q1": {"action": "accept"}})

        self.assertEqual([("down", "ask", 5, {"1.q1": ("elicitation/create", {"message": "?"})})], within)
        self.assertEqual([("down", "ask", 5, {"1.q2": ("elicitation/create", {"message": "?"})})], said)
        self.assertEqual([("down", "ask", None, {"1.q3": ("elicitation/create", {"message": "?"})})], other)
        related = {"io.modelcontextprotocol/related-task": {"taskId": "t"}}
        self.assertEqual([("up", "answer", 5, {"1.q1": {"action": "accept", "_meta": related}})], answer)

    def test_not_a_task(self) -> None:
        """A server that answers at once, or with an error, is believed."""
        ends = knowing(OLD_CLIENT)
        ends.calls(5, "tools/call", {"name": "only"})
        ends.calls(6, "tools/call", {"name": "only"})

        seen = [ends.answers(5, {"content": []}), ends.fails(6, -32602, "no")]

        self.assertEqual(
            [[("down", "result", 5, {"content": []}, None)], [("down", "error", 6, (-32602, "no"))]],
            seen,
        )
        self.assertEqual(0, len(ends.desk))


class CancellationTests(SynchronousTestCase):
    """Clients that do not want to know any more, and that are gone."""

    def test_while_learning(self) -> None:
        """A call that was never made is not cancelled at the server."""
        ends = Ends(OLD_CLIENT, T1_SERVER)
        ends.calls(5, "tools/call", {"name": "only"})

        self.assertEqual([], ends.says(Cancelled(5)))
        self.assertEqual([], ends.answers(1000, TOOLS))

    def test_before_it_has_a_name(self) -> None:
        """A call that is to become a task is cancelled as one as soon as it is."""
        ends = knowing(OLD_CLIENT)
        ends.calls(5, "tools/call", {"name": "only"})

        cancelled = ends.says(Cancelled(5))
        became = ends.answers(5, {"task": WORKING})

        self.assertEqual([], cancelled)
        self.assertEqual([("post", 1001, "tasks/cancel", {"taskId": "t"})], became)
        self.assertEqual(0, len(ends.desk))

    def test_cancelled_call_that_is_no_task(self) -> None:
        """Its answer is nobody's."""
        ends = knowing(OLD_CLIENT)
        ends.calls(5, "tools/call", {"name": "only"})
        ends.says(Cancelled(5))

        self.assertEqual([], ends.answers(5, {"content": []}))

    def test_while_it_runs(self) -> None:
        """The task is cancelled, and nothing of it is followed any more."""
        ends = knowing(OLD_CLIENT)
        ends.calls(5, "tools/call", {"name": "only"})
        ends.answers(5, {"task": WORKING})
        ends.fires("look", 5)

        seen = ends.says(Cancelled(5))

        self.assertEqual(
            [("post", 1002, "tasks/cancel", {"taskId": "t"}), ("up", "Cancelled", 1001, None)],
            seen,
        )
        self.assertEqual((0, {}), (len(ends.desk), ends.timers))

    def test_others(self) -> None:
        """Other requests are cancelled as ever."""
        ends = knowing(OLD_CLIENT)

        self.assertEqual([("up", "Cancelled", 9, "why")], ends.says(Cancelled(9, "why")))

    def test_gone(self) -> None:
        """Tasks of a client that is gone, and that nobody else can know of, are cancelled."""
        ends = knowing(OLD_CLIENT)
        ends.calls(5, "tools/call", {"name": "only"})
        ends.answers(5, {"task": WORKING})

        seen = ends.closes()

        self.assertEqual([("post", 1001, "tasks/cancel", {"taskId": "t"})], seen)
        self.assertEqual((0, {}), (len(ends.desk), ends.timers))


class ProgressTests(SynchronousTestCase):
    """What a call hears of its task."""

    def test_before_it_was_one(self) -> None:
        """A server that told of the progress of the call goes on to do so: what is told may only increase."""
        ends = knowing(OLD_CLIENT)
        ends.calls(5, "tools/call", {"name": "only"}, wants_progress=True)
        own = ends.tells(Progressed(5, {"progress": raw(9)}))

        seen = ends.answers(5, {"task": {**WORKING, "statusMessage": "a"}})

        self.assertEqual([("down", "Progressed", 5, {"progress": 9})], own)
        self.assertEqual([], seen)

    def test_status_messages(self) -> None:
        """For who wants progress the state in words is progress, once each; a server's own is better."""
        ends = knowing(OLD_CLIENT)
        ends.calls(5, "tools/call", {"name": "only"}, wants_progress=True)

        seen = [ends.answers(5, {"task": {**WORKING, "statusMessage": "a"}})]
        for number, message in enumerate(("a", "b"), 1001):
            ends.fires("look", 5)
            seen.append(ends.answers(number, {**WORKING, "statusMessage": message}))
        own = ends.tells(Progressed(5, {"progress": raw(9)}))
        ends.fires("look", 5)
        after = ends.answers(1003, {**WORKING, "statusMessage": "c"})

        self.assertEqual(
            [
                [("down", "Progressed", 5, {"progress": 1, "message": "a"})],
                [],
                [("down", "Progressed", 5, {"progress": 2, "message": "b"})],
            ],
            seen,
        )
        self.assertEqual([("down", "Progressed", 5, {"progress": 9})], own)
        self.assertEqual([], after)


class EarlyTests(SynchronousTestCase):
    """A client may ask before the server has said what it is."""

    def early(self, server: tuple[str, Any]) -> tuple[Ends, list[Any]]:
        """A client that knows no tasks has called by then, and called and cancelled."""
        ends = Ends(OLD_CLIENT, server)
        opening, ends.offer.is_known = ends.opened[0][3], False
        ends.offer.dialect = Dialect.NONE
        seen = [*ends.calls(5, "tools/call", {"name": "only"}), *ends.calls(6, "tools/call", {"name": "only"})]
        seen += ends.says(Cancelled(6))
        ends.offer.opened(raw({**opening, "capabilities": server[1]}))
        return ends, seen

    def test_asked_again(self) -> None:
        """What it asked is decided on when the server has: nothing has been sent by then."""
        ends, seen = self.early(T1_SERVER)

        again = ends.desk.early()

        self.assertEqual(["tools/call", "tools/call"], [each[2] for each in seen[:2]])
        self.assertEqual([Called(5, "tools/call", raw({"name": "only"}))], again)
        self.assertEqual([("up", 1000, "tools/list", {})], ends.says(again[0]))
        self.assertEqual([], list(ends.desk.early()))

    def test_no_need(self) -> None:
        """At a server without tasks it goes on as it was asked."""
        ends, _ = self.early(NO_TASKS)

        self.assertEqual([], list(ends.desk.early()))

    def test_failed(self) -> None:
        """What has failed is not asked again."""
        ends = Ends(OLD_CLIENT, T1_SERVER)
        ends.offer.is_known = False
        ends.calls(5, "tools/call", {"name": "only"})

        failed = ends.fails(5, -32603, "unreachable")
        ends.offer.is_known = True

        self.assertEqual([("down", "error", 5, (-32603, "unreachable"))], failed)
        self.assertEqual([], list(ends.desk.early()))


class OptionsTests(SynchronousTestCase):
    """A server that decides by itself what becomes a task."""

    def test_tools(self) -> None:
        """A client that may ask for tasks is told that it may, of every tool; others are not."""
        tools = {"tools": [{"name": "x", "inputSchema": {}, "execution": {"taskSupport": "forbidden"}}]}
        seen = []
        for client in (T1_CLIENT, OLD_CLIENT):
            ends = Ends(client, T2_SERVER)
            ends.calls(5, "tools/list", {})
            seen.append(ends.answers(5, tools)[0][3])

        optional = {"tools": [{"name": "x", "inputSchema": {}, "execution": {"taskSupport": "optional"}}]}
        self.assertEqual([optional, tools], seen)

    def test_failed_list(self) -> None:
        """A list that failed is told of, and nothing is kept of it."""
        ends = Ends(T1_CLIENT, T2_SERVER)
        ends.calls(5, "tools/list", {})

        self.assertEqual([("down", "error", 5, (-32603, "no"))], ends.fails(5, -32603, "no"))
        self.assertEqual(0, len(ends.desk))
