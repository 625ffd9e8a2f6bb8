"""
The reason for existing: state and processes outlive clients, and clients outlive upstreams and daemons.
"""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.integration import processes
from tests.integration.daemon import STOP_DEADLINE, Daemon, child, plain_environment
from tests.integration.living import SOON, LivingTestCase, failed, http
from tests.integration.packages import package
from tests.integration.parity import free_port, serving
from tests.integration.processes import wait_until
from tests.integration.wire import StdioClient


class SessionTests(LivingTestCase):
    """What a server remembers, from one client to the next and between clients at the same time."""

    def test_persistent_child(self) -> None:
        """The next client finds the process of the last one, and what it kept."""
        daemon = self.daemon({"notes": child("child_server")})
        first = self.client(daemon, "notes")
        pid = first.text("pid")
        first.text("keep", name="a", value="kept value")
        first.end()

        second = self.client(daemon, "notes")

        self.assertEqual((pid, "kept value"), (second.text("pid"), second.text("kept", name="a")))

    def test_persistent_http_session(self) -> None:
        """The next client goes on in the HTTP session of the last one."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        first = self.client(daemon, "up")
        first.text("keep", name="a", value="kept value")
        first.end()

        second = self.client(daemon, "up")

        self.assertEqual("kept value", second.text("kept", name="a"))
        self.assertEqual((1, 1), (len(upstream.sessions), upstream.counts["POST initialize"]))

    def test_two_at_once(self) -> None:
        """Two clients at the same time have two processes, and neither sees what the other keeps."""
        daemon = self.daemon({"notes": child("child_server")})
        one, other = self.client(daemon, "notes"), self.client(daemon, "notes")
        one.text("keep", name="a", value="mine")

        seen = other.text("kept", name="a")

        self.assertEqual("nothing", seen)
        self.assertNotEqual(one.text("pid"), other.text("pid"))

    def test_per_client(self) -> None:
        """A server that is so configured starts anew for each client and ends with it."""
        daemon = self.daemon({"notes": {**child("child_server"), "session": "per-client"}})
        first = self.client(daemon, "notes")
        pid = int(first.text("pid"))
        first.end()
        wait_until(lambda: not processes.is_alive(pid), SOON, "the child of the first client ends")

        second = self.client(daemon, "notes")

        self.assertNotEqual(str(pid), second.text("pid"))

    def test_per_client_http(self) -> None:
        """An HTTP session per client is ended by DELETE."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream, session="per-client")})
        first = self.client(daemon, "up")
        first.text("count")
        first.end()
        wait_until(lambda: not upstream.sessions, SOON, "the session is deleted")

        self.assertEqual("1", self.client(daemon, "up").text("count"))
        self.assertEqual(1, upstream.counts["DELETE"])

    def test_shared(self) -> None:
        """A shared server is one for all clients at once."""
        daemon = self.daemon({"notes": {**child("child_server"), "session": "shared"}})
        one, other = self.client(daemon, "notes"), self.client(daemon, "notes")
        one.text("keep", name="a", value="ours")

        self.assertEqual((one.text("pid"), "ours"), (other.text("pid"), other.text("kept", name="a")))

    def test_working_directory(self) -> None:
        """A child without a directory of its own runs where its client runs."""
        daemon = self.daemon({"notes": child("child_server")})
        folder = os.path.join(daemon.folder, "elsewhere")
        os.mkdir(folder)
        client = self.client(daemon, "notes", cwd=folder)

        self.assertEqual(folder, os.readlink(f"/proc/{client.text('pid')}/cwd"))

    def test_no_environment(self) -> None:
        """A child gets neither the client's environment nor the daemon's, but what its configuration gives it."""
        daemon = self.daemon({"notes": child("child_server")}, environment={"SECRET_OF_DAEMON": "1"})
        client = StdioClient(daemon.relay("notes"), {**daemon.environment, "SECRET_OF_CLIENT": "1"})
        self.addCleanup(client.close)
        client.initialize()

        environment = client.text("environment")

        self.assertNotIn("SECRET", environment)
        self.assertIn(next(iter(daemon.mark.values())), environment)

    def test_url(self) -> None:
        """A URL in place of a name needs no configuration."""
        upstream = self.upstream()
        daemon = self.daemon({})

        self.assertEqual("hello", self.client(daemon, upstream.url).text("echo", text="hello"))

    def test_same_ids(self) -> None:
        """Clients count from one, all of them; each gets its own answers, progress and questions."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        clients = [self.client(daemon, "up", ready=False) for _ in range(4)]
        for index, client in enumerate(clients):
            client.on("roots/list", lambda _, index=index: {"result": {"roots": [], "whose": index}})  # type: ignore[misc]  # a default of a lambda
            client.initialize({"roots": {}})
        for index, client in enumerate(clients):
            progress = {"name": "progress", "arguments": {"upto": 10 + index}, "_meta": {"progressToken": 1}}
            client.post("tools/call", progress, "p")
            client.post("tools/call", {"name": "echo", "arguments": {"text": f"for {index}"}}, "e")
            client.post("tools/call", {"name": "ask", "arguments": {"method": "roots/list", "params": {}}}, "a")

        seen = [
            (
                client.answer("e")["result"]["content"][0]["text"],
                f'"whose": {index}' in client.answer("a")["result"]["content"][0]["text"],
                client.answer("p")["id"],
                len([1 for m in client.messages if m.get("method") == "notifications/progress"]),
            )
            for index, client in enumerate(clients)
        ]

        self.assertEqual([(f"for {index}", True, "p", 10 + index) for index in range(4)], seen)


class WarmStartTests(LivingTestCase):
    """What is known is answered without the upstream."""

    def test_no_requests(self) -> None:
        """A start of a client costs the upstream nothing once its server is known and connected."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        first = self.client(daemon, "up")
        known = first.tools()
        first.end()
        time.sleep(0.5)  # what is fetched behind the first client's back is not the second's
        before = upstream.requests

        second = self.client(daemon, "up")
        listed = second.tools()

        self.assertEqual((known, 0), (listed, upstream.requests - before))

    def test_upstream_down(self) -> None:
        """With the upstream down, also across a restart of the daemon, clients start; a call fails with its reason."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        first = self.client(daemon, "up")
        opened = first.request("ping")
        known = first.tools()
        first.end()
        upstream.stop()
        daemon.stop()
        daemon.start()

        client = self.client(daemon, "up", ready=False)
        start = time.monotonic()
        answer = client.initialize()
        listed = client.tools()
        took = time.monotonic() - start
        error = failed(client.call("echo", text="x"))

        self.assertEqual(("upstream", known, {}), (answer["serverInfo"]["name"], listed, opened["result"]))
        self.assertLess(took, 5.0)
        self.assertIn("up", error)

    def test_comes_back(self) -> None:
        """When the upstream is back, the same client's calls work, and changed lists are announced."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        first = self.client(daemon, "up")
        first.tools()
        first.end()
        upstream.stop()
        client = self.client(daemon, "up")
        client.tools()
        upstream.tools.append({"name": "new", "inputSchema": {"type": "object"}})
        upstream.start()

        def works() -> bool:
            return "result" in client.call("echo", text="x")

        wait_until(works, 30.0, "a call works again")
        client.wait_for(
            lambda m: m.get("method") == "notifications/tools/list_changed", SOON, "the lists are announced"
        )
        self.assertIn("new", client.tools())

    def test_snapshot_off(self) -> None:
        """A server may be configured to be asked each time."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream, snapshot=False)})
        first = self.client(daemon, "up")
        first.tools()
        first.end()
        before = upstream.counts["POST tools/list"]

        self.client(daemon, "up").tools()

        self.assertEqual(before + 1, upstream.counts["POST tools/list"])


class UpstreamRestartTests(LivingTestCase):
    """Sessions that are lost under a client are repaired there."""

    def test_session_forgotten(self) -> None:
        """A 404 for the session: the call is answered in a new one, and ran once."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up")
        client.text("echo", text="before")
        upstream.sessions.clear()

        text = client.text("echo", text="after", key="k")

        self.assertEqual(("after", ["k"], 2), (text, upstream.ledger, upstream.counts["POST initialize"]))

    def test_many_in_flight(self) -> None:
        """A forgotten session with many calls under way: one new session, each call once, each with its own answer."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up")
        client.text("echo", text="before")
        upstream.sessions.clear()
        ids = [
            client.post("tools/call", {"name": "echo", "arguments": {"text": f"t{n}", "key": f"k{n}"}})
            for n in range(20)
        ]

        texts = [client.answer(each)["result"]["content"][0]["text"] for each in ids]

        self.assertEqual([f"t{n}" for n in range(20)], texts)
        self.assertEqual(sorted(f"k{n}" for n in range(20)), sorted(upstream.ledger))
        self.assertEqual(2, upstream.counts["POST initialize"])

    def test_restart(self) -> None:
        """The upstream is restarted while a client is connected and idle: the next call works."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up")
        client.text("echo", text="before")
        upstream.stop()
        upstream.start()

        self.assertEqual("after", client.text("echo", text="after"))

    def test_restart_in_flight(self) -> None:
        """A call that was running when the upstream went down gets one error and is not run again."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up")
        call = client.post("tools/call", {"name": "slow", "arguments": {"seconds": 30, "key": "k"}})
        wait_until(lambda: upstream.ledger, SOON, "the call runs")
        upstream.stop()
        upstream.start()

        error = failed(client.answer(call))
        after = client.text("echo", text="after")

        self.assertEqual((["k"], "after", 1), (upstream.ledger, after, len(client.answers(call))))
        self.assertIn("up", error)

    def test_child_crash(self) -> None:
        """A child that dies in a call: one error for the call; the next call has a new child."""
        daemon = self.daemon({"notes": child("child_server")})
        client = self.client(daemon, "notes")
        pid = client.text("pid")

        error = failed(client.call("crash"))

        self.assertIn("notes", error)
        self.assertNotEqual(pid, client.text("pid"))

    def test_child_that_dies(self) -> None:
        """A child that never comes up: an error that quotes what it said, and a daemon that does not spin."""
        daemon = self.daemon({"broken": {**child("child_server", "dies"), "initializeTimeout": 3000}})
        client = self.client(daemon, "broken", ready=False)
        burnt = processes.cpu_nanoseconds(daemon.pid)

        answer = client.request(
            "initialize",
            {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
            35,
        )
        time.sleep(1)

        self.assertIn("broken", failed(answer))
        self.assertIn("no licence", failed(answer) + daemon.log())
        self.assertLess((processes.cpu_nanoseconds(daemon.pid) - burnt) / 1e9, 1.0)


class RealRestartTests(LivingTestCase):
    """Real servers are restarted under a connected client: its next call works, as if nothing had happened."""

    def restart(self, kind: str, path: str, command: list[str], arguments: dict[str, Any]) -> None:
        """Call, restart the server, call again."""
        port = free_port()
        given = {**plain_environment("/"), "PORT": str(port)}
        daemon = self.daemon({"real": {"type": kind, "url": f"http://127.0.0.1:{port}{path}"}})
        client = self.client(daemon, "real", ready=False)
        texts: list[str] = []
        for _ in range(2):
            with serving([*command, str(port)], given, port):
                if not texts:
                    client.initialize()
                texts.append(client.text("echo", **arguments))

        self.assertEqual(texts[:1] * 2, texts)
        self.assertIn("hello", texts[0])

    def test_everything_http(self) -> None:
        """The reference server over Streamable HTTP, which answers 400 for a session that it does not know."""
        script = package("@modelcontextprotocol/server-everything", "dist", "index.js")
        self.restart("http", "/mcp", ["node", script, "streamableHttp"], {"message": "hello"})

    def test_everything_sse(self) -> None:
        """The reference server over HTTP+SSE, where the session is the stream."""
        script = package("@modelcontextprotocol/server-everything", "dist", "index.js")
        self.restart("sse", "/sse", ["node", script, "sse"], {"message": "hello"})

    def test_sdk_http(self) -> None:
        """The Python SDK's server over Streamable HTTP, which answers 404."""
        self.restart("http", "/mcp", [sys.executable, "-m", "tests.integration.sdk_server", "http"], {"text": "hello"})

    def test_sdk_sse(self) -> None:
        """The Python SDK's server over HTTP+SSE."""
        self.restart("sse", "/sse", [sys.executable, "-m", "tests.integration.sdk_server", "sse"], {"text": "hello"})


class DaemonDeathTests(LivingTestCase):
    """The daemon goes away; clients stay."""

    def test_killed_idle(self) -> None:
        """A daemon killed between calls: the client's next call works and the handshake is not asked for again."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up")
        client.text("echo", text="before")
        daemon.kill()

        self.assertEqual("after", client.text("echo", text="after"))
        self.assertNotEqual(None, daemon.running())
        self.assertEqual([], client.noise)

    def test_killed_in_flight(self) -> None:
        """A daemon killed during calls: each gets one error at once, none runs twice, the client goes on."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        clients = [self.client(daemon, "up") for _ in range(3)]
        keys = []
        calls = []
        for index, client in enumerate(clients):
            for number in range(4):
                keys.append(f"{index}.{number}")
                slow = {"name": "slow", "arguments": {"seconds": 3, "key": keys[-1]}}
                calls.append((client, client.post("tools/call", slow, f"call {number}")))
        wait_until(lambda: len(upstream.ledger) == len(keys), SOON, "all calls run")
        daemon.kill()

        errors = [failed(client.answer(call)) for client, call in calls]
        after = [client.text("echo", text="after") for client in clients]
        time.sleep(0.5)

        self.assertEqual(["after"] * 3, after)
        self.assertEqual(sorted(keys), sorted(upstream.ledger))
        self.assertEqual([1] * len(calls), [len(client.answers(call)) for client, call in calls])
        self.assertEqual(len(keys), len(errors))

    def test_killed_in_flight_child(self) -> None:
        """The same with a server that is a child: the old one ends, and no call runs in the new one again."""
        folder = self.mktemp()
        os.makedirs(folder)
        ledger = os.path.abspath(os.path.join(folder, "ledger"))
        daemon = self.daemon({"notes": child("child_server", f"ledger={ledger}")})
        client = self.client(daemon, "notes")
        pid = int(client.text("pid"))
        call = client.post("tools/call", {"name": "slow", "arguments": {"seconds": 2, "key": "once"}})
        wait_until(lambda: os.path.exists(ledger), SOON, "the call runs")
        daemon.kill()

        failed(client.answer(call))
        wait_until(lambda: not processes.is_alive(pid), SOON, "the old child ends")

        self.assertNotEqual(str(pid), client.text("pid"))
        with open(ledger, encoding="utf-8") as file:
            self.assertEqual("once\n", file.read())

    def test_killed_again_and_again(self) -> None:
        """Five deaths in a row under a client that calls on: every call has exactly one answer, none runs twice."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up")
        posted: list[Any] = []
        for death in range(5):
            for number in range(6):
                key = f"{death}.{number}"
                posted.append(client.post("tools/call", {"name": "echo", "arguments": {"text": key, "key": key}}))
                if number == 2:
                    victim = daemon.running()
                    if victim is not None:
                        os.kill(victim, signal.SIGKILL)
        for each in posted:
            client.answer(each)
        time.sleep(0.3)

        self.assertEqual([1] * len(posted), [len(client.answers(each)) for each in posted])
        self.assertEqual(sorted(set(upstream.ledger)), sorted(upstream.ledger))
        self.assertEqual("after", client.text("echo", text="after"))

    def test_cut_line(self) -> None:
        """Half a request was written when the daemon died: the other half makes it whole at the next one."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up")
        call = {"name": "echo", "arguments": {"text": "whole"}}
        line = json.dumps({"jsonrpc": "2.0", "id": "cut", "method": "tools/call", "params": call}).encode() + b"\n"
        client.write(line[:50])
        time.sleep(0.2)
        daemon.kill()
        client.write(line[50:])

        self.assertEqual("whole", client.answer("cut")["result"]["content"][0]["text"])

    def test_planned_stop_drains(self) -> None:
        """SIGTERM: what is under way is answered before the daemon goes."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up")
        call = client.post("tools/call", {"name": "slow", "arguments": {"seconds": 1, "key": "k"}})
        wait_until(lambda: upstream.ledger, SOON, "the call runs")

        status = daemon.stop()

        self.assertIn(status, (0, -signal.SIGTERM))
        self.assertIn("result", client.answer(call))
        self.assertEqual((["k"], 1), (upstream.ledger, len(client.answers(call))))

    def test_told_twice(self) -> None:
        """A second SIGTERM, as of an impatient operator, does not disturb a stop that is under way."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        client = self.client(daemon, "up")
        call = client.post("tools/call", {"name": "slow", "arguments": {"seconds": 1, "key": "k"}})
        wait_until(lambda: upstream.ledger, SOON, "the call runs")
        os.kill(daemon.pid, signal.SIGTERM)
        time.sleep(0.3)

        daemon.stop()

        self.assertIn("result", client.answer(call))
        self.assertNotIn("Traceback", daemon.log())

    def test_planned_restart(self) -> None:
        """A restart by the operator: the client's next call works at the new daemon."""
        daemon = self.daemon({"notes": child("child_server")})
        client = self.client(daemon, "notes")
        pid = int(client.text("pid"))

        daemon.stop()
        gone = not processes.is_alive(pid)
        daemon.start()

        self.assertEqual((True, "after"), (gone, client.text("echo", text="after")))

    def test_sessions_ended(self) -> None:
        """A planned stop ends HTTP sessions upstream."""
        upstream = self.upstream()
        daemon = self.daemon({"up": http(upstream)})
        self.client(daemon, "up").text("count")

        daemon.stop()

        self.assertEqual(({}, 1), (upstream.sessions, upstream.counts["DELETE"]))


class ProcessTests(LivingTestCase):
    """No process is left behind."""

    def test_stubborn_children(self) -> None:
        """Children that ignore everything but SIGKILL, and their own children, are gone after a stop."""
        daemon = self.daemon({"notes": child("child_server", "stubborn", "grandchild")})
        client = self.client(daemon, "notes")
        pid = int(client.text("pid"))
        family = [pid, *processes.descendants(pid)]
        client.end()

        daemon.stop()

        self.assertEqual(2, len(family))
        self.assertEqual([], [each for each in family if processes.is_alive(each)])

    def test_killed_daemon(self) -> None:
        """Children that a killed daemon left behind are gone when the next one serves."""
        daemon = self.daemon({"notes": child("child_server", "stubborn", "grandchild")})
        client = self.client(daemon, "notes")
        pid = int(client.text("pid"))
        family = [pid, *processes.descendants(pid)]
        client.end()
        daemon.kill()
        daemon.start()

        wait_until(lambda: not any(map(processes.is_alive, family)), SOON, f"{family} end")
        self.assertEqual(2, len(family))

    def test_crashed_childs_family(self) -> None:
        """When a child dies, what it started dies too."""
        daemon = self.daemon({"notes": child("child_server", "grandchild")})
        client = self.client(daemon, "notes")
        family = processes.descendants(int(client.text("pid")))
        failed(client.call("crash"))

        wait_until(lambda: not any(map(processes.is_alive, family)), SOON, f"{family} end")
        self.assertEqual(1, len(family))

    def test_relay_ends(self) -> None:
        """A relay ends with its client's stdin, and at once and silently by signals."""
        daemon = self.daemon({"notes": child("child_server")})
        ends = []
        for number in (None, signal.SIGINT, signal.SIGTERM):
            client = self.client(daemon, "notes")
            start = time.monotonic()
            client.end(number)
            ends.append((time.monotonic() - start < 1.0, client.complaints, client.noise))

        self.assertEqual([(True, [], [])] * 3, ends)

    def test_unknown_server(self) -> None:
        """A name that nobody configured: one line that says so on stderr, exit status 1, nothing on stdout."""
        daemon = self.daemon({"notes": child("child_server")})

        done = subprocess.run(
            daemon.relay("nots"), env=daemon.environment, input=b"", capture_output=True, timeout=20, cwd=daemon.folder
        )

        self.assertEqual((1, b"", 1), (done.returncode, done.stdout, done.stderr.count(b"\n")))
        self.assertIn(b"notes", done.stderr)

    def test_standalone(self) -> None:
        """The bridge in one process, without a daemon."""
        upstream = self.upstream()
        daemon = Daemon({"up": http(upstream)})
        self.addCleanup(daemon.discard)
        client = self.client(daemon, "up", "--standalone")

        self.assertEqual(("alone", None), (client.text("echo", text="alone"), daemon.running()))
        client.end(seconds=STOP_DEADLINE)
        self.assertEqual([], daemon.left())


class CrowdTests(LivingTestCase):
    """Many relays at once."""

    def test_one_daemon(self) -> None:
        """Twenty relays start at once where no daemon runs: exactly one daemon, all are served."""
        daemon = Daemon({"notes": child("child_server")})
        self.addCleanup(daemon.discard)
        with ThreadPoolExecutor(20) as pool:
            clients = list(pool.map(lambda _: self.client(daemon, "notes"), range(20)))
            pids = set(pool.map(lambda client: client.text("pid"), clients))
        daemons = [
            each
            for each in daemon.left()
            if str(each) not in pids and each not in {client.process.pid for client in clients}
        ]

        self.assertEqual((20, [daemon.running()]), (len(pids), daemons))
        for client in clients:
            client.end()
        running = daemon.running()
        assert running is not None
        os.kill(running, signal.SIGTERM)
        wait_until(lambda: not daemon.left(), STOP_DEADLINE, "daemon and children end")

    def test_two_hundred(self) -> None:
        """Two hundred relays at once, each with its own session and its own answers."""
        upstream = self.upstream(tools=40)
        daemon = self.daemon({"up": http(upstream)})
        with ThreadPoolExecutor(16) as pool:
            clients = list(pool.map(lambda _: self.client(daemon, "up"), range(200)))
            counted = list(pool.map(lambda client: client.text("count"), clients))
            texts = list(pool.map(lambda pair: pair[1].text("echo", text=f"for {pair[0]}"), enumerate(clients)))

        self.assertEqual((["1"] * 200, 200), (counted, len(upstream.sessions)))
        self.assertEqual([f"for {index}" for index in range(200)], texts)
        for client in clients:
            client.process.terminate()
        wait_until(lambda: daemon.ask("status")["clients"] == 0, SOON, "the daemon has let go of all")

    def test_no_start(self) -> None:
        """A relay that may not start a daemon says that there is none."""
        daemon = Daemon({"notes": child("child_server")})
        self.addCleanup(daemon.discard)

        done = subprocess.run(
            daemon.relay("notes", "--no-start"), env=daemon.environment, input=b"", capture_output=True, timeout=20
        )

        self.assertEqual((1, b"", 1), (done.returncode, done.stdout, done.stderr.count(b"\n")))
        self.assertEqual([], daemon.left())


class ReloadTests(LivingTestCase):
    """SIGHUP."""

    def test_only_what_changed(self) -> None:
        """Servers that did not change keep their processes; changed ones are replaced under their clients."""
        kept, changed = child("child_server"), child("child_server")
        daemon = self.daemon({"kept": kept, "changed": changed, "removed": child("child_server")})
        clients = {name: self.client(daemon, name) for name in ("kept", "changed", "removed")}
        before = {name: client.text("pid") for name, client in clients.items()}
        daemon.configure({"kept": kept, "changed": child("child_server", "noise"), "added": child("child_server")})
        daemon.reload()
        wait_until(lambda: not processes.is_alive(int(before["removed"])), SOON, "the removed server's child ends")

        after = {name: clients[name].text("pid") for name in ("kept", "changed")}

        self.assertEqual(before["kept"], after["kept"])
        self.assertNotEqual(before["changed"], after["changed"])
        self.assertIn("removed", failed(clients["removed"].call("pid")))
        self.assertTrue(self.client(daemon, "added").text("pid"))

    def test_call_in_flight_elsewhere(self) -> None:
        """A reload does not disturb a call at a server that did not change."""
        upstream = self.upstream()
        port = free_port()
        daemon = self.daemon({"up": http(upstream), "other": {"url": f"http://127.0.0.1:{port}/mcp"}})
        client = self.client(daemon, "up")
        call = client.post("tools/call", {"name": "slow", "arguments": {"seconds": 1, "key": "k"}})
        wait_until(lambda: upstream.ledger, SOON, "the call runs")
        daemon.configure({"up": http(upstream)})
        daemon.reload()

        self.assertIn("result", client.answer(call))
        self.assertEqual(1, upstream.counts["POST initialize"])

    def test_broken_configuration(self) -> None:
        """A configuration that cannot be read changes nothing and is complained about."""
        daemon = self.daemon({"notes": child("child_server")})
        client = self.client(daemon, "notes")
        pid = client.text("pid")
        daemon.configure({"notes": {"comand": sys.executable}})
        daemon.reload()
        wait_until(lambda: "comand" in daemon.log(), SOON, "the log names the mistake")

        self.assertEqual(pid, client.text("pid"))
