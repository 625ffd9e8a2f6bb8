"""
What is measured: the direct connection, the bridge, mcp-remote; each opens channels to the same upstream.

The bridge is a real daemon started once for the run; only what it and its relays burn counts as the bridge's.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any, Protocol
from unittest import SkipTest

from benchmarks.channels import Channel, HTTPChannel, PipeChannel, open_session
from tests.integration import processes
from tests.integration.daemon import Daemon, plain_environment
from tests.integration.packages import ROOT, package


class Upstream:
    """The upstream's process: C{with Upstream() as upstream: ...}."""

    def __enter__(self) -> "Upstream":
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.upstream"], cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def url(self, path: str) -> str:
        """The URL of one of its faces."""
        return f"http://127.0.0.1:{self.port}{path}"

    def requests(self, path: str) -> int:
        """How many requests one of its faces has had."""
        with urllib.request.urlopen(self.url("/stats")) as answer:
            counted: int = json.loads(answer.read())["requests"].get(path, 0)
            return counted


class Subject(Protocol):
    """Something that takes a client to the upstream."""

    name: str

    def connect(self, path: str) -> Channel:
        """A new client, not yet initialized."""

    def cpu(self, channels: Sequence[Channel]) -> int:
        """Nanoseconds burnt so far by what stands between these clients and the upstream."""


class Direct:
    """A raw socket straight to the upstream."""

    name = "direct"

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def connect(self, path: str) -> Channel:
        return HTTPChannel(self._upstream.port, path)

    def cpu(self, channels: Sequence[Channel]) -> int:
        return 0


class Bridge:
    """Relay and daemon."""

    name = "mcpbridge"

    def __init__(self, upstream: Upstream, daemon: Daemon) -> None:
        self._upstream = upstream
        self.daemon = daemon

    def connect(self, path: str) -> Channel:
        return PipeChannel(self.daemon.relay(server_name(path)), self.daemon.environment, self.daemon.folder)

    def cpu(self, channels: Sequence[Channel]) -> int:
        relays = sum(processes.cpu_nanoseconds(channel.pid) for channel in channels if channel.pid)
        return relays + processes.cpu_nanoseconds(self.daemon.pid)

    def warm(self, path: str) -> None:
        """Let the daemon learn of a server, and leave a session that is idle."""
        channel = self.connect(path)
        try:
            open_session(channel)
        finally:
            channel.close()


class Remote:
    """mcp-remote from npm, one process for each client."""

    name = "mcp-remote"

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._script = package("mcp-remote", "dist", "proxy.js")
        node = shutil.which("node")
        assert node is not None
        self._node = node
        self._folder = tempfile.mkdtemp(prefix="mcp-remote-")

    def connect(self, path: str) -> Channel:
        command = [self._node, self._script, self._upstream.url(path), "--transport", "http-only", "--allow-http"]
        environment = {**plain_environment(self._folder), "MCP_REMOTE_CONFIG_DIR": self._folder}
        return PipeChannel(command, environment, self._folder)

    def cpu(self, channels: Sequence[Channel]) -> int:
        return sum(processes.cpu_nanoseconds(channel.pid) for channel in channels if channel.pid)

    def discard(self) -> None:
        """Remove what it keeps."""
        shutil.rmtree(self._folder, ignore_errors=True)


def server_name(path: str) -> str:
    """The name in the daemon's configuration of one of the upstream's faces."""
    return path.strip("/").replace("/", "-")


class Bench:
    """
    Everything that benchmarks need, started once.

    @ivar remote: L{None} when npm or the package is missing; then the reason is in L{missing}.
    """

    PATHS = ("/sse/40/0", "/json/40/0", "/sse/40/80", "/sse/1000/0", "/stateless/40/0")

    def __init__(self, upstream: Upstream, daemon: Daemon) -> None:
        self.upstream = upstream
        self.daemon = daemon
        self.direct = Direct(upstream)
        self.bridge = Bridge(upstream, daemon)
        self.remote: Remote | None = None
        self.missing = ""
        try:
            self.remote = Remote(upstream)
        except SkipTest as reason:
            self.missing = str(reason)

    @property
    def subjects(self) -> list[Subject]:
        """All subjects, in the order in which a round takes them."""
        return [self.direct, self.bridge, *([self.remote] if self.remote else [])]

    @classmethod
    @contextlib.contextmanager
    def open(cls) -> Iterator["Bench"]:
        """Start upstream and daemon; end them with the block."""
        with Upstream() as upstream, Daemon(servers(upstream, cls.PATHS)) as daemon:
            bench = cls(upstream, daemon)
            try:
                yield bench
            finally:
                if bench.remote is not None:
                    bench.remote.discard()


def servers(upstream: Upstream, paths: Sequence[str]) -> dict[str, Any]:
    """The C{mcpServers} object for faces of the upstream."""
    return {server_name(path): {"type": "http", "url": upstream.url(path)} for path in paths}


def bare_python() -> int:
    """Nanoseconds of CPU of C{python -c pass}, to its end, in the virtual environment of the bridge."""
    process = os.posix_spawn(sys.executable, [sys.executable, "-c", "pass"], plain_environment("/"))
    _, _, usage = os.wait4(process, 0)
    return int((usage.ru_utime + usage.ru_stime) * 1e9)
