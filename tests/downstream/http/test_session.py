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

    def test_asked_within_a_call(self) -> None:
        """A client without a stream of its own can be asked on that of a call; it need not hear all else there."""
        call = self.client.call(1)

        self.owner.transport.send(Request(7, "elicitation/create"))
        self.owner.say("notifications/tools/list_changed")

        self.assertEqual(["elicitation/create"], [data["method"] for data in call.seen.data if data])

    def test_asked_before_a_call(self) -> None:
        """What it was to be asked before is asked in its next call, and what it need not answer goes on waiting."""
        self.owner.say("notifications/tools/list_changed")
        self.owner.transport.send(Request(7, "roots/list"))

        call = self.client.call(1)

        self.assertEqual(["roots/list"], [data["method"] for data in call.seen.data if data])
        self.assertEqual(["tools/call"], [request.method for request in self.owner.requests[1:]])
        self.world.clock.pump([30.0, 0])
        self.assertEqual([], [message for message in self.owner.heard if isinstance(message, Error)])
        stream = self.client.listen()
        self.assertEqual(["notifications/tools/list_changed"], [data["method"] for data in stream.seen.data])

    def test_asked_where_it_reads(self) -> None:
        """Not in a call whose connection is lost, as long as there is another one."""
        lost = self.client.call(1)
        self.owner.say("notifications/progress", {}, 1)
        lost.leave()
        call = self.client.call(2)

        self.owner.transport.send(Request(7, "elicitation/create"))

        self.assertEqual(["elicitation/create"], [data["method"] for data in call.seen.data if data])

    def test_withdrawn_within_a_call(self) -> None:
        """Where it was asked it hears that nobody wants to know any more."""
        call = self.client.call(1)
        self.owner.transport.send(Request(7, "elicitation/create"))

        self.owner.say("notifications/cancelled", {"requestId": 7})

        methods = [data["method"] for data in call.seen.data if data]
        self.assertEqual(["elicitation/create", "notifications/cancelled"], methods)

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
