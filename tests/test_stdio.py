"""
Tests for L{mcpbridge.stdio}: what it costs, and how it is called. What it does is in L{tests.integration.test_relay}.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile

from twisted.trial.unittest import SynchronousTestCase

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: What the relay may load beyond what Python has loaded when it begins: each is built in or small, and was measured.
ALLOWED = {"_socket", "select", "mcpbridge", "mcpbridge.paths", "mcpbridge.stdio"}

_LIST = """
import sys
before = set(sys.modules)
import mcpbridge.stdio
print(*sorted(set(sys.modules) - before))
"""


class StdioTests(SynchronousTestCase):
    """The program."""

    def setUp(self) -> None:
        """A place without a daemon."""
        self.base = tempfile.mkdtemp(prefix="relay-")
        self.addCleanup(shutil.rmtree, self.base)

    def run_relay(self, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[bytes]:
        """With nothing to say."""
        return subprocess.run(
            [sys.executable, *options, "-m", "mcpbridge.stdio", *arguments],
            env={"PYTHONPATH": ROOT, "HOME": self.base, "MCPBRIDGE_SOCKET": f"{self.base}/run/m.sock"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
        )

    def test_modules(self) -> None:
        """It loads what it may, and nothing else."""
        found = subprocess.run(
            [sys.executable, "-c", _LIST], env={"PYTHONPATH": ROOT}, capture_output=True, text=True, timeout=30
        )

        self.assertEqual(set(), set(found.stdout.split()) - ALLOWED)

    def test_modules_of_a_run(self) -> None:
        """Nor does it load anything third-party while it runs, even where it cannot just sleep."""
        found = self.run_relay("--no-start", "linear", options=("-X", "importtime"))

        loaded = {
            line.rpartition("|")[2].strip()
            for line in found.stderr.decode().splitlines()
            if line.startswith("import time")
        }
        heavy = {
            "twisted",
            "zope",
            "msgspec",
            "attr",
            "attrs",
            "asyncio",
            "json",
            "socket",
            "argparse",
            "logging",
            "typing",
        }
        # This one is wanted here: without a daemon somebody has to wait for one, and to answer with JSON.
        self.assertEqual({"json", "typing"} & loaded, heavy & loaded)
        self.assertIn("mcpbridge.orphan.gap", loaded)

    def test_help(self) -> None:
        """It says how it is called."""
        found = self.run_relay("--help")

        self.assertEqual(
            (0, b"usage: python -m mcpbridge.stdio", b""), (found.returncode, found.stdout[:32], found.stderr)
        )

    def test_wrong_arguments(self) -> None:
        """Wrong arguments are told apart from wrong servers, on stderr."""
        for arguments in ((), ("a", "b"), ("",), ("--nonesuch", "a")):
            found = self.run_relay(*arguments)

            self.assertEqual((2, b"", b"usage:"), (found.returncode, found.stdout, found.stderr[:6]), arguments)

    def test_closed_descriptors(self) -> None:
        """It can be started with all its descriptors closed."""
        found = subprocess.run(
            ["/bin/sh", "-c", '"$0" -m mcpbridge.stdio --no-start x <&- >&- 2>&-; echo $?', sys.executable],
            env={"PYTHONPATH": ROOT, "HOME": self.base, "MCPBRIDGE_SOCKET": f"{self.base}/run/m.sock"},
            capture_output=True,
            timeout=30,
        )

        self.assertEqual((b"1\n", b""), (found.stdout, found.stderr))

    def test_socket_that_cannot_be(self) -> None:
        """A path that no socket can have is one clear line."""
        found = subprocess.run(
            [sys.executable, "-m", "mcpbridge.stdio", "x"],
            env={"PYTHONPATH": ROOT, "HOME": self.base, "MCPBRIDGE_SOCKET": f"{self.base}/{'x' * 100}/m.sock"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
        )

        self.assertEqual((1, 1), (found.returncode, found.stderr.count(b"\n")))
        self.assertIn(b"mcpbridge: cannot connect to", found.stderr)

    def test_stopped_daemon(self) -> None:
        """A daemon that is stopped, and has no room for another relay, is not waited for for ever."""
        os.makedirs(f"{self.base}/run", 0o700)
        hurried = (
            "import sys, mcpbridge.stdio as relay\n"
            "relay._TIMEVAL = bytes(8) + (100_000).to_bytes(8, sys.byteorder)\n"
            "relay.main(['linear'])"
        )
        with socket.socket(socket.AF_UNIX) as daemon, socket.socket(socket.AF_UNIX) as other:
            daemon.bind(f"{self.base}/run/m.sock")
            daemon.listen(0)
            other.connect(f"{self.base}/run/m.sock")

            found = subprocess.run(
                [sys.executable, "-c", hurried],
                env={"PYTHONPATH": ROOT, "HOME": self.base, "MCPBRIDGE_SOCKET": f"{self.base}/run/m.sock"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=30,
            )

        text = f"mcpbridge: the daemon at {self.base}/run/m.sock does not answer; restart it\n"
        self.assertEqual((1, text.encode()), (found.returncode, found.stderr))
