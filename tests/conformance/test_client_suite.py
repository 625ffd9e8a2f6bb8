"""
The official client suite, what it has of MCP, with the bridge's relay as the client: whatever it looks at in a client
(headers, metadata, resumption, retries, questions) is the bridge's work.

The program behind the relay (L{tests.conformance.host}) speaks the revision of the scenario, and the other era as well
where a scenario is about what arrives and not about how it is said. Sessions end with their client here: the suite
waits for all connections to be closed.
"""

import shutil
import sys
import tempfile
from typing import ClassVar

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.conformance import expected, suite
from tests.integration.daemon import Daemon
from tests.integration.packages import ROOT

EXPECTED = expected.read()

RUN_DEADLINE = 30.0
"""Seconds for one scenario: two when nothing else runs here."""


@attrs.frozen
class Run:
    """
    One scenario.

    @ivar revision: of the scenario's server.
    @ivar spoken: by the client behind the relay.
    """

    scenario: str
    revision: str
    spoken: str


RUNS = tuple(
    Run(scenario, revision, spoken)
    for revision, by_spoken in EXPECTED.client.items()
    for spoken, scenarios in by_spoken.items()
    for scenario in scenarios
)


class ClientSuite(SynchronousTestCase):
    """One daemon serves all scenarios, one after the other."""

    _seen: ClassVar[dict[Run, tuple[suite.Outcomes, str]]] = {}
    _failure: ClassVar[BaseException | None] = None

    def results(self) -> dict[Run, tuple[suite.Outcomes, str]]:
        """What every run showed, and what the suite said; found out once."""
        kind = type(self)
        if not kind._seen and kind._failure is None:
            try:
                kind._seen.update(self._measure())
            except Exception as error:  # noqa: BLE001 - raised again, for every test of the class
                kind._failure = error
        if kind._failure is not None:
            raise kind._failure
        return kind._seen

    def _measure(self) -> dict[Run, tuple[suite.Outcomes, str]]:
        suite.program()
        with Daemon({}, options={"defaults": {"session": "per-client"}}) as daemon:
            return {run: self._one(run, daemon) for run in RUNS}

    def _one(self, run: Run, daemon: Daemon) -> tuple[suite.Outcomes, str]:
        folder = tempfile.mkdtemp(prefix="mcpbridge-suite-")
        command = f"{sys.executable} -m tests.conformance.host"
        arguments = ["client", "--command", command, "--scenario", run.scenario, "--spec-version", run.revision]
        environment = {**daemon.environment, "PYTHONPATH": ROOT, "MCPBRIDGE_TEST_SPOKEN": run.spoken}
        try:
            return suite.run(arguments, folder, environment, RUN_DEADLINE)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def check(self, run: Run) -> None:
        """A scenario ran, and no check of it failed."""
        seen, said = self.results()[run]

        self.assertEqual({run.scenario: ()}, seen, said[-3000:])


def every_run() -> type[ClientSuite]:
    """A test case of all runs."""
    members: dict[str, object] = {"__doc__": "The client suite.", "__module__": __name__}
    for run in RUNS:

        def test(self: ClientSuite, run: Run = run) -> None:
            self.check(run)

        test.__doc__ = f"The scenario {run.scenario} of {run.revision} passes, the client speaking {run.spoken}."
        test.__name__ = f"test_{run.revision}_spoken_{run.spoken}_{run.scenario}".replace("-", "_")
        members[test.__name__] = test
    return type("ClientSuiteTests", (ClientSuite,), members)


ClientSuiteTests = every_run()
