"""
Tests for L{mcpbridge.downstream.http.session}, through a whole endpoint in memory.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.jsonrpc import Error, Notification, Request, Result, value
from mcpbridge.downstream.http.limits import EndpointLimits
from mcpbridge.interfaces import IClientTransport
from tests.downstream.http.world import World

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


class OpeningTests(SynchronousTestCase):
    """How a session begins."""

    def test_opened(self) -> None:
        """The answer to initialize comes as JSON, with an id that nobody can guess."""
        world = World()

        client = world.initialize()

        session_id = client.headers["Mcp-Session-Id"]
        self.assertEqual(32, len(session_id))
        self.assertEqual({"sessions": 1, "stateless_clients": 0}, world.endpoint.counts())
        self.assertTrue(verifyObject(IClientTransport, client.owner.transport))

    def test_refused(self) -> None:
        """A session that cannot be opened has no id and leaves nothing behind."""
        world = World()
        opening = world.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}})

        world.owner.transport.send(Error(0, ErrorObject(-32603, "no")), 0)
        world.clock.advance(0)

        self.assertEqual(200, opening.seen.status)
        self.assertNotIn("mcp-session-id", opening.seen.fields)
        self.assertEqual(["disconnected: the client is gone: the session could not be opened"], world.owner.told)
        self.assertEqual({"sessions": 0, "stateless_clients": 0}, world.endpoint.counts())

    def test_not_waited_for(self) -> None:
        """A client that leaves before it has its id has no session."""
        world = World()
        opening = world.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}})

        opening.leave()

        self.assertEqual({"sessions": 0, "stateless_clients": 0}, world.endpoint.counts())
        self.assertEqual(1, len(world.owner.told))

    def test_connected_later(self) -> None:
        """What comes before anybody is there to hear it waits."""
        world = World()
        world.connects = False
        world.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}})
        owner = world.owner
        self.assertEqual([], owner.heard)

        owner.transport.connect(owner)
        world.clock.advance(0)

        self.assertEqual(["initialize"], [request.method for request in owner.requests])

    def test_again(self) -> None:
        """An initialize in a session goes to that session; with an id that is not known it opens a new one."""
        world = World()
        client = world.initialize()
        again = {"jsonrpc": "2.0", "id": 9, "method": "initialize", "params": {}}

        client.post(again)
        world.post(again, {"Mcp-Session-Id": "0" * 32})

        self.assertEqual(2, len(world.owners))
        self.assertEqual([0, 9], [request.id for request in client.owner.requests])

    def test_unknown_server(self) -> None:
        """There is no session with a server that is not there."""
        world = World()

        refused = world.post({"jsonrpc": "2.0", "id": 3, "method": "initialize"}, path="/mcp/nowhere").seen

        self.assertEqual((404, 3), (refused.status, refused.json["id"]))
        self.assertIn("there is no server 'nowhere'", refused.json["error"]["message"])


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


class StreamTests(SynchronousTestCase):
    """The stream for what belongs to no request."""

    def setUp(self) -> None:
        self.world = World()
        self.client = self.world.initialize()
        self.owner = self.client.owner

    def test_opens_at_once(self) -> None:
        """The client learns at once that it is open."""
        stream = self.client.listen()

        self.assertEqual((200, "text/event-stream"), (stream.seen.status, stream.seen.fields["content-type"]))
        self.assertFalse(stream.seen.is_complete)

    def test_told(self) -> None:
        """It gets what belongs to no request, and nothing else."""
        stream = self.client.listen()
        call = self.client.call(1)

        self.owner.say("notifications/tools/list_changed")
        self.owner.say("notifications/progress", {}, 1)

        self.assertEqual(["notifications/tools/list_changed"], [data["method"] for data in stream.seen.data])
        self.assertEqual(["notifications/progress"], [data["method"] for data in call.seen.data if data])

    def test_one_of_several(self) -> None:
        """A message goes to one stream, the newest."""
        first, second = self.client.listen(), self.client.listen()

        self.owner.say("notifications/tools/list_changed")

        self.assertEqual(([], 1), (first.seen.data, len(second.seen.data)))

    def test_backlog(self) -> None:
        """What is said while no stream is open waits for one."""
        self.owner.say("notifications/tools/list_changed")
        self.owner.say("notifications/tools/list_changed")
        self.owner.transport.send(Request(1, "roots/list"))

        stream = self.client.listen()

        self.assertEqual(
            ["notifications/tools/list_changed", "roots/list"], [data["method"] for data in stream.seen.data]
        )

    def test_never_asked(self) -> None:
        """A question that nobody could be asked is answered after a while."""
        self.owner.transport.send(Request(1, "roots/list"))
        self.owner.transport.send(Request(2, "elicitation/create"))

        self.world.clock.pump([30.0, 0])

        roots, choice = self.owner.heard[-2:]
        assert isinstance(roots, Error)
        self.assertEqual((1, -32603), (roots.id, roots.error.code))
        self.assertEqual(Result(2, value({"action": "cancel"})), choice)

    def test_too_many_streams(self) -> None:
        """The oldest stream gives way."""
        world = World(limits=EndpointLimits(streams=2))
        client = world.initialize()

        streams = [client.listen() for _ in range(3)]

        self.assertEqual([True, False, False], [stream.seen.is_complete for stream in streams])

    def test_not_acceptable(self) -> None:
        """A GET is answered with a stream or not at all."""
        refused = self.world.request("GET", headers={**self.client.headers, "Accept": "application/json"}).seen

        self.assertEqual(406, refused.status)


class ResumptionTests(SynchronousTestCase):
    """Clients that lose the connection."""

    def setUp(self) -> None:
        self.world = World()
        self.client = self.world.initialize()
        self.owner = self.client.owner

    def test_request(self) -> None:
        """A lost connection cancels nothing; what came meanwhile is had by its last event's id."""
        call = self.client.call(1)
        self.owner.say("notifications/progress", {"progress": 1}, 1)
        call.leave()
        self.owner.say("notifications/progress", {"progress": 2}, 1)

        resumed = self.client.listen("r1-1")
        self.owner.answer(self.owner.requests[-1])

        self.assertEqual(["tools/call"], [request.method for request in self.owner.requests[1:]])
        self.assertEqual(
            [("r1-2", 2), ("r1-3", None)],
            [(event_id, data.get("params", {}).get("progress")) for event_id, data in resumed.seen.events],
        )
        self.assertTrue(resumed.seen.is_complete)

    def test_answered_meanwhile(self) -> None:
        """The answer that came meanwhile is not lost either."""
        call = self.client.call(1)
        self.owner.say("notifications/progress", {}, 1)
        call.leave()
        self.owner.answer(self.owner.requests[-1], {"content": []})

        resumed = self.client.listen("r1-0")

        self.assertEqual([{"content": []}], [data["result"] for data in resumed.seen.data if "result" in data])
        self.assertTrue(resumed.seen.is_complete)

    def test_too_large_to_keep(self) -> None:
        """Of an answer that is too large to be kept the client learns that it was there."""
        call = self.client.call(1)
        self.owner.say("notifications/progress", {}, 1)
        call.leave()
        self.owner.answer(self.owner.requests[-1], {"content": "x" * 1024 * 1024})

        resumed = self.client.listen("r1-1")

        error = resumed.seen.data[0]["error"]
        self.assertEqual("upstream_lost_outcome_unknown", error["data"]["mcpbridge"]["reason"])

    def test_taken_over(self) -> None:
        """A client that resumes a stream that we think it still reads knows better."""
        call = self.client.call(1)
        self.owner.say("notifications/progress", {}, 1)

        resumed = self.client.listen("r1-1")
        self.owner.answer(self.owner.requests[-1])

        self.assertEqual((True, 2), (call.seen.is_complete, len(call.seen.events)))
        self.assertEqual([1], [data["id"] for data in resumed.seen.data])

    def test_standing_stream(self) -> None:
        """A stream of no request goes on under the name that it had."""
        stream = self.client.listen()
        self.owner.say("notifications/message", {"n": 1})
        self.owner.say("notifications/message", {"n": 2})
        stream.leave()
        self.owner.say("notifications/message", {"n": 3})

        resumed = self.client.listen("s1-1")

        self.assertEqual(
            [("s1-2", 2), ("s1-3", 3)], [(event_id, data["params"]["n"]) for event_id, data in resumed.seen.events]
        )

    def test_unknown(self) -> None:
        """An event that nothing is kept of cannot be resumed from; the session is not gone with it."""
        statuses = [self.client.listen(event_id).seen.status for event_id in ("r9-0", "s1-0", "1", "x" * 200)]

        self.assertEqual([400] * 4, statuses)

    def test_given_up(self) -> None:
        """Who does not come back has its requests cancelled."""
        call = self.client.call(1)
        self.owner.say("notifications/progress", {}, 1)
        call.leave()

        self.world.clock.pump([299.0, 1.0])

        cancelled = self.owner.heard[-1]
        assert isinstance(cancelled, Notification) and cancelled.params is not None
        self.assertEqual("notifications/cancelled", cancelled.method)
        self.assertEqual(1, json.loads(bytes(cancelled.params))["requestId"])
        self.assertEqual(400, self.client.listen("r1-0").seen.status)

    def test_cancelled_while_away(self) -> None:
        """A request that was cancelled is not resumed, or its client would wait for ever."""
        call = self.client.call(1)
        self.owner.say("notifications/progress", {}, 1)
        call.leave()
        self.owner.transport.forget(1)

        self.assertEqual(400, self.client.listen("r1-0").seen.status)


class EndTests(SynchronousTestCase):
    """How a session ends."""

    def setUp(self) -> None:
        self.world = World()
        self.client = self.world.initialize()
        self.owner = self.client.owner

    def gone(self) -> tuple[int, dict[str, int]]:
        return self.client.call(99).seen.status, dict(self.world.endpoint.counts())

    def test_delete(self) -> None:
        """By a DELETE; everything that is open ends with it, requests without an answer and without an error."""
        stream, call = self.client.listen(), self.client.call(1)

        ended = self.client.end()

        self.assertEqual(200, ended.seen.status)
        self.assertEqual((True, True), (stream.seen.is_complete, call.seen.is_complete))
        self.assertEqual((200, b""), (call.seen.status, call.seen.body))
        self.assertEqual(["disconnected: the client is gone: it has ended its session"], self.owner.told)
        self.assertEqual((404, {"sessions": 0, "stateless_clients": 0}), self.gone())
        self.assertEqual([], [call for call in self.world.clock.getDelayedCalls() if call.getTime() > 200])

    def test_idle(self) -> None:
        """By doing nothing for ten minutes."""
        self.client.notify("notifications/initialized")
        self.world.clock.pump([15.0] * 39)
        self.assertEqual([], self.owner.told)

        self.world.clock.pump([15.0] * 2)

        self.assertEqual((404, {"sessions": 0, "stateless_clients": 0}), self.gone())

    def test_never_used(self) -> None:
        """A session in which nothing was said after initialize ends soon: its client may never have read the answer."""
        self.world.clock.pump([15.0] * 5)

        self.assertEqual({"sessions": 0, "stateless_clients": 0}, self.world.endpoint.counts())

    def test_not_idle(self) -> None:
        """A stream or a request that is open keeps it."""
        stream = self.client.listen()
        self.world.clock.pump([15.0] * 41)
        self.client.call(1)
        stream.leave()
        self.world.clock.pump([15.0] * 41)

        self.assertEqual({"sessions": 1, "stateless_clients": 0}, self.world.endpoint.counts())

    def test_let_go(self) -> None:
        """By the daemon, which needs not to be told."""
        call = self.client.call(1)

        self.successResultOf(self.owner.transport.disconnect())

        self.assertEqual([], self.owner.told)
        self.assertEqual(404, call.seen.status)
        self.assertEqual((404, {"sessions": 0, "stateless_clients": 0}), self.gone())

    def test_full(self) -> None:
        """Where there is no room, who has been idle for longest gives way, but nobody who is not."""
        world = World(limits=EndpointLimits(sessions=2))
        first, second = world.initialize(), world.initialize()
        for client in (first, second):
            client.notify("notifications/initialized")
        opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}}

        self.assertEqual(429, world.post(opening).seen.status)
        world.clock.advance(60)
        second.notify("notifications/initialized")
        third = world.initialize()

        self.assertEqual([404, 202, 202], [client.notify("x/y").seen.status for client in (first, second, third)])


class FlowTests(SynchronousTestCase):
    """Who is slow, on either side."""

    def test_paused(self) -> None:
        """What comes while nobody reads waits, in order, up to a limit."""
        world = World(limits=EndpointLimits(waiting=2))
        client = world.initialize()
        client.owner.transport.pause()

        first, second, third = client.call(1), client.notify("x/y"), client.call(3)
        self.assertEqual((True, True, 429), (first.is_silent, second.is_silent, third.seen.status))
        client.owner.transport.resume()
        world.clock.advance(0)

        self.assertEqual([1], [request.id for request in client.owner.requests[1:]])
        self.assertEqual(Notification("x/y"), client.owner.heard[-1])
        self.assertEqual(202, second.seen.status)

    def test_too_many_waiting(self) -> None:
        """A request that cannot even wait is refused, and its id is free again."""
        world = World(limits=EndpointLimits(waiting=1))
        client = world.initialize()
        client.owner.transport.pause()
        client.notify("x/y")

        refused = client.call(1).seen
        client.owner.transport.resume()
        world.clock.advance(0)
        again = client.call(1)

        self.assertEqual((429, True), (refused.status, again.is_silent))

    def test_slow_reader(self) -> None:
        """A client that reads slowly is told of, and when it has caught up."""
        world = World()
        client = world.initialize()
        stream = client.listen()
        assert stream.wire.producer is not None

        stream.wire.producer.pauseProducing()
        client.owner.say("notifications/message", {"n": 1})
        client.owner.say("notifications/message", {"n": 2})
        world.clock.advance(0)
        told = list(client.owner.told)
        stream.wire.producer.resumeProducing()
        world.clock.advance(0)

        self.assertEqual(["congested"], told)
        self.assertEqual(["congested", "relieved"], client.owner.told)
        self.assertEqual([1, 2], [data["params"]["n"] for data in stream.seen.data])

    def test_never_reads(self) -> None:
        """A client that does not read at all is cut off, and may resume."""
        world = World()
        client = world.initialize()
        stream = client.listen()
        assert stream.wire.producer is not None
        stream.wire.producer.pauseProducing()
        client.owner.say("notifications/message", {"n": 1})

        world.clock.pump([60.0, 0, 0])

        self.assertTrue(stream.wire.closed)
        self.assertEqual(["congested", "relieved"], client.owner.told)
        self.assertEqual([1], [data["params"]["n"] for data in client.listen("s1-0").seen.data])

    def test_large_answer_behind_a_queue(self) -> None:
        """The answer is never what does not fit."""
        world = World(limits=EndpointLimits(queue=2000))
        client = world.initialize()
        call = client.call(1)
        client.owner.say("notifications/progress", {"n": 0}, 1)
        assert call.wire.producer is not None
        call.wire.producer.pauseProducing()
        client.owner.say("notifications/progress", {"n": "x" * 1000}, 1)

        client.owner.answer(client.owner.requests[-1], {"text": "y" * 5000})
        call.wire.producer.resumeProducing()

        self.assertEqual("y" * 5000, call.seen.data[-1]["result"]["text"])
        self.assertTrue(call.seen.is_complete)
