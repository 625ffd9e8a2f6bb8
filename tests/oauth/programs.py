"""
Programs that end when a test wants them to, and a clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure


@attrs.define(eq=False)
class FakeProgram:
    """
    One that runs; it is its own transport.

    @ivar did: what was done to it.
    """

    protocol: Any
    command: Sequence[str]
    environment: Mapping[str, str]
    did: list[str] = attrs.Factory(list)
    pid: int | None = 1000

    def closeStdin(self) -> None:
        self.did.append("end of input")

    def signalProcess(self, signal: str) -> None:
        self.did.append(signal)

    def loseConnection(self) -> None:
        self.did.append("pipes closed")

    def prints(self, data: bytes) -> None:
        self.protocol.outReceived(data)

    def complains(self, data: bytes) -> None:
        self.protocol.errReceived(data)

    def ends(self, status: int = 0, signal: int | None = None) -> None:
        """It is over, with this status or by this signal."""
        self.pid = None
        good = status == 0 and signal is None
        self.protocol.processEnded(Failure(ProcessDone(0) if good else ProcessTerminated(status or None, signal)))


@attrs.define(eq=False)
class FakePrograms(Clock):
    """
    A reactor with which programs can be started.

    @ivar started: all of them, the last one last.
    @ivar refusal: why none can be.
    """

    started: list[FakeProgram] = attrs.Factory(list)
    refusal: OSError | None = None

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def spawnProcess(self, protocol: Any, executable: str, args: Sequence[str], env: Mapping[str, str]) -> None:
        if self.refusal is not None:
            raise self.refusal
        program = FakeProgram(protocol, args, env)
        self.started.append(program)
        protocol.makeConnection(program)

    @property
    def program(self) -> FakeProgram:
        """The one that was started last."""
        return self.started[-1]
