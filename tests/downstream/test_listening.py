"""Tests for L{mcpbridge.downstream.listening}. Sockets are real, in a directory of each test's own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import tempfile
from typing import Any

from twisted.internet import unix
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import ServerFactory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.downstream.listening import Listener, listen, starter_waits, tell_ready


class FakeReactor(MemoryReactorClock):
    """Listens at real sockets, and never looks at what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Exception | None = None

    def listenUNIX(
        self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: bool = False
    ) -> unix.Port:
        """See L{twisted.internet.interfaces.IReactorUNIX}."""
        if self.fault is not None:
            raise self.fault
        port = unix.Port(os.fsencode(address), factory, backlog, mode, self, wantPID)
        port.startListening()
        return port


class ListenTests(SynchronousTestCase):
    """The socket."""

    def setUp(self) -> None:
        """A place that is not there yet."""
        self.base = tempfile.mkdtemp(prefix="relay-")
        self.addCleanup(shutil.rmtree, self.base)
        self.directory = f"{self.base}/run"
        self.path = f"{self.directory}/m.sock"
        self.reactor = FakeReactor()

    def listen(self) -> Listener:
        """As the daemon does."""
        reactor: Any = self.reactor
        factory: ServerFactory[Any] = ServerFactory()
        listener = listen(reactor, self.path, factory)
        self.addCleanup(self.stop, listener)
        return listener

    def stop(self, listener: Listener) -> Deferred[None]:
        """What Twisted needs a turn of the reactor for."""
        stopped = listener.stop()
        self.reactor.advance(0)
        return stopped

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
        """It can be connected to, also by many before the first one is looked at."""
        self.listen()

        with contextlib.ExitStack() as connections:
            refused = 0
            for _ in range(100):
                connection = connections.enter_context(socket.socket(socket.AF_UNIX))
                connection.setblocking(False)
                refused += bool(connection.connect_ex(self.path))

        self.assertEqual(0, refused)

    def test_second(self) -> None:
        """There is one daemon to a socket; the other one is told which process it is, and what to do."""
        self.listen()

        self.assertIn(f"(process {os.getpid()}); stop that one first", self.refused())

    def test_stop(self) -> None:
        """When it is stopped the socket is gone and another daemon can have it."""
        listener = self.listen()

        self.successResultOf(self.stop(listener))
        self.successResultOf(self.stop(listener))
        gone = not os.path.exists(self.path)
        self.listen()

        self.assertTrue(gone)

    def test_stop_takes_long(self) -> None:
        """The lock is held until the socket is gone."""
        listener = self.listen()

        stopped = listener.stop()
        self.assertNoResult(stopped)
        refused = self.refused()
        self.reactor.advance(0)

        self.successResultOf(stopped)
        self.assertIn("another mcpbridge daemon", refused)

    def test_socket_removed_by_others(self) -> None:
        """If somebody has removed the socket, there is nothing left to remove."""
        listener = self.listen()
        os.unlink(self.path)

        self.successResultOf(self.stop(listener))

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

    def test_cannot_listen(self) -> None:
        """When something else goes wrong nothing is left behind, neither socket nor lock."""
        self.reactor.fault = RuntimeError("no")
        self.assertRaises(RuntimeError, self.listen)
        left = os.path.lexists(self.path)
        refused = []
        for fault in (
            OSError(24, "Too many open files"),
            CannotListenError(None, self.path, OSError(98, "Address already in use")),
        ):
            self.reactor.fault = fault
            refused.append(self.refused().partition(f"cannot listen at {self.path}: ")[2])

        self.reactor.fault = None
        self.listen()

        self.assertEqual((False, ["Too many open files", "Address already in use"]), (left, refused))


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
