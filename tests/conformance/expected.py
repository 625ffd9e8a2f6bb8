"""
What is expected of the official suite: C{expected.json}, read.

A scenario that fails and is not among the losses fails the tests; one that is and passes is reported as an unexpected
success; one that the file does not know, or that did not run, fails.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import attrs

_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "expected.json")


@attrs.frozen
class Loss:
    """
    What cannot be otherwise.

    @ivar scenario: in which it shows.
    @ivar checks: those that fail, and no others.
    @ivar clause: why, by the specification.
    """

    scenario: str
    checks: tuple[str, ...]
    clause: str


@attrs.frozen
class Expected:
    """
    See the top of this module.

    @ivar suite: the version that it was written for.
    @ivar required: the scenarios that count, by revision.
    @ivar reported: those that run without counting, and hold, by revision.
    @ivar unserved: those that run without counting, of what the reference server does not do.
    @ivar client: the scenarios of the client suite, by their revision, then by the revision that the client speaks.
    """

    suite: str
    required: Mapping[str, tuple[str, ...]]
    reported: Mapping[str, tuple[str, ...]]
    unserved: Mapping[str, tuple[str, ...]]
    client: Mapping[str, Mapping[str, tuple[str, ...]]]
    _losses: tuple[Mapping[str, Any], ...]

    def losses(self, upstream: str, revision: str) -> dict[str, Loss]:
        """What is lost between a client of this revision and this upstream, by scenario."""
        return {
            loss["scenario"]: Loss(loss["scenario"], tuple(sorted(loss["checks"])), loss["clause"])
            for loss in self._losses
            if upstream in loss["upstreams"] and revision == loss["revision"]
        }


def _names(found: Mapping[str, list[str]]) -> Mapping[str, tuple[str, ...]]:
    return {revision: tuple(names) for revision, names in found.items()}


def read() -> Expected:
    """The file."""
    with open(_FILE, encoding="utf-8") as file:
        found = json.load(file)
    return Expected(
        found["suite"],
        _names(found["server"]["required"]),
        _names(found["server"]["reported"]),
        _names(found["server"]["unserved"]),
        {revision: _names(spoken) for revision, spoken in found["client"].items()},
        tuple(found["server"]["losses"]),
    )
