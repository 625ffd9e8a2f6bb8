"""
Tests for L{mcpbridge.upstream.http_survey}, as the transport uses it.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.tool_survey import MAX_PAGES
from mcpbridge.core.errors import ErrorObject, Fate
from mcpbridge.core.jsonrpc import Error, read
from tests.core.bindings.test_modern_http import modern
from tests.upstream.httpworld import Asked
from tests.upstream.streamablescene import event
from tests.upstream.test_streamable_http_modern import CALL, MARKED, ModernScene, answer, received, refusal


class SurveyTests(SynchronousTestCase):
    """Calls whose arguments may have to be said in headers."""

    def test_first_call(self) -> None:
        """
        The lists are fetched once, on behalf of the same client, for all calls that wait; the owner hears nothing of
        it.
        """
        scene = ModernScene()
        scene.send(CALL, modern("tools/call", 2, name="t", arguments={"a": "y"}))

        first = scene.lists(MARKED, nextCursor="c")
        second = scene.lists({"name": "u"})
        calls = [scene.call() for _ in range(2)]
        for n, (_, wire) in enumerate(calls, 1):
            wire.json(answer(n))

        self.assertEqual(
            ["mcpbridge-tools-1", "mcpbridge-tools-2"], [read(each.body)["id"] for each in (first, second)]
        )
        self.assertEqual("c", read(second.body)["params"]["cursor"])
        self.assertEqual("tools/list", first.headers["mcp-method"])
        self.assertEqual({"name": "c", "version": "1"}, _meta(first)["io.modelcontextprotocol/clientInfo"])
        self.assertNotIn("progressToken", _meta(first))
        self.assertEqual(["x", "y"], [asked.headers["mcp-param-a"] for asked, _ in calls])
        self.assertEqual([received(1), received(2)], scene.link.told)

    def test_list_passed_by(self) -> None:
        """
        If the owner has fetched a list, nothing has to be asked.
        """
        scene = ModernScene().knowing(MARKED)

        scene.send(CALL)
        asked, _ = scene.call()

        self.assertEqual("x", asked.headers["mcp-param-a"])

    def test_wrong_tools(self) -> None:
        """
        Tools that are marked against the rules are left out of the list that the owner gets.
        """
        scene = ModernScene()
        scene.send(modern("tools/list"))

        scene.lists(MARKED, {"name": "bad", "inputSchema": {"x-mcp-header": "A"}})

        self.assertEqual([received(7, tools=[MARKED])], scene.link.told)

    def test_no_lists(self) -> None:
        """
        If there are none, calls go without, and nobody asks again.
        """
        for respond in (
            lambda wire: wire.json(b'{"jsonrpc":"2.0","id":"mcpbridge-tools-1","error":{"code":-32601,"message":"x"}}'),
            lambda wire: wire.answers(500),
            lambda wire: wire.drop(),
            lambda wire: wire.json(answer("mcpbridge-tools-1", tools=5)),
        ):
            scene = ModernScene()
            scene.send(CALL)

            respond(scene.world.take()[1])
            asked, wire = scene.call()
            wire.json(answer(1))
            again = scene.asks(CALL)
            again.json(answer(1))

            self.assertNotIn("mcp-param-a", asked.headers)
            self.assertEqual([received(1)] * 2, scene.link.told)

    def test_slow_lists(self) -> None:
        """
        Calls wait so long and no longer.
        """
        scene = ModernScene()
        scene.send(CALL)
        _, lists = scene.world.take()
        scene.world.turn(9.9)
        before = scene.world.asked()

        scene.world.turn(0.2)
        scene.call()

        self.assertEqual(([], False), (before, lists.open))

    def test_lists_on_a_stream_that_stays(self) -> None:
        """
        The answer is enough, even if its stream does not end.
        """
        scene = ModernScene()
        scene.send(CALL)
        asked, lists = scene.world.take()

        lists.streams(event(answer(read(asked.body)["id"], tools=[MARKED])))
        asked, _ = scene.call()
        scene.world.turn()

        self.assertEqual(("x", False), (asked.headers["mcp-param-a"], lists.open))

    def test_unreachable(self) -> None:
        """
        If nothing can be reached, the call is told so like any other.
        """
        scene = ModernScene()
        scene.world.unreachable = True

        scene.send(CALL)
        scene.world.turn()

        [(told, request_id, loss)] = scene.link.told
        self.assertEqual(("request_lost", 1, Fate.NEVER_SENT), (told, request_id, loss.fate))

    def test_abandoned(self) -> None:
        """
        A call that is not wanted any more is never sent.
        """
        scene = ModernScene()
        scene.send(CALL)

        scene.transport.abandon(1)
        scene.lists(MARKED)

        self.assertEqual(([], []), (scene.world.asked(), scene.link.told))

    def test_paused(self) -> None:
        """
        While nothing is to be read, lists are not read either.
        """
        scene = ModernScene()
        scene.send(CALL)
        _, lists = scene.world.take()
        lists.begins(200, Content_Type="text/event-stream")
        scene.transport.pause()
        paused = lists.paused

        scene.transport.resume()

        self.assertEqual((True, False), (paused, lists.paused))

    def test_disconnected(self) -> None:
        """
        Nothing is left of it.
        """
        scene = ModernScene()
        scene.send(CALL)
        _, lists = scene.world.take()

        gone = scene.transport.disconnect()
        scene.world.turn()

        self.successResultOf(gone)
        self.assertEqual((False, []), (lists.open, scene.world.clock.getDelayedCalls()))

    def test_refused(self) -> None:
        """
        A call turned away for its headers makes the lists be fetched anew, and goes again.
        """
        scene = ModernScene().knowing({"name": "t"})
        scene.asks(CALL).json(refusal(1, -32020), 400)

        scene.lists(MARKED)
        asked, wire = scene.call()
        wire.json(answer(1))

        self.assertEqual("x", asked.headers["mcp-param-a"])
        self.assertEqual([received(1)], scene.link.told)

    def test_refused_for_good(self) -> None:
        """
        If that brings nothing new, the refusal is the answer.
        """
        scene = ModernScene().knowing(MARKED)
        scene.asks(CALL).json(refusal(1, -32020), 400)

        scene.lists(MARKED)

        self.assertEqual([("received", Error(1, ErrorObject(-32020, "no")), 1)], scene.link.told)
        self.assertEqual([], scene.world.asked())

    def test_refused_together(self) -> None:
        """
        Many that are turned away ask once.
        """
        scene = ModernScene().knowing({"name": "t"})
        scene.send(*(modern("tools/call", n, name="t", arguments={"a": str(n)}) for n in range(3)))
        wires = [scene.world.take()[1] for _ in range(3)]
        for n, wire in enumerate(wires):
            wire.json(refusal(n, -32020), 400)

        scene.lists(MARKED)
        calls = [scene.call()[0].headers["mcp-param-a"] for _ in range(3)]

        self.assertEqual(["0", "1", "2"], sorted(calls))
        self.assertEqual([], scene.world.asked())

    def test_circle(self) -> None:
        """
        A server whose lists have no end is asked so often and no more.
        """
        scene = ModernScene()
        scene.send(CALL)

        for _ in range(MAX_PAGES):
            scene.lists({"name": "u"}, nextCursor="again")

        scene.call()


def _meta(asked: Asked) -> Any:
    return read(asked.body)["params"]["_meta"]
