"""
Tests for L{mcpbridge.upstream.child} that is not wanted any more.
"""

from __future__ import annotations

import os
import signal

from twisted.logger import LogLevel, capturedLogs, formatEvent

from tests.upstream.childcase import ANSWER_LINE, LARGE, PING, ChildCase, running


class DisconnectTests(ChildCase):
    """How a child is ended."""

    def test_by_the_end_of_its_input(self) -> None:
        """A child that ends when its input does needs no signal."""
        child = self.start()

        ending = self.transport.disconnect()
        self.reactor.turn(1.9)
        heard = child.hears()
        self.assertNoResult(ending)
        self.die(child)

        self.assertIsNone(self.successResultOf(ending))
        self.assertEqual((None, [], []), (heard, self.table.signals, self.link.told))

    def test_what_was_sent_is_written(self) -> None:
        """The end of the input comes behind what was sent before."""
        child = self.start()
        self.transport.send(LARGE)

        self.transport.disconnect()
        sizes = []
        while (heard := child.hears()) is not None:
            sizes.append(len(heard))
            self.reactor.turn()

        self.assertGreater(sum(sizes), 200_000)

    def test_by_signals(self) -> None:
        """A child that does not end is asked by a signal after 2 seconds, and killed after 3 more."""
        child = self.start()
        ending = self.transport.disconnect()
        seen = []

        for seconds in (1.9, 0.2, 2.8, 0.2):
            self.reactor.turn(seconds)
            seen.append(list(self.table.signals))
        self.die(child, by=signal.SIGKILL)

        group = -child.pid
        term, kill = (group, "SIGTERM"), (group, "SIGKILL")
        self.assertEqual([[], [term], [term], [term, kill]], seen)
        self.assertIsNone(self.successResultOf(ending))

    def test_descendants_too(self) -> None:
        """Descendants get the same signals as the child, wherever they are, and each once."""
        child = self.start()
        marker = self.table.markers[child.pid]
        self.table.add(running(50, child.pid, child.pid, child.pid), marker)
        self.table.add(running(51, 1, 51), marker)
        self.table.add(running(52, 1, 52, child.pid))
        self.table.add(running(53, 1, 53), "another:1:1:1")
        self.table.immune = {51}
        self.transport.disconnect()

        self.reactor.turn(2)
        asked = list(self.table.signals)
        self.reactor.turn(3)

        self.assertEqual([(-child.pid, "SIGTERM"), (51, "SIGTERM"), (52, "SIGTERM")], asked)
        self.assertEqual([(-child.pid, "SIGKILL"), (51, "SIGKILL")], self.table.signals[3:])

    def test_descendants_have_time(self) -> None:
        """The child may be a launcher that ends at once; whoever did the work has its 2 seconds all the same."""
        child = self.start()
        self.table.add(running(50, child.pid, child.pid, child.pid), self.table.markers[child.pid])
        ending = self.transport.disconnect()
        self.die(child)
        self.reactor.turn(1.5)
        early = list(self.table.signals)

        self.table.remove(50)
        self.reactor.turn(0.1)

        self.assertIsNone(self.successResultOf(ending))
        self.assertEqual(([], []), (early, self.table.signals))

    def test_cannot_be_killed(self) -> None:
        """Even then there is an end to waiting, and a word about it."""
        self.start()
        ending = self.transport.disconnect()

        with capturedLogs() as events:
            for _ in range(11):
                self.reactor.turn(1)

        self.assertIsNone(self.successResultOf(ending))
        self.assertEqual(
            ["process 1000 of demo cannot be killed"],
            [formatEvent(event) for event in events if event["log_level"] is LogLevel.error],
        )

    def test_twice(self) -> None:
        """Whoever asks waits for the same end."""
        child = self.start()

        endings = [self.transport.disconnect(), self.transport.disconnect()]
        self.die(child)
        endings.append(self.transport.disconnect())

        self.assertEqual([None, None, None], [self.successResultOf(ending) for ending in endings])

    def test_silence(self) -> None:
        """Nothing is told any more, not even what was waiting, and the child still gets rid of its output."""
        child = self.start()
        self.transport.pause()
        child.says(ANSWER_LINE)
        self.transport.send(LARGE)
        self.transport.send(PING)

        self.transport.disconnect()
        self.transport.send(PING)
        self.transport.resume()
        self.reactor.turn()
        child.says(b"x" * 65536)
        self.reactor.turn()
        child.says(b"x" * 65536)
        self.die(child)

        self.assertEqual([], self.link.told)

    def test_nothing_is_left(self) -> None:
        """No descriptor, no delayed call, no watcher and no living marker is left."""
        before = len(os.listdir("/dev/fd"))
        child = self.start()
        marker = self.table.markers[child.pid]

        self.transport.disconnect()
        self.die(child)

        self.table.add(running(99, os.getpid(), 99), marker)
        self.assertEqual(
            (before, [], [], [], [99]),
            (
                len(os.listdir("/dev/fd")),
                self.reactor.getDelayedCalls(),
                self.reactor.getReaders(),
                self.reactor.getWriters(),
                [stray.pid for stray in self.lineage.strays(())],
            ),
        )

    def test_without_a_table(self) -> None:
        """Where the system tells nothing of other processes, the group is signalled until it is empty."""
        self.table.has_proc = False
        child = self.start()
        self.table.markers.clear()
        self.table.add(running(50, child.pid, child.pid, 50))
        ending = self.transport.disconnect()
        self.die(child)

        self.reactor.turn(2)
        self.assertNoResult(ending)
        self.table.remove(50)
        self.reactor.turn(0.1)

        self.assertEqual([(-child.pid, "SIGTERM")], self.table.signals)
        self.assertIsNone(self.successResultOf(ending))
