"""Tests of L{tests.run}."""

from __future__ import annotations

import io
import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.run import Report, Tally, follow, run_gate, tally


class TallyTests(SynchronousTestCase):
    """L{tally} and L{Tally}."""

    def test_summaries(self) -> None:
        """Trial's last line is read, whatever is in it; a run without one has failed."""
        table: list[tuple[bytes | None, int, Tally]] = [
            (b"PASSED (successes=46)\n", 0, Tally(46)),
            (b"PASSED (skips=2, expectedFailures=1, successes=46)\n", 0, Tally(47, 0, 2)),
            (b"FAILED (failures=1, errors=2, unexpectedSuccesses=1, successes=3)\n", 1, Tally(3, 4)),
            (b"PASSED\n", 0, Tally()),
            (b"PASSED (successes=46)\n", -9, Tally(46, 1)),
            (b"FAILED (successes=46)\n", 1, Tally(46, 1)),
            (b"Segmentation fault\n", -11, Tally(0, 1)),
            (None, 1, Tally(0, 1)),
        ]

        self.assertEqual([found for _, _, found in table], [tally(summary, status) for summary, status, _ in table])

    def test_line(self) -> None:
        """Skipped tests are named when there are any."""
        self.assertEqual("3 passed, 0 failed", str(Tally(1) + Tally(2)))
        self.assertEqual("1 passed, 2 failed, 3 skipped", str(Tally(1, 2) + Tally(skipped=3)))

    def test_gate(self) -> None:
        """A gate is one test; a program that is not there is a failed one."""
        python = sys.executable.rpartition("/")[2]
        self.patch(sys, "stdout", io.TextIOWrapper(io.BytesIO()))

        self.assertEqual(
            [Tally(1), Tally(0, 1, names=("gate",)), Tally(0, 1, names=("gate",))],
            [
                run_gate("gate", command)
                for command in ([python, "-c", ""], [python, "-c", "exit(1)"], ["no-such-program"])
            ],
        )


class ReportTests(SynchronousTestCase):
    """L{Report}."""

    def test_failed(self) -> None:
        """Those that failed are known by name; those that were skipped or expected to fail are not among them."""
        said = """tests.test_a
  ATests
    test_one ...                                                         [FAIL]
[SKIPPED]
why
tests.test_a.ATests.test_none
[TODO]
tests.test_a.ATests.test_later
[FAIL]
Traceback (most recent call last):
tests.test_a.ATests.test_one
tests.test_b.BTests.test_two
[ERROR]
exceptions.ValueError: no
tests.test_c.CTests.test_three
[SUCCESS!?!]
tests.test_c.CTests.test_four
FAILED (failures=2, errors=1, unexpectedSuccesses=1, successes=3)"""
        report = Report()
        for line in said.encode("ascii").split(b"\n"):
            report.hear(line)

        self.assertEqual(
            ["ATests.test_one", "BTests.test_two", "CTests.test_three", "CTests.test_four"],
            [name.split(".", 2)[2] for name in report.failed],
        )
        assert report.summary is not None
        self.assertIn(b"failures=2", report.summary)


class FollowTests(SynchronousTestCase):
    """L{follow}."""

    def setUp(self) -> None:
        self.shown = io.BytesIO()
        self.patch(sys, "stdout", io.TextIOWrapper(self.shown))

    def start(self, code: str) -> subprocess.Popen[bytes]:
        """Run some Python."""
        child = subprocess.Popen(
            [sys.executable, "-u", "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        )
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child

    def test_summary(self) -> None:
        """Everything is shown, and the last summary counts."""
        child = self.start("print('PASSED (successes=1)'); print('FAILED (errors=1)'); print('the end')")

        self.assertEqual(b"FAILED (errors=1)", follow(child, 60, 60).summary)
        self.assertEqual(b"PASSED (successes=1)\nFAILED (errors=1)\nthe end\n", self.shown.getvalue())

    def test_hangs(self) -> None:
        """What says nothing for too long shows where it is, and has failed."""
        child = self.start("import time\nprint('PASSED')\ndef stuck(): time.sleep(600)\nstuck()")

        self.assertEqual(None, follow(child, 60, 1).summary)
        self.assertIn(b"in stuck", self.shown.getvalue())
        self.assertNotEqual(0, child.wait(60))
