"""
Tests for L{mcpbridge.downstream.http.exchange}, through a whole endpoint in memory.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.jsonrpc import Error, Notification, Request, Result, value
from mcpbridge.downstream.http.limits import EndpointLimits
from tests.downstream.http.world import World

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


class AnswerTests(SynchronousTestCase):
    """What becomes of a POST."""

    def setUp(self) -> None:
        self.world = World()
        self.client = self.world.initialize()
        self.owner = self.client.owner

    def test_json(self) -> None:
        """If nothing but the answer comes it is a JSON body."""
        call = self.client.call(7)

        self.owner.answer(self.owner.requests[-1], {"content": []})

        self.assertEqual((200, "application/json"), (call.seen.status, call.seen.fields["content-type"]))
        self.assertEqual({"jsonrpc": "2.0", "id": 7, "result": {"content": []}}, call.seen.json)

    def test_stream(self) -> None:
        """If something comes before the answer it is a stream, which ends with the answer."""
        call = self.client.call(7)

        self.owner.say("notifications/progress", {"progress": 1}, 7)
        self.owner.answer(self.owner.requests[-1])

        self.assertEqual("text/event-stream", call.seen.fields["content-type"])
        self.assertEqual(
            [
                ("r1-0", ""),
                ("r1-1", {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}),
                ("r1-2", {"jsonrpc": "2.0", "id": 7, "result": {}}),
            ],
            call.seen.events,
        )
        self.assertTrue(call.seen.is_complete)

    def test_no_primer_before_2025_11_25(self) -> None:
        """Clients of earlier revisions would choke on an event without data."""
        client = self.world.initialize("2025-06-18")
        call = client.call(7)

        client.owner.say("notifications/progress", {"progress": 1}, 7)

        self.assertEqual(["r1-1"], [event_id for event_id, _ in call.seen.events])

    def test_silence(self) -> None:
        """After a while without anything the response begins, and comments keep it alive."""
        call = self.client.call(7)

        self.world.clock.pump([15.0, 15.0])

        self.assertEqual([("r1-0", "")], call.seen.events)
        self.assertIn(b"\n:\n", call.seen.body)

    def test_accepted(self) -> None:
        """Notifications and responses are acknowledged with 202, and nothing."""
        notified = self.client.notify("notifications/initialized").seen
        answered = self.client.post({"jsonrpc": "2.0", "id": 1, "result": {}}).seen

        self.assertEqual([(202, b""), (202, b"")], [(seen.status, seen.body) for seen in (notified, answered)])
        self.assertEqual([Notification("notifications/initialized"), Result(1, value({}))], self.owner.heard[1:])

    def test_typed_ids(self) -> None:
        """1 is not "1"."""
        number, text = self.client.call(1), self.client.call("1")

        self.owner.answer(self.owner.requests[2], {"of": "text"})

        self.assertTrue(number.is_silent)
        self.assertEqual({"jsonrpc": "2.0", "id": "1", "result": {"of": "text"}}, text.seen.json)

    def test_id_in_use(self) -> None:
        """An id cannot be used twice at once; the first request is not disturbed."""
        first = self.client.call(1)

        second = self.client.call(1).seen

        self.assertEqual((400, -32600, 1), (second.status, second.json["error"]["code"], second.json["id"]))
        self.assertTrue(first.is_silent)
        self.owner.answer(self.owner.requests[-1])
        self.assertEqual(200, first.seen.status)

    def test_json_only(self) -> None:
        """A client that reads no streams gets the answer alone; a question meant for it goes elsewhere."""
        call = self.client.post(PING, {"Accept": "application/json"})

        self.owner.say("notifications/progress", {"progress": 1}, 1)
        self.owner.transport.send(Request(5, "roots/list"), 1)
        self.world.clock.advance(30)
        self.owner.answer(self.owner.requests[-1])

        self.assertEqual({"jsonrpc": "2.0", "id": 1, "result": {}}, call.seen.json)
        self.assertEqual(5, self.owner.heard[-1].id)  # type: ignore[union-attr]  # an answer has one

    def test_stream_only(self) -> None:
        """A client that reads nothing but streams gets the answer on one."""
        call = self.client.post(PING, {"Accept": "text/event-stream"})

        self.owner.answer(self.owner.requests[-1])

        self.assertEqual({"jsonrpc": "2.0", "id": 1, "result": {}}, call.seen.data[-1])

    def test_cancelled(self) -> None:
        """A request that the client has cancelled ends without an answer, as an empty stream."""
        call = self.client.call(1)

        self.owner.transport.forget(1)

        self.assertEqual(
            (200, "text/event-stream", b""), (call.seen.status, call.seen.fields["content-type"], call.seen.body)
        )

    def test_owner_fails(self) -> None:
        """If the request cannot be dealt with, the client is told; the next one is heard."""

        def fail(request: Request) -> None:
            raise RuntimeError("a bug")

        self.owner.on_request = fail
        call = self.client.call(1)

        self.assertEqual(-32603, call.seen.json["error"]["code"])
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.owner.on_request = self.owner.answer
        self.assertEqual({}, self.client.call(2).seen.json["result"])

    def test_broken_answer(self) -> None:
        """An answer that is none fails the question that it was meant for."""
        broken = self.client.post({"jsonrpc": "2.0", "id": 4, "result": {}, "error": {}}).seen

        self.assertEqual((400, -32600), (broken.status, broken.json["error"]["code"]))
        heard = self.owner.heard[-1]
        self.assertIsInstance(heard, Error)
        self.assertEqual(4, heard.id)  # type: ignore[union-attr]  # it is one

    def test_too_many(self) -> None:
        """Over the limit of open requests the client is told to wait."""
        world = World(limits=EndpointLimits(requests=2))
        client = world.initialize()
        client.call(1)
        client.call(2)

        refused = client.call(3).seen

        self.assertEqual((429, 3, "1"), (refused.status, refused.json["id"], refused.fields["retry-after"]))


class BatchTests(SynchronousTestCase):
    """Arrays, which 2025-03-26 has."""

    def setUp(self) -> None:
        self.world = World()
        self.client = self.world.initialize("2025-03-26")
        self.owner = self.client.owner

    def test_array(self) -> None:
        """The answers to an array are an array, in the order in which they came."""
        call = self.client.post([{**PING, "id": 1}, {**PING, "id": 2}, {"jsonrpc": "2.0", "method": "x/y"}])
        first, second = self.owner.requests[1:]

        self.owner.answer(second)
        self.assertTrue(call.is_silent)
        self.owner.answer(first)

        self.assertEqual([2, 1], [answer["id"] for answer in call.seen.json])
        self.assertEqual(Notification("x/y"), self.owner.heard[-1])

    def test_stream(self) -> None:
        """With something else among them they are single events."""
        call = self.client.post([{**PING, "id": 1}, {**PING, "id": 2}])
        first, second = self.owner.requests[1:]

        self.owner.answer(second)
        self.owner.say("notifications/progress", {}, 1)
        self.owner.answer(first)

        self.assertEqual([2, None, 1], [data.get("id") for data in call.seen.data])
        self.assertTrue(call.seen.is_complete)

    def test_invalid_elements(self) -> None:
        """An element that is no message has its own error in the array."""
        call = self.client.post([1, {**PING, "id": 2}, {"jsonrpc": "1.0", "id": 3, "method": "x"}])

        self.owner.answer(self.owner.requests[-1])

        self.assertEqual([None, 3, 2], [answer["id"] for answer in call.seen.json])

    def test_cancelled(self) -> None:
        """Those that are cancelled are left out."""
        call = self.client.post([{**PING, "id": 1}, {**PING, "id": 2}])

        self.owner.answer(self.owner.requests[1])
        self.owner.transport.forget(2)

        self.assertEqual([1], [answer["id"] for answer in call.seen.json])

    def test_other_revisions(self) -> None:
        """Other revisions have none."""
        client = self.world.initialize("2025-06-18")

        refused = client.post([PING]).seen

        self.assertEqual((400, -32600), (refused.status, refused.json["error"]["code"]))

    def test_no_requests(self) -> None:
        """An array that wants no answer gets none."""
        self.assertEqual(202, self.client.post([{"jsonrpc": "2.0", "method": "x/y"}]).seen.status)
