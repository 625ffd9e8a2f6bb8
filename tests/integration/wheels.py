"""
Packages from PyPI that cannot share the virtual environment with what is in it, installed by name into folders of their
own in C{.pypi} at the top of the tree.

C{python -m tests.integration.wheels} installs them all; a test that needs one installs it itself when it is missing,
and is skipped with the reason when that cannot be done here.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from unittest import SkipTest

from tests.integration.packages import ROOT

FOLDER = os.path.join(ROOT, ".pypi")

VERSIONS = {"mcp": "1.30.0"}
"""Fixed, as those of npm are. C{mcp}: the last of 1.x."""

_INSTALL_DEADLINE = 240
"""Seconds: about ten on a good line."""

_COMPLETE = "complete"
"""A file that is there when all the others are."""


def _folder(name: str) -> str:
    # What is compiled is so for one Python.
    return os.path.join(FOLDER, f"{name}-{VERSIONS[name]}-{sys.implementation.cache_tag}")


def _installed(name: str) -> bool:
    return os.path.exists(os.path.join(_folder(name), _COMPLETE))


def install(name: str) -> None:
    """
    Install a package and what it needs, unless it is there.

    @raise SkipTest: pip failed; the text says why.
    """
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, ".gitignore"), "w", encoding="utf-8") as file:
        file.write("*\n")
    # Several test processes may find it missing at the same moment.
    with open(os.path.join(FOLDER, ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _installed(name):
            return
        folder = _folder(name)
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        try:
            done = subprocess.run(
                [*command, "--target", folder, f"{name}=={VERSIONS[name]}"],
                capture_output=True,
                text=True,
                timeout=_INSTALL_DEADLINE,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise SkipTest(f"pip install {name} took more than {_INSTALL_DEADLINE} s") from None
        if done.returncode != 0:
            raise SkipTest(f"pip install {name} failed: {_reason(done.stderr)}")
        with open(os.path.join(folder, _COMPLETE), "w", encoding="utf-8") as file:
            file.write(f"{name} {VERSIONS[name]}\n")


def _reason(said: str) -> str:
    """Why pip gave up: the errors that it tells."""
    told = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR:")]
    return "; ".join(told[:3]) or said.strip()[-200:] or "no reason given"


def wheel(name: str) -> str:
    """
    The folder that has to be on the path for a package, which is installed first when it is missing.

    @param name: one of L{VERSIONS}.
    @raise SkipTest: it is not there and cannot be installed.
    """
    if not _installed(name):
        install(name)
    return _folder(name)


if __name__ == "__main__":
    try:
        for each in VERSIONS:
            install(each)
    except SkipTest as reason:
        sys.exit(f"PyPI packages are missing, tests that need them will be skipped: {reason}")
