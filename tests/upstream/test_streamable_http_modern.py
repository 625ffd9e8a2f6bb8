"""
Tests for L{mcpbridge.upstream.streamable_http} in the stateless era, and for both eras in one conversation.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.core.errors import ErrorObject, Fate
from mcpbridge.core.jsonrpc import Error, Notification, Request, Result, read, value
from tests.core.bindings.test_modern_http import modern
from tests.upstream.httpworld import Asked, Wire
from tests.upstream.streamablescene import CUT, INITIALIZE, INITIALIZE_RESULT, INITIALIZED, LOST, Scene, event

DISCOVER = modern("server/discover")
CALL = modern("tools/call", 1, name="t", arguments={"a": "x"})
LISTEN = modern("subscriptions/listen", 5, notifications={"toolsListChanged": True})
MARKED = {"name": "t", "inputSchema": {"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}}


def answer(request_id: Any, **result: Any) -> bytes:
    """A JSON-RPC result."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (value(request_id), value(result))


def refusal(request_id: int, code: int) -> bytes:
    """A JSON-RPC error."""
    return b'{"jsonrpc":"2.0","id":%d,"error":{"code":%d,"message":"no"}}' % (request_id, code)


def received(request_id: int, **result: Any) -> tuple[Any, ...]:
    """What the link is told of that result."""
    return ("received", Result(request_id, value(result)), request_id)


class ModernScene(Scene):
    """A conversation with a server of the stateless era."""

    def lists(self, *tools: Any, **more: Any) -> Asked:
        """The server answers the list that is asked for; the request."""
        asked, wire = self.world.take()
        body = read(asked.body)
        assert body["method"] == "tools/list", body
        wire.json(answer(body["id"], tools=tools, **more))
        return asked

    def knowing(self, *tools: Any) -> ModernScene:
        """The owner has fetched the lists."""
        self.send(modern("tools/list", 99))
        self.lists(*tools)
        self.link.take()
        return self

    def call(self) -> tuple[Asked, Wire]:
        """The call that came, and where."""
        asked, wire = self.world.take()
        assert asked.headers["mcp-method"] == "tools/call", asked
        return asked, wire


class RequestTests(SynchronousTestCase):
    """Requests and their answers."""

    def test_headers(self) -> None:
        """
        A request says what it is, is in no session, and its answer comes within it.
        """
        scene = ModernScene()
        scene.send(modern("prompts/get", name="p"))
        asked, wire = scene.world.take()
        wire.json(answer(7), Mcp_Session_Id="s1")

        self.assertEqual(
            {
                "accept": "application/json, text/event-stream",
                "accept-encoding": "identity",
                "authorization": "Bearer s3cret-token",
                "content-length": str(len(asked.body)),
                "content-type": "application/json",
                "host": "server",
                "mcp-method": "prompts/get",
                "mcp-name": "p",
                "mcp-protocol-version": "2026-07-28",
                "user-agent": "mcpbridge",
            },
            dict(asked.headers),
        )
        self.assertEqual([received(7)], scene.link.told)

    def test_stream(self) -> None:
        """
        Notifications within it as they come, then the answer; one connection serves for the next.
        """
        scene = ModernScene()
        wire = scene.asks(DISCOVER)
        wire.begins(200, Content_Type="text/event-stream", Transfer_Encoding="chunked")
        for data in (b'{"jsonrpc":"2.0","method":"a"}', answer(7)):
            wire.says(b"%x\r\n%b\r\n" % (len(event(data)), event(data)))
        wire.says(b"0\r\n\r\n")
        scene.asks(DISCOVER)

        self.assertEqual([("received", Notification("a"), 7), received(7)], scene.link.told)
        self.assertEqual(1, len(scene.world.wires))

    def test_cut(self) -> None:
        """
        A broken stream is not asked for again, whatever ids it had.
        """
        scene = ModernScene()
        wire = scene.asks(DISCOVER)
        wire.streams(event(b"", "e1"), b"retry: 10\n\n")

        wire.drop()
        scene.world.turn(10.0)

        self.assertEqual([("request_lost", 7, CUT)], scene.link.told)
        self.assertEqual([], scene.world.asked())

    def test_connection_lost(self) -> None:
        """
        A request whose connection breaks may have run.
        """
        scene = ModernScene()

        scene.asks(DISCOVER).drop()

        self.assertEqual([("request_lost", 7, LOST)], scene.link.told)

    def test_unreachable(self) -> None:
        """
        One without a connection has not.
        """
        scene = ModernScene()
        scene.world.unreachable = True
        scene.send(DISCOVER)
        scene.world.turn()

        [(told, request_id, loss)] = scene.link.told
        self.assertEqual(("request_lost", 7, Fate.NEVER_SENT), (told, request_id, loss.fate))

    def test_abandon(self) -> None:
        """
        Closing the stream is the whole word: the notification that says the same is not sent.
        """
        for begun in (False, True):
            scene = ModernScene()
            wire = scene.asks(DISCOVER)
            if begun:
                wire.streams(b": hello\n\n")

            scene.send(Notification("notifications/cancelled", value({"requestId": 7})))
            scene.transport.abandon(7)
            scene.world.turn()

            self.assertEqual((False, [], []), (wire.open, scene.world.asked(), scene.link.told))

    def test_abandon_what_waits(self) -> None:
        """
        What has not been sent is not, and nothing is said of it either.
        """
        scene = ModernScene(limits=HTTPLimits(max_posts=1))
        scene.asks(DISCOVER)
        scene.send(modern("prompts/list", 8), Notification("notifications/cancelled", value({"requestId": 8})))

        scene.transport.abandon(8)
        scene.world.turn(2.0)

        self.assertEqual([], scene.world.asked())

    def test_notification(self) -> None:
        """
        Another notification is of the same era as the conversation.
        """
        scene = ModernScene()
        scene.asks(DISCOVER).json(answer(7))

        scene.send(Notification("notifications/own"))
        asked, wire = scene.world.take()
        wire.answers(202)

        self.assertEqual(
            ("2026-07-28", "notifications/own"),
            (asked.headers["mcp-protocol-version"], asked.headers["mcp-method"]),
        )

    def test_disconnect(self) -> None:
        """
        All streams are closed, and there is no session to end.
        """
        scene = ModernScene()
        wires = [scene.asks(DISCOVER), scene.asks(LISTEN)]
        scene.send(CALL)

        gone = scene.transport.disconnect()
        scene.world.turn()

        self.successResultOf(gone)
        self.assertEqual([False, False], [wire.open for wire in wires])
        self.assertEqual(([], []), (scene.world.clock.getDelayedCalls(), scene.link.told))


class ListenTests(SynchronousTestCase):
    """Subscriptions."""

    def test_stays_open(self) -> None:
        """
        It hears keep-alives and changes for as long as it lasts, and its end is its answer.
        """
        scene = ModernScene(limits=HTTPLimits(stream_idle=5.0))
        wire = scene.asks(LISTEN)
        wire.streams(b": hello\n\n")
        scene.world.turn(3600.0)

        wire.says(b": hello\n\n" + event(b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'))
        wire.says(event(answer(5)))

        self.assertEqual(
            [("received", Notification("notifications/tools/list_changed"), 5), received(5)], scene.link.told
        )

    def test_takes_no_place(self) -> None:
        """
        Others are not held up by it.
        """
        scene = ModernScene(limits=HTTPLimits(max_posts=1))
        scene.asks(LISTEN).streams(b": hello\n\n")

        scene.asks(DISCOVER).json(answer(7))
        scene.asks(DISCOVER).json(answer(7))

        self.assertEqual([received(7)] * 2, scene.link.told)

    def test_cut(self) -> None:
        """
        If it breaks, the owner hears so.
        """
        scene = ModernScene()
        wire = scene.asks(LISTEN)
        wire.streams(b": hello\n\n")

        wire.drop()

        self.assertEqual([("request_lost", 5, CUT)], scene.link.told)


class BothErasTests(SynchronousTestCase):
    """Finding out which era a server speaks, in one conversation."""

    def _opens(self, scene: Scene) -> None:
        """A session comes about, unimpressed by what was before."""
        scene.link.take()
        scene.send(INITIALIZE)
        asked, wire = scene.world.take()
        wire.json(INITIALIZE_RESULT, Mcp_Session_Id="s2")
        scene.send(INITIALIZED)
        initialized, wire = scene.world.take()
        wire.answers(202)
        stream, wire = scene.world.take()
        wire.answers(405)
        scene.send(Request(1, "tools/call", Raw(b'{"name":"t","arguments":{"a":1}}')))
        called, wire = scene.world.take()
        wire.json(answer(1))

        names = {"mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name"}
        self.assertEqual(set(), names & set(asked.headers))
        for each in (initialized, stream, called):
            self.assertEqual("s2", each.headers["mcp-session-id"])
            self.assertEqual("2025-11-25", each.headers["mcp-protocol-version"])
            self.assertNotIn("mcp-method", each.headers)
        self.assertEqual(received(1), scene.link.told[-1])

    def test_discover_refused(self) -> None:
        """
        However a server of the session era takes C{server/discover}, C{initialize} finds it as if nothing had been.
        """
        unknown = b'{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Missing session ID"}}'
        answers: list[tuple[Any, str]] = [
            (lambda wire: wire.answers(404), "request_lost"),
            (lambda wire: wire.answers(405), "request_lost"),
            (lambda wire: wire.answers(400, b"Missing session ID"), "request_lost"),
            (lambda wire: wire.json(unknown, 400, Mcp_Session_Id="s1"), "request_lost"),
            (lambda wire: wire.json(refusal(7, -32601), 404, Mcp_Session_Id="s1"), "received"),
            (lambda wire: wire.json(refusal(7, -32601), Mcp_Session_Id="s1"), "received"),
            (lambda wire: wire.streams(event(refusal(7, -32602)), Mcp_Session_Id="s1"), "received"),
            (lambda wire: wire.answers(500), "request_lost"),
            (lambda wire: wire.drop(), "request_lost"),
        ]
        for respond, told in answers:
            scene = ModernScene()
            respond(scene.asks(DISCOVER))
            self.assertEqual([told], [each[0] for each in scene.link.told])
            self._opens(scene)

    def test_discover_never_answered(self) -> None:
        """
        A server that says nothing to it does not hold up C{initialize}.
        """
        scene = ModernScene()
        wire = scene.asks(DISCOVER)

        self._opens(scene)
        scene.send(Notification("notifications/cancelled", value({"requestId": 7})))
        scene.transport.abandon(7)
        scene.world.turn()

        self.assertEqual((False, []), (wire.open, scene.world.asked()))

    def test_initialize_refused(self) -> None:
        """
        The other way round: a server of the stateless era refuses C{initialize}, and is spoken to in its own.
        """
        scene = ModernScene()
        scene.asks(INITIALIZE).json(refusal(0, -32022), 400)
        first = scene.link.take()

        scene.asks(DISCOVER).json(answer(7))
        scene.knowing(MARKED).send(CALL)
        asked, _ = scene.call()
        gone = scene.transport.disconnect()
        scene.world.turn()

        self.assertEqual([("received", Error(0, ErrorObject(-32022, "no")), 0)], first)
        self.assertEqual("x", asked.headers["mcp-param-a"])
        self.successResultOf(gone)
        self.assertEqual([], scene.world.asked())

    def test_session_cancels_by_word(self) -> None:
        """
        In a session closing a stream cancels nothing, so the word is sent.
        """
        scene = ModernScene().opened()
        scene.asks(Request(1, "tools/call", Raw(b'{"name":"t"}')))

        scene.send(Notification("notifications/cancelled", value({"requestId": 1})))
        asked, _ = scene.world.take()

        self.assertEqual("notifications/cancelled", read(asked.body)["method"])
        self.assertEqual("s1", asked.headers["mcp-session-id"])

    def test_session_lists(self) -> None:
        """
        Lists of a session are none of the other era's business.
        """
        scene = ModernScene().opened()
        bad = {"name": "bad", "inputSchema": {"x-mcp-header": "A"}}

        scene.asks(Request(1, "tools/list")).json(answer(1, tools=[bad]))

        self.assertEqual([received(1, tools=[bad])], scene.link.told)

    def test_lost_session(self) -> None:
        """
        A session that is lost does not concern a request that is in none.
        """
        scene = ModernScene().opened()
        scene.asks(Request(1, "ping")).answers(404)
        scene.link.take()

        scene.asks(DISCOVER).json(answer(7))

        self.assertEqual([received(7)], scene.link.told)

    def test_answer_elsewhere(self) -> None:
        """
        An answer that comes on the shared stream of a session is the one answer.
        """
        scene = ModernScene().opened(stream=200)
        [stream] = [wire for wire in scene.world.wires if wire.open][-1:]
        stream.streams()
        wire = scene.asks(DISCOVER)
        wire.streams(b": hello\n\n")

        stream.says(event(answer(7)))
        wire.says(event(answer(7)))
        wire.drop()

        self.assertEqual([("received", Result(7, Raw(b"{}")), None)], scene.link.told)
