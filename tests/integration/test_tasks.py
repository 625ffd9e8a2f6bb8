"""
Tasks between clients and servers that speak of them differently, or not at all, with programs that we did not write.

Two servers have the same tools: one has tasks as of 2025-11-25, on the official TypeScript SDK 1.x; the other by the
extension C{io.modelcontextprotocol/tasks}, on the official Python SDK. Clients are the TypeScript SDK 1.x with its
experimental tasks, the official package C{ext-tasks} in both eras, and the Python SDK, which knows none. What a client
sees does not depend on which of the servers is behind the bridge; one test for each tool, client and server.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import Daemon, plain_environment
from tests.integration.packages import ROOT, package
from tests.integration.parity import saw

SESSION = "session"
EXTENSION = "extension"
EVERYTHING = "everything"

Outcomes = dict[str, Any]


def commands() -> dict[str, list[str]]:
    """How the servers are started."""
    script = os.path.join(ROOT, "tests", "conformance", "tasks_session.mjs")
    return {
        SESSION: ["node", script, package("@modelcontextprotocol/sdk")],
        EXTENSION: [sys.executable, "-m", "tests.conformance.tasks_extension", "stdio"],
        EVERYTHING: ["node", package("@modelcontextprotocol/server-everything", "dist", "index.js"), "stdio"],
    }


# What is called, and what comes of it


CALLS: dict[str, Any] = {
    "slow_compute": {"seconds": 0.3},
    "failing_job": {},
    "protocol_error_job": {},
    "confirm_delete": {"filename": "a.txt"},
    "multi_input": {},
    "test_tool_with_task": {},
}

GREETING: dict[str, Any] = {"greet": {"name": "Ada"}}
"""A tool that is no task."""

RESEARCH: dict[str, Any] = {"simulate-research-query": {"topic": "python", "ambiguous": True}}
"""Of server-everything: four seconds, and a question after two."""

SILENT = ("confirm_delete", "multi_input")
"""What ext-tasks waits for without an end in the session era, without the bridge as well: it never asks for the result
of a task that wants to know something, which is where the SDK's server asks (2025-11-25, Input Required Status)."""

_QUESTIONS = {
    "confirm_delete": ["Delete a.txt?"],
    "multi_input": ["Who are you?", "Who else?"],
    "test_tool_with_task": ["What is your name?"],
    "simulate-research-query": [
        'The research query "python" could have multiple interpretations. Please clarify what you\'re looking for:'
    ],
}

_TEXTS = {
    "slow_compute": "Computed it in 0.3 s",
    "failing_job": "The job failed",
    "confirm_delete": "Deleted a.txt",
    "multi_input": "Ada and Ada",
    "test_tool_with_task": "Hello, Ada!",
    "greet": "Hello, Ada!",
    "simulate-research-query": "# Research Report: python (programming)",
}

_BROKEN = {"error": -32603}


def _said(tool: str) -> Outcomes:
    return {"text": _TEXTS[tool], "isError": tool == "failing_job"} if tool in _TEXTS else _BROKEN


def in_session(tool: str) -> Outcomes:
    """What a client of the session dialect sees: each status once, its end, and the result that it fetches again."""
    if tool == "cancel":
        return {"status": "cancelled", "after": "cancelled", "again": {"error": -32602}, "result": True}
    if tool == "list":
        statuses = ["completed", "failed", "failed", "completed", "completed", "completed", "cancelled"]
        return {"statuses": statuses, "none": {"error": -32602}}
    # A result that says it is an error is a task that has failed (2025-11-25, Task Status).
    has_failed = tool in ("failing_job", "protocol_error_job")
    asks = tool in ("confirm_delete", "multi_input", "simulate-research-query")
    last = "input_required" if asks else "failed" if has_failed else "completed"
    said = _said(tool)
    return {
        "seen": ["working", last],
        "end": "failed" if has_failed else said,
        "result": said,
        "asked": _QUESTIONS.get(tool, []),
    }


def by_extension(tool: str) -> Outcomes:
    """What a client of the extension sees: a result that says it is an error is a result."""
    if tool == "cancel":
        return {"kind": "task", "status": "cancelled"}
    return {
        "kind": "immediate" if tool == "greet" else "task",
        "status": "failed" if tool == "protocol_error_job" else "completed",
        "end": _said(tool),
        "asked": _QUESTIONS.get(tool, []),
    }


def in_both(tool: str) -> Outcomes:
    """What ext-tasks makes of the session dialect: it does not fetch what a task has failed with."""
    if tool in ("failing_job", "protocol_error_job"):
        return {"kind": "task", "status": "failed", "end": {"error": None}, "asked": []}
    return by_extension(tool)


def without_tasks(tool: str) -> Outcomes:
    """What a client sees that knows no tasks: results."""
    if tool == "abandon":
        return {"given up": True, "cancelled": 1}
    if tool not in _TEXTS:
        return _BROKEN
    return {**_said(tool), "asked": _QUESTIONS.get(tool, [])}


# Runs


class Clients(SynchronousTestCase):
    """
    @cvar script: how the clients are run; its last argument is added.
    """

    _seen: ClassVar[dict[type["Clients"], Any]] = {}

    def command(self) -> list[str]:
        """What is run, without the request."""
        raise NotImplementedError

    def request(self) -> dict[str, Any]:
        """What it is told beside the ways."""
        return {}

    def ways(self, servers: Mapping[str, list[str]], daemon: Daemon) -> dict[str, Any]:
        """What each client is, by its name."""
        raise NotImplementedError

    def outcomes(self) -> dict[str, Outcomes]:
        """What every client saw; found out once."""
        kind = type(self)
        if kind not in self._seen:
            try:
                self._seen[kind] = self._travel()
            except Exception as error:  # noqa: BLE001 - raised again, for every test of the class
                self._seen[kind] = error
        seen = self._seen[kind]
        if isinstance(seen, BaseException):
            raise seen
        outcomes: dict[str, Outcomes] = seen
        return outcomes

    def _travel(self) -> dict[str, Outcomes]:
        servers = commands()
        configured = {
            name: {"command": command[0], "args": command[1:], "env": {"PYTHONPATH": ROOT}}
            for name, command in servers.items()
        }
        with Daemon(configured) as daemon:
            request = {**self.request(), "ways": self.ways(servers, daemon)}
            seen: dict[str, Outcomes] = saw(self.command(), request)
        return seen

    def check(self, way: str, tool: str, expected: Any) -> None:
        """A client saw this."""
        seen = self.outcomes()[way]
        found = seen.get(tool, seen)

        self.assertEqual(expected, {name: each for name, each in found.items() if name != "told"})


def relayed(daemon: Daemon, server: str, calls: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A client of the bridge."""
    return {
        "command": daemon.relay(server),
        "env": daemon.environment,
        "cwd": daemon.folder,
        "calls": dict(calls),
        **more,
    }


def direct(command: list[str], calls: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A client without the bridge."""
    return {"command": command, "env": plain_environment("/"), "cwd": ROOT, "calls": dict(calls), **more}


class TaskClients(Clients):
    """Clients that know tasks."""

    def command(self) -> list[str]:
        return ["node", os.path.join(ROOT, "tests", "integration", "sdk_tasks.mjs")]

    def request(self) -> dict[str, Any]:
        return {
            "sdk": package("@modelcontextprotocol/sdk"),
            "client": package("@modelcontextprotocol/client"),
            "tasks": package("@modelcontextprotocol/ext-tasks"),
        }

    def ways(self, servers: Mapping[str, list[str]], daemon: Daemon) -> dict[str, Any]:
        heard = {tool: given for tool, given in CALLS.items() if tool not in SILENT}
        all_calls = {**CALLS, **GREETING}
        return {
            "session_directly": direct(servers[SESSION], CALLS, kind="session"),
            "session_at_session": relayed(daemon, SESSION, CALLS, kind="session"),
            "session_at_extension": relayed(daemon, EXTENSION, CALLS, kind="session"),
            "session_at_everything": relayed(daemon, EVERYTHING, RESEARCH, kind="session"),
            "both_directly": direct(servers[SESSION], heard, kind="ext-session"),
            "both_at_session": relayed(daemon, SESSION, heard, kind="ext-session"),
            "both_at_extension": relayed(daemon, EXTENSION, heard, kind="ext-session"),
            "extension_directly": direct(servers[EXTENSION], all_calls, kind="ext"),
            "extension_at_extension": relayed(daemon, EXTENSION, all_calls, kind="ext"),
            "extension_at_session": relayed(daemon, SESSION, all_calls, kind="ext"),
            "extension_at_everything": relayed(daemon, EVERYTHING, RESEARCH, kind="ext"),
        }


class TasklessClients(Clients):
    """Clients that know none."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.integration.sdk_taskless"]

    def ways(self, servers: Mapping[str, list[str]], daemon: Daemon) -> dict[str, Any]:
        calls = {**CALLS, **GREETING, "abandon": {"seconds": 60}}
        refused = {**CALLS, **GREETING}
        return {
            "session_era_directly": direct(servers[SESSION], {"slow_compute": {"seconds": 0}}, mode="legacy"),
            "session_era_at_session": relayed(daemon, SESSION, calls, mode="legacy"),
            "session_era_at_extension": relayed(daemon, EXTENSION, calls, mode="legacy"),
            "session_era_at_everything": relayed(daemon, EVERYTHING, RESEARCH, mode="legacy"),
            "stateless_at_session": relayed(daemon, SESSION, calls, mode="auto"),
            "stateless_at_extension": relayed(daemon, EXTENSION, refused, mode="auto"),
            "stateless_at_everything": relayed(daemon, EVERYTHING, RESEARCH, mode="auto"),
        }


# Tests


def _add(case: type[Clients], way: str, tool: str, expected: Any) -> None:
    def test(self: Clients) -> None:
        self.check(way, tool, expected)

    test.__doc__ = f"{tool}: {way.replace('_', ' ')}."
    test.__name__ = f"test_{way}_{tool}".replace("-", "_")
    setattr(case, test.__name__, test)


class TaskTests(TaskClients):
    """Clients that know tasks."""


class TasklessTests(TasklessClients):
    """Clients that know none."""

    def test_directly(self) -> None:
        """Without the bridge such a tool is of no use to them."""
        found = self.outcomes()["session_era_directly"]["slow_compute"]

        self.assertTrue(found["isError"])
        self.assertIn("requires task augmentation", found["text"])

    def test_progress(self) -> None:
        """
        They hear of a task's state as of progress.

        Its first state is told by the server before it names the task, so whether that is heard is a matter of luck.
        """
        stages = ["Analyzing content...", 'Continuing with interpretation: "programming"...', "Generating report..."]
        seen = self.outcomes()
        ways = ("session_era_at_everything", "stateless_at_everything")

        told = [[each for each in seen[way]["simulate-research-query"]["told"] if each in stages] for way in ways]

        self.assertEqual([stages, stages], told)


for _tool in (*CALLS, "cancel", "list"):
    for _way in ("session_directly", "session_at_session", "session_at_extension"):
        _add(TaskTests, _way, _tool, in_session(_tool))
for _tool in (*CALLS, "cancel"):
    for _way in ("both_directly", "both_at_session", "both_at_extension"):
        if _tool not in SILENT:
            _add(TaskTests, _way, _tool, in_both(_tool))
for _tool in (*CALLS, *GREETING, "cancel"):
    for _way in ("extension_directly", "extension_at_extension", "extension_at_session"):
        _add(TaskTests, _way, _tool, by_extension(_tool))
for _tool in (*CALLS, *GREETING, "abandon"):
    for _way in ("session_era_at_session", "session_era_at_extension", "stateless_at_session"):
        _add(TasklessTests, _way, _tool, without_tasks(_tool))
for _tool in (*CALLS, *GREETING):
    # A server of the stateless era refuses such a client itself, as the extension wants it to.
    _is_free = _tool in ("slow_compute", "greet")
    _add(TasklessTests, "stateless_at_extension", _tool, without_tasks(_tool) if _is_free else {"error": -32021})
for _tool in RESEARCH:
    _add(TaskTests, "session_at_everything", _tool, in_session(_tool))
    _add(TaskTests, "extension_at_everything", _tool, by_extension(_tool))
    for _way in ("session_era_at_everything", "stateless_at_everything"):
        _add(TasklessTests, _way, _tool, without_tasks(_tool))
