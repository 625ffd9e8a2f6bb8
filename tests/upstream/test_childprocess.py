"""
Tests for L{mcpbridge.upstream.childprocess}; for how it is ended see L{tests.upstream.test_child_disconnect}, too.
"""

from __future__ import annotations

import signal
import sys

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.upstream.childprocess import ChildEvents, ChildLimits, ChildProcess
from mcpbridge.upstream.command import Command, Launcher
from mcpbridge.upstream.lineage import Lineage
from mcpbridge.upstream.processes import Running
from tests.upstream.childworld import FakeChild, FakeReactor, FakeTable


class ChildProcessTests(SynchronousTestCase):
    """One process, of which the test plays the part."""

    def setUp(self) -> None:
        """It was not started yet."""
        self.reactor = FakeReactor()
        self.table = FakeTable()
        self.events: list[object] = []
        self.child = ChildProcess(
            self.reactor,
            "demo",
            Command((sys.executable,), {"TOKEN": "secret"}),
            Lineage("/state", self.table),
            Launcher("/usr/bin/setsid", None),
            {},
            ChildLimits(),
            ChildEvents(
                self.events.append,
                lambda: self.events.append("output ended"),
                lambda: self.events.append("input moved"),
                lambda: self.events.append("input broken"),
                lambda: self.events.append("exited"),
            ),
        )

    def start(self) -> FakeChild:
        """Start it."""
        self.child.start()
        process = self.reactor.children[-1]
        self.table.add_child(process)
        self.addCleanup(process.close)
        self.addCleanup(lambda: [end.close() for end in self.reactor.removeAll()])
        return process

    def die(self, process: FakeChild, status: int = 0, by: signal.Signals | None = None) -> None:
        """It dies and leaves nobody behind."""
        self.table.processes.pop(process.pid, None)
        process.close()
        process.exits(status, by)
        self.reactor.turn()

    def test_events(self) -> None:
        """What happens is told, and nothing from within the start."""
        process = self.start()
        during = list(self.events)

        process.says(b"out")
        self.child.stdin.write(b"in", None)
        self.reactor.turn()
        self.die(process)

        self.assertEqual(([], ["input moved", b"out"]), (during, self.events[:2]))
        self.assertEqual({"output ended", "exited"}, set(self.events[2:]))

    def test_epitaph(self) -> None:
        """Nothing while it lives; then how it died, and what it said last, without secrets."""
        process = self.start()
        process.complains(b"fatal: no secret")
        self.reactor.turn()
        alive = self.child.epitaph

        self.die(process, 2)

        self.assertEqual(
            ("", "the server process exited with status 2; its last words: fatal: no ***", ["fatal: no ***"]),
            (alive, self.child.epitaph, self.child.stderr_tail()),
        )

    def test_signals_by_name(self) -> None:
        """Signals have names, but for those that have none."""
        found = []
        for number in (signal.SIGKILL, signal.SIGSEGV, 40):
            self.setUp()
            self.die(self.start(), by=number)  # type: ignore[arg-type]  # one has no name
            found.append(self.child.epitaph)

        self.assertEqual(
            [f"the server process was killed by {name}" for name in ("SIGKILL", "SIGSEGV", "signal 40")], found
        )

    def test_end_before_start(self) -> None:
        """What never was is gone."""
        self.assertIsNone(self.successResultOf(self.child.end()))

    def test_end_that_fails(self) -> None:
        """A bug on the way does not leave anybody waiting."""
        self.start()
        fault = RuntimeError("a bug")

        def fails(*_: object) -> None:
            raise fault

        self.table.signal_group = fails  # type: ignore[assignment]  # the bug
        ending = self.child.end()
        self.reactor.turn(2)

        self.assertIsNone(self.successResultOf(ending))
        self.assertEqual([fault], [failure.value for failure in self.flushLoggedErrors(RuntimeError)])

    def test_logs(self) -> None:
        """Start and end are logged, without arguments and environment."""
        with capturedLogs() as events:
            self.die(self.start(), 1)

        self.assertEqual(
            ["demo runs as process 1000", "demo: the server process exited with status 1"],
            [formatEvent(event) for event in events],
        )

    def test_killing_goes_on(self) -> None:
        """Who appears while we kill is killed too."""
        process = self.start()
        marker = self.table.markers[process.pid]
        ending = self.child.end()
        for _ in range(2):
            self.reactor.turn(3)
        self.table.add(Running(60, 1, 60, 60, 9), marker)
        self.die(process, by=signal.SIGKILL)

        self.reactor.turn(0.05)

        self.assertEqual((60, "SIGKILL"), self.table.signals[-1])
        self.assertIsNone(self.successResultOf(ending))
