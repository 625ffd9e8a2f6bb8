"""
The reference server in all its forms, those that have tasks beside it, and a daemon in front of them.
"""

import contextlib
import json
import sys
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from tests.conformance.wires import META, MODERN
from tests.integration.daemon import Daemon, plain_environment
from tests.integration.packages import ROOT
from tests.integration.parity import free_port, serving

NAME = "reference"
"""What the daemon calls it."""

TASKS = {"2025-11-25": "tests.conformance.tasks_session", MODERN: "tests.conformance.tasks_extension"}
"""The servers with tasks, by the revision that they speak."""

_WARM_DEADLINE = 30.0


@attrs.frozen
class Upstream:
    """
    One form of the reference server, or a server with tasks.

    @ivar transport: C{http}, C{sse} or C{stdio}.
    @ivar spoken: C{dual}, C{legacy} or a revision.
    @ivar has_tasks: it is the server with tasks in its place, of which there are only those of L{TASKS}.
    """

    transport: str
    spoken: str
    has_tasks: bool = False

    @property
    def title(self) -> str:
        """As the tables call it."""
        what = {"dual": "dual-era", MODERN: "modern"}.get(self.spoken, self.spoken)
        how = {"http": "HTTP", "sse": "HTTP+SSE", "stdio": "stdio"}[self.transport]
        return f"{what} over {how}"

    def command(self, *more: str) -> list[str]:
        """How it is started."""
        if self.has_tasks:
            return [sys.executable, "-m", TASKS[self.spoken], self.transport, *more]
        return [sys.executable, "-m", "tests.conformance.reference", self.transport, self.spoken, *more]

    @contextlib.contextmanager
    def running(self) -> Iterator[dict[str, Any]]:
        """
        Run it for as long as the block lasts, if it has to run by itself.

        @return: how it is configured.
        """
        with started(self.transport, self.command) as configured:
            yield configured


@contextlib.contextmanager
def started(transport: str, command: Callable[..., list[str]]) -> Iterator[dict[str, Any]]:
    """
    Run a server for as long as the block lasts, if it has to run by itself.

    @param command: how it is started, given the port if it needs one.
    @return: how it is configured.
    """
    if transport == "stdio":
        program, *arguments = command()
        yield {"command": program, "args": arguments, "env": {"PYTHONPATH": ROOT}}
        return
    port = free_port()
    with serving(command(str(port)), plain_environment("/"), port):
        path = "/sse" if transport == "sse" else "/mcp"
        yield {"type": transport, "url": f"http://127.0.0.1:{port}{path}"}


SUITE_UPSTREAMS = (
    Upstream("http", "dual"),
    Upstream("http", MODERN),
    Upstream("http", "legacy"),
    Upstream("sse", "legacy"),
    Upstream("stdio", "dual"),
    Upstream("stdio", MODERN),
    Upstream("stdio", "legacy"),
)
"""The official suite runs against each of them."""


@contextlib.contextmanager
def bridged(servers: dict[str, Any], **options: Any) -> Iterator[tuple[Daemon, str]]:
    """
    Run a daemon with its HTTP endpoint open to all of this machine.

    @return: the daemon, and the URL below which its servers are.
    """
    port = free_port()
    environment = {"MCPBRIDGE_HTTP": f"127.0.0.1:{port}", "MCPBRIDGE_HTTP_AUTH": "none"}
    with Daemon(servers, options=options or None, environment=environment) as daemon:
        yield daemon, f"http://127.0.0.1:{port}/mcp"


def warm(url: str) -> None:
    """
    Call a tool as the suite's client with other capabilities than usual. The suite gives the first message of its
    stream 0.6 s, and a child of Python takes longer than that to start.
    """
    meta = {
        f"{META}protocolVersion": MODERN,
        f"{META}clientInfo": {"name": "conformance-client", "version": "1.0.0"},
        f"{META}clientCapabilities": {"elicitation": {}},
    }
    params = {"name": "test_simple_text", "arguments": {}, "_meta": meta}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    request = urllib.request.Request(
        url,
        # Byte for byte as the suite writes it: who says the same of itself is the same client.
        json.dumps(call, separators=(",", ":")).encode(),
        {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": MODERN,
            "Mcp-Method": "tools/call",
            "Mcp-Name": "test_simple_text",
        },
    )
    with urllib.request.urlopen(request, timeout=_WARM_DEADLINE) as answer:
        answer.read()
