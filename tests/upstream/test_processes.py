"""
Tests for L{mcpbridge.upstream.processes}.
"""

from __future__ import annotations

import os
import shutil
import signal

from twisted.python.runtime import platform
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.upstream.processes import ProcessTable, Running, adopts_orphans


class FakeProcTests(SynchronousTestCase):
    """What is read from the kernel's files, here written by the test."""

    def setUp(self) -> None:
        """An empty table."""
        self.root = self.mktemp()
        os.mkdir(self.root)
        self.table = ProcessTable(self.root)

    def add(self, pid: int, parent: int, name: str = "server", state: str = "S", session: int = 0) -> Running:
        """A process."""
        session = session or pid
        os.makedirs(os.path.join(self.root, str(pid), "task", str(pid)))
        rest = f"{state} {parent} {pid} {session} 0 -1 4194304 " + "0 " * 12 + f"{pid * 10} 1 2 3\n"
        self.write(pid, "stat", f"{pid} ({name}) {rest}".encode())
        return Running(pid, parent, pid, session, pid * 10, state)

    def write(self, pid: int, name: str, text: bytes) -> None:
        """One file of a process."""
        with open(os.path.join(self.root, str(pid), name), "wb") as file:
            file.write(text)

    def test_look(self) -> None:
        """A process is found, whatever its name is."""
        added = [self.add(5, 1), self.add(6, 5, "a) b (R 1 1"), self.add(7, 5, "\xff\n) S")]

        self.assertEqual([*added, None], [self.table.look(pid) for pid in (5, 6, 7, 8)])

    def test_broken_stat(self) -> None:
        """What cannot be read is not there."""
        self.add(5, 1)
        self.write(5, "stat", b"5 (x) S 1")

        self.assertIsNone(self.table.look(5))

    def test_mine(self) -> None:
        """All of our user are listed, and nothing that is no process."""
        added = [self.add(5, 1), self.add(6, 5)]
        os.mkdir(os.path.join(self.root, "sys"))

        self.assertEqual(added, sorted(self.table.mine(), key=lambda found: found.pid))

    def test_dead(self) -> None:
        """Zombies are told apart."""
        found = [self.add(pid, 1, state=state).is_dead for pid, state in ((5, "S"), (6, "Z"), (7, "X"), (8, "D"))]

        self.assertEqual([False, True, True, False], found)

    def test_children(self) -> None:
        """They are found by what the kernel lists for each thread, and without that by looking at all."""
        first, second = self.add(6, 5), self.add(7, 5)
        self.add(5, 1)
        self.add(8, 1)
        slowly = sorted(self.table.children(5), key=lambda found: found.pid)
        os.makedirs(os.path.join(self.root, "thread-self"))
        with open(os.path.join(self.root, "thread-self", "children"), "w"):
            pass
        os.makedirs(os.path.join(self.root, "5", "task", "51"))
        self.write(5, "task/5/children", b"6 8 ")
        self.write(5, "task/51/children", b"7 99 ")

        self.assertEqual(([first, second], [first, second]), (slowly, self.table.children(5)))

    def test_descendants(self) -> None:
        """Children of children count."""
        self.add(5, 1)
        added = [self.add(6, 5), self.add(7, 6), self.add(8, 7)]
        self.add(9, 1)

        self.assertEqual(added, sorted(self.table.descendants(5), key=lambda found: found.pid))

    def test_ancestors(self) -> None:
        """Parents of parents count."""
        one, five, six = self.add(1, 0), self.add(5, 1), self.add(6, 5)
        self.add(7, 6)

        self.assertEqual([six, five, one], self.table.ancestors(7))

    def test_marker(self) -> None:
        """It is found anywhere in the environment, by its whole name."""
        for pid, text in ((5, b"MCPBRIDGE_INSTANCE=m:1\0A=b\0"), (6, b"A=b\0MCPBRIDGE_INSTANCE=m:2"), (7, b"")):
            self.add(pid, 1)
            self.write(pid, "environ", text)
        self.add(8, 1)
        self.write(8, "environ", b"XMCPBRIDGE_INSTANCE=m\0X=MCPBRIDGE_INSTANCE=m\0")

        self.assertEqual(["m:1", "m:2", None, None, None], [self.table.marker(pid) for pid in (5, 6, 7, 8, 9)])

    def test_arguments(self) -> None:
        """A command line is a list."""
        self.add(5, 1)
        self.write(5, "cmdline", b"python\0-m\0mcpbridge\0")

        self.assertEqual(["python", "-m", "mcpbridge", ""], self.table.arguments(5))

    def test_no_table(self) -> None:
        """Where there is none nothing is found."""
        shutil.rmtree(self.root)

        self.assertEqual(
            (False, None, [], [], [], None, [""], ""),
            (
                self.table.is_there,
                self.table.look(1),
                list(self.table.mine()),
                self.table.children(1),
                self.table.ancestors(1),
                self.table.marker(1),
                self.table.arguments(1),
                self.table.namespace(),
            ),
        )


class RealProcTests(SynchronousTestCase):
    """The same of this very process."""

    if not platform.isLinux():
        skip = "needs /proc of Linux"

    def setUp(self) -> None:
        """The real table."""
        self.table = ProcessTable()

    def test_ourselves(self) -> None:
        """What the table says is what the system calls say."""
        found = self.table.look(os.getpid())

        assert found is not None
        self.assertEqual(
            (os.getpid(), os.getppid(), os.getpgid(0), os.getsid(0), True, True),
            (found.pid, found.parent, found.group, found.session, found.started > 0, self.table.is_there),
        )

    def test_namespace(self) -> None:
        """It has a name."""
        self.assertTrue(self.table.namespace().startswith("pid:["))

    def test_parents(self) -> None:
        """Our parent is our nearest ancestor, and has us as a child and as a descendant."""
        parent = os.getppid()
        if not parent:
            self.skipTest("our parent is outside of this container")

        found = (
            self.table.ancestors(os.getpid())[0].pid,
            os.getpid() in [child.pid for child in self.table.children(parent)],
            os.getpid() in [child.pid for child in self.table.descendants(parent)],
        )

        self.assertEqual((parent, True, True), found)

    def test_signal_only_to_the_same_process(self) -> None:
        """A process that has the id of another by now gets nothing."""
        received = []
        previous = signal.signal(signal.SIGUSR1, lambda number, frame: received.append(number))
        self.addCleanup(signal.signal, signal.SIGUSR1, previous)
        ourselves = self.table.look(os.getpid())
        assert ourselves is not None

        self.table.signal_process(Running(os.getpid(), 0, 0, 0, ourselves.started + 1), signal.SIGUSR1)
        wrong = len(received)
        self.table.signal_process(ourselves, signal.SIGUSR1)

        self.assertEqual((0, 1), (wrong, len(received)))

    def test_nobody_there(self) -> None:
        """Signals to nobody are no error."""
        nobody = 2**22 + 1

        self.table.signal_process(Running(nobody, 1, nobody, nobody, 5), signal.SIGTERM)

        self.assertEqual(
            (False, False), (self.table.signal_group(nobody, signal.SIGTERM), self.table.group_exists(nobody))
        )

    def test_own_children_are_not_adopted(self) -> None:
        """A child that lives in our session is somebody's here, dead or not: it is neither found nor buried."""
        pid = os.fork()
        if not pid:
            os._exit(0)
        self.addCleanup(os.waitpid, pid, 0)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

        buried = self.table.reap(())

        self.assertNotIn(pid, [found.pid for found in [*buried, *self.table.adopted(())]])

    def test_adopted(self) -> None:
        """A dead child of another session is buried, but for those that others wait for."""
        pid = os.fork()
        if not pid:
            os.setsid()
            os._exit(0)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

        first = [found.pid for found in self.table.reap((pid,))]
        second = [found.pid for found in self.table.reap(())]

        self.assertEqual((False, True), (pid in first, pid in second))
        self.assertRaises(ChildProcessError, os.waitpid, pid, os.WNOHANG)

    def test_adopts_orphans(self) -> None:
        """It can be asked at any time."""
        self.assertIn(adopts_orphans(), (True, False))
