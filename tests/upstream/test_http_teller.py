"""
Tests for L{mcpbridge.upstream.http_teller}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.dialogue import Noise
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Batch, InvalidMessage, Notification
from mcpbridge.upstream.http_teller import Teller
from tests.upstream.recordinglink import RecordingLink

LOSS = Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "x")
NOTE = Notification("n")


class TellerTests(SynchronousTestCase):
    """The way to the link."""

    def setUp(self) -> None:
        """A teller with a link."""
        self.clock = Clock()
        self.teller = Teller(self.clock, "peer")
        self.link = self.teller.link = RecordingLink()

    def test_deliveries(self) -> None:
        """
        Each kind has its method; a loss without a request has nobody to be told.
        """
        for delivery in (NOTE, Batch((NOTE,)), InvalidMessage(-1, "bad"), LOSS):
            self.teller.deliver(delivery, 1)
        self.teller.deliver(LOSS, None)

        self.assertEqual(
            [
                ("received", NOTE, 1),
                ("received_batch", (NOTE,)),
                ("received_garbage", "bad"),
                ("request_lost", 1, LOSS),
            ],
            self.link.told,
        )

    def test_held(self) -> None:
        """
        What comes while held comes in the next turn, in order, and before what comes then.
        """
        with self.teller.held():
            self.teller.lost(1, LOSS)
            with self.teller.held():
                self.teller.deliver(NOTE, 2)
            inside = self.link.take()
        self.teller.deliver(NOTE, 3)
        before = self.link.take()

        self.clock.advance(0)

        self.assertEqual([], inside)
        self.assertEqual(
            [("request_lost", 1, LOSS), ("received", NOTE, 2), ("received", NOTE, 3)], before + self.link.told
        )

    def test_nobody(self) -> None:
        """
        Without a link nothing is told, now or later.
        """
        with self.teller.held():
            self.teller.lost(1, LOSS)
        self.teller.link = None
        self.teller.deliver(NOTE, 1)

        self.clock.advance(0)

        self.assertEqual([], self.link.told)

    def test_noise_is_bounded(self) -> None:
        """
        Twenty lines a minute; the rest is for those who look closely.
        """
        with capturedLogs() as captured:
            for _ in range(30):
                self.teller.deliver(Noise("x"), None)
            self.clock.advance(60.0)
            self.teller.deliver(Noise("y"), None)

        levels = [event["log_level"] for event in captured]
        self.assertEqual([LogLevel.warn] * 20 + [LogLevel.debug] * 10 + [LogLevel.warn], levels)
