"""
Tests of L{mcpbridge.oauth.programs}; real programs are in L{tests.integration.test_programs}.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.oauth.programs import DEADLINE, MAX_OUTPUT, output_of
from tests.oauth.programs import FakePrograms

_ENVIRONMENT = {"PATH": "/bin", "MCPBRIDGE_KEY_FILE": "/x", "CREDENTIALS_DIRECTORY": "/y", "OTHER": "kept"}


class OutputTests(SynchronousTestCase):
    """What a program prints, and what it is stopped for."""

    def setUp(self) -> None:
        self.reactor = FakePrograms()
        self.addCleanup(lambda: self.assertEqual([], self.reactor.getDelayedCalls()))

    def run_it(self) -> Deferred[bytes]:
        return output_of(self.reactor, "it", ("program", "--option"), _ENVIRONMENT, {"NAME": "s"})

    def fails(self, output: Deferred[bytes]) -> str:
        return str(self.failureResultOf(output, ConfigurationError).value)

    def test_started(self) -> None:
        """By way of the path, with an environment that has nothing of ours, and nothing to read."""
        output = self.run_it()
        program = self.reactor.program
        program.ends()

        self.successResultOf(output)
        self.assertEqual(("env", "--", "program", "--option"), program.command)
        self.assertEqual({"PATH": "/bin", "OTHER": "kept", "NAME": "s"}, program.environment)
        self.assertEqual(["end of input"], program.did)

    def test_prints(self) -> None:
        """All of it, when it has ended."""
        output = self.run_it()

        self.reactor.program.prints(b"a ")
        self.reactor.program.complains(b"a warning")
        self.reactor.program.prints(b"secret")
        self.assertNoResult(output)
        self.reactor.program.ends()

        self.assertEqual(b"a secret", self.successResultOf(output))

    def test_fails(self) -> None:
        """How it ended, and its last words, made printable; nothing of what it printed."""
        for words, status, signal, said in (
            (b"", 3, None, "it exited with status 3"),
            (b"x" * 1000 + b" no \x1b[31m\n", 1, None, "it exited with status 1: " + "x" * 290 + " no \\x1b[31m"),
            (b"", 0, 9, "it was killed"),
        ):
            output = self.run_it()
            self.reactor.program.prints(b"a secret")
            self.reactor.program.complains(words[:500])
            self.reactor.program.complains(words[500:])
            self.reactor.program.ends(status, signal)

            self.assertEqual(said, self.fails(output))

    def test_cannot_be_started(self) -> None:
        """What the kernel says."""
        self.reactor.refusal = OSError(11, "Resource temporarily unavailable")

        self.assertEqual("it cannot be started: Resource temporarily unavailable", self.fails(self.run_it()))

    def test_too_much(self) -> None:
        """It is killed once, and its pipes are let go; that is said when it is dead."""
        output = self.run_it()

        for size in (MAX_OUTPUT, 1, 1):
            self.reactor.program.prints(b"y" * size)
        self.assertNoResult(output)
        self.reactor.program.ends(0, 9)

        self.assertEqual(["end of input", "KILL", "pipes closed"], self.reactor.program.did)
        self.assertEqual(f"it prints more than {MAX_OUTPUT} bytes", self.fails(output))

    def test_too_late(self) -> None:
        """So is one that takes its time."""
        output = self.run_it()

        self.reactor.advance(DEADLINE - 1)
        before = list(self.reactor.program.did)
        self.reactor.advance(1)
        self.reactor.program.ends(0, 9)

        self.assertEqual(["end of input"], before)
        self.assertEqual(["end of input", "KILL", "pipes closed"], self.reactor.program.did)
        self.assertEqual("it did not end within 10 s", self.fails(output))

    def test_ended_with_pipes_held(self) -> None:
        """One that has ended, but whose child keeps its pipes, is not waited for either."""
        output = self.run_it()
        self.reactor.program.pid = None

        self.reactor.advance(DEADLINE)

        self.assertEqual("it did not end within 10 s", self.fails(output))

    def test_not_waited_for(self) -> None:
        """Who gives up has it killed, and hears nothing of its end."""
        output = self.run_it()

        output.cancel()
        self.failureResultOf(output, CancelledError)
        self.reactor.program.ends(0, 9)

        self.assertEqual(["end of input", "KILL", "pipes closed"], self.reactor.program.did)
