"""
Tests for L{mcpbridge.upstream.streamable_http}: requests and their answers.
"""

from __future__ import annotations

import gzip

import attrs
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.core.errors import ErrorObject, Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Error, Message, Notification, Request, RequestId, Result
from mcpbridge.interfaces import IMessageTransport
from tests.upstream.recordinglink import RecordingLink
from tests.upstream.streamablescene import CALL, CUT, INITIALIZE, INITIALIZE_RESULT, LOST, RESULT, Scene, event

ANSWER = ("received", Result(1, Raw(b"{}")), 1)


@attrs.define(eq=False)
class FailingLink(RecordingLink):
    """Fails on notifications."""

    def received(self, message: Message, within: RequestId | None) -> None:
        """Write down answers only."""
        if isinstance(message, Notification):
            raise ValueError("owner")
        super().received(message, within)


class RequestTests(SynchronousTestCase):
    """Requests and their answers."""

    def test_provides(self) -> None:
        """
        It is a transport.
        """
        self.assertTrue(verifyObject(IMessageTransport, Scene().transport))

    def test_first_request(self) -> None:
        """
        A request is POSTed with both types, the configured headers and no session; the answer comes within it.
        """
        scene = Scene()
        scene.send(CALL)
        asked, wire = scene.world.take()
        wire.json(RESULT)

        self.assertEqual(("POST", "/mcp"), (asked.method, asked.target))
        self.assertEqual(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}', asked.body)
        self.assertEqual(
            {
                "accept": "application/json, text/event-stream",
                "accept-encoding": "identity",
                "authorization": "Bearer s3cret-token",
                "content-length": str(len(asked.body)),
                "content-type": "application/json",
                "host": "server",
                "user-agent": "mcpbridge",
            },
            dict(asked.headers),
        )
        self.assertEqual([ANSWER], scene.link.told)

    def test_session_headers(self) -> None:
        """
        After C{initialize} every request names the session and the revision.
        """
        scene = Scene().opened()

        scene.send(CALL)
        asked, _ = scene.world.take()

        self.assertEqual("s1", asked.headers["mcp-session-id"])
        self.assertEqual("2025-11-25", asked.headers["mcp-protocol-version"])

    def test_old_revision_is_not_named(self) -> None:
        """
        2025-03-26 has no header for it.
        """
        scene = Scene()
        result = INITIALIZE_RESULT.replace(b"2025-11-25", b"2025-03-26")
        scene.asks(INITIALIZE).streams(event(result))

        scene.send(CALL)
        asked, _ = scene.world.take()

        self.assertNotIn("mcp-protocol-version", asked.headers)
        self.assertNotIn("mcp-session-id", asked.headers)

    def test_connection_is_used_again(self) -> None:
        """
        One connection serves one request after the other.
        """
        scene = Scene()

        for _ in range(3):
            scene.asks().json(RESULT)

        self.assertEqual([ANSWER] * 3, scene.link.told)
        self.assertEqual(1, len(scene.world.wires))

    def test_stream(self) -> None:
        """
        What a stream says is passed on as it comes, within its request.
        """
        scene = Scene()
        wire = scene.asks()

        wire.streams(event(b'{"jsonrpc":"2.0","method":"a"}'))
        first = scene.link.take()
        wire.says(event(b'{"jsonrpc":"2.0","id":9,"method":"ping"}'))
        second = scene.link.take()
        wire.says(event(RESULT))

        self.assertEqual([("received", Notification("a"), 1)], first)
        self.assertEqual([("received", Request(9, "ping"), 1)], second)
        self.assertEqual([ANSWER], scene.link.told)

    def test_end_after_answer(self) -> None:
        """
        The end of an answered stream is nothing to tell.
        """
        scene = Scene()
        wire = scene.asks()
        wire.streams(event(RESULT))

        wire.drop()

        self.assertEqual([ANSWER], scene.link.told)

    def test_cut_without_ids(self) -> None:
        """
        The answer of a stream that ends too early is lost.
        """
        scene = Scene()
        wire = scene.asks()
        wire.streams(event(b'{"jsonrpc":"2.0","method":"a"}'))
        scene.link.take()

        wire.drop()

        self.assertEqual([("request_lost", 1, CUT)], scene.link.told)

    def test_resumed(self) -> None:
        """
        With ids it is asked for again, after the time that the server set, from where it was cut.
        """
        scene = Scene().opened()
        wire = scene.asks()
        wire.streams(b"retry: 2500\nid: e1\ndata:\n\n", event(b'{"jsonrpc":"2.0","method":"a"}', "e2"))
        wire.drop()
        scene.world.turn(2.4)
        early = scene.world.asked()

        scene.world.turn(0.1)
        asked, again = scene.world.take()
        again.streams(event(RESULT))

        self.assertEqual([], early)
        self.assertEqual(
            ("GET", "e2", "s1"), (asked.method, asked.headers["last-event-id"], asked.headers["mcp-session-id"])
        )
        self.assertEqual([("received", Notification("a"), 1), ANSWER], scene.link.told)

    def test_resumption_ends(self) -> None:
        """
        Ten tries in a row that bring nothing are enough.
        """
        scene = Scene()
        wire = scene.asks()
        wire.streams(b"id: e1\ndata:\n\n")
        scene.world.unreachable = True
        wire.drop()

        for _ in range(20):
            scene.world.turn(60.0)

        [(told, request_id, loss)] = scene.link.told
        self.assertEqual(("request_lost", 1, Fate.UNKNOWN), (told, request_id, loss.fate))
        self.assertEqual([], scene.world.clock.getDelayedCalls())

    def test_unreachable(self) -> None:
        """
        Without a connection the request was never sent.
        """
        scene = Scene()
        scene.world.unreachable = True

        scene.send(CALL)
        inside = scene.link.take()
        scene.world.turn()

        loss = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "cannot connect to server:80: Connection refused")
        self.assertEqual([], inside, "nothing is told from inside send()")
        self.assertEqual([("request_lost", 1, loss)], scene.link.told)

    def test_lost_after_writing(self) -> None:
        """
        Once written it may have run.
        """
        scene = Scene()
        wire = scene.asks()

        wire.drop()

        self.assertEqual([("request_lost", 1, LOST)], scene.link.told)

    def test_lost_while_writing(self) -> None:
        """
        A request of which the connection took only a part was never sent.
        """
        scene = Scene()
        scene.world.clogged = True
        scene.send(Request(1, "tools/call", Raw(b'{"x":"%b"}' % (b"x" * 1_000_000))))

        scene.world.wires[0].drop()

        loss = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "the connection was lost before the request was sent")
        self.assertEqual([("request_lost", 1, loss)], scene.link.told)

    def test_session_lost(self) -> None:
        """
        404 to a session: this request and all that follow were never looked at. The latter are not even sent.
        """
        scene = Scene().opened()
        scene.asks().answers(404)

        scene.send(Request(2, "ping"))
        scene.world.turn()

        text = "the server answered HTTP 404: it does not know our session any more"
        loss = Loss(Fate.SESSION_LOST, Reason.SESSION_LOST, text)
        self.assertEqual([("request_lost", 1, loss), ("request_lost", 2, loss)], scene.link.told)
        self.assertEqual([], scene.world.asked())

    def test_answer_on_another_stream(self) -> None:
        """
        An answer that comes on the wrong stream is passed on as it came; the right one then ends without a word.
        """
        scene = Scene()
        one = scene.asks()
        two = scene.asks(Request(2, "ping"))
        one.streams()
        two.streams(event(RESULT))

        one.drop()

        self.assertEqual([("received", Result(1, Raw(b"{}")), 2)], scene.link.told)

    def test_abandoned(self) -> None:
        """
        The connection of an abandoned request is closed, and nothing is told.
        """
        scene = Scene()
        wire = scene.asks()

        scene.transport.abandon(1)
        scene.world.turn()

        self.assertFalse(wire.open)
        self.assertEqual([], scene.link.told)

    def test_paused(self) -> None:
        """
        While paused nothing is read of any stream, nor of those that begin then.
        """
        scene = Scene()
        one = scene.asks()
        one.streams()

        scene.transport.pause()
        two = scene.asks(Request(2, "ping"))
        two.streams(event(b'{"jsonrpc":"2.0","method":"a"}'))
        one.says(event(b'{"jsonrpc":"2.0","method":"b"}'))
        paused = (scene.link.take(), one.paused, two.paused)
        scene.transport.resume()

        self.assertEqual(([], True, True), paused)
        self.assertEqual({"a", "b"}, {told[1].method for told in scene.link.told})
        self.assertEqual((False, False), (one.paused, two.paused))

    def test_redirect(self) -> None:
        """
        307 on the same origin is followed with the same body, and remembered if it is about a slash.
        """
        scene = Scene()
        scene.asks().answers(307, Location="/mcp/")
        asked, wire = scene.world.take()
        wire.json(RESULT)

        scene.send(CALL)
        again, _ = scene.world.take()

        self.assertEqual("/mcp/", asked.target)
        self.assertIn(b'"tools/call"', asked.body)
        self.assertEqual("/mcp/", again.target)
        self.assertEqual([ANSWER], scene.link.told)

    def test_redirect_elsewhere(self) -> None:
        """
        Another origin gets nothing.
        """
        scene = Scene()

        scene.asks().answers(307, Location="http://other/mcp?token=x")

        [(_, _, loss)] = scene.link.told
        self.assertEqual(Fate.FAILED, loss.fate)
        self.assertIn("a redirect to http://other:80, which is not followed", loss.text)
        self.assertEqual([], scene.world.asked())

    def test_secrets_are_not_echoed(self) -> None:
        """
        A server that sends our headers back does not get them into a text.
        """
        scene = Scene()

        scene.asks().answers(422, b"bad request: Authorization: Bearer s3cret-token", Content_Type="text/plain")

        [(_, _, loss)] = scene.link.told
        self.assertNotIn("s3cret", loss.text)
        self.assertNotIn("s3cret", repr(scene.transport.__dict__))

    def test_error_body_is_delivered(self) -> None:
        """
        An error of ours in the body of an error status is the answer.
        """
        scene = Scene()

        scene.asks().json(b'{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}', 400)

        self.assertEqual([("received", Error(1, ErrorObject(-32602, "no")), 1)], scene.link.told)

    def test_lingering_streams_are_bounded(self) -> None:
        """
        Streams that a server keeps open after the answer are closed when there are too many, the oldest first.
        """
        scene = Scene(HTTPLimits(max_lingering=2))

        wires = []
        for n in range(4):
            wires.append(scene.asks(Request(n, "ping")))
            wires[-1].streams(event(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % n))
        scene.world.turn()

        self.assertEqual([False, False, True, True], [wire.open for wire in wires])

    def test_bodies_are_inflated(self) -> None:
        """
        A server that compresses though it was asked not to is understood.
        """
        scene = Scene()

        scene.asks().answers(200, gzip.compress(RESULT), Content_Type="application/json", Content_Encoding="gzip")

        self.assertEqual([ANSWER], scene.link.told)

    def test_owner_fails(self) -> None:
        """
        An owner that raises does not break the stream that it was told of.
        """
        scene = Scene(link=FailingLink())
        wire = scene.asks()

        wire.streams(event(b'{"jsonrpc":"2.0","method":"a"}'), event(RESULT))

        self.assertEqual([ANSWER], scene.link.told)
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))
