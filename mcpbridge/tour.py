"""
What C{make run} does: the main job once, before the user's eyes, and then the daemon serves on.

A daemon is started unless one runs, and two clients, one after the other, speak to the built-in server through
relays of their own, as an agent would.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from mcpbridge.configuration import InvalidConfiguration, load
from mcpbridge.configuration.loading import DEMO, demo_entry
from mcpbridge.control import NotRunning, ask
from mcpbridge.core.errors import McpbridgeError
from mcpbridge.paths import socket_path

#: Seconds for the daemon to be ready, and for one answer: a slow machine with a cold cache needs a few.
_START_DEADLINE = 60.0
_ANSWER_DEADLINE = 30.0


class TourFailed(McpbridgeError):
    """Something did not happen; the text says what."""


def main() -> int:
    """
    Show the main job, then serve until a signal.

    @return: the exit status.
    """
    environment = dict(os.environ)
    daemon: subprocess.Popen[bytes] | None = None
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        started = time.monotonic()
        if _runs(environment):
            _say(f"A daemon is already running on {socket_path(environment)}.")
        else:
            daemon = _start(_with_demo(environment))
            _say(f"The daemon is up after {time.monotonic() - started:.1f} s, on {socket_path(environment)}.")
        _show(environment)
        _advise(daemon is not None)
        return daemon.wait() if daemon is not None else 0
    except (TourFailed, InvalidConfiguration) as error:
        sys.stderr.write(f"mcpbridge: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        if daemon is not None:
            _end(daemon)


def _show(environment: Mapping[str, str]) -> None:
    note = f"it is {time.strftime('%H:%M:%S')}"
    with Client(environment) as first:
        server = first.initialize()["serverInfo"]
        tools = [tool["name"] for tool in first.request("tools/list")["tools"]]
        _say(f"Client 1 initialized: {server['name']} {server['version']} (in {first.age():.2f} s from its start).")
        _say(f"Client 1 listed the tools: {', '.join(tools)}.")
        _say(f"Client 1 called add(2, 40): {first.call('add', a=2, b=40)}.")
        _say(f"Client 1 called remember: {first.call('remember', name='tour', text=note)}")
    with Client(environment) as second:
        second.initialize()
        recalled = second.call("recall", name="tour")
        _say(f"Client 2, a new process, called recall: {recalled}.")
    if recalled != note:
        raise TourFailed(f"the note should have been: {note}")


def _advise(serving: bool) -> None:
    command = f"{sys.executable} -m mcpbridge.stdio {DEMO}"
    _say(f"\nAdd it to an agent:      claude mcp add {DEMO} -- {command}")
    _say("Your own servers:        see README.md, Servers")
    _say("Serving. Ctrl-C ends it." if serving else "That daemon serves on. It ends with: python -m mcpbridge stop")


class Client:
    """A client of its own process: one relay, one request after the other."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._started = time.monotonic()
        self._relay = subprocess.Popen(
            [sys.executable, "-m", "mcpbridge.stdio", "--no-start", DEMO],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment),
        )
        self._buffer = b""
        self._last_id = 0

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._relay.stdin is not None and self._relay.stdout is not None
        self._relay.stdin.close()
        try:
            self._relay.wait(5)
        except subprocess.TimeoutExpired:
            self._relay.kill()
            self._relay.wait()
        self._relay.stdout.close()

    def age(self) -> float:
        """Seconds since the relay was started."""
        return time.monotonic() - self._started

    def initialize(self) -> dict[str, Any]:
        """Say hello. @return: the server's answer."""
        hello = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "mcpbridge-tour", "version": "1"},
        }
        result = self.request("initialize", hello)
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return result

    def call(self, tool: str, **arguments: object) -> str:
        """Call a tool. @return: the text of its answer."""
        result = self.request("tools/call", {"name": tool, "arguments": arguments})
        return str(result["content"][0]["text"])

    def request(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """
        Ask one thing and wait for the answer.

        @raise TourFailed: there is none, or it is an error.
        """
        self._last_id += 1
        self._write({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params or {}})
        deadline = time.monotonic() + _ANSWER_DEADLINE
        while True:
            message = json.loads(self._line(method, deadline))
            if message.get("id") != self._last_id or "method" in message:
                continue
            if "error" in message:
                raise TourFailed(f"{method} failed: {message['error'].get('message')}")
            result: dict[str, Any] = message["result"]
            return result

    def _write(self, message: Mapping[str, Any]) -> None:
        assert self._relay.stdin is not None
        try:
            self._relay.stdin.write(json.dumps(message).encode("ascii") + b"\n")
            self._relay.stdin.flush()
        except BrokenPipeError:
            raise TourFailed("the relay has ended") from None

    def _line(self, method: str, deadline: float) -> bytes:
        assert self._relay.stdout is not None
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._relay.stdout], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                raise TourFailed(f"no answer to {method} within {_ANSWER_DEADLINE:.0f} s")
            data = os.read(self._relay.stdout.fileno(), 65536)
            if not data:
                raise TourFailed(f"the relay ended before it answered {method}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


def _runs(environment: Mapping[str, str]) -> bool:
    try:
        ask("status", socket_path(environment))
    except NotRunning:
        return False
    return True


def _with_demo(environment: Mapping[str, str]) -> dict[str, str]:
    """With the built-in server, where the user has a configuration that does not name it."""
    if DEMO in load(environment).upstreams or environment.get("MCPBRIDGE_SERVERS"):
        return dict(environment)
    return {**environment, "MCPBRIDGE_SERVERS": json.dumps({DEMO: demo_entry()})}


def _start(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    reading, writing = os.pipe()
    try:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "mcpbridge", "serve"],
            stdin=subprocess.DEVNULL,
            env={"MCPBRIDGE_LOG_LEVEL": "warn"} | environment | {"MCPBRIDGE_READY_FD": str(writing)},
            pass_fds=[writing],
            # Ctrl-C reaches the whole group of a terminal; the daemon is told by us, and once.
            start_new_session=True,
        )
    finally:
        os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], _START_DEADLINE)
        word = os.read(reading, 4096).decode("utf-8", "replace").strip() if ready else "it takes too long"
    except BaseException:
        _end(daemon)
        raise
    finally:
        os.close(reading)
    if word != "ready":
        _end(daemon)
        raise TourFailed(f"the daemon does not start: {word or 'it ended without a word'}")
    return daemon


def _end(daemon: subprocess.Popen[bytes]) -> None:
    # It answers what is under way first; nobody's impatience makes that quicker.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    daemon.terminate()
    try:
        daemon.wait(_START_DEADLINE)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
