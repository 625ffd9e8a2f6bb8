"""
Clients of each era at servers of each era over HTTP, through relay and daemon: the official Python SDK at both ends.
"""

import json
import os
import subprocess
import sys
from typing import Any

from tests.integration import eras_peer
from tests.integration.daemon import Daemon, plain_environment
from tests.integration.living import LivingTestCase
from tests.integration.packages import ROOT

TOOLS = ["echo", "where", "flood", "hang", "hung", "change", "wrong"]
SEEN = {"echo": "h\u00e9llo", "many": True, "unknown": [True, "Unknown tool: nothing"], "change": "told"}
PROGRESS = [0.0, 1.0, 2.0, 3.0, 4.0]
HEADERS = "mcp-name=where mcp-param-region==?base64?IMOpCg==?= mcp-param-count=3"

#: What a client of the stateless era says with every request.
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "wire", "version": "1"},
}

#: Seconds for all clients of a test: about two, and up to a minute where something is lost.
_DEADLINE = 120.0


class _Peers(LivingTestCase):
    """Starts servers."""

    def start(self, era: str, *options: str) -> tuple[subprocess.Popen[bytes], int]:
        """Start a server; its process, and its port."""
        process = subprocess.Popen(
            [sys.executable, eras_peer.__file__, era, *options],
            cwd=ROOT,
            env=plain_environment("/"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, int(process.stdout.readline())

    def peer(self, era: str, *options: str) -> str:
        """Start a server; its URL."""
        return f"http://127.0.0.1:{self.start(era, *options)[1]}/mcp"


class HTTPErasTests(_Peers):
    """What a client sees is what it would see at a server of its own era."""

    def seen(self, daemon: Daemon, *modes: str) -> dict[str, Any]:
        """What clients in these modes see at the same time."""
        common = {"command": daemon.relay("peer"), "env": daemon.environment, "cwd": daemon.folder}
        ways = {mode: {**common, "mode": mode} for mode in modes}
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.eras_client", json.dumps(ways)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": ROOT},
            capture_output=True,
            text=True,
            timeout=_DEADLINE,
            stdin=subprocess.DEVNULL,
        )
        self.assertEqual(0, done.returncode, done.stderr[-4000:])
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def check(self, era: str, *options: str, kind: str = "http") -> dict[str, Any]:
        """Clients of both eras at a server of this one: they see what they should."""
        daemon = self.daemon({"peer": {"type": kind, "url": self.peer(era, *options)}})

        found = self.seen(daemon, "legacy", "auto", "2026-07-28")

        self.maxDiff = None
        for mode, seen in found.items():
            self.assertNotIn("error", seen, f"{mode}: {seen}")
            self.assertEqual(SEEN, {name: seen[name] for name in SEEN}, mode)
        self.assertEqual(
            ["2025-11-25", "2026-07-28", "2026-07-28"], [seen["version"] for seen in found.values()], found
        )
        return found

    def test_modern(self) -> None:
        """
        A server that knows no sessions.
        """
        found = self.check("modern")

        for mode, seen in found.items():
            wanted = (TOOLS[:-1], HEADERS, PROGRESS)
            self.assertEqual(wanted, (seen["tools"], seen["where"], seen["progress"]), mode)

    def test_modern_json(self) -> None:
        """
        The same with plain JSON answers.
        """
        self.check("modern", "json")

    def test_dual(self) -> None:
        """
        A server that knows both eras.
        """
        found = self.check("dual")

        self.assertEqual([PROGRESS] * 3, [seen["progress"] for seen in found.values()])

    def test_legacy(self) -> None:
        """
        A server that knows sessions only.
        """
        found = self.check("legacy")

        self.assertEqual([TOOLS, TOOLS[:-1], TOOLS[:-1]], [seen["tools"] for seen in found.values()])
        self.assertEqual([PROGRESS] * 3, [seen["progress"] for seen in found.values()])

    def test_configured(self) -> None:
        """
        A server whose era is configured is asked in no other.
        """
        for era in ("modern", "legacy"):
            daemon = self.daemon({"peer": {"type": "http", "url": self.peer("dual"), "era": era}})

            found = self.seen(daemon, "legacy", "auto")

            for mode, seen in found.items():
                self.assertNotIn("error", seen, f"{mode}: {seen}")
                self.assertEqual(era == "legacy", "mcp-session-id" in seen["where"], f"{mode}: {seen}")


class FaultTests(_Peers):
    """What clients see of a server that dies."""

    def test_killed(self) -> None:
        """
        A call under way fails and is not repeated; when the server is back, clients of both eras use it again.
        """
        process, port = self.start("modern")
        daemon = self.daemon({"peer": {"type": "http", "url": f"http://127.0.0.1:{port}/mcp"}})
        clients = [self.client(daemon, "peer"), self.client(daemon, "peer", ready=False)]
        meta: list[dict[str, Any]] = [{}, MODERN]
        hanging = [
            client.post(
                "tools/call", {"name": "hang", "arguments": {"name": "x"}, "_meta": {**own, "progressToken": 1}}
            )
            for client, own in zip(clients, meta, strict=True)
        ]
        for client in clients:
            client.wait_for(lambda message: message.get("method") == "notifications/progress")

        process.kill()
        errors = [client.answer(request_id) for client, request_id in zip(clients, hanging, strict=True)]
        process.wait()
        self.start("modern", str(port))
        after = [
            client.request("tools/call", {"name": "hung", "arguments": {}, "_meta": own})
            for client, own in zip(clients, meta, strict=True)
        ]

        reasons = [error["error"]["data"]["mcpbridge"]["reason"] for error in errors]
        self.assertEqual(["upstream_lost_outcome_unknown"] * 2, reasons)
        self.assertEqual(["", ""], [answer["result"]["content"][0]["text"] for answer in after])
