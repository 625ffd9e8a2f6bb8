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
SEEN = {"echo": "h\u00e9llo", "many": True, "progress": [0.0, 1.0, 2.0, 3.0, 4.0], "change": "told"}
HEADERS = "mcp-name=where mcp-param-region==?base64?IMOpCg==?= mcp-param-count=3"

#: Seconds for all clients of a test: about two, and up to a minute where something is lost.
_DEADLINE = 120.0


class HTTPErasTests(LivingTestCase):
    """What a client sees is what it would see at a server of its own era."""

    def peer(self, era: str, *options: str) -> str:
        """Start a server; its URL."""
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
        return f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"

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
            self.assertNotIn("error", seen, mode)
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
            self.assertEqual((TOOLS[:-1], HEADERS), (seen["tools"], seen["where"]), mode)

    def test_modern_json(self) -> None:
        """
        The same with plain JSON answers.
        """
        self.check("modern", "json")

    def test_dual(self) -> None:
        """
        A server that knows both eras.
        """
        self.check("dual")

    def test_legacy(self) -> None:
        """
        A server that knows sessions only.
        """
        found = self.check("legacy")

        self.assertEqual([TOOLS, TOOLS[:-1], TOOLS[:-1]], [seen["tools"] for seen in found.values()])
