"""
Programs from npm that the integration tests and benchmarks run, installed by name into C{.npm} at the top of the tree.

C{python -m tests.integration.packages} installs them all; a test that needs one installs it itself when it is missing,
and is skipped with the reason when that cannot be done here.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from unittest import SkipTest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""The top of the checkout."""

FOLDER = os.path.join(ROOT, ".npm")

VERSIONS = {
    "@modelcontextprotocol/client": "2.4.0",
    "@modelcontextprotocol/conformance": "0.2.0-alpha.12",
    "@modelcontextprotocol/ext-tasks": "0.2.2",
    "@modelcontextprotocol/sdk": "1.32.2",
    "@modelcontextprotocol/server-everything": "2026.8.31",
    "mcp-remote": "0.15.1",
}
"""Fixed, so that a run today and a run next year test the same thing; all work with Node 20 (the conformance suite with
C{tests/conformance/auth/older_node.mjs})."""

_INSTALL_DEADLINE = 240
"""Seconds: about six on a good line."""


def _installed(name: str) -> str | None:
    """The folder of a package that is there in the right version."""
    folder = os.path.join(FOLDER, "node_modules", *name.split("/"))
    try:
        with open(os.path.join(folder, "package.json"), encoding="utf-8") as file:
            version = json.load(file)["version"]
    except (OSError, ValueError, KeyError):
        return None
    return folder if version == VERSIONS[name] else None


def install() -> None:
    """
    Install all packages that are missing.

    @raise SkipTest: node or npm is not here, or npm failed; the text says which.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise SkipTest(f"{program} is not installed")
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, ".gitignore"), "w", encoding="utf-8") as file:
        file.write("*\n")
    # Several test processes may find them missing at the same moment.
    with open(os.path.join(FOLDER, ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if all(map(_installed, VERSIONS)):
            return
        wanted = [f"{name}@{version}" for name, version in VERSIONS.items()]
        command = ["npm", "install", "--prefix", FOLDER, "--no-audit", "--no-fund", "--save-exact", *wanted]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_INSTALL_DEADLINE, stdin=subprocess.DEVNULL, cwd=FOLDER
            )
        except subprocess.TimeoutExpired:
            raise SkipTest(f"npm install took more than {_INSTALL_DEADLINE} s") from None
        if done.returncode != 0:
            raise SkipTest(f"npm install failed: {_reason(done.stderr)}")


def _reason(said: str) -> str:
    """Why npm gave up: the first errors that it tells. Its last line only says where its log is."""
    told = [line.removeprefix("npm error").strip() for line in said.splitlines() if line.startswith("npm error")]
    return "; ".join([line for line in told if line][:3]) or said.strip()[-200:] or "no reason given"


def package(name: str, *path: str) -> str:
    """
    A file of a package, installed first when it is missing.

    @param name: one of L{VERSIONS}.
    @param path: the file below the package's folder.
    @raise SkipTest: it is not there and cannot be installed.
    """
    folder = _installed(name)
    if folder is None or shutil.which("node") is None:
        install()
        folder = _installed(name)
        if folder is None:
            raise SkipTest(f"npm did not install {name}")
    return os.path.join(folder, *path)


if __name__ == "__main__":
    try:
        install()
    except SkipTest as reason:
        sys.exit(f"npm packages are missing, tests that need them will be skipped: {reason}")
