"""
The official suite as a client of the tasks extension: at a server of the extension, and at one that has tasks as of
2025-11-25, which the bridge shows as the extension's.

One test for each scenario and server. What a clause of the specification takes away is listed in C{expected.json}: that
much fails, no more and no less.
"""

from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.conformance.runs import EXPECTED, Seen
from tests.conformance.tasks_runs import SCENARIOS, TaskServer, tasks_leg
from tests.conformance.wires import MODERN


class TasksSuite(SynchronousTestCase):
    """
    @cvar server: what is measured.
    """

    server: ClassVar[TaskServer]
    _seen: ClassVar[dict[TaskServer, dict[str, Seen] | BaseException]] = {}

    def results(self) -> dict[str, Seen]:
        """What the suite saw; found out once for a server."""
        if self.server not in self._seen:
            try:
                self._seen[self.server] = tasks_leg(self.server)
            except Exception as error:  # noqa: BLE001 - raised again, for every test of the class
                self._seen[self.server] = error
        seen = self._seen[self.server]
        if isinstance(seen, BaseException):
            raise seen
        return seen

    def check(self, scenario: str) -> None:
        """The scenario ran, and no check of it failed but those that were to be lost."""
        outcomes, said = self.results()[scenario]
        loss = EXPECTED.losses(self.server.title, MODERN).get(scenario)

        self.assertIn(scenario, outcomes, f"{scenario} did not run:\n{said[-2000:]}")
        self.assertEqual(() if loss is None else loss.checks, outcomes[scenario])


def _every_scenario(case: type[TasksSuite]) -> type[TasksSuite]:
    for scenario in SCENARIOS:

        def test(self: TasksSuite, scenario: str = scenario) -> None:
            self.check(scenario)

        test.__doc__ = f"The scenario {scenario}."
        test.__name__ = f"test_{scenario}".replace("-", "_")
        setattr(case, test.__name__, test)
    return case


@_every_scenario
class ReferenceTests(TasksSuite):
    """Our server of the extension, without the bridge: it is one."""

    server = TaskServer("http", "extension", is_bridged=False)


@_every_scenario
class ExtensionTests(TasksSuite):
    """The same through the bridge: nothing is lost."""

    server = TaskServer("http", "extension")


@_every_scenario
class SessionHTTPTests(TasksSuite):
    """A server of the official TypeScript SDK 1.x, which has never heard of the extension."""

    server = TaskServer("http", "session")


@_every_scenario
class SessionStdioTests(TasksSuite):
    """The same as a child process."""

    server = TaskServer("stdio", "session")
