"""
Bytes carried by hand, between a client whose stdin or stdout is a terminal or a file, and two pipes that can be passed.

The daemon cannot watch a file, and a terminal must not be made non-blocking: it is the shell's as well. The pipes are
the relay's own, so they outlive daemons like any client's.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpbridge.orphan.relay import Relay

#: Bytes carried at once.
PIECE = 65536


class Shuttle:
    """
    Works while somebody waits: L{wait} takes the place of the relay's own.

    @ivar stdin: the end of a pipe that the daemon reads, and L{stdout}, the one that it writes to.
    """

    def __init__(
        self,
        leave: Callable[[int], None],
        wait: Callable[[Mapping[int, int], float | None], dict[int, int]],
        client: tuple[int, int] = (0, 1),
    ) -> None:
        """
        @param leave: ends the process; called when the client's stdout is gone.
        @param wait: sleeps until a descriptor is ready.
        @param client: its stdin, to read, and its stdout, to write.
        """
        self._client_in, self._client_out = client
        self._leave = leave
        self._sleep = wait
        self.stdin, self._to_daemon = os.pipe()
        self._from_daemon, self.stdout = os.pipe()
        os.set_blocking(self._to_daemon, False)
        os.set_blocking(self._from_daemon, False)
        self._said = b""
        self._ended = False

    def wait(self, wanted: Mapping[int, int], seconds: float | None) -> dict[int, int]:
        """Like the relay's, and carries what there is to carry meanwhile."""
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            own = self._wanted()
            ready = self._sleep({**own, **wanted}, None if end is None else end - time.monotonic())
            self._carry(ready)
            found = {fd: events for fd, events in ready.items() if fd in wanted}
            if found or (end is not None and time.monotonic() >= end):
                return found

    def finish(self) -> None:
        """Carry what the daemon has left in the pipe to the client."""
        while self._carry_answers():
            pass

    def _wanted(self) -> dict[int, int]:
        wanted = {self._from_daemon: select.POLLIN}
        if self._said:
            wanted[self._to_daemon] = select.POLLOUT
        elif not self._ended:
            wanted[self._client_in] = select.POLLIN
        return wanted

    def _carry(self, ready: Mapping[int, int]) -> None:
        if self._from_daemon in ready:
            self._carry_answers()
        if self._client_in in ready and not self._said and not self._ended:
            try:
                self._said = os.read(self._client_in, PIECE)
            except OSError:
                self._said = b""  # A terminal that hung up.
            self._ended = not self._said
        if self._said:
            with contextlib.suppress(BlockingIOError):  # L{_wanted} waits for room.
                self._said = self._said[os.write(self._to_daemon, self._said) :]
        if self._ended and self._to_daemon >= 0 and not self._said:
            os.close(self._to_daemon)
            self._to_daemon = -1

    def _carry_answers(self) -> bool:
        try:
            data = os.read(self._from_daemon, PIECE)
        except BlockingIOError:
            return False
        try:
            while data:
                data = data[os.write(self._client_out, data) :]
        except OSError:
            self._leave(0)
        return True


def carry_for(relay: Relay) -> None:
    """Let the daemon have pipes in place of this relay's own stdin and stdout, and carry while the relay waits."""
    shuttle = Shuttle(relay.leave, relay.wait)
    relay.stdin, relay.stdout = shuttle.stdin, shuttle.stdout
    relay.wait = shuttle.wait  # type: ignore[method-assign]  # whoever waits moves the bytes
    relay.finish = shuttle.finish  # type: ignore[method-assign]  # as above
