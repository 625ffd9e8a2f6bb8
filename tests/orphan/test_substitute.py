"""Tests for L{mcpbridge.orphan.substitute}."""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.downstream.handover import Handover
from mcpbridge.ledger import inbox
from mcpbridge.ledger.output import CUT
from mcpbridge.orphan.substitute import MAX_QUEUED, Substitute
from tests.downstream.manual import drained
from tests.orphan.fake_relay import FakeRelay, Left


def error(answer: Any) -> tuple[Any, ...]:
    """What matters of it."""
    return answer["id"], answer["error"]["code"], answer["error"].get("data", {}).get("mcpbridge", {}).get("reason")


class SubstituteTests(SynchronousTestCase):
    """In a daemon's place."""

    def setUp(self) -> None:
        """A client that a daemon has served."""
        self.relay = FakeRelay(self.addCleanup)
        self.substitute: Substitute | None = None
        self.handover().close()
        self.addCleanup(self.close)

    def handover(self) -> Handover:
        """As a daemon opens it."""
        return Handover(os.dup(self.relay.memory))

    def serve(self) -> Substitute:
        """It begins."""
        self.substitute = Substitute(self.relay, "out of cheese")
        return self.substitute

    def close(self) -> None:
        """It ends."""
        if self.substitute is not None:
            self.substitute.close()
            self.substitute = None

    def turn(self) -> None:
        """It does what it can."""
        assert self.substitute is not None
        for _ in range(3):
            self.substitute.turn(self.relay.wait(self.substitute.wanted(), 0), "out of cheese")

    def say(self, text: bytes) -> None:
        """The client writes."""
        os.write(self.relay.client_stdin, text)
        self.turn()

    def heard(self) -> list[Any]:
        """What the client hears."""
        return [json.loads(line) for line in drained(self.relay.client_stdout).splitlines()]

    def test_left_open(self) -> None:
        """Requests that the daemon left open get errors, once."""
        handover = self.handover()
        handover.slots.claim(1, 0)
        handover.slots.claim("two", 0)
        handover.close()
        self.serve()

        self.turn()
        self.close()
        self.serve()
        self.turn()
        self.close()

        found = self.handover()
        self.addCleanup(found.close)
        self.assertEqual(
            ([(1, -32603, "bridge_restarted"), ("two", -32603, "bridge_restarted")], ()),
            ([error(answer) for answer in self.heard()], found.unanswered()),
        )

    def test_requests(self) -> None:
        """Requests get errors which say why, and that asking again helps; what is none gets nothing."""
        self.serve()

        self.say(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n{"jsonrpc":"2.0","method":"x"}\n\n{"id":5,"result":1}\n')

        (answer,) = self.heard()
        self.assertEqual((1, -32603, "upstream_unreachable"), error(answer))
        self.assertEqual(
            "linear: the mcpbridge daemon does not run (out of cheese); it is looked for, ask again in a few seconds",
            answer["error"]["message"],
        )
        self.assertTrue(answer["error"]["data"]["mcpbridge"]["retryable"])

    def test_garbage(self) -> None:
        """Garbage too."""
        self.serve()

        self.say(b'{\n\xff\n7\n{"id":true,"method":"x"}\n{"id":1.0,"method":"x"}\n' + b"[" * 50000 + b"\n")

        self.assertEqual([(None, -32700, None)] * 3, [error(answer) for answer in self.heard()])

    def test_batch(self) -> None:
        """Each request of a batch is answered."""
        self.serve()

        self.say(b'[{"id":1,"method":"x"},{"id":"2","method":"x"},7]\n')

        self.assertEqual([1, "2"], [answer["id"] for answer in self.heard()])

    def test_overlong(self) -> None:
        """A line above the limit is answered, once."""
        self.patch(inbox, "MAX_LINE", 10_000)
        self.serve()

        self.say(b"x" * 30_000)
        self.say(b"x\n" + b'{"id":1,"method":"x"}\n')

        self.assertEqual([None, 1], [answer["id"] for answer in self.heard()])

    def test_cut_line(self) -> None:
        """A line that the daemon was cut off in is ended first."""
        handover = self.handover()
        handover.output.begin()
        handover.close()
        self.serve()

        self.say(b'{"id":1,"method":"x"}\n')

        first, second = drained(self.relay.client_stdout).splitlines(True)
        self.assertEqual((CUT, 1), (first, json.loads(second)["id"]))

    def test_answered_already(self) -> None:
        """An answer that the daemon got out, but not written down, is not said again."""
        handover = self.handover()
        handover.slots.claim(1, 0)
        handover.output.begin()
        handover.output.answer(self.relay.stdout, 0)
        handover.close()
        self.serve()

        self.turn()

        self.assertEqual(b"\n", drained(self.relay.client_stdout))

    def test_hands_back(self) -> None:
        """What it has not read, not taken up, or not said is left to the daemon."""
        self.serve()
        self.say(b'{"id":1,"method":"x"}\n{"id":2,"met')
        self.close()

        handover = self.handover()
        self.addCleanup(handover.close)
        room = handover.inbox.room()
        room[:10] = b'hod":"x"}\n'
        room.release()
        handover.inbox.filled(10)

        self.assertEqual((b'{"id":2,"method":"x"}', ()), (handover.inbox.next(), handover.unanswered()))

    def test_slow_reader(self) -> None:
        """A client that does not read is not read from, and what was not said is left open."""
        self.serve()
        line = b'{"id":"%05d","method":"x"}\n'
        os.set_blocking(self.relay.client_stdin, False)
        written = 0
        try:
            while written < 100_000:
                os.write(self.relay.client_stdin, line % written)
                written += 1
                self.turn()
        except BlockingIOError:
            pass
        assert self.substitute is not None
        wanted = self.substitute.wanted()
        self.close()
        handover = self.handover()
        self.addCleanup(handover.close)
        left = len(handover.unanswered())

        said = [line for line in drained(self.relay.client_stdout).splitlines() if line.endswith(b"}")]
        self.assertEqual((False, MAX_QUEUED), (self.relay.stdin in wanted, left))
        self.assertEqual([f"{number:05}" for number in range(len(said))], [json.loads(line)["id"] for line in said])

    def test_many_at_once(self) -> None:
        """However much is written at once, every request is answered, in order."""
        self.serve()
        os.write(self.relay.client_stdin, b"".join(b'{"id":%d,"method":"x"}\n' % number for number in range(2000)))

        heard: list[Any] = []
        while len(heard) < 2000:
            self.turn()
            heard += [json.loads(line)["id"] for line in drained(self.relay.client_stdout).splitlines()]

        self.assertEqual(list(range(2000)), heard)

    def test_client_closes_stdin(self) -> None:
        """When the client has closed its stdin and has its answers, the relay ends."""
        self.serve()
        os.write(self.relay.client_stdin, b'{"id":1,"method":"x"}')
        self.relay.close_stdin()

        self.assertRaises(Left, self.turn)

        self.assertEqual(([1], ["finish"]), ([answer["id"] for answer in self.heard()], self.relay.told))

    def test_client_closes_stdout(self) -> None:
        """When nobody reads, the relay ends."""
        self.serve()
        os.dup2(os.open(os.devnull, os.O_RDONLY), self.relay.client_stdout)

        self.assertRaises(Left, self.say, b'{"id":1,"method":"x"}\n')

    @settings(max_examples=60, derandomize=True, deadline=None)
    @given(st.lists(st.binary(max_size=60), max_size=10))
    def test_anything(self, lines: list[bytes]) -> None:
        """Whatever the client says, the next request is answered."""
        self.close()
        self.serve()

        self.say(b"\n".join(lines) + b'\n{"id":"last","method":"x"}\n')

        self.assertEqual("last", self.heard()[-1]["id"])
