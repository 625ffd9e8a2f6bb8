"""
Bad input from both sides, through the real daemon: it lives, nobody else notices, the one concerned gets a clear error.
"""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from typing import Any

from tests.integration import processes
from tests.integration.daemon import Daemon, child
from tests.integration.faults import FAULTS, RECOVERABLE, REFUSALS
from tests.integration.living import LivingTestCase, failed, http
from tests.integration.processes import TookTooLong, wait_until
from tests.integration.upstream import Upstream
from tests.integration.wire import Message, StdioClient

QUICK = 6.0
"""Seconds within which a fault has to be told: a second by rights, and the machine may be busy."""

FAIR = 1.0
"""Seconds that a call may take beside a flood: a few hundredths by rights, and the machine may be busy."""

_MIB = 2**20

GROWTH = 96 * _MIB
"""How much larger than before the daemon may be after a great deal of rubbish: its limit for one message is 64 MiB."""


class Bystander:
    """
    A well-behaved client of a well-behaved server, beside the trouble.

    @ivar slowest: seconds that its slowest call took.
    """

    def __init__(self, client: StdioClient) -> None:
        self._client = client
        self._count = 0
        self.slowest = 0.0

    def call(self) -> None:
        """One call; it has to have its own answer."""
        self._count += 1
        start = time.monotonic()
        text = self._client.text("echo", text=f"bystander {self._count}")
        self.slowest = max(self.slowest, time.monotonic() - start)
        assert text == f"bystander {self._count}", text


class UpstreamFaultTests(LivingTestCase):
    """A server that answers rubbish."""

    timeout = 150

    def ordeal(self, fault: str, upstream: Upstream, client: StdioClient, bystander: Bystander) -> dict[str, Any]:
        """What comes of a call that meets a fault, and whether anything else suffers."""
        start = time.monotonic()
        call = client.post(
            "tools/call", {"name": "fault", "arguments": {"kind": fault, "key": fault}}, f"fault {fault}"
        )
        bystander.call()
        try:
            answer = client.answer(call, QUICK)
        except TookTooLong:
            return {"answer": "none"}
        took = time.monotonic() - start
        return {
            "answer": "result" if "result" in answer else "error",
            "quick": took < QUICK,
            "named": "result" in answer or "bad" in answer["error"]["message"],
            "ran": upstream.ledger.count(fault),
        }

    def test_every_fault(self) -> None:
        """Each fault: one answer, soon, the call ran once, the next call works, and others notice nothing."""
        bad, good = self.upstream(), self.upstream()
        daemon = self.daemon({"bad": http(bad), "good": http(good)})
        client, bystander = self.client(daemon, "bad"), Bystander(self.client(daemon, "good"))
        before = processes.resident(daemon.pid)
        seen, usable = {}, {}

        for fault in FAULTS:
            seen[fault] = self.ordeal(fault, bad, client, bystander)
            usable[fault] = client.call("echo", text=fault).get("result", {}).get("content", [{}])[0].get("text")
        grown = processes.resident(daemon.pid) - before

        self.maxDiff = None
        expected = {
            fault: {
                "answer": "result" if fault in RECOVERABLE else "error",
                "quick": True,
                "named": True,
                "ran": 0 if fault in REFUSALS else 1,
            }
            for fault in FAULTS
        }
        self.assertEqual(expected, seen)
        self.assertEqual({fault: fault for fault in FAULTS}, usable)
        self.assertEqual(dict.fromkeys(FAULTS, 1), {fault: len(client.answers(f"fault {fault}")) for fault in FAULTS})
        self.assertLess(grown, GROWTH)
        self.assertLess(bystander.slowest, QUICK)

    def test_silence(self) -> None:
        """A call that is never answered ends at its configured deadline, and the server is told."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream, timeout=1000)})
        client = self.client(daemon, "up")
        start = time.monotonic()

        error = failed(client.call("slow", seconds=60, key="k"))
        took = time.monotonic() - start

        self.assertTrue(0.9 < took < QUICK, took)
        self.assertIn("up", error)
        wait_until(lambda: upstream.cancelled, QUICK, "the server is told")

    def test_no_server_there(self) -> None:
        """Something that is no MCP server at all: an error that says which server and why."""
        upstream = self.upstream()
        url = upstream.url.replace("/mcp", "/nothing")
        upstream.revision = "1999-01-01"
        daemon = self.daemon({"odd": {"type": "http", "url": url, "initializeTimeout": 3000}})
        client = self.client(daemon, "odd", ready=False)

        answer = client.request(
            "initialize",
            {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
        )

        self.assertIn("odd", failed(answer))

    def test_connections_cut(self) -> None:
        """All connections are reset while nothing is under way: nobody notices."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up")
        texts = []
        for index in range(5):
            texts.append(client.text("echo", text=str(index)))
            upstream.cut()

        self.assertEqual(([str(index) for index in range(5)], 1), (texts, upstream.counts["POST initialize"]))

    def test_unasked_messages(self) -> None:
        """Notifications on the server's own stream reach the client, all of them and in order."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up")
        client.text("echo", text="x")
        wait_until(lambda: any(s.stream for s in upstream.sessions.values()), QUICK, "the stream is open")
        for index in range(300):
            upstream.tell_all("notifications/message", {"level": "info", "data": index})
        client.wait_for(lambda m: (m.get("params") or {}).get("data") == 299, QUICK, "the last notification")

        data = [m["params"]["data"] for m in client.messages if m.get("method") == "notifications/message"]

        self.assertEqual(list(range(300)), data)


class ChildFaultTests(LivingTestCase):
    """A child that prints rubbish."""

    def test_rubbish(self) -> None:
        """Noise, garbage, a line of 100 MB, a flood on stderr: skipped, and the daemon stays small."""
        daemon = self.daemon({"bad": child("child_server", "noise"), "good": child("child_server")})
        client, bystander = self.client(daemon, "bad"), Bystander(self.client(daemon, "good"))
        before = processes.resident(daemon.pid)

        texts = []
        for tool, given in (("garbage", {}), ("complain", {"times": 50_000}), ("huge", {}), ("echo", {"text": "here"})):
            texts.append(client.text(tool, **given))
            bystander.call()
        grown = processes.resident(daemon.pid) - before

        self.assertEqual(["done", "done", "done", "here"], texts)
        self.assertLess(grown, GROWTH)
        self.assertNotIn("\x1b", daemon.log())

    def test_silence(self) -> None:
        """A child that never answers: the call ends at its configured deadline."""
        daemon = self.daemon({"mute": {**child("child_server"), "timeout": 1000}})
        client = self.client(daemon, "mute")

        self.assertIn("mute", failed(client.call("silence", within=QUICK)))
        self.assertEqual("here", client.text("echo", text="here"))

    def test_ends_at_once(self) -> None:
        """A child that ends as soon as it is started, twice in a row: its exit status and its last words, at once."""
        script = "import sys; print('set FOO_KEY', file=sys.stderr); sys.exit(3)"
        daemon = self.daemon({"sick": {"command": sys.executable, "args": ["-c", script]}})
        client = self.client(daemon, "sick", ready=False)
        begun = time.monotonic()

        answer = client.request(
            "initialize",
            {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
        )

        # By rights 0.3 s. Servers that may come back are waited for twice as long as this.
        self.assertLess(time.monotonic() - begun, 4.0)
        self.assertIn("sick", failed(answer))
        self.assertIn("exited with status 3; its last words: set FOO_KEY", failed(answer))

    def test_no_such_command(self) -> None:
        """A command that does not exist is named."""
        daemon = self.daemon({"gone": {"command": "/no/such/command", "initializeTimeout": 3000}})
        client = self.client(daemon, "gone", ready=False)

        answer = client.request(
            "initialize",
            {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
        )

        self.assertIn("gone", failed(answer))
        self.assertIn("/no/such/command", failed(answer))


def _deep(levels: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":"deep","method":"ping","params":' + b'{"x":' * levels + b"1" + b"}" * levels + b"}\n"


def _request(**members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **members}).encode() + b"\n"


RUBBISH: dict[str, bytes] = {
    "broken JSON": b'{"jsonrpc": "2.0", "id": 5, "method": \n',
    "not JSON": b"hello there\n",
    "blank lines": b"\n\r\n   \n\n",
    "NUL bytes": b"\x00" * 100 + b"\n",
    "invalid UTF-8": b'{"jsonrpc":"2.0","id":"u","method":"ping","params":{"x":"\xff\xfe"}}\n',
    "a string": b'"just a string"\n',
    "a number": b"17\n",
    "null": b"null\n",
    "an empty object": b"{}\n",
    "an empty batch": b"[]\n",
    "a batch": b'[{"jsonrpc":"2.0","id":"b1","method":"ping"},{"jsonrpc":"2.0","id":"b2","method":"ping"}]\n',
    "another version": b'{"jsonrpc":"1.0","id":"v","method":"ping"}\n',
    "method is a number": _request(id="m", method=5),
    "params are a string": _request(id="p", method="tools/call", params="x"),
    "params are missing": _request(id="pm", method="tools/call"),
    "id is an object": _request(id={"x": 1}, method="ping"),
    "id is true": _request(id=True, method="ping"),
    "id is null": _request(id=None, method="ping"),
    "id is a fraction": _request(id=1.5, method="ping"),
    "id is long": _request(id="i" * 100_000, method="ping"),
    "id is huge": b'{"jsonrpc":"2.0","id":' + b"9" * 4000 + b',"method":"ping"}\n',
    "method is long": _request(id="ml", method="m" * 1_000_000),
    "deep nesting": _deep(100_000),
    "an answer to nobody": _request(id="nobody", result={}),
    "an error for nobody": _request(id="nobody", error={"code": 1, "message": "x"}),
    "result and error": _request(id="both", result={}, error={"code": 1, "message": "x"}),
    "progress for nobody": _request(method="notifications/progress", params={"progressToken": "x", "progress": 1}),
    "cancelled for nobody": _request(method="notifications/cancelled", params={"requestId": "x"}),
    "cancelled without params": _request(method="notifications/cancelled"),
    "initialize again": _request(id="again", method="initialize", params={"protocolVersion": "2025-11-25"}),
    "wrong level": _request(id="wl", method="logging/setLevel", params={"level": 5}),
    "many notifications": _request(method="notifications/own", params={"x": "y" * 100}) * 5_000,
    # Fewer than may be open at once: on a busy machine none may be answered before the last is there.
    "many pings": b"".join(_request(id=f"ping {n}", method="ping") for n in range(1_000)),
    "many broken lines": b"{\n" * 20_000,
}


class ClientFaultTests(LivingTestCase):
    """A client that sends rubbish."""

    timeout = 150

    def test_every_kind(self) -> None:
        """After each kind of rubbish the same connection works on, and nobody else notices."""
        upstream, good = self.upstream(), self.upstream()
        daemon = self.daemon({"up": http(upstream), "good": http(good)})
        bystander = Bystander(self.client(daemon, "good"))
        before = processes.resident(daemon.pid)
        works = {}

        client = self.client(daemon, "up")
        for kind, data in RUBBISH.items():
            client.write(data)
            bystander.call()
            works[kind] = client.call("echo", text=kind).get("result", {}).get("content", [{}])[0].get("text")

        self.assertEqual({kind: kind for kind in RUBBISH}, works)
        self.assertLess(processes.resident(daemon.pid) - before, GROWTH)
        self.assertEqual([], client.noise)
        for name in ("m", "p", "pm", "v", "deep", "u", "ml", "b1", "b2"):  # 2025-11-25 has no batches
            self.assertEqual((name, 1), (name, len(client.answers(name))))
            self.assertIn("error", client.answers(name)[0])
        self.assertEqual(1_000, sum(len(client.answers(f"ping {n}")) for n in range(1_000)))
        self.assertEqual([], client.answers("nobody"))

    def test_line_of_100_megabytes(self) -> None:
        """A line beyond every limit: one error, with its id, in bounded memory; the next line works."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up")
        before = processes.resident(daemon.pid)

        client.write(b'{"jsonrpc":"2.0","id":"big","method":"tools/call","params":{"name":"echo","arguments":{"text":"')
        for _ in range(100):
            client.write(b"x" * _MIB)
        client.write(b'"}}}\n')
        error = client.answer("big")
        text = client.text("echo", text="next")

        self.assertIn("error", error)
        self.assertEqual("next", text)
        self.assertLess(processes.resident(daemon.pid) - before, GROWTH)

    def test_flood_of_lines(self) -> None:
        """A client that writes tiny broken lines as fast as it can does not hold up the others."""
        good = self.upstream()
        daemon = self.daemon({"good": http(good)})
        bystander, client = Bystander(self.client(daemon, "good")), self.client(daemon, "good")
        bystander.call()
        flood = threading.Thread(target=client.write, args=(b"{\n" * 200_000,))

        flood.start()
        while flood.is_alive():
            bystander.call()
        bystander.call()
        last = client.call("echo", text="last")

        self.assertIn("result", last)
        self.assertLess(bystander.slowest, FAIR)

    def test_first_words(self) -> None:
        """Requests before initialize are refused or answered, and initialize then works."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up", ready=False)
        client.write(b"garbage\n" + _request(id="early", method="tools/list"))
        early = client.answer("early")
        start = time.monotonic()
        discover = client.request("server/discover", {"_meta": {}})

        self.assertLess(time.monotonic() - start, QUICK)
        self.assertTrue("error" in discover or "result" in discover)
        self.assertTrue("error" in early or "result" in early)
        self.assertEqual("upstream", client.initialize()["serverInfo"]["name"])

    def test_duplicate_id(self) -> None:
        """The same id twice at once: the second is refused and the first is not disturbed."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up")
        slow = {"name": "slow", "arguments": {"seconds": 1, "key": "first"}}
        client.post("tools/call", slow, 77)
        wait_until(lambda: upstream.ledger, QUICK, "the call runs")
        client.post("tools/call", {**slow, "arguments": {"seconds": 0, "key": "second"}}, 77)
        client.wait_for(lambda m: m.get("id") == 77 and "result" in m, QUICK, "the first answer")

        self.assertEqual(["error", "result"], ["error" if "error" in m else "result" for m in client.answers(77)])
        self.assertEqual(["first"], upstream.ledger)

    def test_ids_keep_their_type(self) -> None:
        """1, "1" and 1000000000000000000000 at the same time: each its own answer, with its own id."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up")
        ids: list[Any] = [1001, "1001", 10**21, -5, "", "é\u2028"]
        for each in ids:
            client.post("tools/call", {"name": "echo", "arguments": {"text": repr(each)}}, each)

        texts = [client.answer(each)["result"]["content"][0]["text"] for each in ids]

        self.assertEqual([repr(each) for each in ids], texts)

    def test_deaf_client(self) -> None:
        """A client that does not read while its server floods it: others notice nothing, memory stays bounded."""
        upstream, good = self.upstream(), self.upstream()
        daemon = self.daemon({"up": http(upstream), "good": http(good)})
        bystander = Bystander(self.client(daemon, "good"))
        client = self.client(daemon, "up")
        before = processes.resident(daemon.pid)
        deaf = self.deaf_client(daemon)
        for index in range(20):
            deaf.write(
                _request(id=index, method="tools/call", params={"name": "large", "arguments": {"size": 8 * _MIB}})
            )
        for _ in range(20):
            bystander.call()
            time.sleep(0.05)

        # No more than was asked for, and what is being worked on.
        self.assertLess(processes.resident(daemon.pid) - before, 224 * _MIB)
        self.assertLess(bystander.slowest, QUICK)
        self.assertEqual("fine", client.text("echo", text="fine"))

    def deaf_client(self, daemon: Daemon) -> "DeafClient":
        """A client that has initialized and then stops reading."""
        deaf = DeafClient(daemon)
        self.addCleanup(deaf.close)
        return deaf

    def test_half_closed(self) -> None:
        """A client that closes its stdin after its last request still gets its answers; then the relay ends."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up")
        call = client.post("tools/call", {"name": "slow", "arguments": {"seconds": 1, "key": "k"}})
        assert client.process.stdin is not None
        client.process.stdin.close()

        self.assertIn("result", client.answer(call))
        self.assertEqual(0, client.process.wait(QUICK))

    def test_socket_abuse(self) -> None:
        """Rubbish on the daemon's own socket: it hangs up, and serves on."""
        daemon = self.daemon({"notes": child("child_server")})
        for data in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x00" * 100_000,
            b"MCPBRIDGE/1 zz zz zz\n",
            b"MCPBRIDGE/1\n",
            b"CONTROL/1 nonsense\n",
        ):
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(QUICK)
                line.connect(daemon.socket)
                # Hung up on while still talking: also an answer.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    line.sendall(data)
                    while line.recv(65536):
                        pass

        self.assertTrue(self.client(daemon, "notes").text("pid"))


class DeafClient:
    """A relay whose stdout nobody reads after the handshake."""

    def __init__(self, daemon: Daemon) -> None:
        self.process = subprocess.Popen(
            daemon.relay("up"),
            env=daemon.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        handshake: Message = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "deaf", "version": "1"},
        }
        self.write(_request(id="init", method="initialize", params=handshake))
        self.process.stdout.readline()
        self.write(_request(method="notifications/initialized"))

    def write(self, data: bytes) -> None:
        """Send bytes."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
