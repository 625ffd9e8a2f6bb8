"""
Tests for L{mcpbridge.net.producer}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IBodyProducer
from zope.interface.verify import verifyObject

from mcpbridge.net.producer import MessageProducer, body_producer


class Consumer:
    """Takes so many writes, then says that it has enough."""

    def __init__(self, producer: MessageProducer, room: int) -> None:
        self.got: list[bytes] = []
        self.room = room
        self._producer = producer

    def write(self, data: bytes) -> None:
        """A part."""
        self.got.append(data)
        self.room -= 1
        if not self.room:
            self._producer.pauseProducing()


class MessageProducerTests(SynchronousTestCase):
    """Bodies that are there already."""

    def _started(self, body: bytes, room: int) -> tuple[MessageProducer, Consumer, Any, list[bool]]:
        written: list[bool] = []
        producer = MessageProducer(body, lambda: written.append(True))
        consumer: Any = Consumer(producer, room)
        return producer, consumer, producer.startProducing(consumer), written

    def test_provides(self) -> None:
        """
        It is a body producer, and treq gets it for bytes.
        """
        producer = body_producer(b"abc")

        self.assertTrue(verifyObject(IBodyProducer, producer))
        self.assertIs(producer, body_producer(producer))
        self.assertEqual(3, producer.length)

    def test_at_once(self) -> None:
        """
        A small body is written in one piece, not copied, before C{startProducing} returns.
        """
        body = b"x" * 1000

        _, consumer, done, written = self._started(body, 10)

        self.successResultOf(done)
        self.assertIs(body, consumer.got[0])
        self.assertEqual([True], written)

    def test_back_pressure(self) -> None:
        """
        A large one waits for room; it is finished only when the transport has room again.
        """
        body = bytes(range(256)) * 4096
        producer, consumer, done, written = self._started(body, 1)
        finished = []
        for _ in range(4):
            finished.append((len(consumer.got), bool(written)))
            consumer.room = 1
            producer.resumeProducing()

        self.successResultOf(done)
        self.assertEqual([(1, False), (2, False), (3, False), (4, False)], finished)
        self.assertEqual((body, [True]), (b"".join(consumer.got), written))

    def test_stopped(self) -> None:
        """
        When the connection is gone it is never finished.
        """
        producer, consumer, done, written = self._started(b"x" * 1_000_000, 1)

        producer.stopProducing()
        producer.resumeProducing()

        self.assertNoResult(done)
        self.assertEqual((1, []), (len(consumer.got), written))

    def test_again(self) -> None:
        """
        It can be written anew, as after a 401.
        """
        producer, _, first, _ = self._started(b"abc", 10)
        consumer: Any = Consumer(producer, 10)

        second = producer.startProducing(consumer)

        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual([b"abc"], consumer.got)
