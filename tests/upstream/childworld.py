"""
A machine in memory for tests of children: a clock, pipes that are real but never waited for, processes that are not.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IProcessProtocol, IReactorFDSet, IReactorProcess
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from mcpbridge.core.errors import Loss
from mcpbridge.core.jsonrpc import InvalidMessage, Message, RequestId
from mcpbridge.interfaces import IMessageLink
from mcpbridge.upstream.environment import MARKER_NAME
from mcpbridge.upstream.processes import ProcessTable, Running

#: Turns of the fake reactor after which a test is taken to hang.
_MAX_TURNS = 10_000


@attrs.define(eq=False)
class FakeChild:
    """What a test plays the part of: a process at the other end of the pipes."""

    pid: int
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = attrs.field(repr=False)
    protocol: IProcessProtocol
    stdin: int
    stdout: int
    stderr: int

    def says(self, data: bytes) -> None:
        """Write to standard output; as much as the pipe takes."""
        os.write(self.stdout, data)

    def complains(self, data: bytes) -> None:
        """Write to standard error."""
        os.write(self.stderr, data)

    def hears(self) -> bytes | None:
        """All that is in standard input now; L{None} if it is over."""
        found = b""
        while True:
            try:
                data = os.read(self.stdin, 1024 * 1024)
            except BlockingIOError:
                return found
            if not data:
                return found or None
            found += data

    def close(self, *streams: str) -> None:
        """Close some streams, or all."""
        for stream in streams or ("stdin", "stdout", "stderr"):
            descriptor = getattr(self, stream)
            if descriptor >= 0:
                os.close(descriptor)
                setattr(self, stream, -1)

    def exits(self, status: int = 0, by: signal.Signals | None = None) -> None:
        """Die. Its streams stay open: somebody else may hold them. See L{close}."""
        ended = ProcessTerminated(None if by else status, by, status) if status or by else ProcessDone(0)
        self.protocol.processExited(Failure(ended))


@implementer(IReactorProcess, IReactorFDSet)
class FakeReactor(Clock):
    """Runs only when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.children: list[FakeChild] = []
        self.refusal: Exception | None = None
        self._readers: list[Any] = []
        self._writers: list[Any] = []

    def spawnProcess(
        self,
        processProtocol: IProcessProtocol,
        executable: bytes | str,
        args: Sequence[bytes | str] = (),
        env: Mapping[Any, Any] | None = None,
        path: bytes | str | None = None,
        uid: int | None = None,
        gid: int | None = None,
        usePTY: bool | tuple[int, int, str] = False,
        childFDs: Mapping[int, int | str] | None = None,
    ) -> Any:
        """Take the other ends of the pipes, as a process would."""
        if self.refusal is not None:
            raise self.refusal
        assert childFDs is not None and env is not None
        stdin, stdout, stderr = (os.dup(int(childFDs[number])) for number in range(3))
        os.set_blocking(stdin, False)
        os.set_blocking(stdout, False)
        os.set_blocking(stderr, False)
        arguments = tuple(str(argument) for argument in args)
        child = FakeChild(1000 + len(self.children), arguments, env, processProtocol, stdin, stdout, stderr)
        self.children.append(child)
        return child

    def turn(self, seconds: float = 0) -> None:
        """Let time pass, and everything happen that then can."""
        self.advance(seconds)
        for _ in range(_MAX_TURNS):
            if not self._happen():
                return
        raise AssertionError("this does not come to rest")

    def _happen(self) -> bool:
        readers, writers, _ = select.select(self._readers, self._writers, [], 0)
        for reader in readers:
            if reader in self._readers:
                reader.doRead()
        for writer in writers:
            if writer in self._writers:
                writer.doWrite()
        due = [call for call in self.getDelayedCalls() if call.getTime() <= self.seconds()]
        self.advance(0)
        return bool(readers or writers or due)

    def addReader(self, reader: Any) -> None:
        """Watch it."""
        if reader not in self._readers:
            self._readers.append(reader)

    def addWriter(self, writer: Any) -> None:
        """Watch it."""
        if writer not in self._writers:
            self._writers.append(writer)

    def removeReader(self, reader: Any) -> None:
        """Watch it no more."""
        if reader in self._readers:
            self._readers.remove(reader)

    def removeWriter(self, writer: Any) -> None:
        """Watch it no more."""
        if writer in self._writers:
            self._writers.remove(writer)

    def removeAll(self) -> list[Any]:
        """Watch nothing."""
        found = [*self._readers, *self._writers]
        self._readers, self._writers = [], []
        return found

    def getReaders(self) -> list[Any]:
        """Who is read."""
        return list(self._readers)

    def getWriters(self) -> list[Any]:
        """Who waits for room."""
        return list(self._writers)


class FakeTable(ProcessTable):
    """Processes that a test made up."""

    def __init__(self) -> None:
        super().__init__("/nonexistent")
        self.processes: dict[int, Running] = {}
        self.markers: dict[int, str] = {}
        self.command_lines: dict[int, list[str]] = {}
        self.signals: list[tuple[int, str]] = []
        self.immune: set[int] = set()
        self.has_proc = True

    def add(self, process: Running, marker: object = "", command_line: Sequence[str] = ()) -> None:
        """Let there be a process."""
        self.processes[process.pid] = process
        if marker:
            self.markers[process.pid] = str(marker)
        self.command_lines[process.pid] = list(command_line)

    def add_child(self, child: FakeChild) -> None:
        """Let this child be seen, as leader of a session."""
        self.add(Running(child.pid, os.getpid(), child.pid, child.pid, 7), child.environment[MARKER_NAME])

    def remove(self, pid: int) -> None:
        """It is no more."""
        del self.processes[pid]

    @property
    def is_there(self) -> bool:
        """As on Linux, or not."""
        return self.has_proc

    def look(self, pid: int) -> Running | None:
        """One of them; this process was born at 1."""
        if pid == os.getpid():
            return Running(pid, 1, pid, pid, 1)
        return self.processes.get(pid)

    def mine(self) -> Iterator[Running]:
        """All of them."""
        return iter(list(self.processes.values()))

    def children(self, pid: int) -> list[Running]:
        """Those with this parent."""
        return [process for process in self.processes.values() if process.parent == pid]

    def marker(self, pid: int) -> str | None:
        """What the test gave it."""
        return self.markers.get(pid)

    def arguments(self, pid: int) -> list[str]:
        """What the test gave it."""
        return self.command_lines.get(pid, [])

    def namespace(self) -> str:
        """The only one."""
        return "pid:[1]"

    def signal_process(self, process: Running, number: signal.Signals) -> None:
        """Noted, and deadly to all who are not immune, as C{SIGKILL} is to everybody."""
        self.signals.append((process.pid, number.name))
        if process.pid not in self.immune or number == signal.SIGKILL:
            self.processes.pop(process.pid, None)

    def signal_group(self, leader: int, number: signal.Signals) -> bool:
        """Noted under the negative number of the group."""
        members = [process for process in self.processes.values() if process.group == leader]
        if members:
            self.signals.append((-leader, number.name))
        return bool(members)

    def group_exists(self, leader: int) -> bool:
        """Whether anybody is in it."""
        return any(process.group == leader for process in self.processes.values())

    def reap(self, known: Container[int]) -> list[Running]:
        """The dead are taken away."""
        dead = [process for process in self.processes.values() if process.is_dead and process.pid not in known]
        for process in dead:
            del self.processes[process.pid]
        return dead

    def adopted(self, known: Container[int]) -> list[Running]:
        """Children of ours, known ones apart."""
        return [child for child in self.children(os.getpid()) if child.pid not in known]


@implementer(IMessageLink)
class RecordingLink:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def received(self, message: Message, within: RequestId | None) -> None:
        """A message came."""
        self.told.append(("received", message, within))

    def received_batch(self, messages: Sequence[Message | InvalidMessage]) -> None:
        """Several came at once."""
        self.told.append(("batch", tuple(messages)))

    def received_garbage(self, invalid: InvalidMessage) -> None:
        """Something came."""
        self.told.append(("garbage", invalid.code, invalid.request_id, invalid.response_id))

    def request_lost(self, request_id: RequestId, loss: Loss) -> None:
        """No answer will."""
        self.told.append(("lost", request_id, loss))

    def disconnected(self, loss: Loss) -> None:
        """Nothing will."""
        self.told.append(("disconnected", loss))

    def congested(self) -> None:
        """Hold back."""
        self.told.append(("congested",))

    def relieved(self) -> None:
        """Go on."""
        self.told.append(("relieved",))
