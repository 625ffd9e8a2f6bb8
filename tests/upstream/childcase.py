"""
A child and its transport, as a test case.
"""

from __future__ import annotations

import signal
import sys

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.framing import KEPT
from mcpbridge.core.jsonrpc import Request, RequestId, Result
from mcpbridge.upstream.child import ChildTransport
from mcpbridge.upstream.childprocess import ChildLimits
from mcpbridge.upstream.command import Command, Launcher
from mcpbridge.upstream.lineage import Lineage
from mcpbridge.upstream.processes import Running
from tests.upstream.childworld import FakeChild, FakeReactor, FakeTable, RecordingLink

PING = Request(1, "ping")
PING_LINE = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
ANSWER_LINE = b'{"jsonrpc":"2.0","id":1,"result":{}}\n'
ANSWER = ("received", Result(1, Raw(b"{}")), None)
#: More than a pipe holds.
LARGE = Request(7, "large", Raw(b'{"a":"' + b"x" * 200_000 + b'"}'))
#: The smallest that a framer takes.
LINE = 2 * KEPT


def unsent(
    request_id: RequestId, text: str, reason: Reason = Reason.UPSTREAM_UNREACHABLE
) -> tuple[str, RequestId, Loss]:
    """How the end of a request is told that nobody can have seen."""
    return ("lost", request_id, Loss(Fate.NEVER_SENT, reason, text))


def running(pid: int, parent: int, group: int, session: int = 0) -> Running:
    """A process as the system lists it."""
    return Running(pid, parent, group, session or group, 9)


class ChildCase(SynchronousTestCase):
    """A transport, and the test as its child and its owner."""

    def setUp(self) -> None:
        """Nothing is started yet."""
        self.reactor = FakeReactor()
        self.table = FakeTable()
        self.lineage = Lineage("/state", self.table)
        self.link = RecordingLink()
        self.transport = self.make()

    def make(self, env: dict[str, str] | None = None, command: str = sys.executable) -> ChildTransport:
        """A transport that was not connected yet."""
        return ChildTransport(
            self.reactor,
            "demo",
            Command((command, "server.py"), env or {}),
            self.lineage,
            Launcher("/usr/bin/setsid", "/usr/bin/env"),
            {"PATH": "/usr/bin", "SECRET": "x"},
            ChildLimits(LINE),
        )

    def start(self, transport: ChildTransport | None = None) -> FakeChild:
        """Connect."""
        self.successResultOf((transport or self.transport).connect(self.link))
        child = self.reactor.children[-1]
        self.table.add_child(child)
        self.addCleanup(child.close)
        self.addCleanup(self.clean)
        return child

    def clean(self) -> None:
        """Close our ends of the pipes."""
        for end in self.reactor.removeAll():
            end.close()

    def die(self, child: FakeChild, status: int = 0, by: signal.Signals | None = None) -> None:
        """The child dies and leaves nobody behind."""
        self.table.processes.pop(child.pid, None)
        child.close()
        child.exits(status, by)
        self.reactor.turn()
