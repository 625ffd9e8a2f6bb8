"""
The official server suite through the bridge's HTTP endpoint, with the reference server in every form behind it.

One test for each scenario of each requirement set; the suite runs once for an upstream. What a clause of the
specification takes away is listed in C{expected.json}, and is a failure that is expected: a success there is reported.
"""

import shutil
import tempfile
import time
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.conformance import expected, suite
from tests.conformance.upstreams import NAME, SUITE_UPSTREAMS, Upstream, bridged, warm
from tests.integration.daemon import plain_environment

EXPECTED = expected.read()

RUN_DEADLINE = 75.0
"""Seconds for one requirement set: four when nothing else runs here."""

ALL_DEADLINE = 210.0
"""Seconds for all of them: what is not done by then has not passed."""


class Budget:
    """The time that all runs have together, counted from the first."""

    def __init__(self) -> None:
        self._end: float | None = None

    def left(self) -> float:
        """Seconds for the next run."""
        if self._end is None:
            self._end = time.monotonic() + ALL_DEADLINE
        return max(1.0, min(RUN_DEADLINE, self._end - time.monotonic()))


BUDGET = Budget()


class ServerSuite(SynchronousTestCase):
    """
    @cvar upstream: what is behind the bridge.
    """

    upstream: ClassVar[Upstream]
    _seen: ClassVar[dict[Upstream, dict[str, tuple[suite.Outcomes, str]] | BaseException]] = {}

    def results(self) -> dict[str, tuple[suite.Outcomes, str]]:
        """What every requirement set showed, and what the suite said; found out once for an upstream."""
        if self.upstream not in self._seen:
            try:
                self._seen[self.upstream] = self._measure()
            except Exception as error:  # noqa: BLE001 - raised again, for every test of the class
                self._seen[self.upstream] = error
        seen = self._seen[self.upstream]
        if isinstance(seen, BaseException):
            raise seen
        return seen

    def _measure(self) -> dict[str, tuple[suite.Outcomes, str]]:
        suite.program()
        folder = tempfile.mkdtemp(prefix="mcpbridge-suite-")
        found = {}
        try:
            with self.upstream.running() as configured, bridged({NAME: configured}) as (_, base):
                if self.upstream.transport == "stdio":
                    warm(f"{base}/{NAME}")
                for revision in EXPECTED.required:
                    arguments = ["server", "--url", f"{base}/{NAME}", "--requirements", revision]
                    place = tempfile.mkdtemp(dir=folder)
                    found[revision] = suite.run(arguments, place, plain_environment(place), BUDGET.left())
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return found

    def check(self, revision: str, scenario: str) -> None:
        """A scenario ran, and no check of it failed."""
        seen, said = self.results()[revision]

        self.assertIn(scenario, seen, f"{scenario} did not run:\n{said[-2000:]}")
        self.assertEqual((), seen[scenario])

    def check_loss(self, revision: str, loss: expected.Loss) -> None:
        """What is lost is what was to be lost, and nothing else."""
        seen, said = self.results()[revision]

        self.assertIn(loss.scenario, seen, f"{loss.scenario} did not run:\n{said[-2000:]}")
        self.assertEqual((), tuple(sorted(set(seen[loss.scenario]) - set(loss.checks))))

    def check_known(self, revision: str) -> None:
        """The suite has no scenario that is not spoken of here."""
        seen, _ = self.results()[revision]
        spoken_of = EXPECTED.required[revision] + EXPECTED.reported[revision] + EXPECTED.unserved[revision]

        self.assertEqual([], sorted(set(seen) - set(spoken_of)))


class VersionTests(SynchronousTestCase):
    """The yardstick."""

    def test_version(self) -> None:
        """What is expected was written for the suite that runs."""
        self.assertEqual(suite.VERSION, EXPECTED.suite)


def every_scenario(upstream: Upstream) -> type[ServerSuite]:
    """A test case of all scenarios."""
    members: dict[str, object] = {
        "__doc__": f"The server suite, and the reference server {upstream.title}.",
        "__module__": __name__,
        "upstream": upstream,
    }
    for revision in EXPECTED.required:
        losses = EXPECTED.losses(upstream.title, revision)
        slug = revision.replace("-", "_")
        for scenario in EXPECTED.required[revision] + EXPECTED.reported[revision]:

            def test(self: ServerSuite, revision: str = revision, scenario: str = scenario) -> None:
                self.check(revision, scenario)

            test.__doc__ = f"The scenario {scenario} of {revision} passes."
            test.__name__ = f"test_{slug}_{scenario.replace('-', '_')}"
            if scenario in losses:
                test.todo = losses[scenario].clause  # type: ignore[attr-defined] # trial reads it
            members[test.__name__] = test
        for loss in losses.values():

            def test_loss(self: ServerSuite, revision: str = revision, loss: expected.Loss = loss) -> None:
                self.check_loss(revision, loss)

            test_loss.__doc__ = f"Of {loss.scenario} only that is lost which must be."
            test_loss.__name__ = f"test_{slug}_{loss.scenario.replace('-', '_')}_loses_no_more"
            members[test_loss.__name__] = test_loss

        def test_known(self: ServerSuite, revision: str = revision) -> None:
            self.check_known(revision)

        test_known.__doc__ = f"Every scenario of {revision} is in expected.json."
        members[f"test_{slug}_is_known"] = test_known
    return type(f"{_identifier(upstream)}Tests", (ServerSuite,), members)


def _identifier(upstream: Upstream) -> str:
    words = upstream.title.replace("-", " ").replace("+", " ").split()
    return "".join(word[0].upper() + word[1:] for word in words)


globals().update({case.__name__: case for case in map(every_scenario, SUITE_UPSTREAMS)})
