"""
Tests for L{mcpbridge.downstream.http.stateless}, through a whole endpoint in memory.
"""

from __future__ import annotations

import json

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.jsonrpc import Error, Notification, Request, Result, value
from mcpbridge.downstream.http.limits import EndpointLimits
from mcpbridge.interfaces import IClientTransport
from tests.downstream.http.world import MODERN, World

TAG = "io.modelcontextprotocol/subscriptionId"


class CallTests(SynchronousTestCase):
    """Requests and answers."""

    def setUp(self) -> None:
        self.world = World()

    def test_answered(self) -> None:
        """The answer is JSON and has the client's id; there is no session."""
        call = self.world.modern("tools/call", {"name": "echo"}, request_id="mine")

        self.world.owner.answer(self.world.owner.requests[0], {"content": []})

        seen = call.seen
        self.assertEqual({"jsonrpc": "2.0", "id": "mine", "result": {"content": []}}, seen.json)
        self.assertEqual((200, False), (seen.status, "mcp-session-id" in seen.fields))
        self.assertTrue(verifyObject(IClientTransport, self.world.owner.transport))

    def test_same_ids(self) -> None:
        """Clients that cannot be told apart and count alike get their own answers."""
        first, second = self.world.modern("x/y", request_id=1), self.world.modern("x/y", request_id=1)
        owner = self.world.owner

        owner.answer(owner.requests[1], {"for": "second"})
        owner.answer(owner.requests[0], {"for": "first"})

        self.assertEqual(
            [(1, "first"), (1, "second")],
            [(each.seen.json["id"], each.seen.json["result"]["for"]) for each in (first, second)],
        )

    def test_clients(self) -> None:
        """Other names, other capabilities and other servers are other clients."""
        info = {"io.modelcontextprotocol/clientInfo": {"name": "a", "version": "1"}}
        capable: dict[str, object] = {"io.modelcontextprotocol/clientCapabilities": {"roots": {}}}

        metas: list[dict[str, object]] = [{}, {**info}, {**capable}, {}, {**info}]
        for meta in metas:
            self.world.modern("x/y", meta=meta)

        self.assertEqual(3, len(self.world.owners))
        self.assertEqual({"sessions": 0, "stateless_clients": 3}, self.world.endpoint.counts())

    def test_errors(self) -> None:
        """Some errors are statuses of HTTP."""
        for code, status in ((-32601, 404), (-32021, 400), (-32602, 200), (-32603, 200)):
            call = self.world.modern("x/y")
            request = self.world.owner.requests[-1]

            self.world.owner.transport.send(Error(request.id, ErrorObject(code, "no")), request.id)

            self.assertEqual(
                (status, code, 1), (call.seen.status, call.seen.json["error"]["code"], call.seen.json["id"])
            )

    def test_stream(self) -> None:
        """Notifications make it a stream, without ids of events, and only for the request that they belong to."""
        call, other = self.world.modern("x/y", request_id=5), self.world.modern("x/y", request_id=5)
        owner = self.world.owner

        owner.say("notifications/progress", {"progressToken": "t", "progress": 1}, owner.requests[0].id)
        owner.say("notifications/message", {"nobody's": 1})
        owner.answer(owner.requests[0])

        self.assertEqual(
            [
                (
                    None,
                    {
                        "jsonrpc": "2.0",
                        "method": "notifications/progress",
                        "params": {"progressToken": "t", "progress": 1},
                    },
                ),
                (None, {"jsonrpc": "2.0", "id": 5, "result": {}}),
            ],
            call.seen.events,
        )
        self.assertEqual((True, True), (call.seen.is_complete, other.is_silent))

    def test_silence(self) -> None:
        """A call that takes long is kept alive by comments."""
        call = self.world.modern("x/y")

        self.world.clock.pump([15.0, 15.0])

        self.assertEqual(("text/event-stream", []), (call.seen.fields["content-type"], call.seen.events))
        self.assertIn(b":\n\n", call.seen.body)

    def test_listen(self) -> None:
        """A subscription stays open and is named by the client's own id."""
        listen = self.world.modern("subscriptions/listen", {"notifications": {}}, request_id="sub")
        owner = self.world.owner
        number = owner.requests[0].id

        owner.say("notifications/subscriptions/acknowledged", {"_meta": {TAG: number}}, number)
        self.world.clock.pump([15.0] * 100)
        owner.say("notifications/tools/list_changed", {"_meta": {TAG: number}}, number)
        owner.answer(owner.requests[0], {"resultType": "complete", "_meta": {TAG: number}})

        acknowledged, changed, ended = listen.seen.data
        self.assertEqual(["sub", "sub"], [data["params"]["_meta"][TAG] for data in (acknowledged, changed)])
        self.assertEqual(("sub", "sub"), (ended["id"], ended["result"]["_meta"][TAG]))
        self.assertTrue(listen.seen.is_complete)

    def test_questions(self) -> None:
        """There are none in this era: who asks is told so."""
        self.world.modern("x/y")
        owner = self.world.owner

        owner.transport.send(Request(3, "roots/list"), owner.requests[0].id)
        owner.transport.send(Request(4, "elicitation/create"))
        self.world.clock.advance(0)

        refused, cancelled = owner.heard[1:]
        assert isinstance(refused, Error)
        self.assertEqual((3, -32603), (refused.id, refused.error.code))
        self.assertEqual(Result(4, value({"action": "cancel"})), cancelled)

    def test_owner_fails(self) -> None:
        """If a request cannot be dealt with, the client is told."""
        self.world.modern("x/y")

        def fail(request: Request) -> None:
            raise RuntimeError("a bug")

        self.world.owner.on_request = fail
        call = self.world.modern("x/y", request_id=2)

        self.assertEqual((2, -32603), (call.seen.json["id"], call.seen.json["error"]["code"]))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))


class EndTests(SynchronousTestCase):
    """Requests and clients that end otherwise."""

    def setUp(self) -> None:
        self.world = World()

    def test_closed(self) -> None:
        """Closing the response cancels the request."""
        call = self.world.modern("x/y")
        owner = self.world.owner

        call.leave()

        cancelled = owner.heard[-1]
        assert isinstance(cancelled, Notification) and cancelled.params is not None
        self.assertEqual("notifications/cancelled", cancelled.method)
        self.assertEqual(owner.requests[0].id, json.loads(bytes(cancelled.params))["requestId"])
        owner.answer(owner.requests[0])
        owner.transport.forget(owner.requests[0].id)

    def test_closed_stream(self) -> None:
        """The same for a stream."""
        call = self.world.modern("x/y")
        owner = self.world.owner
        owner.say("notifications/progress", {}, owner.requests[0].id)

        call.leave()

        self.assertEqual(["x/y", "notifications/cancelled"], [message.method for message in owner.heard])  # type: ignore[union-attr]  # all have one

    def test_closed_while_waiting(self) -> None:
        """A request that was closed before anybody heard it is never heard."""
        self.world.modern("x/y")
        owner = self.world.owner
        owner.transport.pause()
        call = self.world.modern("x/z")
        call.leave()

        owner.transport.resume()
        self.world.clock.advance(0)

        self.assertEqual(["x/y"], [request.method for request in owner.requests])

    def test_notices(self) -> None:
        """Notifications are acknowledged; one that cancels by an id is not believed, for others use that id too."""
        self.world.modern("x/y")
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        statuses = [
            self.world.post({"jsonrpc": "2.0", "method": method, "params": {"requestId": 1, "_meta": meta}}).seen.status
            for method in ("notifications/cancelled", "x/note")
        ]
        statuses.append(
            self.world.post({"jsonrpc": "2.0", "method": "x/other"}, {"MCP-Protocol-Version": MODERN}).seen.status
        )

        self.assertEqual([202, 202, 202], statuses)
        self.assertEqual(["x/y", "x/note"], [message.method for message in self.world.owner.heard])  # type: ignore[union-attr]  # all have one

    def test_idle(self) -> None:
        """A client that asks nothing for long is forgotten, but not while it waits for an answer."""
        self.world.modern("x/y")
        owner = self.world.owner
        self.world.clock.pump([15.0] * 100)
        self.assertEqual([], owner.told)
        owner.answer(owner.requests[0])

        self.world.clock.pump([15.0] * 80)

        self.assertEqual(["disconnected: the client is gone: it has been idle for too long"], owner.told)
        self.assertEqual({"sessions": 0, "stateless_clients": 0}, self.world.endpoint.counts())

    def test_too_many(self) -> None:
        """Over the limits the client is told to wait."""
        world = World(limits=EndpointLimits(requests=1, sessions=1))
        world.modern("x/y")

        requests = world.modern("x/y", request_id=2).seen
        clients = world.modern("x/y", meta={"io.modelcontextprotocol/clientInfo": {"name": "other"}}).seen

        self.assertEqual([(429, 2), (429, 1)], [(each.status, each.json["id"]) for each in (requests, clients)])

    def test_too_many_waiting(self) -> None:
        """So is one whose requests wait for an owner who does not read."""
        world = World(limits=EndpointLimits(waiting=1))
        world.modern("x/y")
        world.owner.transport.pause()

        waiting, refused = world.modern("x/y", request_id=2), world.modern("x/y", request_id=3)

        self.assertEqual((True, 429, 3), (waiting.is_silent, refused.seen.status, refused.seen.json["id"]))

    def test_let_go(self) -> None:
        """What is open when the daemon ends is told so."""
        call = self.world.modern("x/y")

        self.world.endpoint.close()

        self.assertEqual((503, 1), (call.seen.status, call.seen.json["id"]))
        self.assertEqual({"sessions": 0, "stateless_clients": 0}, self.world.endpoint.counts())

    def test_params(self) -> None:
        """Headers that repeat arguments are held against the tool's schema, as soon as that is known."""
        schema = {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
        params = {"name": "t", "arguments": {"region": "eu"}}
        before = self.world.modern("tools/call", params)
        self.world.tools = value({"tools": [{"name": "t", "inputSchema": schema}]})

        without = self.world.modern("tools/call", params)
        other = self.world.modern("tools/call", params, headers={"Mcp-Param-Region": "us"})
        good = self.world.modern("tools/call", params, headers={"Mcp-Param-Region": "eu"})

        self.assertEqual((True, True), (before.is_silent, good.is_silent))
        self.assertEqual([-32020, -32020], [each.seen.json["error"]["code"] for each in (without, other)])

    def test_params_of_garbage(self) -> None:
        """A list of tools that is none declares nothing."""
        self.world.tools = Raw(b'{"tools":"x-mcp-header"}')

        self.assertTrue(self.world.modern("tools/call", {"name": "t"}).is_silent)
