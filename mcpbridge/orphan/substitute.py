"""
In a daemon's place while there is none: every request of the client is answered, if only with an error.

It works on the same file as a daemon does and by the same rules, so that the client hears of no request twice, and the
next daemon goes on where this leaves off.
"""

from __future__ import annotations

import json
import os
import select
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcpbridge.ledger.inbox import Inbox, Overlong
from mcpbridge.ledger.memory import MAX_LINE, Memory
from mcpbridge.ledger.output import CUT, Output
from mcpbridge.ledger.slots import Slots

if TYPE_CHECKING:
    from mcpbridge.orphan.relay import Relay

#: Answers that wait for the client to read, above which no more is read from it.
MAX_QUEUED = 100

_UNREACHABLE = "upstream_unreachable"
_RESTARTED = "bridge_restarted"


class Substitute:
    """
    Serves one client, with errors.

    @ivar answers: how many requests were answered.
    """

    def __init__(self, relay: Relay, sentence: str, is_final: bool = False) -> None:
        """
        @param sentence: why there is no daemon; may be empty.
        @param is_final: there will be none for this client.
        """
        self._relay = relay
        self._sentence = sentence
        self._is_final = is_final
        self.answers = 0
        self._memory = Memory(os.dup(relay.memory))
        self._inbox = Inbox(self._memory)
        self._slots = Slots(self._memory, self._inbox.position)
        self._output = Output(self._memory)
        self._ended = False
        self._queue: deque[tuple[bytes, int | None]] = deque()
        os.set_blocking(relay.stdin, False)
        os.set_blocking(relay.stdout, False)
        self._begin()

    def wanted(self) -> dict[int, int]:
        """What to wait for, beside the time."""
        wanted = {}
        if self._queue:
            wanted[self._relay.stdout] = select.POLLOUT
        if not self._ended and len(self._queue) < MAX_QUEUED:
            # The same descriptor may be both.
            wanted[self._relay.stdin] = wanted.get(self._relay.stdin, 0) | select.POLLIN
        return wanted

    def turn(self, ready: Mapping[int, int], sentence: str) -> None:
        """Do what can be done now. Ends the process when the client is gone or has all that it will get."""
        self._sentence = sentence
        self._take()
        # Only with nothing but a part of a line in the inbox: it has room for one.
        if self._relay.stdin in ready and not self._ended and len(self._queue) < MAX_QUEUED:
            self._read()
            self._take()
        self._write()
        if self._ended and not self._queue:
            self._relay.finish()
            self._relay.leave(int(self._is_final))

    def close(self) -> None:
        """Leave the rest to a daemon."""
        self._inbox.close()
        self._slots.close()
        self._memory.close()

    def _begin(self) -> None:
        if self._output.cut:
            self._queue.append((CUT[:-1], None))
        self._slots.settle(self._output.answered)
        self._output.settled()
        text = "the mcpbridge daemon ended while it dealt with this; it may or may not have been done"
        for request_id in self._slots.inherited:
            if request_id in self._slots.taken:
                self._queue.append((self._error(request_id, text, _RESTARTED), self._slots.answer(request_id)))

    def _read(self) -> None:
        try:
            count = os.readv(self._relay.stdin, [self._inbox.room()])
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if count:
            self._inbox.filled(count)
        else:
            self._ended = True

    def _take(self) -> None:
        while len(self._queue) < MAX_QUEUED:
            line = self._inbox.next(self._ended)
            if line is None:
                return
            if isinstance(line, Overlong):
                if line.tail and not line.settled:
                    text = f"Invalid request: a message has at most {MAX_LINE} bytes"
                    self._queue.append((_fault(None, -32600, text), None))
            else:
                self._answer(line)
            self._inbox.consume()

    def _answer(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            self._queue.append((_fault(None, -32700, "Parse error: the message is not JSON"), None))
            return
        for message in found if isinstance(found, list) else [found]:
            request_id = message.get("id") if isinstance(message, dict) else None
            if isinstance(request_id, bool) or not isinstance(request_id, (int, str)) or "method" not in message:
                continue
            slot = None
            if request_id not in self._slots.taken and self._slots.claim(request_id, self._inbox.after):
                slot = self._slots.answer(request_id)
            self.answers += 1
            self._queue.append((self._error(request_id, self._reason(), _UNREACHABLE), slot))

    def _reason(self) -> str:
        if self._is_final:
            return self._sentence
        because = f" ({self._sentence})" if self._sentence else ""
        return f"the mcpbridge daemon does not run{because}; it is looked for, ask again in a few seconds"

    def _error(self, request_id: int | str, text: str, reason: str) -> bytes:
        may_help = reason == _UNREACHABLE and not self._is_final
        data = {"reason": reason, "upstream": self._relay.server, "retryable": may_help}
        return _fault(request_id, -32603, f"{self._relay.server}: {text}", {"mcpbridge": data})

    def _write(self) -> None:
        try:
            while self._queue:
                line, slot = self._queue[0]
                if slot is None and not line.endswith(b"\n"):
                    line += b"\n"
                self._output.begin()
                while line:
                    line = line[os.write(self._relay.stdout, line) :]
                    self._queue[0] = (line, slot)
                if slot is not None:
                    self._output.answer(self._relay.stdout, slot)
                    self._slots.release(slot)
                self._output.end()
                self._queue.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._relay.leave(0)


def _fault(request_id: int | str | None, code: int, text: str, data: Any = None) -> bytes:
    error: dict[str, Any] = {"code": code, "message": text}
    if data is not None:
        error["data"] = data
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error}, separators=(",", ":")).encode("ascii")
