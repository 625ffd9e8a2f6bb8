"""
The local HTTP endpoint of a real daemon: used by the official Python SDK, and by bare sockets that say what no SDK
would.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Iterator
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.integration import processes
from tests.integration.daemon import Daemon, child, plain_environment
from tests.integration.packages import package
from tests.integration.parity import (
    NAME,
    SESSION,
    Parity,
    essence,
    every_feature,
    free_port,
    neutral,
    saw,
    serving,
)
from tests.integration.sdk_scenarios import SESSION_ERA, TABLES

MiB = 1024 * 1024

#: Seconds that a response on loopback may take on a busy machine.
DEADLINE = 20.0


def endpoint(port: int, **more: str) -> dict[str, str]:
    """The daemon's environment that opens the endpoint."""
    return {"MCPBRIDGE_HTTP": f"127.0.0.1:{port}", **more}


#: Scenarios in the words of the session era: methods that the other one has not, requests without its C{_meta}, and
#: changes that nobody has subscribed to.
OF_SESSIONS = frozenset(
    (
        "elicitation_url_required",
        "growth",
        "initialize",
        "logging",
        "logging_level",
        "own_method",
        "own_method_wrong",
        "ping",
        "roots_changed",
        "session_resource",
        "subscription",
        "task",
        "unknown_method",
        "unknown_notification",
    )
)


class _ThroughEndpoint(Parity):
    """The same features, by HTTP on both sides of the daemon: as a client of either era has them."""

    kind = "http"

    def _travel(self) -> dict[str, Any]:
        port, local = free_port(), free_port()
        command, given = self.command(port), self.environment(port)
        with contextlib.ExitStack() as stack:
            url = f"http://127.0.0.1:{port}{self.path}"
            stack.enter_context(serving(command, {**plain_environment("/"), **given}, port))
            configured = {"type": "http", "url": url}
            stack.enter_context(Daemon({NAME: configured}, environment=endpoint(local, MCPBRIDGE_HTTP_AUTH="none")))
            direct = {"kind": "http", "url": url}
            bridge = {"kind": "http", "url": f"http://127.0.0.1:{local}/mcp/{NAME}"}
            everything = list(TABLES[self.table])
            return {
                **self._journey({"direct": direct, "bridge": bridge}, everything),
                **self._journey(
                    {"direct auto": {**direct, "mode": "auto"}, "auto": {**bridge, "mode": "auto"}},
                    [name for name in everything if name not in OF_SESSIONS | SESSION_ERA],
                ),
            }

    def _journey(self, ways: dict[str, Any], only: list[str]) -> dict[str, Any]:
        return saw(SESSION, {"table": self.table, "ways": ways, "only": only})

    def check(self, scenario: str) -> None:
        """The outcome through the bridge is the direct one, in both eras, and there was one."""
        seen = self.results()
        for asked, answered in (("direct", "bridge"), ("direct auto", "auto")):
            if answered == "auto" and scenario in OF_SESSIONS | SESSION_ERA:
                continue
            direct, bridge = (seen[way].get(scenario, seen[way].get("connection")) for way in (asked, answered))
            self.assertNotIn("no end in sight", str(direct), "it does not work directly either")
            if answered == "auto":
                # The bridge may serve in the stateless era what is of the session era directly.
                direct, bridge = essence(neutral(direct)), essence(neutral(bridge))
            self.assertEqual(direct, bridge)


@every_feature
class SDKTests(_ThroughEndpoint):
    """A server made with the official Python SDK."""

    table = "sdk"

    def command(self, port: int) -> list[str]:
        return [sys.executable, "-m", "tests.integration.sdk_server", "http", str(port)]


@every_feature
class EverythingTests(_ThroughEndpoint):
    """The official reference server."""

    table = "everything"

    def command(self, port: int) -> list[str]:
        return ["node", package("@modelcontextprotocol/server-everything", "dist", "index.js"), "streamableHttp"]


class Wire:
    """One connection, with bare hands."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self._rest = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def write(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, method: str, path: str, body: bytes = b"", **fields: str) -> None:
        """Send a request; underscores in the names of fields are hyphens."""
        named = {"Host": f"127.0.0.1:{self.port}", "Accept": "application/json, text/event-stream"}
        if body:
            named |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        named |= {name.replace("_", "-"): text for name, text in fields.items()}
        head = "".join(f"{name}: {text}\r\n" for name, text in named.items())
        self.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)

    def read(self) -> tuple[int, dict[str, str], bytes]:
        """The next response: status, fields, body; of a stream what has come with its head."""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): text for name, text in (line.split(": ", 1) for line in lines)}
        length = int(fields.get("content-length", "0"))
        while len(self._rest) < length:
            self._more()
        body, self._rest = self._rest[:length], self._rest[length:]
        return int(first.split()[1]), fields, body

    def until(self, wanted: bytes) -> bytes:
        """Read until this has come."""
        while wanted not in self._rest:
            self._more()
        return self._rest

    def is_closed(self) -> bool:
        """Whether the other side closes, within the deadline."""
        with contextlib.suppress(ConnectionResetError):
            while self.socket.recv(65536):
                pass
        return True

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise AssertionError(f"the connection was closed after {self._rest[-300:]!r}")
        self._rest += data


def initialize(version: str = "2025-11-25", request_id: int = 0) -> bytes:
    """An initialize request."""
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "wire", "version": "1"}}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": "initialize", "params": params}).encode()


def call(tool: str, request_id: int = 1, **arguments: object) -> bytes:
    """A tools/call request."""
    params = {"name": tool, "arguments": arguments}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}).encode()


class _EndpointTestCase(SynchronousTestCase):
    """One daemon for each test, with the built-in server of the tests as a child."""

    environment: ClassVar[dict[str, str]] = {"MCPBRIDGE_HTTP_AUTH": "none"}

    @contextlib.contextmanager
    def daemon(self, **more: str) -> Iterator[Daemon]:
        self.port = free_port()
        servers = {NAME: child("child_server")}
        with Daemon(servers, environment=endpoint(self.port, **{**self.environment, **more})) as daemon:
            yield daemon

    def wire(self) -> Wire:
        wire = Wire(self.port)
        self.addCleanup(wire.socket.close)
        return wire

    def ask(self, body: bytes, path: str = f"/mcp/{NAME}", **fields: str) -> tuple[int, dict[str, str], bytes]:
        wire = self.wire()
        wire.send("POST", path, body, **fields)
        return wire.read()

    def open(self) -> str:
        """Open a session: its id."""
        status, fields, body = self.ask(initialize())
        self.assertEqual(200, status, body)
        return fields["mcp-session-id"]


class TokenTests(_EndpointTestCase):
    """Who may come in."""

    environment: ClassVar[dict[str, str]] = {}

    def test_token(self) -> None:
        """By default only who shows the token, which stands in a file that only the user can read; and lasts."""
        with self.daemon() as daemon:
            path = os.path.join(daemon.folder, "state", "http-token")
            with open(path, encoding="ascii") as file:
                token = file.read().strip()
            statuses = [
                self.ask(initialize())[0],
                self.ask(initialize(), Authorization="Bearer wrong")[0],
                self.ask(initialize(), Authorization=f"Bearer {token}")[0],
            ]
            daemon.stop()
            daemon.start()
            statuses.append(self.ask(initialize(), Authorization=f"Bearer {token}")[0])
            mode = stat.S_IMODE(os.stat(path).st_mode)
            logged = token in daemon.log()

        self.assertEqual(([401, 401, 200, 200], 0o600, False), (statuses, mode, logged))

    def test_large_body_of_a_stranger(self) -> None:
        """A stranger is told so when the head is there, and the body is not kept."""
        with self.daemon() as daemon:
            before = processes.resident(daemon.pid)
            wire = self.wire()
            wire.send("POST", f"/mcp/{NAME}", Content_Length=str(100 * MiB), Content_Type="application/json")
            status, fields, _ = wire.read()
            with contextlib.suppress(OSError):
                for _ in range(100):
                    wire.write(b"x" * MiB)
            closed = wire.is_closed()
            grown = processes.resident(daemon.pid) - before

        self.assertEqual((401, "close", True), (status, fields["connection"], closed))
        self.assertLess(grown, 8 * MiB)


class StartTests(_EndpointTestCase):
    """Whether there is an endpoint."""

    def test_port_in_use(self) -> None:
        """A port that somebody else has is a clear error, and no daemon."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with self.assertRaises(AssertionError) as raised, Daemon({}, environment=endpoint(port)):
                pass

        self.assertIn(
            f"cannot listen at port {port} of 127.0.0.1: another program, perhaps another mcpbridge",
            str(raised.exception),
        )

    def test_open_to_the_world(self) -> None:
        """Without a token it is for this machine only."""
        environment = {"MCPBRIDGE_HTTP": "0.0.0.0:0", "MCPBRIDGE_HTTP_AUTH": "none"}
        with self.assertRaises(AssertionError) as raised, Daemon({}, environment=environment):
            pass

        self.assertIn("leave out --http-auth none", str(raised.exception))

    def test_off(self) -> None:
        """Nobody who does not ask for it has one."""
        with Daemon({NAME: child("child_server")}) as daemon:
            self.assertIsNone(daemon.ask("status")["http"])


class BadInputTests(_EndpointTestCase):
    """What no SDK would send; after all of it the next client is served."""

    def test_requests(self) -> None:
        """Each gets the status that says what is wrong."""
        post = f"POST /mcp/{NAME} HTTP/1.1\r\n"
        with self.daemon():
            host = f"Host: 127.0.0.1:{self.port}\r\n"
            json_type = "Content-Type: application/json\r\n"
            table = {
                "no HTTP": ("\x00\xff garbage\r\n\r\n", 400),
                "no host": ("GET /mcp/server HTTP/1.1\r\n\r\n", 400),
                "two hosts": (f"GET /mcp/server HTTP/1.1\r\n{host}{host}\r\n", 400),
                "foreign host": ("GET /mcp/server HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
                "foreign origin": (f"{post}{host}Origin: http://evil.example\r\nContent-Length: 0\r\n\r\n", 403),
                "null origin": (f"{post}{host}Origin: null\r\nContent-Length: 0\r\n\r\n", 403),
                "elsewhere": (f"GET / HTTP/1.1\r\n{host}\r\n", 404),
                "absolute target": (f"GET http://evil.example/mcp/server HTTP/1.1\r\n{host}\r\n", 404),
                "a URL as name": (f"GET /mcp/http%3A%2F%2Fevil.example HTTP/1.1\r\n{host}\r\n", 404),
                "other method": (f"PUT /mcp/server HTTP/1.1\r\n{host}Content-Length: 0\r\n\r\n", 405),
                "preflight": (f"OPTIONS /mcp/server HTTP/1.1\r\n{host}\r\n", 405),
                "bare GET": (f"GET /mcp/server HTTP/1.1\r\n{host}\r\n", 405),
                "form": (f"{post}{host}Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}", 415),
                "no type": (f"{post}{host}Content-Length: 2\r\n\r\n{{}}", 415),
                "HTML wanted": (f"{post}{host}{json_type}Accept: text/html\r\nContent-Length: 2\r\n\r\n{{}}", 406),
                "no JSON": (f"{post}{host}{json_type}Content-Length: 3\r\n\r\n{{]}}", 400),
                "bad UTF-8": (f'{post}{host}{json_type}Content-Length: 4\r\n\r\n"\xff\xff"', 400),
                "too long": (f"{post}{host}{json_type}Content-Length: 99999999\r\n\r\n", 413),
                "bad chunk": (f"{post}{host}{json_type}Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
                "two lengths": (f"{post}{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
                "smuggling": (f"{post}{host}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
                "long line": (f"GET /{'x' * 70000} HTTP/1.1\r\n{host}\r\n", 400),
                "many fields": ("GET / HTTP/1.1\r\n" + host + "X: y\r\n" * 300 + "\r\n", 400),
            }
            seen = {}
            for name, (request, _) in table.items():
                wire = self.wire()
                wire.write(request.encode("latin-1"))
                seen[name] = wire.read()[0]
            unknown, _, body = self.ask(initialize(), path="/mcp/other")
            session = self.open()

        self.assertEqual({name: status for name, (_, status) in table.items()}, seen)
        self.assertEqual((404, 0), (unknown, json.loads(body)["id"]))
        self.assertEqual(32, len(session))

    def test_endless_body(self) -> None:
        """A body without a length is counted while it comes."""
        with self.daemon() as daemon:
            before = processes.resident(daemon.pid)
            wire = self.wire()
            wire.send("POST", f"/mcp/{NAME}", Transfer_Encoding="chunked", Content_Type="application/json")
            with contextlib.suppress(OSError):
                for _ in range(64):
                    wire.write(b"100000\r\n" + b"x" * MiB + b"\r\n")
            status = wire.read()[0]
            grown = processes.resident(daemon.pid) - before

        self.assertEqual(413, status)
        self.assertLess(grown, 48 * MiB)

    def test_slow_head(self) -> None:
        """A head that drips is cut off, however steadily it does."""
        with self.daemon():
            wire = self.wire()
            wire.write(b"GET /mcp/server HTTP/1.1\r\nX: ")
            started = time.monotonic()
            with contextlib.suppress(OSError):
                while time.monotonic() - started < DEADLINE:
                    wire.write(b"y")
                    wire.socket.settimeout(0.5)
                    with contextlib.suppress(TimeoutError):
                        if not wire.socket.recv(1):
                            break
            took = time.monotonic() - started

        self.assertLess(took, DEADLINE - 1)

    def test_deep_and_large(self) -> None:
        """Messages at the limits are answered, with their own ids."""
        with self.daemon():
            session = self.open()
            deep = b'{"jsonrpc":"2.0","id":5,"method":"x","params":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
            status, _, body = self.ask(deep, Mcp_Session_Id=session)
            large = call("echo", 6, text="x" * (15 * MiB))
            answered, _, answer = self.ask(large, Mcp_Session_Id=session)

        self.assertEqual((400, 5), (status, json.loads(body)["id"]))
        self.assertEqual((200, 6), (answered, json.loads(answer)["id"]))


class SessionTests(_EndpointTestCase):
    """Sessions over real sockets."""

    def test_streams_and_resumption(self) -> None:
        """A GET stream opens at once; a session that was ended is not known."""
        with self.daemon() as daemon:
            session = self.open()
            stream = self.wire()
            stream.send("GET", f"/mcp/{NAME}", Mcp_Session_Id=session)
            status, fields, _ = stream.read()
            counts = daemon.ask("status")["http"]
            ending = self.wire()
            ending.send("DELETE", f"/mcp/{NAME}", Mcp_Session_Id=session)
            ended = ending.read()[0]
            closed = stream.is_closed() if b"0\r\n\r\n" not in stream.until(b"0\r\n\r\n") else True
            gone = self.ask(call("echo", text="x"), Mcp_Session_Id=session)[0]

        self.assertEqual(
            (200, "text/event-stream", 200, True, 404), (status, fields["content-type"], ended, closed, gone)
        )
        self.assertEqual(1, counts["sessions"])

    def test_others_session(self) -> None:
        """The id of a session is good for its server alone."""
        with self.daemon():
            session = self.open()
            status = self.ask(call("echo", text="x"), path="/mcp/other", Mcp_Session_Id=session)[0]

        self.assertEqual(404, status)

    def test_keep_alive(self) -> None:
        """Several requests on one connection, also sent at once."""
        with self.daemon():
            session = self.open()
            wire = self.wire()
            for number in range(1, 4):
                wire.send("POST", f"/mcp/{NAME}", call("echo", number, text=f"t{number}"), Mcp_Session_Id=session)
            answers = [json.loads(wire.read()[2])["id"] for _ in range(3)]

        self.assertEqual([1, 2, 3], answers)

    def test_stop(self) -> None:
        """A planned stop with open streams and sessions ends in time, and the port is free at once."""
        with self.daemon() as daemon:
            session = self.open()
            stream = self.wire()
            stream.send("GET", f"/mcp/{NAME}", Mcp_Session_Id=session)
            stream.read()
            started = time.monotonic()
            status = daemon.stop(signal.SIGTERM)
            took = time.monotonic() - started
            daemon.start()
            again = self.open()

        # twistd ends by the signal that it was sent.
        self.assertEqual((-signal.SIGTERM, 32), (status, len(again)))
        self.assertLess(took, 8.0)


class StatelessTests(_EndpointTestCase):
    """The stateless era over real sockets."""

    def modern(
        self, method: str, params: dict[str, object] | None = None, **fields: str
    ) -> tuple[bytes, dict[str, str]]:
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**(params or {}), "_meta": meta}}
        return json.dumps(message).encode(), {"MCP_Protocol_Version": "2026-07-28", "Mcp_Method": method, **fields}

    def test_calls(self) -> None:
        """Requests need no session, and each error has its status."""
        with self.daemon():
            found, fields = self.modern("server/discover")
            discovered = self.ask(found, **fields)
            found, fields = self.modern("tools/call", {"name": "echo", "arguments": {"text": "hi"}}, Mcp_Name="echo")
            called = self.ask(found, **fields)
            found, fields = self.modern("ping")
            removed = self.ask(found, **fields)
            found, fields = self.modern("tools/list")
            mismatched = self.ask(found, **{**fields, "Mcp_Method": "tools/call"})

        self.assertIn("2026-07-28", json.loads(discovered[2])["result"]["supportedVersions"])
        self.assertEqual("hi", json.loads(called[2])["result"]["content"][0]["text"])
        self.assertEqual([200, 200, 404, 400], [each[0] for each in (discovered, called, removed, mismatched)])
        self.assertNotIn("mcp-session-id", discovered[1])

    def test_closed(self) -> None:
        """Closing the response cancels the request, and the daemon is done with it."""
        with self.daemon() as daemon:
            found, fields = self.modern("tools/call", {"name": "silence", "arguments": {}}, Mcp_Name="silence")
            wire = self.wire()
            wire.send("POST", f"/mcp/{NAME}", found, **fields)
            processes.wait_until(lambda: open_requests(daemon) == 1, DEADLINE, "the request is open")
            wire.socket.close()
            processes.wait_until(lambda: open_requests(daemon) == 0, DEADLINE, "the request is not open any more")


def open_requests(daemon: Daemon) -> int:
    """How many requests are open with the server of the tests."""
    links = daemon.ask("status")["upstreams"][NAME]["links"]
    return sum(link["open_requests"] for link in links)
