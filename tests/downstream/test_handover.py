"""Tests for L{mcpbridge.downstream.handover}: what survives a daemon that is killed, wherever that happens."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import termios
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ErrorObject, LimitExceeded
from mcpbridge.core.jsonrpc import Error, Notification, Request, Result, value
from mcpbridge.downstream.handover import Handover
from mcpbridge.downstream.pipes import PipeTransport
from mcpbridge.downstream.reader import LOOK, PATIENCE
from mcpbridge.ledger.memory import INBOX_AT, LONG_IDS_AT, SLOT, SLOTS_AT
from tests.downstream.manual import ManualReactor, Notes, Snapshots, drained, memory_file
from tests.ledger.killing import at_every_line

#: What a daemon does on its way from a client's words to its own.
PARTS = (
    "/ledger/",
    "downstream/pipes.py",
    "downstream/outlet.py",
    "downstream/reader.py",
    "downstream/unread.py",
    "downstream/intake.py",
)


class HandoverTests(SynchronousTestCase):
    """The ledger, opened."""

    def setUp(self) -> None:
        """An empty file."""
        self.fd = memory_file()
        self.addCleanup(os.close, self.fd)

    def open(self) -> Handover:
        """As the next daemon finds it."""
        handover = Handover(os.dup(self.fd))
        self.addCleanup(handover.close)
        return handover

    def test_fresh(self) -> None:
        """A new client has no history."""
        found = self.open()

        self.assertEqual((False, b"", ()), (found.inherited, found.remembered(), found.unanswered()))

    def test_remembered(self) -> None:
        """What one daemon puts down the next one reads."""
        self.open().remember(b"state")

        found = self.open()

        self.assertEqual((True, b"state"), (found.inherited, found.remembered()))

    def test_too_much(self) -> None:
        """There is a limit to it, and what was there before stays."""
        handover = self.open()
        handover.remember(b"state")

        self.assertRaises(LimitExceeded, handover.remember, b"x" * (256 * 1024 + 1))
        self.assertEqual(b"state", handover.remembered())

    def test_unanswered(self) -> None:
        """What an earlier daemon left open is reported until it is answered; what this one takes is not."""
        first = self.open()
        first.slots.claim("a", 0)
        first.slots.claim("b", 0)
        second = self.open()
        second.slots.claim("c", 0)

        before = second.unanswered()
        second.slots.answer("a")

        self.assertEqual((("a", "b"), ("b",)), (before, second.unanswered()))

    def test_closed_twice(self) -> None:
        """Closing is idempotent."""
        handover = Handover(os.dup(self.fd))

        handover.close()
        handover.close()

        self.assertTrue(self.open().inherited)


class KilledTests(SynchronousTestCase):
    """A daemon is killed at every line of what it does, and another one takes over."""

    def setUp(self) -> None:
        """A client with a daemon."""
        self.fd = memory_file()
        self.its_stdin, self.stdin = os.pipe()
        self.stdout, self.its_stdout = os.pipe()
        for fd in (self.fd, self.stdin, self.stdout):
            self.addCleanup(os.close, fd)

    def serve(self, reactor: ManualReactor, stdin: int, stdout: int, memory: int) -> PipeTransport:
        """
        A daemon that answers C{echo} at once, C{told} behind its progress, C{late} at the next request, C{never} never,
        and a batch as one.
        """
        late: list[Result] = []

        def act(what: str, argument: Any) -> None:
            if what == "received_batch":
                transport.send_batch([Result(request.id, value({})) for request in argument])
            elif what == "received" and isinstance(argument, Request):
                for answer in late:
                    transport.send(answer)
                late.clear()
                answer = Result(argument.id, value({"from": argument.method}))
                if argument.method == "told":
                    transport.send(Notification("notifications/progress"), argument.id)
                if argument.method in ("echo", "told"):
                    transport.send(answer)
                elif argument.method == "late":
                    late.append(answer)

        transport = PipeTransport(reactor, stdin, stdout, Handover(memory))
        transport.connect(Notes(act))
        for request_id in transport.unanswered():
            transport.send(Error(request_id, ErrorObject(-32603, "restarted")))
        return transport

    def requests(self) -> tuple[list[Any], bytes]:
        """Ids, and what the client writes."""
        calls = [(1, "echo"), ("two", "late"), (3, "never"), ("4" * 200, "echo"), (5, "late"), (6, "echo")]
        lines = [json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method}) for request_id, method in calls]
        batch = [{"jsonrpc": "2.0", "id": request_id, "method": "echo"} for request_id in (7, "eight")]
        lines.append(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        lines.append(json.dumps(batch))
        return [request_id for request_id, _ in calls] + [7, "eight"], "".join(line + "\n" for line in lines).encode()

    def test_every_request_is_answered_once(self) -> None:
        """Wherever the daemon is killed: each request is answered exactly once, by it or by the next one."""
        ids, asked = self.requests()
        reactor = ManualReactor()
        transport = self.serve(reactor, self.its_stdin, self.its_stdout, os.dup(self.fd))
        snapshots = self.snapshots()
        states: dict[Any, tuple[bytes, bytes]] = {}
        heard = b""
        written = 0

        def run() -> None:
            nonlocal written
            while written < len(asked):
                written += os.write(self.stdin, asked[written : written + 97])
                reactor.settle()

        def look() -> None:
            nonlocal heard
            heard += drained(self.stdout)
            unread = asked[written - _unread(self.its_stdin) :]
            states.setdefault((snapshots.take(), heard, unread), (heard, unread))

        at_every_line(PARTS, run, look)
        transport.disconnect()

        wrong = []
        for (snapshot, _, _), (said, rest) in states.items():
            answers = said + self.take_over(snapshots.restore(snapshot), rest)
            found = _answered(answers)
            # What is never answered is so by the daemon that it is left to, but once.
            if (
                found.count(3) > 1
                or sorted(map(str, ids)) != sorted(map(str, {3, *found}))
                or len(set(found)) < len(found)
            ):
                wrong.append(answers)
        self.assertEqual([], wrong[:1])
        self.assertGreater(len(states), 100)

    def test_answers_that_are_held(self) -> None:
        """So it is where answers are held until their progress was read, and while they go out."""
        stdout, its_stdout = socket.socketpair()
        self.addCleanup(stdout.close)
        calls = [(1, "told"), (2, "echo"), (3, "told")]
        asked = b"".join(
            b'{"jsonrpc":"2.0","id":%d,"method":"%b"}\n' % (number, method.encode()) for number, method in calls
        )
        reactor = ManualReactor()
        transport = self.serve(reactor, self.its_stdin, its_stdout.detach(), os.dup(self.fd))
        snapshots = self.snapshots()
        states: dict[Any, tuple[bytes, bytes]] = {}
        heard = b""
        held = []

        def run() -> None:
            nonlocal heard
            reactor.settle()
            reactor.advance(LOOK)
            held.append(_answered(_peek(stdout)))
            heard += stdout.recv(65536)
            reactor.advance(LOOK)
            reactor.advance(PATIENCE)

        def look() -> None:
            said = heard + _peek(stdout)
            unread = asked[len(asked) - _unread(self.its_stdin) :]
            states.setdefault((snapshots.take(), said, unread), (said, unread))

        os.write(self.stdin, asked)
        at_every_line(PARTS, run, look)
        heard += _peek(stdout)
        transport.disconnect()

        answers = [
            said + self.take_over(snapshots.restore(snapshot), rest)
            for (snapshot, _, _), (said, rest) in states.items()
        ]
        self.assertEqual(([[]], [1, 2, 3]), (held, _answered(heard)))
        self.assertEqual([], [said for said in answers if sorted(_answered(said)) != [1, 2, 3]][:1])
        self.assertGreater(len(states), 30)

    def snapshots(self) -> Snapshots:
        """Of what these tests touch."""
        return Snapshots(
            self.fd,
            (0, 128),
            (4096, 8192),
            (SLOTS_AT, SLOTS_AT + 16 * SLOT),
            (LONG_IDS_AT, LONG_IDS_AT + 16 * 4096),
            (INBOX_AT, INBOX_AT + 4096),
        )

    def take_over(self, memory: int, rest: bytes) -> bytes:
        """What the next daemon says, to what is left of what the client has written."""
        (its_stdin, stdin), (stdout, its_stdout) = os.pipe(), os.pipe()
        os.write(stdin, rest)
        reactor = ManualReactor()
        transport = self.serve(reactor, its_stdin, its_stdout, memory)
        reactor.settle()
        said = b""
        while more := drained(stdout):
            said += more
            reactor.advance(LOOK)
        transport.disconnect()
        os.close(stdin)
        os.close(stdout)
        return said


def _unread(fd: int) -> int:
    """How many bytes there are in a pipe."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"), sys.byteorder)


def _peek(stdout: socket.socket) -> bytes:
    """What the client could read now."""
    try:
        return stdout.recv(65536, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


def _answered(said: bytes) -> list[Any]:
    """The ids of all answers."""
    found = []
    for line in said.split(b"\n"):
        try:
            message = json.loads(line)
        except ValueError:
            continue
        found += [answer["id"] for answer in (message if isinstance(message, list) else [message]) if "id" in answer]
    return found
