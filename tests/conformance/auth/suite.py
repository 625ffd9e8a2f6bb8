"""
The official conformance suite as a program: runs one of its scenarios for clients against the bridge, and reads what it
found.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import attrs

from tests.integration.daemon import plain_environment
from tests.integration.packages import ROOT, package

PACKAGE = "@modelcontextprotocol/conformance"

CLIENT_DEADLINE = 30
"""Seconds that the client under test has for one scenario: two or three on a quiet machine. It ends itself then."""

_SUITE_DEADLINE = CLIENT_DEADLINE + 5
"""Seconds after which the suite ends the client, should that not have ended itself."""

_DEADLINE = _SUITE_DEADLINE + 5
"""Seconds for the suite."""

_LISTED = re.compile(r"^\s*- (auth/\S+) \[([^\]]+)\]$", re.MULTILINE)
_BAD = ("FAILURE", "WARNING")

EXTENSION = "extension"
"""What the suite calls scenarios that belong to no revision."""


@attrs.frozen
class Verdict:
    """
    What the suite says of one scenario.

    @ivar failed: the checks that failed or were warned of, each once, sorted; and what befell the whole.
    @ivar checked: how many checks there were, good or bad.
    @ivar told: what the client, its daemon and the suite wrote, for whoever has to find out.
    """

    failed: tuple[str, ...]
    checked: int = 0
    told: str = attrs.field(default="", eq=False, repr=False)


def verdict(checks: object, status: int, told: str) -> Verdict:
    """
    @param checks: what is in C{checks.json}; L{None}: there is none.
    @param status: the suite's exit status.
    """
    if not isinstance(checks, list):
        return Verdict(("the suite came to no verdict",), 0, told)
    counted = [(str(check["id"]), check["status"]) for check in checks if check["status"] in (*_BAD, "SUCCESS")]
    failed = sorted({name for name, how in counted if how in _BAD})
    if status != 0 and not failed:
        failed.append("the client failed")
    if not counted:
        failed.append("nothing was checked")
    return Verdict(tuple(failed), len(counted), told)


def scenarios() -> Mapping[str, list[str]]:
    """
    @return: the names of all authorization scenarios for clients by the revisions that they are for.
    @raise SkipTest: the suite cannot be had here.
    """
    done = subprocess.run(
        _command("list"), capture_output=True, text=True, timeout=_DEADLINE, env=plain_environment(ROOT), check=True
    )
    found: dict[str, list[str]] = {}
    for name, revisions in _LISTED.findall(done.stdout):
        for revision in revisions.split(","):
            found.setdefault(revision, []).append(name)
    return found


def run(scenario: str, revision: str) -> Verdict:
    """
    Run one scenario, with a daemon and a relay of its own.

    @param scenario: its name, C{auth/...}.
    @param revision: of the protocol; or L{EXTENSION}.
    @raise SkipTest: the suite cannot be had here.
    """
    folder = tempfile.mkdtemp(prefix="mcpbridge-suite-")
    try:
        return _run(scenario, revision, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(scenario: str, revision: str, folder: str) -> Verdict:
    client = shlex.join([sys.executable, "-m", "tests.conformance.auth.client"])
    options = ["--command", client, "--scenario", scenario, "--timeout", str(_SUITE_DEADLINE * 1000), "-o", folder]
    if revision != EXTENSION:
        options += ["--spec-version", revision]
    told_path = os.path.join(folder, "told")
    with open(told_path, "wb") as told:
        suite = subprocess.Popen(
            _command("client", *options),
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            cwd=folder,
            env=plain_environment(folder),
            start_new_session=True,
        )
        try:
            status = suite.wait(_DEADLINE)
        except subprocess.TimeoutExpired:
            status = -signal.SIGKILL
        finally:
            # Itself if it hangs, and a client that outlived it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(suite.pid, signal.SIGKILL)
            suite.wait()
    # The suite repeats what the client wrote, and all that passed between them; its last words are enough.
    _, results, last_words = _text(told_path).rpartition("Test Results:")
    return verdict(_checks(folder), status, _text(_below(folder, "stderr.txt")) + results + last_words)


def _command(*arguments: str) -> list[str]:
    program = package(PACKAGE, "dist", "index.js")
    younger = os.path.join(ROOT, "tests", "conformance", "auth", "older_node.mjs")
    return ["node", "--import", f"file://{younger}", program, *arguments]


def _below(folder: str, name: str) -> str:
    """The suite makes a folder of its own, named by the scenario and the time."""
    return next((os.path.join(at, name) for at, _, names in os.walk(folder) if name in names), "")


def _checks(folder: str) -> Any:
    try:
        return json.loads(_text(_below(folder, "checks.json")))
    except ValueError:
        return None


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
