"""
The official conformance suite: installed by name, run, and read.

It wants Node 22 or newer. Where the machine has none, one comes from npm as well.
"""

import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from unittest import SkipTest

from tests.integration.packages import FOLDER

VERSION = "0.2.0-alpha.12"
"""Fixed, as the requirement sets are: another version is another yardstick, and a change of C{expected.json}."""

NODE = "22.23.3"
"""What comes from npm where the machine's own is too old."""

_OLDEST_NODE = 22
_HERE = os.path.join(FOLDER, "conformance")
_PROGRAM = os.path.join(_HERE, "node_modules", "@modelcontextprotocol", "conformance")
_INSTALL_DEADLINE = 240
"""Seconds: about ten on a good line, Node included."""

_RESULT = re.compile(r"(?:server-)?(.+)-\d{4}-\d\d-\d\dT[\d-]+Z")

Outcomes = dict[str, tuple[str, ...]]
"""The checks that failed, by scenario."""


def _major(program: str) -> int:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.match(r"v(\d+)\.", said.stdout)
    return int(found[1]) if found and said.returncode == 0 else 0


def _node_package() -> str:
    """What npm calls the program itself, on this machine; it needs no script to be installed, unlike C{node}."""
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine())
    return f"node-{sys.platform}-{machine}"


def _node() -> str | None:
    """A program that is new enough."""
    packaged = os.path.join(_HERE, "node_modules", _node_package(), "bin", "node")
    for program in (shutil.which("node"), packaged):
        if program is not None and _major(program) >= _OLDEST_NODE:
            return program
    return None


def _is_installed() -> bool:
    try:
        with open(os.path.join(_PROGRAM, "package.json"), encoding="utf-8") as file:
            found: bool = json.load(file)["version"] == VERSION
    except (OSError, ValueError, KeyError):
        return False
    return found


def _npm(*packages: str) -> None:
    command = ["npm", "install", "--prefix", _HERE, "--no-audit", "--no-fund", "--save-exact", *packages]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_DEADLINE, stdin=subprocess.DEVNULL, cwd=_HERE
        )
    except subprocess.TimeoutExpired:
        raise SkipTest(f"npm install took more than {_INSTALL_DEADLINE} s") from None
    if done.returncode != 0:
        raise SkipTest(f"npm install failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")


def program() -> list[str]:
    """
    The command of the suite, which is installed first when it is missing.

    @raise SkipTest: it cannot be had here; the text says why.
    """
    if shutil.which("npm") is None:
        raise SkipTest("npm is not installed")
    os.makedirs(_HERE, exist_ok=True)
    with open(os.path.join(FOLDER, ".gitignore"), "w", encoding="utf-8") as file:
        file.write("*\n")
    # Several test processes may find it missing at the same moment.
    with open(os.path.join(_HERE, ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_installed():
            _npm(f"@modelcontextprotocol/conformance@{VERSION}")
        if _node() is None:
            _npm(f"{_node_package()}@{NODE}")
    node = _node()
    if node is None:
        raise SkipTest(f"npm did not install Node {NODE}")
    return [node, os.path.join(_PROGRAM, "dist", "index.js")]


def outcomes(folder: str) -> Outcomes:
    """
    What a run has left.

    @return: every scenario that told its checks; warnings are not failures.
    """
    found: Outcomes = {}
    for place, _, names in os.walk(folder):
        if "checks.json" not in names:
            continue
        name = _RESULT.fullmatch(os.path.relpath(place, folder))
        assert name is not None, f"not a result: {place}"
        with open(os.path.join(place, "checks.json"), encoding="utf-8") as file:
            checks = json.load(file)
        found[name[1]] = tuple(sorted({check["id"] for check in checks if check["status"] == "FAILURE"}))
    return found


def run(arguments: Sequence[str], folder: str, environment: Mapping[str, str], deadline: float) -> tuple[Outcomes, str]:
    """
    Run it.

    @param arguments: after the program's name.
    @param folder: where it may write.
    @param deadline: in seconds. What it has told by then counts.
    @return: what failed, and what it said.
    @raise SkipTest: it cannot be had here.
    """
    results = os.path.join(folder, "results")
    command = [*program(), *arguments, "--output-dir", results]
    with open(os.path.join(folder, "suite.log"), "w+b") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(environment), cwd=folder
        )
        try:
            process.wait(deadline)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.seek(0)
        said = log.read().decode("utf-8", "replace")
    return outcomes(results), said
