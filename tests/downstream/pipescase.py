"""
A client at the other end of two pipes, as a test case.
"""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.jsonrpc import Request, RequestId, Result, encode, value
from mcpbridge.downstream.handover import Handover
from mcpbridge.downstream.pipes import PipeTransport
from tests.downstream.manual import ManualReactor, Notes, drained, memory_file


def ask(request_id: RequestId, method: str = "echo") -> bytes:
    """A request's line."""
    return encode(Request(request_id, method)) + b"\n"


class PipesCase(SynchronousTestCase):
    """One client."""

    def setUp(self) -> None:
        """A client with a daemon."""
        self.reactor = ManualReactor()
        self.its_stdin, self.stdin = os.pipe()
        self.stdout, self.its_stdout = os.pipe()
        self.memory = memory_file()
        for fd in (self.its_stdin, self.its_stdout, self.memory, self.stdout):
            self.addCleanup(os.close, fd)
        self.addCleanup(self.close_stdin)
        self.link = Notes()
        self.transport = self.open()

    def open(self) -> PipeTransport:
        """As a daemon finds it."""
        transport = PipeTransport(
            self.reactor, os.dup(self.its_stdin), os.dup(self.its_stdout), Handover(os.dup(self.memory)), "linear"
        )
        self.addCleanup(transport.disconnect)
        return transport

    def connect(self, *lines: bytes) -> None:
        """Begin, with what the client has said."""
        self.transport.connect(self.link)
        self.reactor.settle()
        self.say(*lines)

    def say(self, *lines: bytes) -> None:
        """The client writes, and we read."""
        for line in lines:
            os.write(self.stdin, line)
            self.reactor.settle()

    def close_stdin(self) -> None:
        """The client says no more."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def answer(self, request_id: RequestId) -> None:
        """As the owner does."""
        self.transport.send(Result(request_id, value({})))

    def heard(self) -> list[Any]:
        """What the client has heard."""
        return [json.loads(line) for line in drained(self.stdout).splitlines()]
