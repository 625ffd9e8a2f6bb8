"""
Tests of L{mcpbridge.oauth.standing}.
"""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.oauth.standing import Standing, State


class StandingTests(SynchronousTestCase):
    """What an operator is told."""

    def test_words(self) -> None:
        """Each state in a few words, with what is wrong where something is."""
        standing = Standing("it")
        said = [str(standing)]

        for change in (
            standing.authorized,
            standing.login_needed,
            lambda: standing.login_needed("the login has ended"),
            lambda: standing.fail("the disk is full"),
        ):
            change()
            said.append(str(standing))

        self.assertEqual(
            [
                "unknown",
                "authorized",
                "login needed",
                "login needed: the login has ended",
                "failing: the disk is full",
            ],
            said,
        )

    def test_over(self) -> None:
        """What was wrong is forgotten when there is access again, or a human is all that it needs."""
        for change, state in (
            (Standing.authorized, State.AUTHORIZED),
            (Standing.login_needed, State.LOGIN_NEEDED),
        ):
            standing = Standing("it")
            standing.fail("the disk is full")

            change(standing)

            self.assertEqual((state, ""), (standing.state, standing.trouble))

    def test_log(self) -> None:
        """Only what fails is worth a line: of the upstream's name, and what is wrong."""
        standing = Standing("it")

        with capturedLogs() as events:
            standing.authorized()
            standing.login_needed("the login has ended")
            standing.fail("the disk is full")

        self.assertEqual(["it: the disk is full"], [formatEvent(event) for event in events])
