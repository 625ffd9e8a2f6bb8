"""
What an operator says to the running daemon: one line to its socket, one JSON text back.

Shows whatever the daemon tells, so that the daemon can tell more without this file being changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from mcpbridge.columns import WIDEST, columns
from mcpbridge.core.errors import McpbridgeError
from mcpbridge.core.printable import printable
from mcpbridge.paths import socket_path

#: Exit status of C{status} and the others where nobody listens (Linux Standard Base: "not running").
NOT_RUNNING = 3

#: Seconds that the daemon may take for an answer: it answers between two other things.
_ANSWER_DEADLINE = 30.0
#: Seconds that a stop may take: what is under way is answered first.
_STOP_DEADLINE = 90.0
_POLL = 0.05
#: Bytes of the largest answer: a thousand servers fit.
_MAX_ANSWER = 16 * 1024 * 1024
#: Objects in one cell of a table; C{--json} has them all.
_SHOWN = 4
#: Characters of one word. The cause of an error, which is the last that a child said, stands at its end.
_LONGEST = 2000
#: C{struct ucred} of unix(7): process, user, group.
_CREDENTIALS = struct.Struct("3i")


class NotRunning(McpbridgeError):
    """Nobody listens on the socket."""


def status(environment: Mapping[str, str], as_json: bool, out: TextIO, err: TextIO) -> int:
    """Print what the daemon does. @return: the exit status."""
    return _tell("status", environment, as_json, out, err)


def order(verb: str, environment: Mapping[str, str], as_json: bool, out: TextIO, err: TextIO) -> int:
    """
    Have the daemon C{reload} or C{stop}. A stop is waited for: until its process is gone, where that can be seen, else
    until nobody listens any more.

    @return: the exit status.
    """
    if verb != "stop":
        return _tell(verb, environment, as_json, out, err)
    path = socket_path(environment)
    process: list[int] = []
    try:
        code = _tell(verb, environment, as_json, out, err, lambda peer: process.extend(_process_behind(peer)))
        if code == 0 and not _gone_within(_STOP_DEADLINE, path, process):
            print(f"mcpbridge: the daemon still runs after {_STOP_DEADLINE:.0f} s", file=err)
            return 1
        return code
    finally:
        for descriptor in process:
            os.close(descriptor)


def ask(verb: str, path: str, connected: Callable[[socket.socket], None] = lambda _: None) -> Any:
    """
    Ask the daemon one thing.

    @param connected: called with the connection before anything is said.
    @return: its answer, read as JSON.
    @raise NotRunning: nobody listens there.
    @raise McpbridgeError: there is no answer, or none that can be read.
    """
    with contextlib.closing(_connect(path)) as connection:
        connected(connection)
        try:
            connection.sendall(f"CONTROL/1 {verb}\n".encode("ascii"))
            answer = _read(connection)
        except OSError as error:
            raise McpbridgeError(f"the daemon did not answer: {error}") from None
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        raise McpbridgeError("the daemon's answer cannot be read; is it of another version?") from None


def _tell(
    verb: str,
    environment: Mapping[str, str],
    as_json: bool,
    out: TextIO,
    err: TextIO,
    connected: Callable[[socket.socket], None] = lambda _: None,
) -> int:
    path = socket_path(environment)
    try:
        answer = ask(verb, path, connected)
    except NotRunning:
        print(f"mcpbridge: no daemon is running ({printable(path)})", file=err)
        return NOT_RUNNING
    except McpbridgeError as error:
        print(f"mcpbridge: {error}", file=err)
        return 1
    for line in [json.dumps(answer, indent=2)] if as_json else lines(answer):
        print(line, file=out)
    return 1 if isinstance(answer, dict) and "error" in answer else 0


def lines(answer: Any) -> list[str]:
    """An answer for humans: a line for each plain member, a table for each list of objects."""
    if not isinstance(answer, dict):
        return [_word(answer)]
    shown: list[str] = []
    tables: list[str] = []
    for name, value in answer.items():
        rows = _rows(value)
        if _are_sentences(value):
            tables += [f"{printable(name)}:", *("  " + _word(sentence) for sentence in value)]
        elif rows is None:
            shown.append(f"{printable(name)}: {_word(value)}")
        elif rows:
            tables += [f"{printable(name)}:", *columns(rows)]
        else:
            shown.append(f"{printable(name)}: none")
    return shown + tables


def _are_sentences(value: Any) -> bool:
    """Whether it is a list of texts that no line has room for, such as all that is wrong."""
    return (
        isinstance(value, list)
        and all(isinstance(item, str) for item in value)
        and len(value) > 1
        and sum(map(len, value)) > WIDEST
    )


def _rows(value: Any) -> list[list[str]] | None:
    """A table with its head line, if the value is one: a list of objects, or an object of objects."""
    if isinstance(value, dict):
        value = [{"name": name, **item} if isinstance(item, dict) else item for name, item in value.items()]
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return None
    if not value:
        return []
    names = list(dict.fromkeys(name for item in value for name in item))
    return [[printable(name) for name in names], *([_word(item.get(name)) for name in names] for item in value)]


def _word(value: Any) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            return printable(value, _LONGEST)
        case float():
            return f"{value:.1f}"
        case list() if all(isinstance(item, str) for item in value):
            return ", ".join(map(printable, value)) or "-"
        case list() if all(isinstance(item, dict) for item in value):
            more = [f"and {len(value) - _SHOWN} more"] if len(value) > _SHOWN else []
            return "; ".join([*map(_word, value[:_SHOWN]), *more])
        case dict() if value:
            return ", ".join(f"{printable(name)} {_word(item)}" for name, item in value.items() if item is not None)
        case _:
            return printable(json.dumps(value))


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_ANSWER_DEADLINE)
        connection.connect(path)
    except BlockingIOError:
        # More clients wait for it than it has room for.
        connection.close()
        raise McpbridgeError(f"the daemon at {printable(path)} does not answer; restart it") from None
    except OSError:
        connection.close()
        raise NotRunning(path) from None
    return connection


def _process_behind(connection: socket.socket) -> list[int]:
    """A descriptor of the process on the other side, which becomes readable when it ends; none if it cannot be seen."""
    try:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return [os.pidfd_open(_CREDENTIALS.unpack(credentials)[0])]
    except (OSError, AttributeError):
        # AttributeError: not Linux. OSError: in a namespace of its own, or gone already.
        return []


def _gone_within(seconds: float, path: str, process: list[int]) -> bool:
    if process:
        return bool(select.select(process, [], [], seconds)[0])
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            _connect(path).close()
        except NotRunning:
            return True
        except McpbridgeError:
            pass  # It is still there.
        time.sleep(_POLL)
    return False


def _read(connection: socket.socket) -> bytes:
    parts: list[bytes] = []
    deadline = time.monotonic() + _ANSWER_DEADLINE
    size = 0
    while part := connection.recv(65536):
        parts.append(part)
        size += len(part)
        if size > _MAX_ANSWER or time.monotonic() > deadline:
            raise OSError("it goes on and on")
    return b"".join(parts)
