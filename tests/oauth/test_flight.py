"""
Tests of L{mcpbridge.oauth.flight}.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.oauth.flight import SingleFlight


class FlightTests(SynchronousTestCase):
    """Many want the same; one goes."""

    def setUp(self) -> None:
        self.flight: SingleFlight[int] = SingleFlight()
        self.begun: list[Deferred[int]] = []

    def start(self) -> Deferred[int]:
        self.begun.append(Deferred())
        return self.begun[-1]

    def test_shared(self) -> None:
        """All who come while it is under way have its result; who comes later begins anew."""
        waiting = [self.flight.join(self.start) for _ in range(3)]
        landed = self.flight.landed()

        self.begun[0].callback(7)

        self.assertEqual([7, 7, 7], [self.successResultOf(one) for one in waiting])
        self.successResultOf(landed)
        self.assertFalse(self.flight.flying)
        self.flight.join(self.start)
        self.assertEqual(2, len(self.begun))

    def test_failure(self) -> None:
        """So is what went wrong; it is of no interest to who only waits for the end."""
        waiting = [self.flight.join(self.start) for _ in range(2)]
        landed = self.flight.landed()

        self.begun[0].errback(KeyError())

        for one in waiting:
            self.failureResultOf(one, KeyError)
        self.successResultOf(landed)

    def test_leaving(self) -> None:
        """Who no longer waits does not stop it."""
        leaves, stays = self.flight.join(self.start), self.flight.join(self.start)

        leaves.cancel()
        self.failureResultOf(leaves, CancelledError)
        self.begun[0].callback(7)

        self.assertEqual(7, self.successResultOf(stays))

    def test_at_once(self) -> None:
        """Work that is done already is no flight."""
        self.assertEqual(7, self.successResultOf(self.flight.join(lambda: succeed(7))))
        self.successResultOf(self.flight.landed())
