"""
A real daemon in a folder of its own, started and ended as an operator would, and looked over when it ends.

Uses only what the outside may use: C{twistd}, the environment, signals, the socket, the log. Nothing of mcpbridge is
imported.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from typing import IO, Any

from tests.integration import processes
from tests.integration.packages import ROOT

START_DEADLINE = 20.0
"""Seconds from exec to a socket that answers: 0.4 on a quiet machine; the two cores of a test machine may be busy."""

STOP_DEADLINE = 15.0
"""Seconds from SIGTERM to exit: above what the daemon allows itself for draining and for ending children."""

_TWISTD = os.path.join(os.path.dirname(sys.executable), "twistd")
_MARK = "MCPBRIDGE_TEST_MARK"


def plain_environment(folder: str) -> dict[str, str]:
    """
    What every process of a test gets: no setting of the person who runs the tests may leak in.

    @param folder: the home of these processes.
    """
    return {
        "HOME": folder,
        "LANG": "C.UTF-8",
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": ROOT,
    }


class Daemon:
    """
    One daemon with its folder: C{with Daemon(servers) as daemon: ...}.

    @ivar socket: where its relays find it.
    @ivar process: the daemon that runs now, or the last one.
    """

    def __init__(
        self,
        servers: Mapping[str, Any],
        *,
        options: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """
        @param servers: the C{mcpServers} object.
        @param options: the C{mcpbridge} object beside it.
        @param environment: more variables for the daemon.
        """
        # A short path: a Unix socket's may be 107 bytes long, and trial's working folder is deep.
        self.folder = tempfile.mkdtemp(prefix="mcpbridge-")
        self.socket = os.path.join(self.folder, "run", "mcpbridge.sock")
        self.log_path = os.path.join(self.folder, "daemon.log")
        self._configuration = os.path.join(self.folder, "config.json")
        self._mark = uuid.uuid4().hex
        self._options = dict(options or {})
        self._more = dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None
        self.configure(servers)

    # Life

    def __enter__(self) -> "Daemon":
        try:
            self.start()
        except BaseException:
            self.discard()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            if error is None:
                self.finish()
            else:
                error.add_note(f"the daemon's log:\n{self.log()[-8000:]}")
        finally:
            self.discard()

    @property
    def pid(self) -> int:
        """The process id of the daemon that was started last."""
        assert self.process is not None, "the daemon was never started"
        return self.process.pid

    @property
    def environment(self) -> dict[str, str]:
        """What a relay (and a daemon that it starts) needs to belong to this daemon."""
        return {
            **plain_environment(self.folder),
            "MCPBRIDGE_SOCKET": self.socket,
            "MCPBRIDGE_CONFIG": self._configuration,
            "MCPBRIDGE_STATE_DIR": os.path.join(self.folder, "state"),
            _MARK: self._mark,
            **self._more,
        }

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [_TWISTD, "-n", "--pidfile=", "mcpbridge"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,
            )
        processes.wait_until(self._answers_or_ended, START_DEADLINE, "the daemon's socket accepts connections")
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log()}")

    def _answers_or_ended(self) -> bool:
        return self.accepts() or (self.process is not None and self.process.poll() is not None)

    def accepts(self) -> bool:
        """Whether something listens on the socket."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.socket) == 0

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """
        End it as an operator does.

        @return: its exit status.
        """
        assert self.process is not None, "the daemon was never started"
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the daemon did not end within {STOP_DEADLINE} s:\n{self.log()[-8000:]}") from None

    def kill(self) -> None:
        """Kill the daemon alone, as the kernel does when memory is short: nothing is cleaned up."""
        assert self.process is not None, "the daemon was never started"
        self.process.kill()
        self.process.wait()

    def finish(self) -> None:
        """
        Stop it, if it runs, and check what a good daemon owes.

        @raise AssertionError: it failed, left a process or its socket behind, or its log shows a traceback.
        """
        if self.process is not None and self.process.poll() is None:
            status = self.stop()
            # twistd ends itself with the signal that it was sent, once all services have stopped.
            assert status in (0, -signal.SIGTERM), f"exit status {status}:\n{self.log()[-8000:]}"
        elif (other := self.running()) is not None:
            # Ours was killed, and a relay has started the next one.
            os.kill(other, signal.SIGTERM)
            processes.wait_until(lambda: not processes.is_alive(other), STOP_DEADLINE, "the next daemon ends")
        assert not os.path.exists(self.socket), "the daemon left its socket behind"
        processes.wait_until(lambda: not self.left(), 5.0, f"no process left behind: {self.left()}")
        log = self.log()
        assert "Traceback" not in log, f"a traceback in the daemon's log:\n{log[-8000:]}"
        assert "Unhandled" not in log, f"an unhandled error in the daemon's log:\n{log[-8000:]}"

    def discard(self) -> None:
        """Kill whatever is left and remove the folder."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        # A relay may have started a daemon of its own after ours was killed; it and its children carry the mark.
        for _ in range(3):
            processes.kill(self.left())
        shutil.rmtree(self.folder, ignore_errors=True)

    # Looking at it, and telling it things

    def left(self) -> list[int]:
        """Every living process of this daemon: itself, relays, daemons they started, children that have L{mark}."""
        return processes.marked(f"{_MARK}={self._mark}")

    @property
    def mark(self) -> dict[str, str]:
        """The C{env} of a configured child, so that it is found even when it has lost its parent."""
        return {_MARK: self._mark}

    def running(self) -> int | None:
        """
        The process id of the daemon that answers now, whoever started it.

        @return: from the socket's peer credentials; L{None} when nobody answers.
        """
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(self.socket) != 0:
                return None
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return int.from_bytes(credentials[:4], sys.byteorder)

    def log(self) -> str:
        """All that it has written."""
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def configure(self, servers: Mapping[str, Any]) -> None:
        """Write the configuration file; a running daemon hears of it by L{reload}. C{$MARK} in it: see L{mark}."""
        text = json.dumps(
            {"mcpServers": servers, "mcpbridge": self._options} if self._options else {"mcpServers": servers}
        )
        with open(self._configuration, "w", encoding="utf-8") as file:
            file.write(text.replace('"$MARK"', json.dumps(self.mark)))

    def reload(self) -> None:
        """SIGHUP: read the configuration again."""
        os.kill(self.pid, signal.SIGHUP)

    def ask(self, verb: str) -> Any:
        """
        Put a question of an operator on the socket.

        @param verb: C{status}, for one.
        @return: the answer, parsed.
        """
        with socket.socket(socket.AF_UNIX) as line, contextlib.closing(_lines(line)) as answer:
            line.settimeout(10)
            line.connect(self.socket)
            line.sendall(f"CONTROL/1 {verb}\n".encode())
            return json.loads(answer.read())

    def relay(self, name: str, *options: str) -> list[str]:
        """The command that a client is given for a server."""
        return [sys.executable, "-m", "mcpbridge.stdio", *options, name]


def _lines(line: socket.socket) -> IO[bytes]:
    return line.makefile("rb")


def child(script: str, *arguments: str) -> dict[str, Any]:
    """
    The configuration of a stdio server that is a Python script of these tests.

    @param script: its file, without the suffix, in this folder.
    """
    return {
        "command": sys.executable,
        "args": [os.path.join(ROOT, "tests", "integration", f"{script}.py"), *arguments],
        "env": "$MARK",
    }
