"""
The official server suite through the bridge's HTTP endpoint, with the reference server in every form behind it.

One test for each scenario of each requirement set; the suite runs once for an upstream. What a clause of the
specification takes away is listed in C{expected.json}: that much fails, no more and no less.
"""

import time
from collections.abc import Callable
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.conformance import expected, runs, scores, suite
from tests.conformance.runs import EXPECTED
from tests.conformance.upstreams import SUITE_UPSTREAMS, Upstream

ALL_DEADLINE = 900.0
"""Seconds after the first run in which another may be begun: all of them take 80 when nothing else runs here."""


class VersionTests(SynchronousTestCase):
    """The yardstick."""

    def test_version(self) -> None:
        """What is expected was written for the suite that runs."""
        self.assertEqual(suite.VERSION, EXPECTED.suite)


class ServerSuite(SynchronousTestCase):
    """
    @cvar upstream: what is behind the bridge.
    """

    upstream: ClassVar[Upstream]
    _seen: ClassVar[dict[Upstream, dict[str, runs.Seen] | BaseException]] = {}
    _end: ClassVar[list[float]] = []

    def results(self) -> dict[str, runs.Seen]:
        """What every requirement set showed; found out once for an upstream."""
        if self.upstream not in self._seen:
            try:
                self._seen[self.upstream] = self._measure()
            except Exception as error:  # noqa: BLE001 - raised again, for every test of the class
                self._seen[self.upstream] = error
        seen = self._seen[self.upstream]
        if isinstance(seen, BaseException):
            raise seen
        return seen

    def _measure(self) -> dict[str, runs.Seen]:
        if not self._end:
            self._end.append(time.monotonic() + ALL_DEADLINE)
        self.assertLess(time.monotonic(), self._end[0], "the runs before took too long")
        return runs.server_leg(self.upstream)

    def outcome(self, revision: str, scenario: str) -> tuple[str, ...]:
        """The checks that failed."""
        seen, said = self.results()[revision]
        self.assertIn(scenario, seen, f"{scenario} did not run:\n{said[-2000:]}")
        return seen[scenario]

    def check(self, revision: str, scenario: str, loss: expected.Loss | None) -> None:
        """A scenario ran, and no check of it failed but those that were to be lost."""
        self.assertEqual(set(() if loss is None else loss.checks), set(self.outcome(revision, scenario)))

    def check_known(self, revision: str) -> None:
        """The suite has no scenario that is not spoken of in C{expected.json}."""
        seen, _ = self.results()[revision]
        spoken_of = EXPECTED.required[revision] + EXPECTED.reported[revision] + EXPECTED.unserved[revision]

        self.assertEqual(set(), set(seen) - set(spoken_of))

    def check_published(self) -> None:
        """The line in docs/conformance.md is what was seen."""
        row = scores.server_row(self.upstream, self.results())

        self.assertIn(row, scores.published("server leg"), "python -m tests.conformance.scores writes it")


def every_scenario(upstream: Upstream) -> type[ServerSuite]:
    """A test case of all scenarios."""
    members: dict[str, object] = {
        "__doc__": f"The server suite, and the reference server {upstream.title}.",
        "__module__": __name__,
        "upstream": upstream,
    }

    def add(name: str, words: str, run: Callable[..., None], *given: object) -> None:
        def test(self: ServerSuite) -> None:
            run(self, *given)

        test.__doc__ = words
        test.__name__ = f"test_{name}".replace("-", "_")
        members[test.__name__] = test

    for revision in EXPECTED.required:
        losses = EXPECTED.losses(upstream.title, revision)
        for scenario in EXPECTED.required[revision] + EXPECTED.reported[revision]:
            loss = losses.get(scenario)
            words = f"The scenario {scenario} of {revision} passes"
            words += "." if loss is None else f", but for what a clause takes away: {loss.clause}"
            add(f"{revision}_{scenario}", words, ServerSuite.check, revision, scenario, loss)
        add(
            f"{revision}_is_known",
            f"Every scenario of {revision} is in expected.json.",
            ServerSuite.check_known,
            revision,
        )
    add("published", "docs/conformance.md has what was seen.", ServerSuite.check_published)
    name = upstream.title.replace("-", " ").replace("+", " ").split()
    return type("".join(word[0].upper() + word[1:] for word in name) + "Tests", (ServerSuite,), members)


globals().update({case.__name__: case for case in map(every_scenario, SUITE_UPSTREAMS)})
