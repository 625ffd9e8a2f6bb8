"""
The measuring end: a JSON-RPC client on raw pipes, and one on a raw HTTP connection, as cheap as Python allows.

Both have the same shape, so that a benchmark does not care which it holds: L{Channel.post} one message, L{Channel.take}
what has come. Neither interprets what it carries.
"""

import contextlib
import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

_READ = 1024 * 1024
_DEADLINE = 120.0
"""Seconds to wait for one message before a subject counts as one that does not answer."""


class NoAnswer(Exception):
    """The subject did not answer, or closed the connection."""


class Channel(Protocol):
    """A connection with a subject."""

    pid: int | None

    def fileno(self) -> int:
        """To select on for reading."""

    def post(self, message: bytes) -> None:
        """Send one message."""

    def take(self) -> list[bytes]:
        """Read once, waiting if nothing is there: the messages that are complete now."""

    def close(self) -> None:
        """End it."""


class PipeChannel:
    """
    A stdio server's pipes.

    @ivar pid: of the process.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], cwd: str) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.pid: int | None = self.process.pid
        self._out = self.process.stdin.fileno()
        self._in = self.process.stdout.fileno()
        self._left: list[bytes] = []

    def fileno(self) -> int:
        return self._in

    def post(self, message: bytes) -> None:
        data = memoryview(message + b"\n")
        while data:
            data = data[os.write(self._out, data) :]

    def take(self) -> list[bytes]:
        data = os.read(self._in, _READ)
        if not data:
            raise NoAnswer("the process closed its stdout")
        *lines, rest = data.split(b"\n")
        if not lines:
            self._left.append(rest)
            return []
        lines[0] = b"".join(self._left) + lines[0]
        self._left = [rest]
        return [line for line in lines if line.strip()]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, 9)
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class HTTPChannel:
    """A kept-alive connection straight to the upstream: one request after another."""

    pid: int | None = None

    def __init__(self, port: int, path: str) -> None:
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\n"
        ).encode()
        self._session = b""
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._mode = "head"
        self._length = 0
        self._searched = 0
        self._events = bytearray()

    def fileno(self) -> int:
        return self._socket.fileno()

    def post(self, message: bytes) -> None:
        self._socket.sendall(b"%b%bContent-Length: %d\r\n\r\n%b" % (self._head, self._session, len(message), message))

    def take(self) -> list[bytes]:
        data = self._socket.recv(_READ)
        if not data:
            raise NoAnswer("the upstream closed the connection")
        self._buffer += data
        found: list[bytes] = []
        while self._step(found):
            pass
        return found

    def _step(self, found: list[bytes]) -> bool:
        """Take one piece off the buffer; whether there was one."""
        if self._mode == "head":
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._begin(bytes(self._buffer[:end]).lower())
            del self._buffer[: end + 4]
        elif self._mode == "body":
            if len(self._buffer) < self._length:
                return False
            if self._length:
                found.append(bytes(self._buffer[: self._length]))
            del self._buffer[: self._length]
            self._mode = "head"
        else:
            return self._chunk(found)
        return True

    def _begin(self, head: bytes) -> None:
        lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if b"mcp-session-id" in lines:
            self._session = b"Mcp-Session-Id: " + lines[b"mcp-session-id"] + b"\r\n"
        self._length = int(lines.get(b"content-length", b"0"))
        self._mode = "body" if b"content-length" in lines else "chunk"

    def _chunk(self, found: list[bytes]) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        size = int(bytes(self._buffer[:end]), 16)
        if len(self._buffer) < end + 4 + size:
            return False
        self._events += memoryview(self._buffer)[end + 2 : end + 2 + size]
        del self._buffer[: end + 4 + size]
        *events, rest = bytes(self._events).split(b"\n\n")
        self._events = bytearray(rest)
        found += [each[6:] for each in events if each.startswith(b"data: ")]
        if size == 0:
            self._mode = "head"
        return True

    def drop_accepted(self) -> None:
        """Wait for the empty 202 that a notification is answered with: one exchange at a time on this connection."""
        while self._mode != "head" or b"\r\n\r\n" not in self._buffer:
            self._buffer += self._socket.recv(_READ)
        while self._step([]):
            pass

    def close(self) -> None:
        self._socket.close()


def receive(channel: Channel, request_id: int, sink: list[bytes] | None = None) -> bytes:
    """
    Wait for the answer to a request.

    @param sink: gets all other messages that come before it.
    @raise NoAnswer: nothing came in time.
    """
    deadline = time.monotonic() + _DEADLINE
    while True:
        if not select.select([channel], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise NoAnswer(f"no answer within {_DEADLINE} s")
        answer = None
        for message in channel.take():
            if is_answer(message, request_id):
                answer = message
            elif sink is not None:
                sink.append(message)
        if answer is not None:
            return answer


def is_answer(message: bytes, request_id: int) -> bool:
    """Whether a message answers a request; looks at its ends only, for it may be large."""
    ends = (message[:200] + message[-200:]).replace(b" ", b"")
    return b'"id":%d,' % request_id in ends or b'"id":%d}' % request_id in ends


def request(request_id: int, method: str, params: dict[str, Any]) -> bytes:
    """A request as bytes."""
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode()


INITIALIZE = request(
    1,
    "initialize",
    {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}},
)
INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
LIST_TOOLS = request(2, "tools/list", {})


def open_session(channel: Channel) -> bytes:
    """
    What every client does first: initialize, initialized, tools/list.

    @return: the answer to tools/list.
    """
    channel.post(INITIALIZE)
    receive(channel, 1)
    channel.post(INITIALIZED)
    if isinstance(channel, HTTPChannel):
        channel.drop_accepted()
    channel.post(LIST_TOOLS)
    return receive(channel, 2)


def call(request_id: int, tool: str, arguments: dict[str, Any], token: int | None = None) -> bytes:
    """A tools/call as bytes."""
    meta = {} if token is None else {"_meta": {"progressToken": token}}
    return request(request_id, "tools/call", {"name": tool, "arguments": arguments, **meta})
