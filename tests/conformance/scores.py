"""
How many scenarios pass, as C{docs/conformance.md} shows it.

C{python -m tests.conformance.scores} runs the suite and writes the tables there, between the marks.
"""

import os
import sys
from collections.abc import Callable, Mapping

from tests.conformance import runs
from tests.conformance.upstreams import SUITE_UPSTREAMS, Upstream
from tests.integration.packages import ROOT

DOCUMENT = os.path.join(ROOT, "docs", "conformance.md")

_BEGIN = "<!-- {name}: written by python -m tests.conformance.scores -->\n"
_END = "<!-- end of {name} -->\n"


def server_row(upstream: Upstream, seen: Mapping[str, runs.Seen]) -> str:
    """The line of one upstream."""
    scores = []
    for revision, (outcomes, _) in seen.items():
        required = runs.EXPECTED.required[revision]
        scores.append(f"{sum(outcomes.get(scenario) == () for scenario in required)}/{len(required)}")
    return f"| {upstream.title} | {' | '.join(scores)} |\n"


def client_row(revision: str, spoken: str, seen: Mapping[runs.ClientRun, runs.Seen]) -> str:
    """The line of one revision of scenarios, and of what the client behind the relay speaks."""
    of = [(run, outcomes) for run, (outcomes, _) in seen.items() if (run.revision, run.spoken) == (revision, spoken)]
    passed = sum(outcomes == {run.scenario: ()} for run, outcomes in of)
    return f"| {revision} | {spoken} | {passed}/{len(of)} |\n"


def server_table(rows: list[str]) -> str:
    """All upstreams."""
    return f"| upstream | {' | '.join(runs.EXPECTED.required)} |\n|---|---|---|\n{''.join(rows)}"


def client_table(seen: Mapping[runs.ClientRun, runs.Seen]) -> str:
    """All of the client leg."""
    pairs = dict.fromkeys((run.revision, run.spoken) for run in seen)
    rows = [client_row(revision, spoken, seen) for revision, spoken in pairs]
    return f"| scenarios of | the client speaks | |\n|---|---|---|\n{''.join(rows)}"


def table(text: str, name: str) -> str:
    """
    What the document has between the marks of this name.

    @raise ValueError: it has no such marks.
    """
    begin, end = _BEGIN.format(name=name), _END.format(name=name)
    start = text.index(begin) + len(begin)
    return text[start : text.index(end, start)]


def published(name: str) -> str:
    """A table as it was published."""
    with open(DOCUMENT, encoding="utf-8") as file:
        return table(file.read(), name)


def main() -> None:
    """Run, and write."""
    measured: dict[str, Callable[[], str]] = {
        "server leg": lambda: server_table([server_row(each, runs.server_leg(each)) for each in SUITE_UPSTREAMS]),
        "client leg": lambda: client_table(runs.client_leg()),
    }
    with open(DOCUMENT, encoding="utf-8") as file:
        text = file.read()
    for name, measure in measured.items():
        found = measure()
        sys.stdout.write(found)
        begin = _BEGIN.format(name=name)
        text = text.replace(begin + table(text, name), begin + found)
    with open(DOCUMENT, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
