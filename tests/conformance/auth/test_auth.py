"""
The authorization scenarios of the official conformance suite, through a relay and a daemon.

C{expected.json} says for each revision and scenario which checks fail, if any; C{null} stands for a scenario of an
extension that we do not have. A scenario that fails in another way fails the test, and so does one that fails no
longer: then it is time to change the file.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from twisted.trial.unittest import SynchronousTestCase

from tests.conformance.auth.suite import EXTENSION, Verdict, run, scenarios, verdict

_AT_ONCE = 2
"""Scenarios side by side: each is four processes that mostly wait for each other."""

_BUDGET = 140.0
"""Seconds for all of them: about forty on a quiet machine with two cores. What has not begun by then has failed."""

_TOLD = 4000
"""Characters of what a scenario told that are shown when it fails."""


def expected() -> Mapping[str, Mapping[str, Sequence[str] | None]]:
    """The checks that fail, by revision and scenario."""
    with open(os.path.join(os.path.dirname(__file__), "expected.json"), encoding="utf-8") as file:
        known: Mapping[str, Mapping[str, Sequence[str] | None]] = json.load(file)
    return known


class AuthorizationTests(SynchronousTestCase):
    """What the suite finds is what is expected."""

    _end = 0.0

    def setUp(self) -> None:
        cls = type(self)
        # For all tests together, from the first on.
        cls._end = cls._end or time.monotonic() + _BUDGET

    def _one(self, scenario: str, revision: str) -> Verdict:
        if time.monotonic() > self._end:
            return Verdict((f"not run: all together took more than {_BUDGET:.0f} s",))
        return run(scenario, revision)

    def _examine(self, revision: str) -> None:
        known = {name: tuple(failed) for name, failed in expected()[revision].items() if failed is not None}
        with ThreadPoolExecutor(_AT_ONCE) as side_by_side:
            verdicts = list(side_by_side.map(lambda scenario: self._one(scenario, revision), known))

        found = dict(zip(known, verdicts, strict=True))
        bad = [name for name, each in found.items() if each.failed != known[name]]
        told = "".join(f"\n=== {name}\n{found[name].told[-_TOLD:]}" for name in bad)
        self.assertEqual(known, {name: each.failed for name, each in found.items()}, told)

    def test_2025_03_26(self) -> None:
        """The oldest: an authorization server on the origin of the resource, with metadata or without."""
        self._examine("2025-03-26")

    def test_2025_06_18(self) -> None:
        """The ways to prove at the token endpoint who we are."""
        self._examine("2025-06-18")

    def test_2025_11_25(self) -> None:
        """Discovery, registration, scopes and token endpoints of the session era."""
        self._examine("2025-11-25")

    def test_2026_07_28(self) -> None:
        """The same in the stateless era, and issuers that are not what they say, or move."""
        self._examine("2026-07-28")

    def test_extensions(self) -> None:
        """Clients without a human, and companies."""
        self._examine(EXTENSION)

    def test_complete(self) -> None:
        """Every scenario that the suite has is expected to do something."""
        found = {revision: sorted(names) for revision, names in scenarios().items()}

        self.assertEqual({revision: sorted(names) for revision, names in expected().items()}, found)


class VerdictTests(SynchronousTestCase):
    """What is made of what the suite wrote."""

    def test_verdicts(self) -> None:
        """Good is only what was checked, with no failure, no warning, and a client that did not fail either."""
        good = {"id": "b", "status": "SUCCESS"}
        note = {"id": "n", "status": "INFO"}
        warned = {"id": "a", "status": "WARNING"}
        failed = {"id": "b", "status": "FAILURE"}
        for checks, status, found in (
            ([good, note, good], 0, Verdict((), 2)),
            ([failed, good, warned, failed], 1, Verdict(("a", "b"), 4)),
            ([good], 1, Verdict(("the client failed",), 1)),
            ([note], 0, Verdict(("nothing was checked",), 0)),
            ([], 1, Verdict(("the client failed", "nothing was checked"), 0)),
            (None, -9, Verdict(("the suite came to no verdict",), 0)),
        ):
            self.assertEqual(found, verdict(checks, status, "told"))
