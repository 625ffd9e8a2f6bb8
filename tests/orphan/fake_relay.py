"""
A relay whose time passes as the test wants, and whose end is an exception.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from tests.downstream.manual import memory_file


class Left(Exception):
    """The process would have ended."""


class FakeRelay:
    """
    See L{mcpbridge.orphan.relay}.

    @ivar daemons: what L{connect} gives, in order, and the last of them for ever.
    @ivar now: takes the place of the module C{time} as well.
    @ivar happens: called each time that somebody waits.
    """

    def __init__(self, addCleanup: Callable[..., Any]) -> None:
        self.server = "linear"
        self.path = "/run/m.sock"
        self.may_start = True
        self.stopping = False
        self.refusal = ""
        self.stdin, self.client_stdin = os.pipe()
        self.client_stdout, self.stdout = os.pipe()
        self.memory = memory_file()
        self.daemons: list[Any] = [None]
        self.now = 1000.0
        self.told: list[Any] = []
        self.happens: Callable[[], None] = lambda: None
        for fd in (self.stdin, self.client_stdout, self.stdout, self.memory):
            addCleanup(os.close, fd)
        addCleanup(self.close_stdin)

    def close_stdin(self) -> None:
        """The client says no more."""
        if self.client_stdin >= 0:
            os.close(self.client_stdin)
            self.client_stdin = -1

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def time(self) -> float:
        """Seconds."""
        return self.now

    def connect(self) -> Any:
        """A daemon, if there is one."""
        self.told.append("connect")
        return self.daemons.pop(0) if len(self.daemons) > 1 else self.daemons[0]

    def wait(self, wanted: Mapping[int, int], seconds: float | None) -> dict[int, int]:
        """What is ready now; else the time passes at once."""
        self.happens()
        poll = select.poll()
        for fd, events in wanted.items():
            poll.register(fd, events)
        ready = dict(poll.poll(0))
        if not ready:
            if seconds is None:
                raise AssertionError("it would sleep for ever")
            self.now += max(seconds, 0.001)
        return ready

    def finish(self) -> None:
        """The last words."""
        self.told.append("finish")

    def fail(self, sentence: str) -> None:
        """Give up."""
        self.told.append(sentence)
        raise Left(1)

    def leave(self, status: int) -> NoReturn:
        """End."""
        raise Left(status)
