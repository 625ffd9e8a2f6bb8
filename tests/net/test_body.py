"""
Tests for L{mcpbridge.net.body}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from mcpbridge.net.body import BodyReader
from mcpbridge.net.failures import BodyTimeout, BodyTooLarge


class BodyReaderTests(SynchronousTestCase):
    """Bodies."""

    def setUp(self) -> None:
        """A reader that has begun."""
        self.clock = Clock()
        self.got: list[Any] = []
        self.reader = BodyReader(10, self.got.append, self.clock, 5.0)
        self.transport = StringTransport()
        self.reader.makeConnection(self.transport)

    def test_whole(self) -> None:
        """
        The parts in one, told at the end, whichever way it ends in order; no timer is left.
        """
        for reason in (ResponseDone(), PotentialDataLoss()):
            self.setUp()
            self.reader.dataReceived(b"abc")
            self.reader.dataReceived(b"def")
            before = list(self.got)

            self.reader.connectionLost(Failure(reason))

            self.assertEqual(([], [b"abcdef"], []), (before, self.got, self.clock.getDelayedCalls()))

    def test_cut(self) -> None:
        """
        What is cut off is no body.
        """
        self.reader.dataReceived(b"abc")

        self.reader.connectionLost(Failure(ConnectionLost()))

        self.assertEqual(ConnectionLost, self.got[0].type)

    def test_too_large(self) -> None:
        """
        One byte too many closes the connection; what comes then is not kept.
        """
        self.reader.dataReceived(b"x" * 10)
        before = list(self.got)

        self.reader.dataReceived(b"x")
        self.reader.dataReceived(b"x")
        self.reader.connectionLost(Failure(ConnectionLost()))

        self.assertEqual([], before)
        self.assertEqual([BodyTooLarge], [failure.type for failure in self.got])
        self.assertEqual("stopped", self.transport.producerState)

    def test_too_late(self) -> None:
        """
        The deadline is for the whole.
        """
        self.clock.advance(4.0)
        self.reader.dataReceived(b"x")

        self.clock.advance(1.0)

        self.assertEqual([BodyTimeout], [failure.type for failure in self.got])
        self.assertEqual("stopped", self.transport.producerState)

    def test_closed(self) -> None:
        """
        Nobody is told then.
        """
        self.reader.close()
        self.reader.connectionLost(Failure(ResponseDone()))

        self.assertEqual(([], []), (self.got, self.clock.getDelayedCalls()))
        self.assertEqual("stopped", self.transport.producerState)

    def test_closed_before_it_begins(self) -> None:
        """
        It is stopped as soon as it does.
        """
        reader = BodyReader(10, self.got.append, self.clock)
        reader.close()
        transport = StringTransport()

        reader.makeConnection(transport)

        self.assertEqual("stopped", transport.producerState)

    def test_paused(self) -> None:
        """
        A pause reaches the transport, again with each part that still comes.
        """
        self.reader.pauseProducing()
        self.transport.resumeProducing()
        self.reader.dataReceived(b"x")
        paused = self.transport.producerState

        self.reader.resumeProducing()

        self.assertEqual(("paused", "producing"), (paused, self.transport.producerState))
