"""
Tests for L{txsse.testing}.
"""

from __future__ import annotations

import doctest

from twisted.trial.unittest import SynchronousTestCase

import txsse
from txsse import Event, EventReceiver, open_with, testing
from txsse.testing import EventRecorder, MemoryEventServer


class MemoryEventServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = MemoryEventServer()
        self.recorder = EventRecorder()

    def code(self) -> int:
        """Ask once, and read what comes."""
        response = self.successResultOf(open_with(self.server.client, self.server.url, clock=self.server.clock)("1"))
        self.receiver = EventReceiver(self.recorder, self.server.clock)
        response.deliverBody(self.receiver)
        return int(response.code)

    def test_example(self) -> None:
        """
        What its documentation shows is what happens.
        """
        result = doctest.testmod(testing, extraglobs=vars(txsse))

        self.assertEqual(0, result.failed)
        self.assertGreater(result.attempted, 0)

    def test_stream(self) -> None:
        """
        By default there is a stream, and what is sent has arrived.
        """
        code = self.code()
        [connection] = self.server.connections

        connection.send("a", event="e", id="2", retry=5)
        connection.write(b"data: half")
        connection.write(b" and half\n\n")

        self.assertEqual((200, "1"), (code, connection.last_event_id))
        self.assertEqual([Event("e", b"a", "2"), Event(raw=b"half and half", id="2")], self.recorder.events)
        self.assertEqual([5], self.recorder.retries)

    def test_end(self) -> None:
        """
        An end is clean.
        """
        self.code()

        self.server.connections[0].end()

        self.assertEqual([None], self.recorder.ends)

    def test_cut(self) -> None:
        """
        A cut is not.
        """
        self.code()

        self.server.connections[0].cut()

        [reason] = self.recorder.ends
        self.assertIsNotNone(reason)
        self.assertTrue(self.server.connections[0].closed)

    def test_client_leaves(self) -> None:
        """
        The server sees the client go.
        """
        self.code()

        self.receiver.close()
        self.server.flush()

        self.assertTrue(self.server.connections[0].closed)

    def test_script(self) -> None:
        """
        Answers are given in the order they were asked for, and then streams again.
        """
        self.server.will_refuse(503, {"Retry-After": "1"}, b"later")
        self.server.will_stream()
        self.server.will_refuse(204)

        self.assertEqual([503, 200, 204, 200], [self.code() for _ in range(4)])

    def test_hang(self) -> None:
        """
        A request may get no answer, but be cut.
        """
        self.server.will_hang()
        response = open_with(self.server.client, self.server.url, clock=self.server.clock)("")
        self.assertNoResult(response)

        self.server.connections[0].cut()

        self.failureResultOf(response)

    def test_no_stream(self) -> None:
        """
        Nothing can be sent on a request that was answered otherwise.
        """
        self.server.will_refuse(404)
        self.code()

        self.assertRaises(RuntimeError, self.server.connections[0].send, "a")

    def test_keep_alive(self) -> None:
        """
        The server's clock is the one that keeps streams alive.
        """
        self.code()

        self.server.advance(15.0)

        self.assertEqual(1, len(self.server.clock.getDelayedCalls()))
