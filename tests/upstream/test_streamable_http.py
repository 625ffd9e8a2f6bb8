"""
Tests for L{mcpbridge.upstream.streamable_http}.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

import attrs
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.core.errors import ErrorObject, Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Error, Message, Notification, Request, RequestId, Result
from mcpbridge.interfaces import IMessageTransport
from mcpbridge.upstream.streamable_http import StreamableHTTPTransport
from tests.upstream.httpworld import Wire, World
from tests.upstream.recordinglink import RecordingLink

INITIALIZE = Request(0, "initialize", Raw(b'{"protocolVersion":"2025-11-25"}'))
INITIALIZED = Notification("notifications/initialized")
INITIALIZE_RESULT = b'{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25"}}'
CALL = Request(1, "tools/call", Raw(b'{"name":"x"}'))
RESULT = b'{"jsonrpc":"2.0","id":1,"result":{}}'
ANSWER = ("received", Result(1, Raw(b"{}")), 1)
CUT = Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "the answer was cut off before it was complete")
LOST = Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "the connection was lost before the answer was complete")


def event(data: bytes, event_id: str = "") -> bytes:
    """One event."""
    return (f"id: {event_id}\n".encode() if event_id else b"") + b"data: " + data + b"\n\n"


@attrs.define(eq=False)
class FailingLink(RecordingLink):
    """Fails on notifications."""

    def received(self, message: Message, within: RequestId | None) -> None:
        """Write down answers only."""
        if isinstance(message, Notification):
            raise ValueError("owner")
        super().received(message, within)


@attrs.define(eq=False)
class Scene:
    """A transport, the server that it talks to, and the link that it tells."""

    limits: HTTPLimits = attrs.field(factory=HTTPLimits)
    world: World = attrs.field(factory=World)
    link: RecordingLink = attrs.field(factory=RecordingLink)
    transport: StreamableHTTPTransport = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.transport = StreamableHTTPTransport(
            self.world.clock,
            self.world.client,
            "http://server/mcp",
            {"Authorization": "Bearer s3cret-token"},
            limits=self.limits,
            random=lambda: 0.0,
        )
        self.transport.connect(self.link)

    def send(self, *messages: Any) -> None:
        """The owner sends."""
        for message in messages:
            self.transport.send(message)

    def asks(self, message: Request = CALL) -> Wire:
        """The owner sends a request; the wire that it came on."""
        self.transport.send(message)
        return self.world.take()[1]

    def opened(self, *, stream: int = 405) -> Scene:
        """The handshake was made; the server has a session, and answers this status to the shared stream."""
        self.asks(INITIALIZE).json(INITIALIZE_RESULT, Mcp_Session_Id="s1")
        self.send(INITIALIZED)
        self.world.take()[1].answers(202)
        asked, wire = self.world.take()
        assert asked.method == "GET"
        if stream == 405:
            wire.answers(405)
        self.link.take()
        return self


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


class OrderTests(SynchronousTestCase):
    """What waits for what."""

    def test_requests_wait_for_initialized(self) -> None:
        """
        A request goes out when C{notifications/initialized} was accepted, not before.
        """
        scene = Scene()
        scene.asks(INITIALIZE).json(INITIALIZE_RESULT)
        scene.send(INITIALIZED, CALL)
        asked, wire = scene.world.take()
        before = scene.world.asked()

        wire.answers(202)

        self.assertIn(b"initialized", asked.body)
        self.assertEqual([], before)
        self.assertEqual("GET", scene.world.take()[0].method)
        scene.world.turn(0.25)
        self.assertEqual(CALL.id, json.loads(scene.world.take()[0].body)["id"])

    def test_not_for_ever(self) -> None:
        """
        A server that never accepts it is asked all the same in the end.
        """
        scene = Scene()
        scene.asks(INITIALIZE).json(INITIALIZE_RESULT)
        scene.send(INITIALIZED, CALL)
        scene.world.take()

        scene.world.turn(10.0)

        self.assertIn("tools/call", scene.world.asked()[0])

    def test_notification_does_not_overtake_request(self) -> None:
        """
        A notification sent after a request that has no connection yet waits, though it could have one.
        """
        scene = Scene()
        scene.asks().json(RESULT)
        scene.asks(Request(2, "ping"))
        scene.world.slow = True
        scene.send(Request(3, "tools/call"))
        scene.world.wires[0].json(b'{"jsonrpc":"2.0","id":2,"result":{}}')
        scene.send(Notification("notifications/cancelled", Raw(b'{"requestId":3}')))
        before = scene.world.asked()

        scene.world.connects()
        scene.world.turn()

        self.assertEqual([], before)
        methods = [line.partition('"method":"')[2].partition('"')[0] for line in scene.world.asked()]
        self.assertEqual({"tools/call", "notifications/cancelled"}, set(methods))

    def test_cap(self) -> None:
        """
        No more requests than agreed are with the server at once; answers to its own requests are not held up by them.
        """
        scene = Scene(HTTPLimits(max_posts=2))

        scene.send(*(Request(n, "ping") for n in range(4)), Result(7, Raw(b"{}")))
        first = scene.world.asked()
        scene.world.wires[0].json(b'{"jsonrpc":"2.0","id":0,"result":{}}')

        self.assertEqual(3, len(first))
        self.assertEqual(['POST {"jsonrpc":"2.0","id":2,"method":"ping"}'], scene.world.asked())

    def test_overload(self) -> None:
        """
        What finds too many waiting is lost at once, and was never sent.
        """
        scene = Scene(HTTPLimits(max_posts=1, max_waiting=2))

        scene.send(*(Request(n, "ping") for n in range(4)))
        scene.world.turn()

        [(told, request_id, loss)] = scene.link.told
        self.assertEqual(
            ("request_lost", 3, Fate.NEVER_SENT, Reason.OVERLOADED), (told, request_id, loss.fate, loss.reason)
        )

    def test_congestion(self) -> None:
        """
        The owner is told when many messages wait, and when they no longer do.
        """
        scene = Scene(HTTPLimits(max_posts=1))

        scene.send(*(Request(n, "ping") for n in range(300)))
        scene.world.turn()
        congested = scene.link.take()
        for n in range(300):
            scene.world.take()[1].json(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % n)

        self.assertEqual([("congested",)], congested)
        self.assertEqual(1, scene.link.told.count(("relieved",)))

    def test_abandoned_while_waiting(self) -> None:
        """
        A request that waits and is abandoned is never sent.
        """
        scene = Scene(HTTPLimits(max_posts=1))
        scene.send(Request(1, "ping"), Request(2, "ping"))

        scene.transport.abandon(2)
        scene.world.take()[1].json(RESULT)

        self.assertEqual([], scene.world.asked())


class StreamTests(SynchronousTestCase):
    """The shared stream."""

    def test_before_requests(self) -> None:
        """
        It is there, or known not to be, before requests that may make the server say something on it; or they have
        waited for long enough.
        """
        for answer in (
            lambda _, wire: wire.begins(200, Content_Type="text/event-stream"),
            lambda _, wire: wire.answers(405),
            lambda _, wire: wire.answers(404),
            lambda _, wire: wire.answers(503),
            lambda _, wire: wire.drop(),
            lambda scene, _: scene.world.turn(0.25),
        ):
            scene = Scene()
            scene.asks(INITIALIZE).json(INITIALIZE_RESULT, Mcp_Session_Id="s1")
            scene.send(INITIALIZED, CALL)
            scene.world.take()[1].answers(202)
            asked, wire = scene.world.take()
            scene.world.turn(0.2)
            before = scene.world.asked()

            answer(scene, wire)

            self.assertEqual(("GET", []), (asked.method, before))
            self.assertEqual(CALL.id, json.loads(scene.world.take()[0].body)["id"])

    def test_lists_need_no_stream(self) -> None:
        """
        What makes the server do nothing does not wait for it.
        """
        scene = Scene()
        scene.asks(INITIALIZE).json(INITIALIZE_RESULT, Mcp_Session_Id="s1")
        scene.send(INITIALIZED, Request(7, "tools/list"))

        scene.world.take()[1].answers(202)

        self.assertEqual(["GET", "POST"], [scene.world.take()[0].method for _ in range(2)])

    def test_never_again(self) -> None:
        """
        Once it is known whether there is a stream, nothing waits, also when it is asked for again.
        """
        scene = Scene().opened(stream=200)
        wire = scene.world.wires[-1]
        wire.streams(event(b'{"jsonrpc":"2.0","method":"a"}', "e1"))
        scene.asks().json(RESULT)
        wire.drop()
        scene.world.turn(1.0)
        scene.world.take()

        scene.send(attrs.evolve(CALL, id=77))

        self.assertEqual(77, json.loads(scene.world.take()[0].body)["id"])

    def test_opened(self) -> None:
        """
        It is asked for when the session stands; what it says belongs to no request.
        """
        scene = Scene().opened(stream=200)
        wire = scene.world.wires[-1]

        wire.streams(event(b'{"jsonrpc":"2.0","method":"a"}'))

        self.assertEqual([("received", Notification("a"), None)], scene.link.told)

    def test_refused(self) -> None:
        """
        405 says that there is none.
        """
        scene = Scene().opened()

        scene.world.turn(3600.0)

        self.assertEqual([], scene.world.asked())

    def test_reopened(self) -> None:
        """
        When it ends it is asked for again, with the id of the last event.
        """
        scene = Scene().opened(stream=200)
        wire = scene.world.wires[-1]
        wire.streams(event(b'{"jsonrpc":"2.0","method":"a"}', "e1"))
        wire.drop()

        scene.world.turn(1.0)
        asked, _ = scene.world.take()

        self.assertEqual(("GET", "e1"), (asked.method, asked.headers["last-event-id"]))

    def test_session_forgotten(self) -> None:
        """
        404 where there was a stream: the session is gone, and nobody may ask for anything for long.
        """
        scene = Scene().opened(stream=200)
        wire = scene.world.wires[-1]
        wire.streams(event(b'{"jsonrpc":"2.0","method":"a"}'))
        scene.link.take()
        wire.drop()
        scene.world.turn(1.0)

        scene.world.take()[1].answers(404)

        ((what, loss),) = scene.link.told
        self.assertEqual(("disconnected", Fate.SESSION_LOST), (what, loss.fate))

    def test_session_forgotten_with_a_request(self) -> None:
        """
        While a request is under way its own stream tells what becomes of it; the next one is not even sent.
        """
        scene = Scene().opened(stream=200)
        wire = scene.world.wires[-1]
        wire.streams(event(b'{"jsonrpc":"2.0","method":"a"}'))
        scene.asks()
        scene.link.take()
        wire.drop()
        scene.world.turn(1.0)

        scene.world.take()[1].answers(404)
        quiet = scene.link.take()
        scene.send(attrs.evolve(CALL, id=77))
        scene.world.turn()

        ((what, request_id, loss),) = scene.link.told
        self.assertEqual([], quiet)
        self.assertEqual(("request_lost", 77, Fate.SESSION_LOST), (what, request_id, loss.fate))


class DisconnectTests(SynchronousTestCase):
    """The end."""

    def test_session_is_ended(self) -> None:
        """
        DELETE with the session id; then nothing is left.
        """
        scene = Scene().opened(stream=200)
        scene.world.wires[-1].streams()
        scene.asks()

        gone = scene.transport.disconnect()
        scene.world.turn()
        asked, wire = scene.world.take()
        before = list(scene.world.pool._open)
        wire.answers(204)
        scene.world.turn()

        self.assertEqual(("DELETE", "s1"), (asked.method, asked.headers["mcp-session-id"]))
        self.assertEqual(1, len(before))
        self.successResultOf(gone)
        self.assertEqual((0, [], []), (scene.world.open, scene.world.clock.getDelayedCalls(), scene.link.told))

    def test_deadline(self) -> None:
        """
        A server that does not answer that is left after five seconds.
        """
        scene = Scene().opened()

        gone = scene.transport.disconnect()
        scene.world.turn()
        self.assertNoResult(gone)
        scene.world.turn(5.0)
        scene.world.turn()

        self.successResultOf(gone)
        self.assertEqual((0, []), (scene.world.open, scene.world.clock.getDelayedCalls()))

    def test_last_words(self) -> None:
        """
        A notification that is under way may still be accepted.
        """
        scene = Scene().opened()
        scene.send(Notification("notifications/cancelled"))
        _, wire = scene.world.take()

        gone = scene.transport.disconnect()
        waiting = scene.world.asked()
        wire.answers(202)
        scene.world.take()[1].answers(204)
        scene.world.turn()

        self.assertEqual([], waiting)
        self.successResultOf(gone)

    def test_twice(self) -> None:
        """
        It may be asked for as often as one likes, also when it is done.
        """
        scene = Scene()
        first, second = scene.transport.disconnect(), scene.transport.disconnect()
        scene.world.turn()

        self.successResultOf(first)
        self.successResultOf(second)
        self.successResultOf(scene.transport.disconnect())

    def test_nothing_after(self) -> None:
        """
        What is sent then goes nowhere, and nothing is told.
        """
        scene = Scene()
        wire = scene.asks()
        scene.transport.disconnect()

        scene.send(CALL)
        wire.json(RESULT)
        scene.world.turn()

        self.assertEqual([], scene.world.asked())
        self.assertEqual([], scene.link.told)
