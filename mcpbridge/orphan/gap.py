"""
The time between two daemons, from a relay's point of view: wait for the next one, start it, and do its work meanwhile.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mcpbridge.ledger.inbox import Inbox
from mcpbridge.ledger.memory import Memory
from mcpbridge.ledger.slots import Slots
from mcpbridge.orphan.launch import launch
from mcpbridge.orphan.substitute import Substitute

if TYPE_CHECKING:
    import _socket

    from mcpbridge.orphan.relay import Relay

#: Seconds, from when a daemon is to be started, after which the relay itself answers. It starts in less than one.
PATIENCE = 5.0
#: Seconds that a daemon which is stopped on purpose gets to come back before the relay brings it back.
PLANNED = 3.0
#: Seconds between two attempts, at first and at most.
FIRST_PAUSE = 0.02
LAST_PAUSE = 2.0
#: Seconds between two attempts to start one.
START_PAUSE = 2.0


def first_daemon(relay: Relay) -> _socket.socket:
    """The daemon for a client that has had none yet. Ends the process if there is none to be had."""
    sentence = f"no daemon listens at {relay.path}, and --no-start forbids to start one"
    if relay.may_start:
        sentence = launch(relay.path, relay.connect, relay.wait)
        connection = relay.connect()
        if connection is not None:
            return connection
    relay.fail(sentence or f"the daemon does not listen at {relay.path}")
    raise AssertionError("the process has ended")


def next_daemon(relay: Relay) -> _socket.socket:
    """The daemon for a client that has lost one. Takes as long as it takes."""
    return _Gap(relay).bridge()


class _Gap:
    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._sentence = relay.refusal
        self._start_at = time.monotonic() + (PLANNED if relay.stopping else 0.0)
        self._planned = relay.stopping and not _waits(relay.memory)
        self._serve_at = time.monotonic() if relay.refusal else self._start_at + PATIENCE
        self._substitute: Substitute | None = None

    def bridge(self) -> _socket.socket:
        pause = FIRST_PAUSE
        while True:
            # One that refused this client a moment ago will not have changed its mind yet.
            connection = None if self._relay.refusal else self._relay.connect()
            if connection is None and self._may_start():
                self._sentence = launch(self._relay.path, self._relay.connect, self.wait, again=True)
                self._start_at = time.monotonic() + START_PAUSE
                connection = self._relay.connect()
            if connection is not None:
                if self._substitute is not None:
                    self._substitute.close()
                return connection
            until_start = self._start_at - time.monotonic()
            self.wait({}, min(pause, until_start) if until_start > 0 else pause)
            pause = min(2 * pause, LAST_PAUSE)
            if pause == LAST_PAUSE:
                self._sentence, self._relay.refusal = self._relay.refusal or self._sentence, ""

    def wait(self, wanted: Mapping[int, int], seconds: float) -> dict[int, int]:
        """Sleep, and serve the client where nobody else has for too long. May return early, with nothing."""
        end = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            if self._planned:
                return self._doze(wanted, end - now)
            if self._substitute is None and now >= self._serve_at:
                self._substitute = Substitute(self._relay, self._sentence)
            if self._substitute is not None:
                ready = self._relay.wait({**self._substitute.wanted(), **wanted}, end - now)
                self._substitute.turn(ready, self._sentence)
            else:
                ready = self._relay.wait(wanted, min(end, self._serve_at) - now)
            found = {fd: events for fd, events in ready.items() if fd in wanted}
            if found or time.monotonic() >= end:
                return found

    def _doze(self, wanted: Mapping[int, int], seconds: float) -> dict[int, int]:
        """Somebody stopped the daemon. Nobody needs one until the client wants something."""
        client = self._relay.stdin
        ready = self._relay.wait({**wanted, client: select.POLLIN}, seconds)
        events = ready.pop(client, 0)
        if events:
            self._planned = False
            if events & select.POLLIN:
                self._serve_at = max(time.monotonic(), self._start_at) + PATIENCE
            else:
                # It has closed its end and wants nothing: no reason to start anything.
                self._serve_at, self._start_at = time.monotonic(), float("inf")
        return ready

    def _may_start(self) -> bool:
        wanted = self._relay.may_start and not self._relay.refusal and not self._planned
        return wanted and time.monotonic() >= self._start_at


def _waits(memory_fd: int) -> bool:
    """Whether the client waits for something that the daemon has taken from it: a request that is open, or unread."""
    memory = Memory(os.dup(memory_fd))
    inbox = Inbox(memory)
    slots = Slots(memory, inbox.position)
    waits = inbox.unread or bool(slots.taken)
    inbox.close()
    slots.close()
    memory.close()
    return waits
