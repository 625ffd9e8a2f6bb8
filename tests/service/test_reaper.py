"""
Tests for L{mcpbridge.service.reaper}.
"""

from __future__ import annotations

import os

from twisted.application.service import IService
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.service.reaper import Reaper
from mcpbridge.upstream.lineage import Lineage, Marker
from mcpbridge.upstream.processes import Running
from tests.upstream.childworld import FakeTable


class ReaperTests(SynchronousTestCase):
    """The parent of orphans."""

    def setUp(self) -> None:
        """A daemon with two connections, of which the second is over."""
        self.clock = Clock()
        self.table = FakeTable()
        self.lineage = Lineage("/state", self.table)
        self.living, self.over = self.lineage.issue(), self.lineage.issue()
        self.lineage.retire(self.over)
        self.reaper = Reaper(self.clock, self.lineage)

    def add(self, pid: int, marker: object = "", state: str = "S", parent: int | None = None) -> None:
        """An orphan that came to us, or another process."""
        self.table.add(Running(pid, os.getpid() if parent is None else parent, pid, pid, 9, state), marker)

    def start(self) -> None:
        """Begin, and end with the test."""
        self.reaper.startService()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """End, whatever is left."""
        if self.reaper.running:
            self.reaper.stopService()
            self.clock.pump([0.05] * 200)

    def test_interface(self) -> None:
        """It is a service."""
        self.assertTrue(verifyObject(IService, self.reaper))

    def test_zombies(self) -> None:
        """The dead are buried within a second."""
        self.start()
        self.add(50, state="Z")

        self.clock.advance(1)

        self.assertEqual({}, self.table.processes)

    def test_strays(self) -> None:
        """Orphans of connections that are over are asked to end, once; others are left alone."""
        self.start()
        self.add(50, self.over)
        self.add(51, self.living)
        self.add(52)

        self.clock.pump([1, 0.05, 0.05, 1])

        self.assertEqual(([(50, "SIGTERM")], [51, 52]), (self.table.signals, list(self.table.processes)))

    def test_strays_that_stay(self) -> None:
        """Those that do not are killed after two seconds."""
        self.start()
        self.table.immune = {50}
        self.add(50, self.over)

        self.clock.pump([1] + [0.05] * 42)

        self.assertEqual([(50, "SIGTERM"), (50, "SIGKILL")], self.table.signals)

    def test_strays_again(self) -> None:
        """It goes on looking."""
        self.start()
        for pid in (50, 51):
            self.add(pid, self.over)
            self.clock.pump([1, 0.05, 0.05])

        self.assertEqual([(50, "SIGTERM"), (51, "SIGTERM")], self.table.signals)

    def test_children_from_before(self) -> None:
        """Who was our child before we began is none of our business, dead or alive."""
        self.add(50, self.over)
        self.add(51, state="Z")

        self.start()
        self.clock.advance(1)
        ended = self.successResultOf(self.reaper.stopService())

        self.assertEqual((0, [50, 51]), (ended, list(self.table.processes)))

    def test_stop(self) -> None:
        """At the end all orphans are ended, with their descendants, and nothing is left to come."""
        self.start()
        self.add(50, self.living)
        self.add(51)
        self.add(52, parent=51)

        stopping = self.reaper.stopService()
        self.clock.pump([0.05] * 2)

        self.assertEqual((3, {}), (self.successResultOf(stopping), self.table.processes))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_stop_before_start(self) -> None:
        """There may be nothing to stop."""
        self.assertEqual(0, self.successResultOf(self.reaper.stopService()))

    def test_sweep(self) -> None:
        """What a dead daemon of the same folder left is ended, and counted."""
        home = self.living.home
        self.add(50, Marker(home, 40, 9, 1), parent=1)
        self.add(51, Marker("another", 40, 9, 1), parent=1)
        self.add(52, self.living)

        sweeping = self.reaper.sweep()
        self.clock.advance(0.05)

        self.assertEqual((1, [51, 52]), (self.successResultOf(sweeping), list(self.table.processes)))

    def test_sweep_finds_more(self) -> None:
        """Who appears meanwhile gets the same."""
        marker = Marker(self.living.home, 40, 9, 1)
        self.table.immune = {50}
        self.add(50, marker, parent=1)
        sweeping = self.reaper.sweep()

        self.add(51, marker, parent=1)
        self.clock.pump([0.05] * 42)

        self.assertEqual([(50, "SIGTERM"), (51, "SIGTERM"), (50, "SIGKILL")], self.table.signals)
        self.assertEqual(2, self.successResultOf(sweeping))

    def test_cannot_be_killed(self) -> None:
        """There is an end to waiting, and a word about it."""
        self.table.signal_process = lambda process, number: None  # type: ignore[method-assign]  # a dead disk
        self.add(50, Marker(self.living.home, 40, 9, 1), parent=1)

        with capturedLogs() as events:
            sweeping = self.reaper.sweep()
            self.clock.pump([0.05] * 90)

        self.assertEqual(1, self.successResultOf(sweeping))
        self.assertEqual(
            ["1 times a process of a dead daemon cannot be killed"],
            [formatEvent(event) for event in events if event["log_level"] is LogLevel.error],
        )

    def test_bug(self) -> None:
        """A bug is logged, and nobody waits for ever."""
        fault = RuntimeError("a bug")

        def fails() -> list[Running]:
            raise fault

        self.lineage.left_behind = fails  # type: ignore[method-assign]  # the bug

        self.assertEqual(0, self.successResultOf(self.reaper.sweep()))
        self.assertEqual([fault], [failure.value for failure in self.flushLoggedErrors(RuntimeError)])
