"""
Tests for L{mcpbridge.upstream.lineage}.
"""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.upstream.lineage import Lineage, Marker, is_mcpbridge
from mcpbridge.upstream.processes import Running
from tests.upstream.childworld import FakeTable

DAEMON = ["/usr/bin/python3", "/usr/bin/twistd", "-n", "--pidfile=", "mcpbridge"]


class MarkerTests(SynchronousTestCase):
    """What a process carries."""

    def test_text(self) -> None:
        """It goes into the environment and comes back."""
        marker = Marker("0123abcd", 12, 345, 6)

        self.assertEqual(("0123abcd:12:345:6", marker), (str(marker), Marker.parse(str(marker))))

    def test_what_is_none(self) -> None:
        """Anything else is nobody's marker."""
        texts = (
            None,
            "",
            "x",
            "a:1:2",
            "a:1:2:3:4",
            "a:1:2:x",
            "a:-1:2:3",
            "a:1:2:",
            "a:1:2:\u0663",
            "a:1:2:" + "9" * 5000,
        )

        self.assertEqual([None] * len(texts), [Marker.parse(text) for text in texts])

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(st.text(max_size=30))
    def test_any_text(self, text: str) -> None:
        """Foreign text is no error."""
        self.assertIsInstance(Marker.parse(text), Marker | None)


class LineageTests(SynchronousTestCase):
    """Who descends from whom."""

    def setUp(self) -> None:
        """A daemon, which is this process, with two connections."""
        self.table = FakeTable()
        self.lineage = Lineage("/state", self.table)
        self.first = self.lineage.issue()
        self.second = self.lineage.issue()

    def add(self, pid: int, marker: object = "", parent: int = 1, session: int = 0, **rest: object) -> None:
        """A process."""
        state = str(rest.get("state", "S"))
        arguments = rest.get("arguments", [])
        assert isinstance(arguments, list)
        self.table.add(Running(pid, parent, pid, session or pid, 9, state), marker, arguments)

    def pids(self, found: list[Running]) -> list[int]:
        """Their ids."""
        return sorted(process.pid for process in found)

    def test_issue(self) -> None:
        """Markers name this daemon, and each connection by a number of its own."""
        home = self.first.home

        self.assertEqual(
            (Marker(home, os.getpid(), 1, 1), Marker(home, os.getpid(), 1, 2), 16),
            (self.first, self.second, len(home)),
        )

    def test_home(self) -> None:
        """It is of the folder, however that is written, and of the namespace."""
        table = FakeTable()
        table.namespace = lambda: "pid:[2]"  # type: ignore[method-assign]  # another container
        lineages = (Lineage("/x/../state/", self.table), Lineage("/other", self.table), Lineage("/state", table))

        same = [lineage.issue().home == self.first.home for lineage in lineages]

        self.assertEqual([True, False, False], same)

    def test_survivors(self) -> None:
        """Of one connection are those with its marker or in its session, alive, and none of us."""
        self.add(50, self.first)
        self.add(51, self.first, session=50)
        self.add(52, "", session=50)
        self.add(53, self.second)
        self.add(54, "")
        self.add(55, self.first, state="Z")
        self.add(56, self.first, arguments=DAEMON)

        self.assertEqual([50, 51, 52], self.pids(self.lineage.survivors(self.first, 50)))

    def test_strays(self) -> None:
        """Strays are ours by adoption, and carry the marker of a connection that is over."""
        ours = os.getpid()
        self.add(50, self.first, ours)
        self.add(51, self.second, ours)
        self.add(52, self.first, 1)
        self.add(53, "", ours)
        self.add(54, self.first, ours)
        self.add(55, Marker(self.first.home, 99, 9, 1), ours)
        self.add(56, self.first, ours, arguments=DAEMON)
        before = self.lineage.strays((54,))

        self.lineage.retire(self.first)

        self.assertEqual(([], [50]), (before, self.pids(self.lineage.strays((54,)))))

    def test_orphans(self) -> None:
        """Orphans are all that came to us, with their descendants; a daemon among them is none, nor are its own."""
        ours = os.getpid()
        self.add(50, "", ours)
        self.add(51, "", 50)
        self.add(52, self.first, ours)
        self.add(53, "", ours)
        self.add(54, "", ours, arguments=DAEMON)
        self.add(55, "", 54)
        self.add(56, "", ours, state="Z")

        self.assertEqual([50, 51, 52], self.pids(self.lineage.orphans((53,))))

    def test_left_behind(self) -> None:
        """Of a daemon of this folder that is dead, and nobody else."""
        home = self.first.home
        dead, reborn = Marker(home, 40, 9, 1), Marker(home, 41, 8, 1)
        living = Marker(home, 42, 9, 1)
        zombie = Marker(home, 43, 9, 1)
        self.add(41)
        self.add(42)
        self.add(43, state="Z")
        self.add(50, dead)
        self.add(51, reborn)
        self.add(52, living)
        self.add(53, zombie)
        self.add(54, Marker("another", 40, 9, 1))
        self.add(55, self.first)
        self.add(56, dead, arguments=["python", "-m", "mcpbridge.stdio", "linear"])
        self.add(57, dead, state="Z")
        self.add(58, "")
        self.add(59, "", session=50)

        self.assertEqual([50, 51, 53, 59], self.pids(self.lineage.left_behind()))

    def test_never_ourselves_or_our_parents(self) -> None:
        """Whoever started us may carry a marker, and so may we."""
        dead = Marker(self.first.home, 40, 9, 1)
        self.add(1, dead, 0)
        self.add(os.getpid(), dead)

        self.assertEqual([], self.lineage.left_behind())


class IsMcpbridgeTests(SynchronousTestCase):
    """Whose command line it is."""

    def test_ours(self) -> None:
        """Relays and daemons, however they were started."""
        lines = (
            DAEMON,
            ["/venv/bin/twistd", "-n", "mcpbridge"],
            ["python", "/venv/bin/twistd", "-ny", "/etc/mcpbridge.tac"],
            ["python", "-m", "mcpbridge", "serve"],
            ["/usr/bin/python3.12", "-X", "dev", "-m", "mcpbridge.stdio", "linear"],
            ["python", "/venv/bin/mcpbridge-stdio", "linear", ""],
            ["/venv/bin/mcpbridge", "serve"],
        )

        self.assertEqual([True] * len(lines), [is_mcpbridge(line) for line in lines])

    def test_others(self) -> None:
        """Servers, our own among them, and whoever only mentions us."""
        lines: tuple[list[str], ...] = (
            [],
            [""],
            ["-m"],
            ["python", "-m", "mcpbridge.demo"],
            ["python", "-m", "server", "-m", "mcpbridge"],
            ["node", "server.js", "mcpbridge"],
            ["twistd", "web"],
            ["npx", "mcpbridge-server"],
        )

        self.assertEqual([False] * len(lines), [is_mcpbridge(line) for line in lines])
