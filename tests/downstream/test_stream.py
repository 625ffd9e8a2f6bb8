"""Tests for L{mcpbridge.downstream.stream}."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core.errors import LimitExceeded, LocalProtocolError
from mcpbridge.core.jsonrpc import Notification, Request, RequestId, Result, encode, value
from mcpbridge.downstream.outlet import MAX_QUEUED
from mcpbridge.downstream.pipes import FLUSH, LATE_ANSWERS
from mcpbridge.downstream.reader import LOOK
from mcpbridge.downstream.stream import StreamTransport
from mcpbridge.interfaces import IClientTransport
from tests.downstream.manual import Notes

TICK = Notification("tick")


def ask(request_id: RequestId) -> bytes:
    """A request's line."""
    return encode(Request(request_id, "echo")) + b"\n"


class StreamTests(SynchronousTestCase):
    """One client."""

    def setUp(self) -> None:
        """A client whose stream is there."""
        self.clock = Clock()
        self.link = Notes()
        self.transport = StreamTransport(self.clock)
        self.stream = StringTransport()

    def connect(self, *data: bytes) -> None:
        """Begin, with what the client has said."""
        self.transport.connect(self.link)
        self.transport.makeConnection(self.stream)
        self.settle()
        for piece in data:
            self.transport.dataReceived(piece)
        self.settle()

    def settle(self) -> None:
        """Everything that is due."""
        for _ in range(5):
            self.clock.advance(0)

    def answer(self, request_id: RequestId) -> None:
        """As the owner does."""
        self.transport.send(Result(request_id, value({})))

    def heard(self) -> list[Any]:
        """What the client has heard."""
        lines = self.stream.value().splitlines()
        self.stream.clear()
        return [json.loads(line) for line in lines]

    def test_interfaces(self) -> None:
        """It promises what it promises."""
        for interface in (IClientTransport, IHalfCloseableProtocol, IPushProducer):
            verifyObject(interface, self.transport)

    def test_messages(self) -> None:
        """Lines become messages, however they arrive; a blank one is nothing."""
        self.connect(ask(1)[:10], ask(1)[10:] + b"\n" + ask("2"))

        self.assertEqual([("received", Request(1, "echo")), ("received", Request("2", "echo"))], self.link.told)

    def test_connect_later(self) -> None:
        """What comes before the owner does waits."""
        self.transport.makeConnection(self.stream)
        self.transport.dataReceived(ask(1))
        producing = self.stream.producerState

        self.transport.connect(self.link)
        before = list(self.link.told)
        self.settle()

        self.assertEqual(("paused", [], [("received", Request(1, "echo"))]), (producing, before, self.link.told))

    def test_stream_later(self) -> None:
        """What is sent before the stream is there waits too."""
        self.transport.connect(self.link)
        self.transport.send(TICK)

        self.transport.makeConnection(self.stream)

        self.assertEqual([{"jsonrpc": "2.0", "method": "tick"}], self.heard())

    def test_connects_once(self) -> None:
        """A transport is good for one connection."""
        self.connect()

        self.assertRaises(LocalProtocolError, self.transport.connect, self.link)

    def test_answers(self) -> None:
        """Answers go out; one id is open once; a batch is one line."""
        self.connect(ask(1) + ask(1) + ask(2) + ask(3))

        self.answer(1)
        self.transport.send_batch([Result(2, value({})), Result(3, value({}))])

        first, second, third = self.heard()
        self.assertEqual((-32600, 1, [2, 3]), (first["error"]["code"], second["id"], [each["id"] for each in third]))
        self.assertEqual([False] * 3, [self.transport.holds(number) for number in (1, 2, 3)])

    def test_too_many(self) -> None:
        """There is a limit to open requests."""
        self.connect(*[ask(number) for number in range(1025)])

        self.assertEqual([1024], [answer["id"] for answer in self.heard()])

    def test_garbage(self) -> None:
        """Garbage is reported, a line that is too long with its id, and the conversation goes on."""
        long = b'{"jsonrpc":"2.0","id":9,"method":"x","params":{"text":"' + b"x" * 17_000_000 + b'"}}\n'
        self.connect(b"{\n", *[long[at : at + 65536] for at in range(0, len(long), 65536)], ask(1))

        self.assertEqual(
            [("received_garbage", (-32700, None)), ("received_garbage", (-32600, 9)), ("received", Request(1, "echo"))],
            self.link.told,
        )

    def test_pause(self) -> None:
        """A pause holds what was read, and stops the stream."""
        self.link = Notes(lambda what, argument: self.transport.pause())
        self.connect(ask(1) + ask(2))
        first = list(self.link.told), self.stream.producerState

        self.transport.resume()
        self.link._act = None
        self.settle()

        self.assertEqual(([("received", Request(1, "echo"))], "paused"), first)
        self.assertEqual((Request(2, "echo"), "producing"), (self.link.told[1][1], self.stream.producerState))

    def test_congestion(self) -> None:
        """The link is told of a client that reads too slowly, though not from inside C{send}."""
        self.connect()

        self.transport.pauseProducing()
        before = list(self.link.told)
        self.settle()
        self.transport.resumeProducing()
        self.settle()

        self.assertEqual(([], [("congested",), ("relieved",)]), (before, self.link.told))

    def test_too_much(self) -> None:
        """A client that never reads is given up."""
        self.connect()
        self.transport.pauseProducing()
        megabyte = Notification("x", value("x" * 1024 * 1024))
        for _ in range(MAX_QUEUED // 1024 // 1024 + 1):
            self.transport.send(megabyte)

        self.settle()

        self.assertEqual(("disconnected", "the client is gone: it did not read what it was sent"), self.link.told[-1])

    def test_late_answers(self) -> None:
        """A client that has closed its stdin gets its answers, and is then let go."""
        self.connect(ask(1), ask(2)[:-1])

        self.transport.readConnectionLost()
        self.answer(1)
        self.settle()
        first = self.stream.disconnecting
        self.answer(2)
        self.settle()
        second = self.stream.disconnecting
        self.transport.connectionLost()

        self.assertEqual((False, True), (first, second))
        self.assertEqual(
            [
                ("received", Request(1, "echo")),
                ("received", Request(2, "echo")),
                ("no_more",),
                ("disconnected", "the client is gone: it closed its standard input"),
            ],
            self.link.told,
        )
        self.assertEqual([1, 2], [answer["id"] for answer in self.heard()])

    def test_cancelled_late(self) -> None:
        """Nobody waits for what was cancelled."""
        self.connect(ask(1))
        self.transport.readConnectionLost()

        self.transport.forget(1)
        self.settle()

        self.assertTrue(self.stream.disconnecting)

    def test_too_late(self) -> None:
        """There is a limit to waiting."""
        self.connect(ask(1))
        self.transport.readConnectionLost()

        self.clock.advance(LATE_ANSWERS)

        self.assertTrue(self.stream.disconnecting)

    def test_stdout_closed(self) -> None:
        """A client that reads no more is gone."""
        self.connect(ask(1))
        waiter = self.transport.when_closed()

        self.transport.writeConnectionLost()
        self.transport.connectionLost()

        self.successResultOf(waiter)
        self.assertEqual([("disconnected", "the client is gone: it closed its standard output")], self.link.told[1:])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_disconnect(self) -> None:
        """We may end it; the link hears of nothing."""
        self.connect()

        gone = [self.transport.disconnect(), self.transport.disconnect()]
        self.assertNoResult(gone[0])
        self.transport.connectionLost()

        self.assertEqual(
            [None, None, None], [self.successResultOf(each) for each in (*gone, self.transport.disconnect())]
        )
        self.assertEqual(([], []), (self.link.told, self.clock.getDelayedCalls()))

    def test_disconnect_deadline(self) -> None:
        """A client that does not read does not hold us up."""
        self.connect()
        gone = self.transport.disconnect()

        self.clock.advance(FLUSH)

        self.successResultOf(gone)

    def test_disconnect_without_stream(self) -> None:
        """There may be no stream yet."""
        self.successResultOf(self.transport.disconnect())

    def progress(self, request_id: RequestId) -> None:
        """The server tells how far it has come."""
        self.transport.send(Notification("notifications/progress", value({})), request_id)

    def watch(self, *data: bytes) -> None:
        """Begin, with a stream of which it is known what was not L{heard}."""
        self.transport = StreamTransport(self.clock, unread=lambda: len(self.stream.value()))
        self.connect(*data)

    def ids(self) -> list[Any]:
        """What the client has heard, in short: answers by their ids."""
        return [message.get("id") for message in self.heard()]

    def test_progress_read(self) -> None:
        """An answer is held until its progress was read, and what is behind it in its order."""
        self.watch(ask(1) + ask(2) + ask(3))
        self.progress(1)
        self.answer(2)
        self.answer(1)
        self.answer(3)
        self.settle()
        first = self.ids()
        self.clock.advance(LOOK)

        self.assertEqual(([None, 2], [1, 3]), (first, self.ids()))

    def test_progress_of_two(self) -> None:
        """Behind one that is held another may have to be held for progress of its own."""
        self.watch(ask(1) + ask(2))
        for number in (1, 2):
            self.progress(number)
            self.answer(number)
        heard = []
        for _ in range(3):
            heard.append(self.ids())
            self.clock.advance(LOOK)

        self.assertEqual([[None], [1, None], [2]], heard)

    def test_progress_unknown(self) -> None:
        """Where nobody knows what is unread nothing is held."""
        self.connect(ask(1))
        self.progress(1)
        self.answer(1)

        self.assertEqual([None, 1], self.ids())

    def test_progress_in_batch(self) -> None:
        """A batch is held for any of its answers."""
        self.watch(ask(1) + ask(2))
        self.progress(1)
        self.transport.send_batch([Result(1, value({})), Result(2, value({}))])
        first = self.ids()
        self.clock.advance(LOOK)

        self.assertEqual(([None], 1), (first, len(self.heard())))

    def test_progress_congested(self) -> None:
        """What Twisted has not written yet is unread."""
        self.watch(ask(1))
        self.progress(1)
        self.transport.pauseProducing()
        self.transport.send(TICK)
        self.answer(1)
        first = self.ids()
        self.clock.advance(LOOK)
        second = self.ids()
        self.transport.resumeProducing()
        self.clock.advance(LOOK)

        self.assertEqual(([None, None], [], [1]), (first, second, self.ids()))

    def test_progress_and_disconnect(self) -> None:
        """What is held still goes out when we end it, and the stream ends after it."""
        self.watch(ask(1))
        self.progress(1)
        self.answer(1)

        self.transport.disconnect()
        before = (self.ids(), self.stream.disconnecting)
        self.clock.advance(LOOK)

        self.assertEqual((([None], False), ([1], True)), (before, (self.ids(), self.stream.disconnecting)))

    def test_progress_and_half_close(self) -> None:
        """A client that has closed its stdin gets what is held for it, and is then let go."""
        self.watch(ask(1))
        self.transport.readConnectionLost()
        self.progress(1)
        self.answer(1)
        self.settle()
        before = (self.ids(), self.stream.disconnecting)
        self.clock.advance(LOOK)

        self.assertEqual((([None], False), ([1], True)), (before, (self.ids(), self.stream.disconnecting)))

    def test_progress_and_too_much(self) -> None:
        """What waits behind one that is held is bounded."""
        self.watch(ask(1))
        self.progress(1)
        self.answer(1)
        megabyte = Notification("x", value({"text": "x" * (1024 * 1024)}))
        for _ in range(MAX_QUEUED // (1024 * 1024) + 1):
            self.transport.send(megabyte)
        self.settle()

        self.assertEqual(("disconnected", "the client is gone: it did not read what it was sent"), self.link.told[-1])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_memory(self) -> None:
        """What is remembered lasts as long as the process."""
        self.transport.remember(b"state")

        self.assertRaises(LimitExceeded, self.transport.remember, b"x" * (256 * 1024 + 1))
        self.assertEqual((b"state", ()), (self.transport.remembered(), self.transport.unanswered()))
