"""Tests for L{mcpbridge.downstream.listening}. Sockets are real, in a directory of each test's own."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import ServerFactory
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.downstream.listening import Listener, listen, starter_waits, tell_ready


class FakePort:
    """A port of L{FakeReactor}."""

    def __init__(self, fd: int, path: str, result: Deferred[None] | None) -> None:
        self.fd = fd
        self._path = path
        self._result = result

    def stopListening(self) -> Deferred[None]:
        """As Twisted's does."""
        os.close(self.fd)
        if self._result is not None:
            return self._result
        os.unlink(self._path)
        return succeed(None)


class FakeReactor:
    """Adopts sockets."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.result: Deferred[None] | None = None
        self.fault: Exception | None = None

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See L{twisted.internet.interfaces.IReactorSocket}."""
        if self.fault is not None:
            raise self.fault
        return FakePort(os.dup(fileDescriptor), self._path, self.result)


class ListenTests(SynchronousTestCase):
    """The socket."""

    def setUp(self) -> None:
        """A place that is not there yet."""
        self.base = tempfile.mkdtemp(prefix="relay-")
        self.addCleanup(shutil.rmtree, self.base)
        self.directory = f"{self.base}/run"
        self.path = f"{self.directory}/m.sock"
        self.reactor = FakeReactor(self.path)

    def listen(self) -> Listener:
        """As the daemon does."""
        reactor: Any = self.reactor
        factory: ServerFactory[Any] = ServerFactory()
        listener = listen(reactor, self.path, factory)
        self.addCleanup(listener.stop)
        return listener

    def refused(self) -> str:
        """Why not."""
        return str(self.assertRaises(ConfigurationError, self.listen))

    def test_private(self) -> None:
        """Directory and socket are for their owner alone, whatever the umask."""
        before = os.umask(0)
        try:
            self.listen()
        finally:
            after = os.umask(before)

        modes = [stat.S_IMODE(os.lstat(path).st_mode) for path in (self.directory, self.path, self.path + ".lock")]
        self.assertEqual(([0o700, 0o600, 0o600], 0), (modes, after))

    def test_reachable(self) -> None:
        """It can be connected to."""
        self.listen()

        with socket.socket(socket.AF_UNIX) as connection:
            self.assertEqual(0, connection.connect_ex(self.path))

    def test_second(self) -> None:
        """There is one daemon to a socket; the other one is told which process it is, and what to do."""
        self.listen()

        self.assertIn(f"(process {os.getpid()}); stop that one first", self.refused())

    def test_stop(self) -> None:
        """When it is stopped the socket is gone and another daemon can have it."""
        listener = self.listen()

        self.successResultOf(listener.stop())
        self.successResultOf(listener.stop())
        gone = not os.path.exists(self.path)
        self.listen()

        self.assertTrue(gone)

    def test_stop_takes_long(self) -> None:
        """The lock is held until the socket is gone."""
        self.reactor.result = Deferred()
        listener = self.listen()

        stopped = listener.stop()
        self.assertNoResult(stopped)
        refused = self.refused()
        self.reactor.result.callback(None)

        self.successResultOf(stopped)
        self.assertIn("another mcpbridge daemon", refused)

    def test_socket_removed_by_others(self) -> None:
        """If somebody has removed the socket, there is nothing left to remove."""
        self.reactor.result = fail(FileNotFoundError())

        self.successResultOf(self.listen().stop())

    def test_stale(self) -> None:
        """A socket that a killed daemon left behind is replaced."""
        os.mkdir(self.directory, 0o700)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.path)

        self.listen()

        with socket.socket(socket.AF_UNIX) as connection:
            self.assertEqual(0, connection.connect_ex(self.path))

    def test_something_else(self) -> None:
        """What is no socket is left alone: files, directories, links."""
        for make in (
            lambda: open(self.path, "w").close(),
            lambda: os.mkdir(self.path),
            lambda: os.symlink("/nowhere", self.path),
        ):
            os.makedirs(self.directory, 0o700, exist_ok=True)
            make()

            refused = self.refused()

            self.assertIn("is something else, which is not ours to remove", refused)
            self.assertTrue(os.path.lexists(self.path))
            shutil.rmtree(self.directory)

    def test_open_directory(self) -> None:
        """A directory that others can enter is refused, with what to do."""
        for mode in (0o755, 0o710, 0o701, 0o777):
            os.mkdir(self.directory)
            os.chmod(self.directory, mode)

            self.assertIn(f"is open to other users; run: chmod 700 {self.directory}", self.refused())
            os.rmdir(self.directory)

    def test_link_to_directory(self) -> None:
        """So is one behind a symbolic link."""
        os.mkdir(f"{self.base}/other", 0o700)
        os.symlink(f"{self.base}/other", self.directory)

        self.assertIn("is not a directory", self.refused())

    def test_foreign_directory(self) -> None:
        """So is somebody else's."""
        os.mkdir(self.directory, 0o700)
        uid = os.getuid()
        self.patch(os, "getuid", lambda: uid + 1)

        self.assertIn("belongs to another user", self.refused())

    def test_lock_is_a_link(self) -> None:
        """A lock is never made behind a symbolic link."""
        os.mkdir(self.directory, 0o700)
        os.symlink(f"{self.base}/target", self.path + ".lock")

        self.assertIn("cannot listen at", self.refused())
        self.assertFalse(os.path.exists(f"{self.base}/target"))

    def test_long_path(self) -> None:
        """A path that no socket can have is refused before anything is made."""
        self.path = f"{self.directory}/{'x' * 100}"

        self.assertIn("set MCPBRIDGE_SOCKET to a shorter one", self.refused())
        self.assertFalse(os.path.exists(self.directory))

    def test_cannot_be_adopted(self) -> None:
        """When something else goes wrong nothing is left behind, neither socket nor lock."""
        self.reactor.fault = RuntimeError("no")
        self.assertRaises(RuntimeError, self.listen)
        left = os.path.lexists(self.path)
        self.reactor.fault = OSError(24, "Too many open files")
        refused = self.refused()

        self.reactor.fault = None
        self.listen()

        self.assertEqual((False, f"cannot listen at {self.path}: Too many open files"), (left, refused))


class ReadyTests(SynchronousTestCase):
    """The relay that started the daemon is told."""

    def test_told(self) -> None:
        """It hears one line, and then the end."""
        for sentence, expected in (((), b"ready\n"), (("no\nway",), b"no\\nway\n")):
            reading, writing = os.pipe()
            environment = {"MCPBRIDGE_READY_FD": str(writing), "HOME": "/"}
            waits = starter_waits(environment)

            tell_ready(environment, *sentence)

            self.assertEqual((expected, b""), (os.read(reading, 100), os.read(reading, 100)))
            self.assertEqual((True, {"HOME": "/"}, False), (waits, environment, starter_waits(environment)))
            os.close(reading)

    def test_nobody(self) -> None:
        """If nobody started it, or is gone, nothing happens."""
        reading, writing = os.pipe()
        os.close(reading)
        for environment in ({}, {"MCPBRIDGE_READY_FD": "x"}, {"MCPBRIDGE_READY_FD": str(writing)}):
            tell_ready(environment)

            self.assertEqual({}, environment)
