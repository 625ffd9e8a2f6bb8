"""
The daemon as a process: C{serve}, C{twistd -n mcpbridge}, C{mcpbridge.tac}, the operator's commands, and the tour.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
#: Seconds for a thing that takes one on a quiet machine.
DEADLINE = 60.0


class ServeCase(SynchronousTestCase):
    """A home and a socket of its own."""

    def setUp(self) -> None:
        # A socket's path has to be short, which trial's own folders are not.
        folder = tempfile.TemporaryDirectory(prefix="mcpbridge-")
        self.addCleanup(folder.cleanup)
        self.home = folder.name
        self.socket = os.path.join(self.home, "run", "s")
        foreign = ("MCPBRIDGE_", "XDG_")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {
            "HOME": self.home,
            "MCPBRIDGE_SOCKET": self.socket,
            "PYTHONPATH": ROOT,
        }

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start a program of this Python; it does not outlive the test."""
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        self.addCleanup(self.finish, process, signal.SIGKILL)
        return process

    def finish(self, process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """End a program. @return: its exit status and what it printed."""
        if process.poll() is None:
            process.send_signal(number)
        if process.stdout is None or process.stdout.closed:
            return process.returncode, "", ""
        out, err = process.communicate(timeout=DEADLINE)
        return process.returncode, out, err

    def ask(self, *words: str) -> tuple[int, str, str]:
        """Run one of the operator's commands."""
        done = subprocess.run(
            [sys.executable, "-m", "mcpbridge", *words],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        return done.returncode, done.stdout, done.stderr

    def wait_until_up(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """@return: what the daemon says of itself, as soon as it does."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and process.poll() is None:
            status, out, _ = self.ask("status", "--json")
            if status == 0:
                answer: dict[str, Any] = json.loads(out)
                return answer
            time.sleep(0.05)
        self.fail(f"the daemon is not up: {self.finish(process)}")

    def config(self, text: str) -> None:
        """Write the user's configuration."""
        folder = os.path.join(self.home, ".config", "mcpbridge")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
            file.write(text)


class ServeTests(ServeCase):
    """C{python -m mcpbridge serve}."""

    def test_life(self) -> None:
        """It serves, obeys, and ends in good order, leaving no socket; only logs are written, and to stderr."""
        self.environment["MCPBRIDGE_LOG_FORMAT"] = "json"
        process = self.start("-m", "mcpbridge", "serve")

        answer = self.wait_until_up(process)
        stopped = self.ask("stop")
        # It is gone when the command is: what is ours may not have been waited for by then, but has ended.
        self.assertIsNotNone(process.poll())
        status, out, err = self.finish(process)

        self.assertEqual((process.pid, ["demo"], 0), (answer["pid"], [*answer["upstreams"]], stopped[0]))
        self.assertEqual((0, ""), (status, out))
        records = [json.loads(line) for line in err.splitlines()]
        self.assertEqual([], [record for record in records if record["level"] in ("error", "critical")])
        self.assertEqual((3, False), (self.ask("status")[0], os.path.exists(self.socket)))

    def test_signals(self) -> None:
        """SIGTERM and SIGINT end it in good order, without a traceback."""
        for number in (signal.SIGTERM, signal.SIGINT):
            process = self.start("-m", "mcpbridge", "serve")
            self.wait_until_up(process)

            status, out, err = self.finish(process, number)

            self.assertEqual((0, ""), (status, out))
            self.assertNotIn("Traceback", err)

    def test_readiness(self) -> None:
        """Whoever started it hears when it is ready, or why it never will be."""
        heard = []
        for servers in ("{}", '{"a": {"comand": "x", "url": "https://h/"}}'):
            reading, writing = os.pipe()
            self.environment |= {"MCPBRIDGE_READY_FD": str(writing), "MCPBRIDGE_SERVERS": servers}
            process = self.start("-m", "mcpbridge", "serve", pass_fds=[writing])
            os.close(writing)
            with os.fdopen(reading, encoding="utf-8") as pipe:
                heard.append(pipe.readline())
            if heard[-1] != "ready\n":
                process.wait(DEADLINE)
            status, _, err = self.finish(process)

        sentence = 'MCPBRIDGE_SERVERS: mcpServers.a.comand: unknown key; did you mean "command"?\n'
        self.assertEqual((["ready\n", sentence], 1, f"mcpbridge: {sentence}"), (heard, status, err))

    def test_second_daemon(self) -> None:
        """A second one on the same socket says so in one line, and the first goes on."""
        first = self.start("-m", "mcpbridge", "serve")
        pid = self.wait_until_up(first)["pid"]

        second = self.start("-m", "mcpbridge", "serve")
        second.wait(DEADLINE)
        status, _, err = self.finish(second)

        self.assertEqual((1, 1), (status, len(err.splitlines())))
        self.assertIn(str(pid), err)
        self.assertNotIn("Traceback", err)
        self.assertEqual(pid, self.wait_until_up(first)["pid"])

    def test_reload(self) -> None:
        """The configuration is read again at an order and at SIGHUP; one that is wrong changes nothing."""
        self.config('{"mcpServers": {"one": {"command": "true"}}}')
        process = self.start("-m", "mcpbridge", "serve")
        before = self.wait_until_up(process)

        self.config('{"mcpServers": {"one": {"command": "true"}, "two": {"command": "true"}}}')
        ordered = self.ask("reload")
        after = self.wait_until_up(process)
        self.config('{"mcpServers": {"one": {"comand": "true"}}}')
        refused = self.ask("reload")
        unchanged = self.wait_until_up(process)
        self.config('{"mcpServers": {"three": {"command": "true"}}}')
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + DEADLINE
        while [*self.wait_until_up(process)["upstreams"]] != ["three"] and time.monotonic() < deadline:
            time.sleep(0.05)

        self.assertEqual(
            [["one"], ["one", "two"], ["one", "two"], ["three"]],
            [[*status["upstreams"]] for status in (before, after, unchanged, self.wait_until_up(process))],
        )
        self.assertEqual((0, 1), (ordered[0], refused[0]))
        self.assertIn('did you mean "command"?', refused[1])


class TwistdTests(ServeCase):
    """C{twistd}."""

    def test_plugin(self) -> None:
        """It serves; the log is on stderr in the form asked for, nothing is on stdout."""
        process = self.start(*_TWISTD, "-n", "mcpbridge", "--log-format", "json")
        self.wait_until_up(process)

        _, out, err = self.finish(process)

        self.assertEqual("", out)
        self.assertTrue([json.loads(line)["level"] for line in err.splitlines()])

    def test_tac(self) -> None:
        """So does the file for C{twistd -ny}; settings come from the environment."""
        self.environment["MCPBRIDGE_LOG_FORMAT"] = "json"
        process = self.start(*_TWISTD, "-n", "--pidfile=", "-y", os.path.join(ROOT, "mcpbridge.tac"))
        self.wait_until_up(process)

        _, out, err = self.finish(process)

        self.assertEqual("", out)
        self.assertTrue([json.loads(line)["level"] for line in err.splitlines()])

    def test_wrong_options(self) -> None:
        """What is wrong is one line and an exit status."""
        process = self.start(*_TWISTD, "-n", "--pidfile=", "mcpbridge", "--config", "/nowhere/x.json")
        process.wait(DEADLINE)

        status, out, err = self.finish(process)

        self.assertEqual(1, status)
        self.assertIn("/nowhere/x.json: there is no such file", out + err)
        self.assertNotIn("Traceback", out + err)

    def test_background(self) -> None:
        """In the background it logs to a file of its own, which only its owner reads."""
        process = self.start(*_TWISTD, "--pidfile=pid", "--logfile=log", "mcpbridge")
        self.assertEqual(0, process.wait(DEADLINE))
        pid = self.wait_until_ended(process)

        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + DEADLINE
        while os.path.exists(os.path.join(self.home, "pid")) and time.monotonic() < deadline:
            time.sleep(0.05)

        path = os.path.join(self.home, "log")
        with open(path, encoding="utf-8") as file:
            self.assertIn("mcpbridge.service.daemon", file.read())
        self.assertEqual(0o600, os.stat(path).st_mode & 0o777)

    def wait_until_ended(self, process: subprocess.Popen[str]) -> int:
        """@return: the pid of the daemon that this process left behind."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            status, out, _ = self.ask("status", "--json")
            if status == 0:
                pid: int = json.loads(out)["pid"]
                return pid
            time.sleep(0.05)
        self.fail(f"the daemon is not up: {self.finish(process)}")


class TourTests(ServeCase):
    """C{make run}."""

    def test_tour(self) -> None:
        """Two clients speak to the built-in server, and the daemon serves on until it is told to end."""
        process = self.start("-m", "mcpbridge.tour")
        assert process.stdout is not None
        said = ""
        while "Serving" not in said:
            line = process.stdout.readline()
            if not line:
                self.fail(f"the tour ended: {said} {self.finish(process)}")
            said += line

        answer = self.wait_until_up(process)
        status, out, err = self.finish(process, signal.SIGINT)

        self.assertIn("tools: echo, add, clock, remember, recall.", said)
        self.assertIn("add(2, 40): 42.", said)
        self.assertTrue(re.search(r"Client 2, a new process, called recall: it is \d\d:\d\d:\d\d\.", said), said)
        self.assertEqual(["demo"], [*answer["upstreams"]])
        self.assertEqual((0, "", ""), (status, out, re.sub(r"(?m)^.* warn .*\n", "", err)))
        self.assertEqual(3, self.ask("status")[0])


#: As the console script does; "python -m twisted" is another program.
_TWISTD = ("-c", "from twisted.scripts.twistd import run; run()")
