"""
The official suite's scenarios of the tasks extension, against servers that have tasks, with the bridge before them.
"""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs

from tests.conformance import suite
from tests.conformance.runs import EXPECTED, Seen
from tests.conformance.upstreams import bridged, started
from tests.conformance.wires import MODERN
from tests.integration.daemon import Daemon, plain_environment
from tests.integration.packages import ROOT, package

SCENARIOS = EXPECTED.unserved[MODERN]
"""What the reference server of the other scenarios does not do is all of tasks."""

DEADLINE = 60.0
"""Seconds for one scenario: five when nothing else runs here. Most of that is jobs that take their time."""

_AT_ONCE = 5
_NAME = "tasks"


@attrs.frozen
class TaskServer:
    """
    A server.

    @ivar transport: C{http} or C{stdio}.
    @ivar dialect: C{session}, the tasks of 2025-11-25, or C{extension}.
    @ivar is_bridged: with the bridge before it.
    """

    transport: str
    dialect: str
    is_bridged: bool = True

    @property
    def title(self) -> str:
        """As C{expected.json} calls it."""
        how = {"http": "HTTP", "stdio": "stdio"}[self.transport]
        return f"tasks of the {self.dialect} over {how}{'' if self.is_bridged else ', directly'}"

    def command(self, *port: str) -> list[str]:
        """How it is started."""
        if self.dialect == "session":
            script = f"{ROOT}/tests/conformance/tasks_session.mjs"
            return ["node", script, package("@modelcontextprotocol/sdk"), *port]
        return [sys.executable, "-m", "tests.conformance.tasks_extension", self.transport, *port]

    @contextlib.contextmanager
    def configured(self) -> Iterator[dict[str, Any]]:
        """
        Run it for as long as the block lasts, if it has to run by itself.

        @return: how it is configured.
        """
        with started(self.transport, self.command) as configured:
            yield configured

    @contextlib.contextmanager
    def bridged(self) -> Iterator[tuple[Daemon, str]]:
        """
        Run it, and a daemon before it.

        @return: the daemon, and the server's URL there.
        """
        with self.configured() as configured, bridged({_NAME: configured}) as (daemon, base):
            yield daemon, f"{base}/{_NAME}"

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """
        Run it for as long as the block lasts.

        @return: the URL where the suite finds it.
        """
        if self.is_bridged:
            with self.bridged() as (_, url):
                yield url
            return
        with self.configured() as configured:
            yield configured["url"]


def tasks_leg(server: TaskServer) -> dict[str, Seen]:
    """
    Every scenario, several at once.

    @return: by scenario.
    @raise SkipTest: the suite, or the server, cannot be had here.
    """
    suite.program()
    folder = tempfile.mkdtemp(prefix="mcpbridge-suite-")
    try:
        with server.serving() as url, ThreadPoolExecutor(_AT_ONCE) as pool:

            def run(scenario: str) -> Seen:
                place = tempfile.mkdtemp(dir=folder)
                # An extension is of no revision, so the suite has to be told that this one is meant.
                arguments = ["--url", url, "--scenario", scenario, "--spec-version", MODERN, "--force"]
                return suite.run(["server", *arguments], place, plain_environment(place), DEADLINE)

            return dict(zip(SCENARIOS, pool.map(run, SCENARIOS), strict=True))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
