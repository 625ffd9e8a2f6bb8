"""
Tests for L{mcpbridge.upstream.detect}.
"""

from __future__ import annotations

from typing import Any

import attrs
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.core.errors import ConfigurationError, Fate, Reason
from mcpbridge.core.jsonrpc import Request, Result, value
from mcpbridge.interfaces import IMessageLink, IMessageTransport
from mcpbridge.upstream.detect import DetectingTransport, http_transport
from mcpbridge.upstream.http_sse import HTTPSSETransport
from mcpbridge.upstream.streamable_http import StreamableHTTPTransport
from tests.upstream.httpworld import World
from tests.upstream.recordinglink import RecordingLink

INITIALIZE = Request(0, "initialize", Raw(b"{}"))
RESULT = b'{"jsonrpc":"2.0","id":0,"result":{}}'
ANSWER = Result(0, Raw(b"{}"))
DISCOVER = Request(9, "server/discover", value({"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}))
DISCOVERED = b'{"jsonrpc":"2.0","id":9,"result":{}}'


@attrs.define(eq=False)
class Scene:
    """A transport that is to find out."""

    world: World = attrs.field(factory=World)
    link: RecordingLink = attrs.field(factory=RecordingLink)
    found: list[str] = attrs.field(factory=list)
    transport: Any = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.transport = self.make("auto")
        self.transport.connect(self.link)

    def make(self, kind: Any, url: str = "http://server/x", headers: dict[str, str] | None = None) -> IMessageTransport:
        """Make a transport."""
        return http_transport(
            kind,
            self.world.clock,
            self.world.client,
            url,
            headers or {},
            limits=HTTPLimits(),
            random=lambda: 0.0,
            found=self.found.append,
        )


class MakeTests(SynchronousTestCase):
    """Which transport one gets."""

    def test_kinds(self) -> None:
        """
        What is configured is what one gets.
        """
        scene = Scene()

        kinds = [type(scene.make(kind)) for kind in ("auto", "streamable-http", "sse")]

        self.assertEqual([DetectingTransport, StreamableHTTPTransport, HTTPSSETransport], kinds)

    def test_unusable(self) -> None:
        """
        Bad URLs, headers and kinds are the configuration's fault; values are not shown.
        """
        scene = Scene()

        for arguments in [
            ("auto", "ftp://server/x"),
            ("auto", "http://user@server/x"),
            ("auto", "http://server/\r\nx"),
            ("odd", "http://server/x"),
            ("auto", "http://server/x", {"X": "s3cret\r\nY: z"}),
            ("sse", "http://server/x", {"X Y": "s3cret"}),
        ]:
            error = self.assertRaises(ConfigurationError, scene.make, *arguments)
            self.assertNotIn("s3cret", str(error))


class DetectTests(SynchronousTestCase):
    """Finding out."""

    def test_provides(self) -> None:
        """
        It stands between a transport and a link, being both.
        """
        transport = Scene().transport

        self.assertTrue(verifyObject(IMessageTransport, transport))
        self.assertTrue(verifyObject(IMessageLink, transport))

    def test_streamable(self) -> None:
        """
        C{initialize} is answered: that was it.
        """
        scene = Scene()
        scene.transport.send(INITIALIZE)

        scene.world.take()[1].json(RESULT)

        self.assertEqual(["streamable-http"], scene.found)
        self.assertEqual([("received", ANSWER, 0)], scene.link.told)

    def test_sse(self) -> None:
        """
        A refused POST and an endpoint: the same C{initialize} goes there, with what was sent meanwhile behind it.
        """
        for status in (400, 404, 405):
            scene = Scene()
            scene.transport.send(INITIALIZE)
            first, wire = scene.world.take()
            wire.answers(status)
            scene.world.turn()
            asked, stream = scene.world.take()
            scene.transport.send(Request(1, "ping"))

            stream.streams(b"event: endpoint\ndata: /m\n\n")
            again, _ = scene.world.take()
            more = scene.world.asked()
            stream.says(b"data: " + RESULT + b"\n\n")

            self.assertEqual(("GET", "/x"), (asked.method, asked.target))
            self.assertEqual(("POST", "/m", first.body), (again.method, again.target, again.body))
            self.assertEqual(['POST {"jsonrpc":"2.0","id":1,"method":"ping"}'], more)
            self.assertEqual(["sse"], scene.found)
            self.assertEqual([("received", ANSWER, None)], scene.link.told)

    def test_neither(self) -> None:
        """
        If neither works, both answers are told.
        """
        scene = Scene()
        scene.transport.send(INITIALIZE)
        scene.world.take()[1].answers(404)
        scene.world.turn()

        scene.world.take()[1].answers(405)
        scene.world.turn()

        [(told, request_id, loss)] = scene.link.told
        self.assertEqual(("request_lost", 0, Fate.FAILED), (told, request_id, loss.fate))
        self.assertIn("Streamable HTTP: the server answered HTTP 404", loss.text)
        self.assertIn("HTTP+SSE: the server answered HTTP 405", loss.text)

    def test_neither_leaves_a_way(self) -> None:
        """
        After that, whoever asks in another way is heard.
        """
        scene = Scene()
        scene.transport.send(INITIALIZE)
        scene.world.take()[1].answers(404)
        scene.world.turn()
        scene.world.take()[1].answers(405)
        scene.world.turn()
        scene.link.take()

        scene.transport.send(DISCOVER)
        scene.world.take()[1].json(DISCOVERED)

        self.assertEqual([("received", Result(9, Raw(b"{}")), 9)], scene.link.told)
        self.assertEqual(["streamable-http"], scene.found)

    def test_discovered(self) -> None:
        """
        An answer to C{server/discover} settles it as well; what comes later changes nothing.
        """
        scene = Scene()
        scene.transport.send(DISCOVER)
        scene.world.take()[1].json(DISCOVERED)

        scene.transport.send(INITIALIZE)
        scene.world.take()[1].json(RESULT)

        self.assertEqual(["streamable-http"], scene.found)
        self.assertEqual([9, 0], [told[1].id for told in scene.link.told])

    def test_discover_refused(self) -> None:
        """
        Its refusal says nothing of the transport: C{initialize} is POSTed, and only if that is refused too is the other
        one tried.
        """
        for status in (400, 404, 405, 410):
            scene = Scene()
            scene.transport.send(DISCOVER)
            scene.world.take()[1].answers(status)
            scene.world.turn()
            refused, asked = scene.link.take(), scene.world.asked()

            scene.transport.send(INITIALIZE)
            _, wire = scene.world.take()
            wire.answers(405)
            scene.world.turn()
            second, _ = scene.world.take()

            self.assertEqual([("request_lost", 9, Fate.FAILED)], [(*told[:2], told[2].fate) for told in refused])
            self.assertEqual(([], []), (asked, scene.found))
            self.assertEqual("GET", second.method)

    def test_discover_never_answered(self) -> None:
        """
        What is still open when the other transport is tried is lost.
        """
        scene = Scene()
        scene.transport.send(DISCOVER)
        scene.world.take()

        scene.transport.send(INITIALIZE)
        scene.world.take()[1].answers(405)
        scene.world.turn()

        self.assertEqual([("request_lost", 9)], [told[:2] for told in scene.link.told])

    def test_discover_abandoned(self) -> None:
        """
        Then there is nothing to be lost.
        """
        scene = Scene()
        scene.transport.send(DISCOVER)
        scene.world.take()
        scene.transport.abandon(9)

        scene.transport.send(INITIALIZE)
        scene.world.take()[1].answers(405)
        scene.world.turn()

        self.assertEqual([], scene.link.told)

    def test_no_evidence(self) -> None:
        """
        A server in trouble, or one that wants a login, says nothing about its transport.
        """
        for status, reason in ((401, Reason.AUTH_REQUIRED), (500, Reason.OUTCOME_UNKNOWN), (403, Reason.AUTH_FAILED)):
            scene = Scene()
            scene.transport.send(INITIALIZE)

            scene.world.take()[1].answers(status)
            scene.world.turn()

            self.assertEqual([reason], [told[2].reason for told in scene.link.told])
            self.assertEqual([], scene.world.asked())

    def test_jsonrpc_error(self) -> None:
        """
        Nor does one that refuses C{initialize} in JSON-RPC: it speaks Streamable HTTP.
        """
        scene = Scene()
        scene.transport.send(INITIALIZE)

        body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Unsupported protocol version"}}'
        scene.world.take()[1].json(body, 400)
        scene.world.turn()

        self.assertEqual(["received"], [told[0] for told in scene.link.told])
        self.assertEqual([], scene.world.asked())

    def test_abandoned_while_switching(self) -> None:
        """
        An C{initialize} that nobody wants any more does not go out again.
        """
        scene = Scene()
        scene.transport.send(INITIALIZE)
        scene.world.take()[1].answers(404)
        scene.world.turn()
        _, stream = scene.world.take()

        scene.transport.abandon(0)
        stream.streams(b"event: endpoint\ndata: /m\n\n")

        self.assertEqual([], scene.world.asked())

    def test_disconnect_while_switching(self) -> None:
        """
        Nothing is left when it is all over.
        """
        scene = Scene()
        scene.transport.send(INITIALIZE)
        scene.world.take()[1].answers(404)
        scene.world.turn()

        gone = scene.transport.disconnect()
        scene.world.turn()

        self.successResultOf(gone)
        self.assertEqual((0, [], []), (scene.world.open, scene.world.clock.getDelayedCalls(), scene.link.told))

    def test_paused_while_switching(self) -> None:
        """
        A pause holds for the other transport too.
        """
        scene = Scene()
        scene.transport.send(INITIALIZE)
        _, wire = scene.world.take()
        scene.transport.pause()
        wire.answers(404)
        scene.transport.resume()
        scene.transport.pause()
        scene.world.turn()

        scene.transport.resume()
        asked, _ = scene.world.take()

        self.assertEqual("GET", asked.method)
