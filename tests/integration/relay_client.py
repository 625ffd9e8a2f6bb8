"""
Relays, clients and daemons for the tests: real processes, real pipes, a deadline for everything.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

#: Seconds after which something that should have happened has not.
DEADLINE = 30.0

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_ECHO = "tests.integration.echo_daemon"
# A relay that starts the tests' daemon where it would start the real one.
_WITH_OTHER_PYTHON = "import sys; sys.executable = {!r}; from mcpbridge.stdio import main; main()"


def until(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    """Wait for something to become true, and give it back."""
    end = time.monotonic() + deadline
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"within {deadline:g} s: {what}")
        time.sleep(0.01)


class Client:
    """One client with a relay of its own."""

    def __init__(self, place: Place, process: subprocess.Popen[bytes], stdin: int, stdout: int) -> None:
        self.place = place
        self.process = process
        self.stdin = stdin
        self.stdout = stdout
        self._heard = b""

    def write(self, data: bytes) -> None:
        """Bytes, as they are."""
        while data:
            data = data[os.write(self.stdin, data) :]

    def ask(self, request_id: Any, method: str, **params: Any) -> None:
        """A request."""
        self.write(
            json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode() + b"\n"
        )

    def hear_line(self, deadline: float = DEADLINE) -> bytes:
        """The next line with its newline; empty at the end."""
        end = time.monotonic() + deadline
        parts = [self._heard]
        while b"\n" not in parts[-1]:
            if not select.select([self.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                raise AssertionError(f"nothing was said within {deadline:g} s, after {b''.join(parts)[:200]!r}")
            data = os.read(self.stdout, 1 << 20)
            if not data:
                self._heard = b""
                return b"".join(parts)
            parts.append(data)
        line, newline, self._heard = b"".join(parts).partition(b"\n")
        return line + newline

    def hear(self, deadline: float = DEADLINE) -> Any:
        """The next message."""
        return json.loads(self.hear_line(deadline))

    def await_bytes(self) -> None:
        """Wait until something is said, and leave it there."""
        until(lambda: not self.silent(0), "something is said")

    def silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing more is said."""
        return not self._heard and not select.select([self.stdout], [], [], seconds)[0]

    def echo(self, request_id: Any = "echo") -> Any:
        """One round."""
        self.ask(request_id, "echo", text="hello")
        return self.hear()

    def close_stdin(self) -> None:
        """Say no more."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def status(self, deadline: float = DEADLINE) -> int:
        """How the relay ended."""
        return self.process.wait(deadline)

    def complaint(self) -> str:
        """What it said on stderr."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def end(self) -> None:
        """Whatever the state."""
        self.close_stdin()
        self.process.kill()
        self.process.wait(DEADLINE)
        if self.process.stderr is not None:
            self.process.stderr.close()
        if self.stdout >= 0:
            os.close(self.stdout)
            self.stdout = -1


class Place:
    """A directory with a socket and a state of its own, and all processes that use it."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="relay-")
        self.socket = f"{self.path}/run/m.sock"
        self.log = f"{self.path}/state/daemon.log"
        self.python = f"{self.path}/python"
        self._clients: list[Client] = []
        self._daemons: list[subprocess.Popen[bytes]] = []
        with open(self.python, "w") as file:
            file.write(f"#!/bin/sh\necho started >>{self.path}/starts\nexec {sys.executable} -m {_ECHO}\n")
        os.chmod(self.python, 0o700)  # ours alone
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": self.path,
            "PYTHONPATH": ROOT,
            "MCPBRIDGE_SOCKET": self.socket,
            "MCPBRIDGE_STATE_DIR": f"{self.path}/state",
        }

    def daemon(self) -> subprocess.Popen[bytes]:
        """Start one, and wait until it listens."""
        before = self.daemon_pids()
        process = subprocess.Popen(
            [sys.executable, "-m", _ECHO],
            env=self.environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open(f"{self.path}/daemon.stderr", "ab"),  # noqa: SIM115  # for as long as it runs
        )
        self._daemons.append(process)
        until(lambda: self.connectable() and self.daemon_pids() != before, "the daemon listens")
        return process

    def relay(self, server: str = "echo", *, starts: bool = False, kind: str = "pipe", **more: Any) -> Client:
        """Start a relay with a client at its other end."""
        command = [sys.executable, "-m", "mcpbridge.stdio", "--no-start"]
        if starts:
            command = [sys.executable, "-c", _WITH_OTHER_PYTHON.format(self.python)]
        if kind == "pipe":
            (its_stdin, stdin), (stdout, its_stdout) = os.pipe(), os.pipe()
        else:
            first, second = socket.socketpair(), socket.socketpair()
            its_stdin, stdin = (end.detach() for end in first)
            its_stdout, stdout = (end.detach() for end in second)
        process = subprocess.Popen(
            [*command, server],
            env={**self.environment, **more.pop("env", {})},
            cwd=ROOT,
            stdin=its_stdin,
            stdout=its_stdout,
            stderr=subprocess.PIPE,
            **more,
        )
        os.close(its_stdin)
        os.close(its_stdout)
        client = Client(self, process, stdin, stdout)
        self._clients.append(client)
        return client

    def connectable(self) -> bool:
        """Whether somebody listens."""
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(self.socket) == 0

    def daemon_pids(self) -> set[int]:
        """Who holds the lock, by its own account."""
        try:
            with open(self.socket + ".lock") as file:
                return {int(file.read() or 0)} - {0}
        except FileNotFoundError:
            return set()

    def starts(self) -> int:
        """How many daemons relays have started."""
        try:
            with open(f"{self.path}/starts") as file:
                return len(file.readlines())
        except FileNotFoundError:
            return 0

    def end(self) -> None:
        """Leave nothing."""
        for client in self._clients:
            client.end()
        for daemon in self._daemons:
            daemon.kill()
            daemon.wait(DEADLINE)
        for pid in self.daemon_pids():
            if os.path.exists(f"/proc/{pid}") and b"echo_daemon" in _command_line(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.path)


def _command_line(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""
