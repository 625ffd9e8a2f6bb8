"""
Tests for L{mcpbridge.upstream.streamable_http}: what goes out in which order, the stream that stays, and the end.
"""

from __future__ import annotations

import json

import attrs
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.core.errors import Fate, Reason
from mcpbridge.core.jsonrpc import Notification, Request, Result
from tests.upstream.streamablescene import CALL, INITIALIZE, INITIALIZE_RESULT, INITIALIZED, RESULT, Scene, event


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
