"""Tests for L{mcpbridge.orphan.launch}. Real daemons are started in L{tests.integration.test_relay}."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.orphan import launch as module
from mcpbridge.orphan.launch import DEADLINE, daemon_environment, launch
from tests.orphan.fake_relay import FakeRelay


class EnvironmentTests(SynchronousTestCase):
    """What the daemon gets of a client's environment."""

    def setUp(self) -> None:
        """A configuration that names two variables."""
        self.base = tempfile.mkdtemp(prefix="relay-")
        self.addCleanup(shutil.rmtree, self.base)
        with open(f"{self.base}/config.json", "w") as file:
            file.write('{"mcpServers": {"a": {"headers": {"X": "${TOKEN}-${OTHER:-${NESTED}}"}}}} // ${ unfinished')
        self.given = {"HOME": "/home/me", "MCPBRIDGE_CONFIG": f"{self.base}/config.json"}

    def passed(self, **environment: str) -> Mapping[str, str]:
        """Of these, beyond what is always there."""
        found = daemon_environment({**self.given, **environment}, "/run/m.sock")
        return {name: value for name, value in found.items() if name in environment}

    def test_harmless(self) -> None:
        """Where things are, how the user speaks, and what is ours."""
        harmless = {
            "PATH": "/bin",
            "LANG": "de",
            "LC_TIME": "de",
            "XDG_DATA_HOME": "/d",
            "https_proxy": "http://p",
            "MCPBRIDGE_LOG_LEVEL": "debug",
        }

        self.assertEqual(harmless, self.passed(**harmless))

    def test_secrets(self) -> None:
        """Nothing else: agents have their keys there."""
        self.assertEqual(
            {}, self.passed(ANTHROPIC_API_KEY="x", CLAUDE_CODE_MESSAGING_TOKEN="x", GITHUB_TOKEN="x", A="x")
        )

    def test_named(self) -> None:
        """But for what the configuration names."""
        named = {"TOKEN": "1", "OTHER": "2", "NESTED": "3"}

        self.assertEqual(named, self.passed(**named, TOK="4"))

    def test_named_inline(self) -> None:
        """Also where it is in the environment itself."""
        named = {"MCPBRIDGE_SERVERS": '{"a": {"url": "${URL}"}}', "URL": "x"}

        self.assertEqual(named, self.passed(**named))

    def test_no_configuration(self) -> None:
        """There may be none."""
        self.given["MCPBRIDGE_CONFIG"] = "/nonesuch"

        self.assertEqual({}, self.passed(TOKEN="1"))

    def test_absolute(self) -> None:
        """Paths are absolute, for the daemon has another working directory."""
        found = daemon_environment(
            {"MCPBRIDGE_CONFIG": "c.json", "MCPBRIDGE_STATE_DIR": "s", "PYTHONPATH": f".{os.pathsep}/x"}, "/run/m.sock"
        )

        here = os.getcwd()
        self.assertEqual(
            ("/run/m.sock", f"{here}/c.json", f"{here}/s"),
            (found["MCPBRIDGE_SOCKET"], found["MCPBRIDGE_CONFIG"], found["MCPBRIDGE_STATE_DIR"]),
        )
        self.assertEqual([here, "/x"], found["PYTHONPATH"].split(os.pathsep)[-2:])

    def test_checkout(self) -> None:
        """A daemon finds this package as the relay did, be it in the working directory."""
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        found = []
        for path in ([root, "/lib"], ["/lib", root]):
            self.patch(sys, "path", path)
            found.append(daemon_environment({}, "/run/m.sock").get("PYTHONPATH"))

        self.assertEqual([root, None], found)


class LaunchTests(SynchronousTestCase):
    """One daemon."""

    def setUp(self) -> None:
        """A place without one."""
        self.base = tempfile.mkdtemp(prefix="relay-")
        self.addCleanup(shutil.rmtree, self.base)
        self.path = f"{self.base}/m.sock"
        self.relay = FakeRelay(self.addCleanup)
        self.started: list[str] = []
        self.sentence = ""
        self.patch(module, "_start", self.start)

    def start(self, path: str, wait: object, end: float) -> str:
        """Another one."""
        self.started.append(path)
        return self.sentence

    def launch(self, again: bool = False) -> str:
        """See to it."""
        return launch(self.path, self.relay.connect, self.relay.wait, again)

    def test_started(self) -> None:
        """If there is none, one is started."""
        self.assertEqual(("", [self.path]), (self.launch(), self.started))

    def test_there_meanwhile(self) -> None:
        """If there is one by the time that we have the lock, none is."""
        self.relay.daemons = ["daemon"]

        self.assertEqual(("", []), (self.launch(), self.started))

    def test_somebody_is_at_it(self) -> None:
        """If somebody else is at it, we wait for theirs."""
        with open(f"{self.path}.start", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.relay.daemons = [None, None, "daemon"]

            self.assertEqual(("", [], 3), (self.launch(), self.started, self.relay.told.count("connect")))

    def test_somebody_takes_too_long(self) -> None:
        """But not for ever."""
        self.patch(module, "time", self.relay)
        with open(f"{self.path}.start", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

            sentence = self.launch()

        self.assertEqual("another relay has been starting the daemon for too long", sentence)
        self.assertLess(self.relay.now, 1000 + DEADLINE + 1)

    def test_failed_just_now(self) -> None:
        """What has just failed for somebody is not repeated, but by one who wants it for the first time."""
        self.sentence = "out of cheese"
        found = [self.launch(), self.launch(again=True), self.launch()]
        repeated = len(self.started)

        os.utime(f"{self.path}.start", (time.time() - 10,) * 2)
        self.sentence = ""
        found += [self.launch(again=True), self.launch(again=True)]

        self.assertEqual((["out of cheese"] * 3 + ["", ""], 2, 4), (found, repeated, len(self.started)))

    def test_unsafe_directory(self) -> None:
        """Nothing is made in a directory that others can enter."""
        os.chmod(self.base, 0o755)

        self.assertIn("is open to other users", self.launch())
        self.assertEqual([], os.listdir(self.base))

    def test_lock_cannot_be_made(self) -> None:
        """A lock is never made behind a symbolic link."""
        os.symlink(f"{self.base}/target", f"{self.path}.start")

        self.assertIn("cannot start a daemon", self.launch())
        self.assertEqual(["m.sock.start"], os.listdir(self.base))


class LogTests(SynchronousTestCase):
    """The daemon's log."""

    def setUp(self) -> None:
        """Where there is none."""
        self.base = tempfile.mkdtemp(prefix="relay-")
        self.addCleanup(shutil.rmtree, self.base)
        self.path = f"{self.base}/state/daemon.log"

    def test_private(self) -> None:
        """It is for its owner alone, and is continued."""
        for text in (b"one", b"two"):
            fd = module._open_log(self.path)
            os.write(fd, text)
            os.close(fd)

        with open(self.path, "rb") as file:
            self.assertEqual((b"onetwo", 0o600), (file.read(), os.stat(self.path).st_mode & 0o777))

    def test_long(self) -> None:
        """When it is long it is put aside."""
        os.close(module._open_log(self.path))
        os.truncate(self.path, module.MAX_LOG + 1)

        os.close(module._open_log(self.path))

        self.assertEqual((0, module.MAX_LOG + 1), (os.stat(self.path).st_size, os.stat(self.path + ".1").st_size))

    def test_last_words(self) -> None:
        """Of what a daemon said the last line is quoted, fit to print; of what others said before it nothing."""
        fd = module._open_log(self.path)
        self.addCleanup(os.close, fd)
        os.write(fd, b"older\n")
        start = os.fstat(fd).st_size
        found = [module._last_words(fd, start)]
        os.write(fd, b"one\n  two \x1b[1m\xff\n\n")
        found.append(module._last_words(fd, start))

        self.assertEqual(["", " (two [1m\\xff)"], found)
