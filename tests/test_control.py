"""Tests of L{mcpbridge.control}."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.control import NOT_RUNNING, NotRunning, ask, lines, order, status
from mcpbridge.core.errors import McpbridgeError


class LinesTests(SynchronousTestCase):
    """L{lines}."""

    def test_members(self) -> None:
        """Plain members are lines, lists of objects and objects of objects are tables behind them."""
        answer = {
            "version": "0.1.0",
            "upstreams": {"linear": {"links": 2, "up": True}, "fs": {"links": 0, "seen": None}},
            "uptime": 12.345,
            "sources": ["/etc/x", "y"],
            "clients": [{"pid": 7, "tags": ["a", "b"]}],
            "none": [],
            "odd": [1, {}],
            "ok": False,
        }

        self.assertEqual(
            [
                "version: 0.1.0",
                "uptime: 12.3",
                "sources: /etc/x, y",
                "none: none",
                "odd: [1, {}]",
                "ok: no",
                "upstreams:",
                "  name    links  up   seen",
                "  linear  2      yes  -",
                "  fs      0      -    -",
                "clients:",
                "  pid  tags",
                "  7    a, b",
            ],
            lines(answer),
        )

    def test_sentences(self) -> None:
        """Long texts have a line each."""
        answer = {"error": "no", "problems": ["a" * 80, "b" * 80], "warnings": ["one"]}

        self.assertEqual(
            ["error: no", "warnings: one", "problems:", "  " + "a" * 80, "  " + "b" * 80],
            lines(answer),
        )

    def test_nested(self) -> None:
        """Objects within a table are said in words, a few of them; what is not known of them is left out."""
        links = [{"phase": "ready", "open": 1, "error": None}, {"phase": "idle", "open": 0, "error": "a\nb"}]
        answer = {"upstreams": {"linear": {"links": links}, "fs": {"links": links[:1] * 6}}}

        self.assertEqual(
            [
                "upstreams:",
                "  name    links",
                "  linear  phase ready, open 1; phase idle, open 0, error a\\nb",
                "  fs      " + "phase ready, open 1; " * 4 + "and 2 more",
            ],
            lines(answer),
        )

    def test_foreign_text(self) -> None:
        """Names and words of servers cannot move the cursor."""
        self.assertEqual(["a\\x1b: b\\nc"], lines({"a\x1b": "b\nc"}))

    def test_end_of_an_error(self) -> None:
        """What a child said last is shown, since that is why it died."""
        links = [{"last_error": "its last words: " + "x" * 1000 + " KEY is not set"}]

        self.assertTrue(lines({"upstreams": {"linear": {"links": links}}})[-1].endswith("x KEY is not set"))

    def test_no_object(self) -> None:
        """Anything else is a line."""
        self.assertEqual([["word"], ["-"], ["[1]"]], [lines("word"), lines(None), lines([1])])


class SocketTests(SynchronousTestCase):
    """What is said over the socket, to a daemon of the tests' own."""

    def setUp(self) -> None:
        # A socket's path has to be short, which trial's own folders are not.
        folder = tempfile.TemporaryDirectory(prefix="mcpbridge-")
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "s")
        self.environment = {"MCPBRIDGE_SOCKET": self.path, "HOME": folder.name}
        self.asked: list[bytes] = []
        self.out, self.err = io.StringIO(), io.StringIO()

    def listen(self, answer: bytes) -> None:
        """Answer one client, and stop listening before it is told."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen(1)

        def serve() -> None:
            connection, _ = listener.accept()
            listener.close()
            with connection:
                self.asked.append(connection.makefile("rb").readline())
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 10)
        self.addCleanup(listener.close)

    def said(self, run: Callable[[], int]) -> tuple[int, str, str]:
        """@return: the exit status and what was printed."""
        return run(), self.out.getvalue(), self.err.getvalue()

    def test_ask(self) -> None:
        """One line there, one JSON text back."""
        self.listen(b'{"pid": 7}\n')

        self.assertEqual(({"pid": 7}, [b"CONTROL/1 status\n"]), (ask("status", self.path), self.asked))

    def test_nobody(self) -> None:
        """Nobody listening has an exit status of its own, also where the path cannot be a socket's."""
        self.assertRaises(NotRunning, ask, "status", self.path)
        self.assertRaises(NotRunning, ask, "status", self.path * 20)
        self.assertEqual(
            (NOT_RUNNING, "", f"mcpbridge: no daemon is running ({self.path})\n"),
            self.said(lambda: status(self.environment, False, self.out, self.err)),
        )

    def test_full(self) -> None:
        """A daemon that takes no connections any more is there all the same."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(listener.close)
        listener.bind(self.path)
        listener.listen(0)
        while True:
            waiting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.addCleanup(waiting.close)
            waiting.setblocking(False)
            if waiting.connect_ex(self.path):
                break

        self.assertEqual(
            (1, "", f"mcpbridge: the daemon at {self.path} does not answer; restart it\n"),
            self.said(lambda: status(self.environment, False, self.out, self.err)),
        )

    def test_bad_answer(self) -> None:
        """An answer that is none is told as one line."""
        self.listen(b"hello")

        code, out, err = self.said(lambda: status(self.environment, False, self.out, self.err))

        self.assertEqual(
            (1, "", "mcpbridge: the daemon's answer cannot be read; is it of another version?\n"), (code, out, err)
        )

    def test_no_answer(self) -> None:
        """A connection that closes without a word is no answer."""
        self.listen(b"")

        self.assertRaises(McpbridgeError, ask, "status", self.path)

    def test_status(self) -> None:
        """As lines, or as it came."""
        self.listen(b'{"pid": 7}')
        self.assertEqual((0, "pid: 7\n", ""), self.said(lambda: status(self.environment, False, self.out, self.err)))

        self.out = io.StringIO()
        os.unlink(self.path)
        self.listen(b'{"pid": 7}')
        status(self.environment, True, self.out, self.err)
        self.assertEqual({"pid": 7}, json.loads(self.out.getvalue()))

    def test_refused_order(self) -> None:
        """An error in the answer is an exit status."""
        self.listen(b'{"error": "mcpServers.a: unknown key"}')

        self.assertEqual(
            (1, "error: mcpServers.a: unknown key\n", ""),
            self.said(lambda: order("reload", self.environment, False, self.out, self.err)),
        )

    def test_stop_waits(self) -> None:
        """A stop is over when the daemon's process is gone, which is later than that nobody listens."""
        code = (
            "import os, socket, sys, time\n"
            "listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]); listener.listen(1)\n"
            "print('up', flush=True)\n"
            "connection, _ = listener.accept(); listener.close(); os.unlink(sys.argv[1])\n"
            "connection.makefile('rb').readline(); connection.sendall(b'{}'); connection.close()\n"
            "time.sleep(0.3); print('gone', flush=True)"
        )
        daemon = subprocess.Popen([sys.executable, "-c", code, self.path], stdout=subprocess.PIPE)
        assert daemon.stdout is not None
        self.addCleanup(daemon.stdout.close)
        self.addCleanup(daemon.wait)
        self.addCleanup(daemon.kill)
        daemon.stdout.readline()

        result = self.said(lambda: order("stop", self.environment, False, self.out, self.err))

        self.assertEqual((0, "", ""), result)
        os.set_blocking(daemon.stdout.fileno(), False)
        self.assertEqual(b"gone\n", daemon.stdout.read())
