"""
Tests for L{mcpbridge.downstream.http.endpoint}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.downstream.http.world import HOST, MODERN, TOKEN, World

OPENING = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}}


class DoorTests(SynchronousTestCase):
    """Who comes in."""

    def test_order(self) -> None:
        """Whether a request is meant for us comes before whether the path is there, and that before the token."""
        world = World(with_token=True)
        table = {
            ("/mcp/demo", "evil.example", ""): 403,
            ("/", "evil.example", ""): 403,
            ("/", HOST, ""): 404,
            ("/.well-known/oauth-protected-resource/mcp/demo", HOST, ""): 404,
            ("/mcp/demo", HOST, ""): 401,
            ("/mcp/demo", HOST, "Bearer wrong"): 401,
            ("/mcp/demo", HOST, f"Bearer {TOKEN}"): 405,
        }

        seen = {
            (path, host, token): world.request("GET", path, headers={"Host": host, "Authorization": token}).seen.status
            for path, host, token in table
        }

        self.assertEqual(table, seen)

    def test_paths(self) -> None:
        """The name of a server, percent-encoded, and no URL."""
        world = World()
        table = {
            "/mcp/demo": 405,
            "/mcp/demo/": 405,
            "/mcp/demo?x=y": 405,
            "/mcp/a%20b": 405,
            "/mcp/": 404,
            "/mcp": 404,
            "/mcp/%ff": 404,
            "/mcp/http://evil.example": 404,
            "/mcp/http%3a%2f%2fevil.example": 404,
            "http://evil.example/mcp/demo": 404,
            "*": 404,
        }

        self.assertEqual(table, {path: world.request("GET", path).seen.status for path in table})

    def test_refusals(self) -> None:
        """A refusal is a JSON-RPC error without an id, and says nothing of what is inside."""
        refused = World(with_token=True).request("GET").seen

        self.assertEqual('Bearer realm="mcpbridge"', refused.fields["www-authenticate"])
        self.assertEqual(("application/json", None), (refused.fields["content-type"], refused.json["id"]))

    def test_no_login(self) -> None:
        """A client without the token tries to register itself, and shows its user what it is answered."""
        world = World(with_token=True)

        registered = world.post({"redirect_uris": []}, {"Authorization": ""}, "/register").seen

        expected = "Not found: servers are at /mcp/NAME; there is no login, clients send the http-token"
        self.assertEqual((404, expected), (registered.status, registered.json["error"]["message"]))

    def test_no_cors(self) -> None:
        """Web pages are allowed nothing."""
        preflight = World().request("OPTIONS", headers={"Origin": f"http://{HOST}"}).seen

        self.assertEqual(405, preflight.status)
        self.assertEqual([], [name for name in preflight.fields if name.startswith("access-control")])


class SessionTests(SynchronousTestCase):
    """Whose session it is."""

    def test_other_server(self) -> None:
        """A session of one server is not known at another, which looks the same as one that is not known at all."""
        world = World()
        client = world.initialize()

        elsewhere = world.post({**OPENING, "method": "ping"}, client.headers, "/mcp/other").seen
        unknown = world.post({**OPENING, "method": "ping"}, {"Mcp-Session-Id": "0" * 32}).seen

        self.assertEqual((404, unknown.body), (elsewhere.status, elsewhere.body))
        self.assertEqual(404, world.request("DELETE", "/mcp/other", headers=client.headers).seen.status)
        self.assertEqual({"sessions": 1, "stateless_clients": 0}, world.endpoint.counts())

    def test_ids_are_random(self) -> None:
        """No two are alike."""
        world = World()

        ids = {world.initialize().headers["Mcp-Session-Id"] for _ in range(20)}

        self.assertEqual(20, len(ids))

    def test_stateless_clients_have_none(self) -> None:
        """An id of a session means nothing in the other era."""
        world = World()
        client = world.initialize()

        call = world.modern("x/y", headers=client.headers)
        world.owner.answer(world.owner.requests[0])

        self.assertEqual((200, False), (call.seen.status, "mcp-session-id" in call.seen.fields))
        self.assertEqual(
            405, world.request("GET", headers={**client.headers, "MCP-Protocol-Version": MODERN}).seen.status
        )


class StopTests(SynchronousTestCase):
    """A planned stop."""

    def test_stopping(self) -> None:
        """Nothing new is begun, what is under way is answered."""
        world = World()
        client = world.initialize()
        call = client.call(1)

        world.endpoint.stopping()
        refused = [client.call(2).seen, world.post(OPENING).seen, world.modern("x/y").seen]
        noted = client.notify("x/y").seen
        client.owner.answer(client.owner.requests[1])

        self.assertEqual([(503, 2), (503, 0), (503, 1)], [(each.status, each.json["id"]) for each in refused])
        self.assertEqual((202, 200), (noted.status, call.seen.status))

    def test_closed(self) -> None:
        """All clients are let go, and nothing is left."""
        world = World()
        client = world.initialize()
        stream = client.listen()
        world.modern("x/y")

        world.endpoint.close()

        self.assertTrue(stream.seen.is_complete)
        self.assertEqual({"sessions": 0, "stateless_clients": 0}, world.endpoint.counts())
