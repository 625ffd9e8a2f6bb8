"""
Tests for L{mcpbridge.downstream.pipes}; progress is in L{tests.downstream.test_pipes_progress}.
"""

from __future__ import annotations

import contextlib
import json
import os

from twisted.internet.interfaces import IReadDescriptor
from zope.interface.verify import verifyObject

from mcpbridge.core.errors import ErrorObject, LocalProtocolError
from mcpbridge.core.jsonrpc import Error, Notification, Request, Result, encode, value
from mcpbridge.downstream.half_close import IHalfCloseableLink
from mcpbridge.downstream.handover import Handover
from mcpbridge.downstream.pipes import FLUSH, LATE_ANSWERS
from mcpbridge.interfaces import IClientTransport
from mcpbridge.ledger import inbox
from tests.downstream.manual import ManualReactor, Notes, drained
from tests.downstream.pipescase import PipesCase, ask

TICK = Notification("tick")


class PipesTests(PipesCase):
    """What the client says, and what it hears."""

    def test_interfaces(self) -> None:
        """It promises what it promises."""
        verifyObject(IClientTransport, self.transport)
        verifyObject(IReadDescriptor, self.transport)
        verifyObject(IHalfCloseableLink, self.link)

    def test_messages(self) -> None:
        """Lines become messages, in order; blank ones are nothing."""
        self.connect(ask(1) + b"\n  \r\n" + ask("2"), encode(TICK) + b"\n")

        self.assertEqual(
            [("received", Request(1, "echo")), ("received", Request("2", "echo")), ("received", TICK)], self.link.told
        )

    def test_connects_at_once(self) -> None:
        """Messages can be sent when C{connect} returns, and the link is told of none before."""
        os.write(self.stdin, ask(1))

        connected = self.transport.connect(self.link)
        self.transport.send(TICK)

        self.assertEqual((None, []), (self.successResultOf(connected), self.link.told))
        self.assertEqual([{"jsonrpc": "2.0", "method": "tick"}], self.heard())

    def test_connects_once(self) -> None:
        """A transport is good for one connection."""
        self.connect()

        self.assertRaises(LocalProtocolError, self.transport.connect, self.link)

    def test_answers(self) -> None:
        """An answer goes out at once, and its request is open no longer."""
        self.connect(ask(1), ask(2))

        self.answer(1)

        self.assertEqual([{"jsonrpc": "2.0", "id": 1, "result": {}}], self.heard())
        self.assertEqual((False, True), (self.transport.holds(1), self.transport.holds(2)))

    def test_batch(self) -> None:
        """Answers that go together are one line."""
        self.connect(b"[" + ask(1)[:-1] + b"," + ask(2)[:-1] + b"]\n")

        self.transport.send_batch([Result(1, value({})), Error(2, ErrorObject(1, "no"))])

        self.assertEqual(([1, 2], False), ([answer["id"] for answer in self.heard()[0]], self.transport.holds(2)))

    def test_error_without_id(self) -> None:
        """An error that answers nothing in particular is sent like a notification."""
        self.connect()

        self.transport.send(Error(None, ErrorObject(-32700, "what?")))

        self.assertEqual([None], [answer["id"] for answer in self.heard()])

    def test_duplicate(self) -> None:
        """A second request with the id of an open one is refused, and the first one is answered later."""
        self.connect(ask(1), ask(1))

        self.answer(1)

        self.assertEqual([-32600, None], [answer.get("error", {}).get("code") for answer in self.heard()])
        self.assertEqual([("received", Request(1, "echo"))], self.link.told)

    def test_too_many(self) -> None:
        """The thousand and twenty-fifth open request is refused."""
        self.connect(*[ask(number) for number in range(1025)])

        self.assertEqual(
            [(1024, "overloaded")],
            [(answer["id"], answer["error"]["data"]["mcpbridge"]["reason"]) for answer in self.heard()],
        )

    def test_forgotten(self) -> None:
        """A request that was cancelled is open no longer, for the next daemon neither."""
        self.connect(ask(1), ask(2))

        self.transport.forget(1)
        self.transport.forget("unknown")
        self.transport.disconnect()

        self.assertEqual((2,), self.open().unanswered())

    def test_taken_over(self) -> None:
        """The next daemon learns what was remembered and what is open, and answers it."""
        self.connect(ask(1), ask(2))
        self.transport.remember(b"state")
        self.answer(2)
        self.transport.disconnect()

        self.transport = self.open()
        found = self.transport.remembered(), self.transport.unanswered()
        self.connect()
        self.answer(1)

        self.assertEqual(((b"state", (1,)), ()), (found, self.transport.unanswered()))
        self.assertEqual([2, 1], [answer["id"] for answer in self.heard()])

    def test_garbage(self) -> None:
        """Garbage is reported, and the conversation goes on."""
        self.connect(b"\xff\n{\n", ask(1))

        self.assertEqual(
            [
                ("received_garbage", (-32700, None)),
                ("received_garbage", (-32700, None)),
                ("received", Request(1, "echo")),
            ],
            self.link.told,
        )

    def test_overlong(self) -> None:
        """A line above the limit is reported when its id is known, once, wherever that stands."""
        self.patch(inbox, "MAX_LINE", 10_000)
        self.transport.connect(self.link)
        text = b'"text":"' + b"x" * 30_000 + b'"'

        self.say(b'{"jsonrpc":"2.0","id":1,' + text)
        early = list(self.link.told)
        self.say(b"}\n", b"{" + text, b',"id":2}\n', b"{" + text + b"}\n", ask(3))

        self.assertEqual([("received_garbage", (-32600, 1))], early)
        self.assertEqual(
            [
                ("received_garbage", (-32600, 1)),
                ("received_garbage", (-32600, 2)),
                ("received_garbage", (-32600, None)),
                ("received", Request(3, "echo")),
            ],
            self.link.told,
        )

    def test_pause(self) -> None:
        """What is read after a pause waits, and order is kept."""
        self.link = Notes(lambda what, argument: self.transport.pause())
        self.connect(ask(1) + ask(2), ask(3))
        first = list(self.link.told)

        self.transport.resume()
        self.transport.resume()
        before = list(self.link.told)
        self.reactor.settle()

        self.assertEqual(([Request(1, "echo")], 1), ([told[1] for told in first], len(before)))
        self.assertEqual([("received", Request(1, "echo")), ("received", Request(2, "echo"))], self.link.told)

    def test_paused_reads_nothing(self) -> None:
        """While it is paused a client can fill its pipe, and no more."""
        self.connect()
        self.transport.pause()

        os.set_blocking(self.stdin, False)
        written = 0
        try:
            while written < 10_000_000:
                written += os.write(self.stdin, b"x" * 4096)
                self.reactor.turn()
        except BlockingIOError:
            pass

        self.assertLess(written, 1_000_001)


class EndTests(PipesCase):
    """One side, or both, end it."""

    def test_last_line(self) -> None:
        """A last line needs no newline."""
        self.transport.connect(self.link)
        os.write(self.stdin, ask(1)[:-1])

        self.close_stdin()
        self.reactor.settle()

        self.assertEqual([("received", Request(1, "echo")), ("no_more",)], self.link.told)

    def test_late_answers(self) -> None:
        """A client that has closed its stdin stays until it has its answers."""
        self.connect(ask(1), ask(2))
        self.close_stdin()
        self.reactor.settle()
        closed = self.transport.when_closed()

        self.answer(1)
        self.reactor.settle()
        self.assertNoResult(closed)
        self.answer(2)
        before = list(self.link.told[2:])
        self.reactor.settle()

        self.successResultOf(closed)
        self.assertEqual([("no_more",)], before)
        self.assertEqual(("disconnected", "the client is gone: it closed its standard input"), self.link.told[-1])
        self.assertEqual([1, 2], [answer["id"] for answer in self.heard()])

    def test_late_answer_that_is_large(self) -> None:
        """Also when the last answer takes long to read."""
        self.connect(ask(1))
        self.close_stdin()
        self.reactor.settle()
        self.transport.send(Result(1, value("x" * 5_000_000)))

        parts: list[bytes] = []
        while self.reactor.turn() or parts[-1]:
            parts.append(drained(self.stdout))

        self.assertEqual(5_000_000, len(json.loads(b"".join(parts))["result"]))
        self.assertTrue(self.transport.client_left)

    def test_late_answer_that_was_cancelled(self) -> None:
        """Nobody waits for what was cancelled."""
        self.connect(ask(1))
        self.close_stdin()
        self.reactor.settle()

        self.transport.forget(1)
        self.reactor.settle()

        self.assertEqual("disconnected", self.link.told[-1][0])

    def test_too_late(self) -> None:
        """There is a limit to waiting."""
        self.connect(ask(1))
        self.close_stdin()
        self.reactor.settle()

        self.reactor.advance(LATE_ANSWERS)

        self.assertEqual(
            ("disconnected", "the client is gone: it closed its standard input and waited too long"), self.link.told[-1]
        )
        self.assertEqual((1,), self.open().unanswered())

    def test_stdout_closed(self) -> None:
        """A client that reads no more is gone, which the link is not told from inside C{send}."""
        self.connect(ask(1))
        reading, writing = os.pipe()
        os.dup2(writing, self.transport._stdout)
        os.close(reading)
        os.close(writing)

        self.answer(1)
        before = list(self.link.told[1:])
        self.reactor.settle()

        self.assertEqual(([], "disconnected"), (before, self.link.told[-1][0]))
        self.assertEqual([], self.reactor.removeAll())

    def test_gone(self) -> None:
        """A client whose relay has ended is gone, once."""
        self.connect(ask(1))

        self.transport.gone("its relay has ended")
        self.transport.gone("its relay has ended")
        self.answer(1)

        self.assertEqual([("disconnected", "the client is gone: its relay has ended")], self.link.told[1:])
        self.assertEqual(([], []), (self.reactor.removeAll(), self.reactor.getDelayedCalls()))

    def test_disconnect(self) -> None:
        """What was sent still goes out, and the link hears of nothing."""
        self.connect(ask(1))
        self.transport.send(Result(1, value("x" * 2_000_000)))

        gone = [self.transport.disconnect(), self.transport.disconnect()]
        self.assertNoResult(gone[0])
        parts: list[bytes] = []
        while self.reactor.turn() or parts[-1]:
            parts.append(drained(self.stdout))

        self.assertEqual([None, None], [self.successResultOf(waiter) for waiter in gone])
        self.assertEqual(2_000_000, len(json.loads(b"".join(parts))["result"]))
        self.assertEqual([("received", Request(1, "echo"))], self.link.told)

    def test_disconnect_deadline(self) -> None:
        """A client that does not read does not hold us up."""
        self.connect(ask(1))
        self.transport.send(Result(1, value("x" * 2_000_000)))
        gone = self.transport.disconnect()

        self.reactor.advance(FLUSH)

        self.successResultOf(gone)
        self.assertEqual(([], []), (self.reactor.removeAll(), self.reactor.getDelayedCalls()))

    def test_disconnect_when_gone(self) -> None:
        """There is nothing left to do then."""
        self.transport.gone("x")

        self.successResultOf(self.transport.disconnect())
        self.successResultOf(self.transport.when_closed())

    def test_disconnected_from_within(self) -> None:
        """An owner may end it while it is being told something; what comes behind waits for the next daemon."""
        self.link = Notes(lambda what, argument: (self.transport.disconnect(), None)[1])
        self.connect(ask(1) + ask(2))
        self.transport, self.link = self.open(), Notes()
        self.connect()

        self.assertEqual([("received", Request(2, "echo"))], self.link.told)

    def test_after_the_end(self) -> None:
        """Nothing that the owner may still say does harm."""
        self.connect()
        self.transport.gone("x")

        self.transport.send(TICK)
        self.transport.send_batch([Result(1, value({}))])
        self.transport.forget(1)
        self.transport.remember(b"x")
        self.transport.abandon(1)
        self.transport.pause()
        self.transport.resume()
        self.transport.hold()

        self.assertEqual(
            (b"", (), -1), (self.transport.remembered(), self.transport.unanswered(), self.transport.fileno())
        )


class FlowTests(PipesCase):
    """What is held back, what waits for the client, and what is skipped."""

    def test_hold(self) -> None:
        """After a stop is planned answers of the client come in, and requests wait for the next daemon."""
        self.connect()
        self.transport.hold()

        answer = Result(5, value({}))
        self.say(encode(answer) + b"\n", ask(1), encode(TICK) + b"\n")
        told = list(self.link.told)
        self.transport.disconnect()
        self.transport, self.link = self.open(), Notes()
        self.connect()

        self.assertEqual([("received", answer)], told)
        self.assertEqual([("received", Request(1, "echo")), ("received", TICK)], self.link.told)

    def test_hold_before_connect(self) -> None:
        """Even one that is not connected yet can be held."""
        self.transport.hold()
        self.connect(ask(1))

        self.assertEqual([], self.link.told)

    def test_congestion(self) -> None:
        """The link is told when the client reads too slowly, and when it has caught up."""
        self.connect()
        self.transport.send(Notification("x", value({"text": "x" * 3_000_000})))
        before = list(self.link.told)

        while self.reactor.turn():
            drained(self.stdout)

        self.assertEqual(([], [("congested",), ("relieved",)]), (before, self.link.told))

    def test_suspect(self) -> None:
        """A message that two daemons did not survive is skipped, and answered if it has an id."""
        os.write(self.stdin, ask(1) + ask(2))
        for _ in range(2):
            reactor = ManualReactor()
            handover = Handover(os.dup(self.memory))
            os.set_blocking(self.its_stdin, False)
            room = handover.inbox.room()
            with contextlib.suppress(BlockingIOError):
                handover.inbox.filled(os.readv(self.its_stdin, [room]))
            room.release()
            handover.inbox.next()
            handover.close()
        self.transport.disconnect()
        self.transport = self.open()

        self.connect()

        self.assertEqual([("received_garbage", (-32600, 1)), ("received", Request(2, "echo"))], self.link.told)
        self.assertEqual([], reactor.getReaders())

    def test_descriptors(self) -> None:
        """Its descriptors do not block, and are all closed in the end."""
        before = len(os.listdir("/proc/self/fd"))
        transport = self.open()
        blocking = os.get_blocking(self.its_stdin), os.get_blocking(self.its_stdout)

        transport.disconnect()

        self.assertEqual(((False, False), before), (blocking, len(os.listdir("/proc/self/fd"))))
