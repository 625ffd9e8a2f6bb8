"""
Tests for L{mcpbridge.downstream.http.transport}, through a whole endpoint in memory.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.jsonrpc import Notification
from mcpbridge.downstream.http.limits import EndpointLimits
from tests.downstream.http.world import World


class FlowTests(SynchronousTestCase):
    """Who is slow, on either side."""

    def test_paused(self) -> None:
        """What comes while nobody reads waits, in order, up to a limit."""
        world = World(limits=EndpointLimits(waiting=2))
        client = world.initialize()
        client.owner.transport.pause()

        first, second, third = client.call(1), client.notify("x/y"), client.call(3)
        self.assertEqual((True, True, 429), (first.is_silent, second.is_silent, third.seen.status))
        client.owner.transport.resume()
        world.clock.advance(0)

        self.assertEqual([1], [request.id for request in client.owner.requests[1:]])
        self.assertEqual(Notification("x/y"), client.owner.heard[-1])
        self.assertEqual(202, second.seen.status)

    def test_too_many_waiting(self) -> None:
        """A request that cannot even wait is refused, and its id is free again."""
        world = World(limits=EndpointLimits(waiting=1))
        client = world.initialize()
        client.owner.transport.pause()
        client.notify("x/y")

        refused = client.call(1).seen
        client.owner.transport.resume()
        world.clock.advance(0)
        again = client.call(1)

        self.assertEqual((429, True), (refused.status, again.is_silent))

    def test_slow_reader(self) -> None:
        """A client that reads slowly is told of, and when it has caught up."""
        world = World()
        client = world.initialize()
        stream = client.listen()
        assert stream.wire.producer is not None

        stream.wire.producer.pauseProducing()
        client.owner.say("notifications/message", {"n": 1})
        client.owner.say("notifications/message", {"n": 2})
        world.clock.advance(0)
        told = list(client.owner.told)
        stream.wire.producer.resumeProducing()
        world.clock.advance(0)

        self.assertEqual(["congested"], told)
        self.assertEqual(["congested", "relieved"], client.owner.told)
        self.assertEqual([1, 2], [data["params"]["n"] for data in stream.seen.data])

    def test_never_reads(self) -> None:
        """A client that does not read at all is cut off, and may resume."""
        world = World()
        client = world.initialize()
        stream = client.listen()
        assert stream.wire.producer is not None
        stream.wire.producer.pauseProducing()
        client.owner.say("notifications/message", {"n": 1})

        world.clock.pump([60.0, 0, 0])

        self.assertTrue(stream.wire.closed)
        self.assertEqual(["congested", "relieved"], client.owner.told)
        self.assertEqual([1], [data["params"]["n"] for data in client.listen("s1-0").seen.data])

    def test_large_answer_behind_a_queue(self) -> None:
        """The answer is never what does not fit."""
        world = World(limits=EndpointLimits(queue=2000))
        client = world.initialize()
        call = client.call(1)
        client.owner.say("notifications/progress", {"n": 0}, 1)
        assert call.wire.producer is not None
        call.wire.producer.pauseProducing()
        client.owner.say("notifications/progress", {"n": "x" * 1000}, 1)

        client.owner.answer(client.owner.requests[-1], {"text": "y" * 5000})
        call.wire.producer.resumeProducing()

        self.assertEqual("y" * 5000, call.seen.data[-1]["result"]["text"])
        self.assertTrue(call.seen.is_complete)
