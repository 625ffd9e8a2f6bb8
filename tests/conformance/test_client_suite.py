"""
The official client suite, what it has of MCP, with the bridge's relay as the client: whatever it looks at in a client
(headers, metadata, resumption, retries, questions) is the bridge's work.

The program behind the relay (L{tests.conformance.host}) speaks the revision of the scenario, and the other era as well
where a scenario is about what arrives and not about how it is said.
"""

from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.conformance import runs, scores


class ClientSuite(SynchronousTestCase):
    """One daemon serves all scenarios, one after the other."""

    _seen: ClassVar[list[dict[runs.ClientRun, runs.Seen] | BaseException]] = []

    def results(self) -> dict[runs.ClientRun, runs.Seen]:
        """What every run showed; found out once."""
        if not self._seen:
            try:
                self._seen.append(runs.client_leg())
            except Exception as error:  # noqa: BLE001 - raised again, for every test of the class
                self._seen.append(error)
        [seen] = self._seen
        if isinstance(seen, BaseException):
            raise seen
        return seen

    def check(self, run: runs.ClientRun) -> None:
        """A scenario ran, and no check of it failed."""
        seen, said = self.results()[run]

        self.assertEqual({run.scenario: ()}, seen, said[-3000:])


class PublishedTests(ClientSuite):
    """The page that is published."""

    def test_published(self) -> None:
        """docs/conformance.md has what was seen: C{python -m tests.conformance.scores} writes it."""
        self.assertEqual(scores.client_table(self.results()), scores.published("client leg"))


def every_run() -> type[ClientSuite]:
    """A test case of all runs."""
    members: dict[str, object] = {"__doc__": "The client suite.", "__module__": __name__}
    for run in runs.CLIENT_RUNS:

        def test(self: ClientSuite, run: runs.ClientRun = run) -> None:
            self.check(run)

        test.__doc__ = f"The scenario {run.scenario} of {run.revision} passes, the client speaking {run.spoken}."
        test.__name__ = f"test_{run.revision}_spoken_{run.spoken}_{run.scenario}".replace("-", "_")
        members[test.__name__] = test
    return type("ScenarioTests", (ClientSuite,), members)


ScenarioTests = every_run()
