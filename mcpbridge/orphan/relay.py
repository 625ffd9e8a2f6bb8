"""
What is known here of the relay. L{mcpbridge.stdio} imports this package, never the other way round.
"""

from __future__ import annotations

import _socket
from collections.abc import Mapping
from typing import NoReturn, Protocol


class Relay(Protocol):
    """See L{mcpbridge.stdio.Relay}."""

    server: str
    path: str
    may_start: bool
    stdin: int
    stdout: int
    memory: int
    stopping: bool
    refusal: str

    def connect(self) -> _socket.socket | None:
        """A connection to the daemon, if there is one."""

    def wait(self, wanted: Mapping[int, int], seconds: float | None) -> dict[int, int]:
        """Sleep until one of these descriptors is ready, or the time is up."""

    def finish(self) -> None:
        """Say what is left to say to the client."""

    def fail(self, sentence: str) -> None:
        """Give up, and say why."""

    def leave(self, status: int) -> NoReturn:
        """End the process."""
