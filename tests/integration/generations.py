"""
The official SDKs, each of which goes over all servers and all ways at once, in one process, once.

A way leads to a server directly, through a relay (C{bridge}), or through the daemon's HTTP endpoint; servers on HTTP
are reached by all three.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from tests.integration.daemon import Daemon, plain_environment
from tests.integration.packages import ROOT, package
from tests.integration.parity import free_port, saw, serving
from tests.integration.sdk_peer import steady
from tests.integration.sdk_scenarios import SESSION_ERA
from tests.integration.wheels import wheel

Seen = dict[str, dict[str, dict[str, Any]]]
"""What was seen, by server, way and scenario."""


def _everything(kind: str, _: int) -> list[str]:
    program = package("@modelcontextprotocol/server-everything", "dist", "index.js")
    return ["node", program, {"http": "streamableHttp"}.get(kind, kind)]


def _own(kind: str, port: int) -> list[str]:
    return [sys.executable, "-m", "tests.integration.sdk_server", kind, str(port)]


def _reference(kind: str, port: int) -> list[str]:
    return [sys.executable, "-m", "tests.conformance.reference", kind, "dual", str(port)]


_COMMANDS: dict[str, Callable[[str, int], list[str]]] = {
    "everything": _everything,
    "sdk": _own,
    "reference": _reference,
}
"""How the server of each table is started, with a transport and a port."""


@attrs.define
class Generation:
    """
    One SDK.

    @ivar script: what it is run by, with a request as L{tests.integration.sdk_session} takes it as its last argument.
        Called when it is needed, since it may have to be installed.
    @ivar modes: what it can do with each server, by the name of the server.
    @ivar apart: what it leaves out, by mode and server.
    """

    script: Callable[[], tuple[list[str], dict[str, str], dict[str, Any]]]
    modes: Mapping[str, tuple[str, ...]]
    apart: Mapping[tuple[str, str], frozenset[str]]
    _found: Seen | Exception | None = None

    def seen(self) -> Seen:
        """What it saw; found out once."""
        if self._found is None:
            try:
                self._found = self._travel()
            except Exception as error:  # noqa: BLE001 - raised again, for every test
                self._found = error
        if isinstance(self._found, Exception):
            raise self._found
        return self._found

    def _travel(self) -> Seen:
        command, environment, more = self.script()
        local = free_port()
        endpoint = {"MCPBRIDGE_HTTP": f"127.0.0.1:{local}", "MCPBRIDGE_HTTP_AUTH": "none"}
        with contextlib.ExitStack() as stack:
            direct = {server: stack.enter_context(_started(server)) for server in self.modes}
            configured = {server: configuration for server, (configuration, _) in direct.items()}
            daemon = stack.enter_context(Daemon(configured, environment=endpoint))
            ways = {}
            for server, modes in self.modes.items():
                relay = {"kind": "stdio", "command": daemon.relay(server), "env": daemon.environment}
                reached = {"direct": direct[server][1], "bridge": {**relay, "cwd": daemon.folder}}
                if reached["direct"]["kind"] == "http":
                    reached["endpoint"] = {"kind": "http", "url": f"http://127.0.0.1:{local}/mcp/{server}"}
                table = server.partition("-")[0]
                for mode in modes:
                    own = {"table": table, "mode": mode, "without": sorted(self.apart.get((mode, server), ()))}
                    ways.update({(server, mode, way): {**how, **own} for way, how in reached.items()})
            request = {**more, "ways": {" ".join(key): way for key, way in ways.items()}}
            return _sorted(saw(command, request, environment))


@contextlib.contextmanager
def _started(server: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """
    Run a server, if it has to run by itself.

    @param server: its table and transport, C{"everything-http"}.
    @return: how a daemon is to be configured, and how an SDK reaches it.
    """
    table, _, kind = server.partition("-")
    port = 0 if kind == "stdio" else free_port()
    given = {"GIVEN": "yes", "PYTHONPATH": ROOT, "PORT": str(port)}
    command = _COMMANDS[table](kind, port)
    environment = {**plain_environment("/"), **given}
    if kind == "stdio":
        program, *arguments = command
        configured = {"command": program, "args": arguments, "env": given}
        yield configured, {"kind": kind, "command": command, "env": environment}
        return
    url = f"http://127.0.0.1:{port}/mcp"
    with serving(command, environment, port):
        yield {"type": kind, "url": url}, {"kind": kind, "url": url}


def _sorted(found: dict[str, Any]) -> Seen:
    """By server and way; the way has its mode before it, if it is not that of sessions."""
    seen: Seen = {}
    for key, outcomes in found.items():
        server, mode, way = key.split(" ")
        steadied = {name: steady(outcome) for name, outcome in outcomes.items()}
        seen.setdefault(server, {})[way if mode == "legacy" else f"{mode} {way}"] = steadied
    return seen


def _typescript(number: int, name: str) -> tuple[list[str], dict[str, str], dict[str, Any]]:
    script = os.path.join(ROOT, "tests", "integration", "sdk_session.mjs")
    return ["node", script], {}, {"sdk": {"generation": number, "folder": package(name)}}


def _python_1() -> tuple[list[str], dict[str, str], dict[str, Any]]:
    path = os.pathsep.join([wheel("mcp"), ROOT])
    return [sys.executable, "-m", "tests.integration.sdk_first_session"], {"PYTHONPATH": path}, {}


_LEGACY = dict.fromkeys(("everything-stdio", "everything-http", "sdk-stdio", "sdk-http"), ("legacy",))
_ALL = (*_LEGACY, "reference-stdio", "reference-http")
_WITHOUT_SESSION = {
    # The server has nothing of the stateless era's for these.
    "sdk": SESSION_ERA,
    # The stateless era has no words for these, or (tasks, the error that asks for a visit) other words.
    "everything": frozenset(
        {"elicitation_url_required", "logging_level", "ping", "roots_changed", "task", "unknown_notification"}
    ),
}

PYTHON_1 = Generation(
    _python_1,
    _LEGACY,
    # It tells no server that a call was given up.
    {("legacy", server): frozenset({"cancellation"}) for server in ("sdk-stdio", "sdk-http")},
)
"""PyPI's C{mcp} 1.x."""

TYPESCRIPT_1 = Generation(
    lambda: _typescript(1, "@modelcontextprotocol/sdk"),
    _LEGACY,
    # It resumes its streams, and the server repeats what was said on all of them: directly, old questions come again.
    {("legacy", "everything-http"): frozenset({"task"})},
)
"""npm's C{@modelcontextprotocol/sdk}."""

TYPESCRIPT_2 = Generation(
    lambda: _typescript(2, "@modelcontextprotocol/client"),
    {server: ("legacy", "auto") if server in _LEGACY else ("auto",) for server in _ALL},
    {("auto", server): _WITHOUT_SESSION.get(server.partition("-")[0], frozenset()) for server in _ALL},
)
"""npm's C{@modelcontextprotocol/client}; C{auto} is its name for the mode that begins with C{server/discover}."""
