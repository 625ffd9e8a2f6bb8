"""
What the kernel knows of processes, and signals that reach the right one.

Where there is no C{/proc} as on Linux nothing is found, and only process groups can be signalled.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Container, Iterator

import attrs

from mcpbridge.upstream.environment import MARKER_NAME

#: Bytes of an environment or a command line that are read. Ours have a few KiB; Linux allows 128 KiB for one variable.
_TEXT_SIZE = 256 * 1024

#: From linux/prctl.h.
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37

_MARKER_ENTRY = MARKER_NAME.encode() + b"="


@attrs.frozen
class Running:
    """
    A process at one moment.

    @ivar started: clock ticks since the machine started; with the pid it names a process for good.
    @ivar state: one letter, see proc(5).
    """

    pid: int
    parent: int
    group: int
    session: int
    started: int
    state: str = "S"

    @property
    def is_dead(self) -> bool:
        """It has ended, and waits to be reaped."""
        return self.state in "ZX"


class ProcessTable:
    """Every process that can be seen from here. Each question is asked of the kernel anew."""

    def __init__(self, root: str = "/proc") -> None:
        self._root = root

    @property
    def is_there(self) -> bool:
        """Whether this system tells of processes that are not our children."""
        return os.path.exists(os.path.join(self._root, "self/stat"))

    def look(self, pid: int) -> Running | None:
        """A process by its id; L{None} if there is none."""
        text = self._read(f"{pid}/stat")
        # The program's name is in parentheses and may have any character in it, parentheses too.
        fields = text[text.rfind(b")") + 1 :].split()
        if len(fields) < 20:
            return None
        parent, group, session = (int(field) for field in fields[1:4])
        return Running(pid, parent, group, session, int(fields[19]), fields[0].decode("ascii"))

    def mine(self) -> Iterator[Running]:
        """All processes of our user."""
        for pid in self._pids():
            if self._is_mine(pid):
                found = self.look(pid)
                if found is not None:
                    yield found

    def children(self, pid: int) -> list[Running]:
        """The children of a process, dead ones too."""
        listed = self._listed_children(pid)
        if listed is None:
            # A kernel without CONFIG_PROC_CHILDREN.
            return [found for found in map(self.look, self._pids()) if found is not None and found.parent == pid]
        return [found for found in map(self.look, listed) if found is not None and found.parent == pid]

    def descendants(self, pid: int) -> list[Running]:
        """Children, their children and so on. Those that a dead one left behind belong to whoever adopted them."""
        found: dict[int, Running] = {}
        unseen = [pid]
        while unseen:
            for child in self.children(unseen.pop()):
                if child.pid not in found:
                    found[child.pid] = child
                    unseen.append(child.pid)
        return list(found.values())

    def ancestors(self, pid: int) -> list[Running]:
        """The parent, its parent and so on."""
        found: list[Running] = []
        process = self.look(pid)
        while process is not None and process.parent > 0:
            process = self.look(process.parent)
            if process is not None:
                found.append(process)
        return found

    def marker(self, pid: int) -> str | None:
        """The marker that a process was started with; L{None} if it has none, or will not tell us."""
        text = self._read(f"{pid}/environ")
        for entry in text.split(b"\0"):
            if entry.startswith(_MARKER_ENTRY):
                return entry[len(_MARKER_ENTRY) :].decode("utf-8", "replace")
        return None

    def arguments(self, pid: int) -> list[str]:
        """The command line of a process."""
        text = self._read(f"{pid}/cmdline")
        return [argument.decode("utf-8", "replace") for argument in text.split(b"\0")]

    def namespace(self) -> str:
        """Within what process ids are unique, in words of the kernel."""
        try:
            return os.readlink(os.path.join(self._root, "self/ns/pid"))
        except OSError:
            return ""

    def signal_process(self, process: Running, number: signal.Signals) -> None:
        """
        Send a signal to this very process, not to another one that has its id by now. Nothing happens if it is gone.
        """
        try:
            descriptor = os.pidfd_open(process.pid) if sys.platform == "linux" else -1
        except OSError:
            # It is gone, or the kernel is older than Linux 5.3.
            descriptor = -1
        try:
            now = self.look(process.pid)
            if now is None or now.started != process.started:
                return
            if sys.platform == "linux" and descriptor >= 0:
                signal.pidfd_send_signal(descriptor, number)
            else:
                os.kill(process.pid, number)
        except (ProcessLookupError, PermissionError):
            # Gone meanwhile, or it has become somebody else's.
            return
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def signal_group(self, leader: int, number: signal.Signals) -> bool:
        """
        Send a signal to a process group. Its leader must be a child of ours that was not reaped yet, or have been one
        just now, so that nobody else has the id.

        @return: whether there was anybody.
        """
        try:
            os.killpg(leader, number)
        except (ProcessLookupError, PermissionError):
            # macOS says that we may not, where all that is left of a group are zombies.
            return False
        return True

    def group_exists(self, leader: int) -> bool:
        """Whether there is anybody in a process group. To be asked soon after the leader died, for the same reason."""
        try:
            os.killpg(leader, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def reap(self, known: Container[int]) -> list[Running]:
        """
        Bury the dead children that came to us when their parents died: in other sessions than ours, since all that
        we start lives in its own.

        @param known: ids of the children that others wait for.
        @return: those that are no more.
        """
        if not _somebody_died():
            return []
        return [child for child in self.adopted(known) if child.is_dead and _bury(child.pid)]

    def adopted(self, known: Container[int]) -> list[Running]:
        """
        The children that came to us when their parents died.

        @param known: ids of the children that we started.
        """
        ours = os.getpid()
        session = os.getsid(0)
        return [child for child in self.children(ours) if child.session != session and child.pid not in known]

    def _pids(self) -> Iterator[int]:
        try:
            names = os.listdir(self._root)
        except OSError:
            return
        for name in names:
            if name.isdecimal():
                yield int(name)

    def _is_mine(self, pid: int) -> bool:
        try:
            return os.stat(os.path.join(self._root, str(pid))).st_uid == os.geteuid()
        except OSError:
            return False

    def _listed_children(self, pid: int) -> list[int] | None:
        """What each thread of a process says; L{None} where the kernel does not."""
        try:
            threads = os.listdir(os.path.join(self._root, str(pid), "task"))
        except OSError:
            return []
        found: list[int] = []
        for thread in threads:
            try:
                with open(os.path.join(self._root, str(pid), "task", thread, "children"), "rb") as listed:
                    found += map(int, listed.read().split())
            except FileNotFoundError:
                if not os.path.exists(os.path.join(self._root, "thread-self/children")):
                    return None
            except OSError:
                # The thread is gone.
                continue
        return found

    def _read(self, name: str) -> bytes:
        """A file of the table; empty if the process is gone or not ours to look into."""
        try:
            descriptor = os.open(os.path.join(self._root, name), os.O_RDONLY)
        except OSError:
            return b""
        parts: list[bytes] = []
        try:
            size = 0
            while size < _TEXT_SIZE and (part := os.read(descriptor, _TEXT_SIZE)):
                parts.append(part)
                size += len(part)
        except OSError:
            return b""
        finally:
            os.close(descriptor)
        return b"".join(parts)


def become_subreaper() -> bool:
    """
    Have every orphan among our descendants come to us, rather than to the first process of the machine. Stays on.

    @return: whether it is so now. Only Linux can; as the first process of a container we need not ask.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    return adopts_orphans()


def adopts_orphans() -> bool:
    """Whether orphans among our descendants come to us."""
    if os.getpid() == 1:
        return True
    if sys.platform != "linux":
        return False
    answer = ctypes.c_int(0)
    return _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.addressof(answer)) == 0 and answer.value == 1


def _prctl(option: int, argument: int) -> int:
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return -1
    prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
    return int(prctl(option, argument, 0, 0, 0))


def _somebody_died() -> bool:
    """Whether there is any dead child, without taking its status from whoever waits for it."""
    if not hasattr(os, "waitid"):
        return True
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _bury(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False
