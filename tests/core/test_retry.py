"""
Tests for L{mcpbridge.core.retry}.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import ErrorObject, Fate, Loss, Reason
from mcpbridge.core.retry import backoff, failure, wait_before_retry

AWAY = Reason.UPSTREAM_UNREACHABLE


def loss(fate: Fate, reason: Reason = AWAY, retry_after: float | None = None) -> Loss:
    """A loss of this kind."""
    return Loss(fate, reason, "it broke", retry_after)


def wait(method: str, times: int, of: Loss) -> float | None:
    """How long to wait where chance is at its least."""
    return wait_before_retry(method, times, of, lambda: 0.0)


class BackoffTests(SynchronousTestCase):
    """How long to wait for the next attempt."""

    def test_grows(self) -> None:
        """Twice as long each time, up to a bound, whatever the number of attempts."""
        found = [backoff(attempt, lambda: 0.0) for attempt in (1, 2, 3, 4, 5, 6, 10_000)]

        self.assertEqual([0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0], found)

    def test_jitter(self) -> None:
        """Chance adds up to as much again."""
        self.assertEqual(1.5, backoff(99, lambda: 0.5))
        self.assertEqual(30.0, backoff(99, lambda: 1.0, longest=30.0))


class RetryTests(SynchronousTestCase):
    """May it be asked again?"""

    def test_table(self) -> None:
        """For a call that acts and one that reads, by fate and by how often it was lost."""
        table: list[tuple[Loss, int, float | None, float | None]] = [
            (loss(Fate.NEVER_SENT), 1, 0.1, 0.1),
            (loss(Fate.NEVER_SENT), 50, 1.0, 1.0),
            (loss(Fate.NEVER_SENT, retry_after=7.0), 1, 7.0, 7.0),
            (loss(Fate.NEVER_SENT, retry_after=300.0), 1, None, None),
            (loss(Fate.REJECTED), 1, 0.1, 0.1),
            (loss(Fate.REJECTED, retry_after=0.0), 1, 0.0, 0.0),
            (loss(Fate.REJECTED, retry_after=30.0), 3, 30.0, 30.0),
            (loss(Fate.REJECTED, retry_after=30.5), 1, None, None),
            (loss(Fate.REJECTED), 4, None, None),
            (loss(Fate.REJECTED, Reason.AUTH_REQUIRED), 1, None, None),
            (loss(Fate.REJECTED, Reason.AUTH_FAILED), 1, None, None),
            (loss(Fate.REJECTED, Reason.INSUFFICIENT_SCOPE), 1, None, None),
            (loss(Fate.SESSION_LOST), 1, 0.0, 0.0),
            (loss(Fate.SESSION_LOST), 3, 0.0, 0.0),
            (loss(Fate.SESSION_LOST), 4, None, None),
            (loss(Fate.UNKNOWN), 1, None, 0.1),
            (loss(Fate.UNKNOWN), 2, None, None),
            (loss(Fate.FAILED), 1, None, None),
        ]

        for of, times, acts, reads in table:
            self.assertEqual((acts, reads), (wait("tools/call", times, of), wait("tools/list", times, of)), (of, times))

    def test_unknown_methods_act(self) -> None:
        """What we do not know may do anything."""
        self.assertIsNone(wait("x/unknown", 1, loss(Fate.UNKNOWN)))


class FailureTests(SynchronousTestCase):
    """What the client is told."""

    def told(self, method: str, of: Loss) -> tuple[str, bool, bool]:
        """The reason, whether it may ask again, and whether it is warned."""
        error = failure("up", method, of)
        assert error.data is not None
        data = jsonrpc.read(error.data)["mcpbridge"]
        self.assertEqual("up", data["upstream"])
        self.assertTrue(error.message.startswith("up: it broke"))
        return data["reason"], data["retryable"], "not known" in error.message

    def test_table(self) -> None:
        """Only what may have run, and acts, is warned of."""
        table = {
            ("tools/call", Fate.UNKNOWN): ("upstream_lost_outcome_unknown", False, True),
            ("tools/list", Fate.UNKNOWN): ("upstream_unreachable", True, False),
            ("tools/call", Fate.NEVER_SENT): ("upstream_unreachable", True, False),
            ("tools/call", Fate.REJECTED): ("upstream_unreachable", True, False),
            ("tools/call", Fate.SESSION_LOST): ("upstream_unreachable", True, False),
            ("tools/call", Fate.FAILED): ("upstream_unreachable", False, False),
        }

        found = {(method, fate): self.told(method, loss(fate)) for method, fate in table}

        self.assertEqual(table, found)

    def test_whole(self) -> None:
        """The error as it goes to the wire."""
        data = b'{"mcpbridge": {"reason": "upstream_unreachable", "upstream": "up", "retryable": true}}'

        self.assertEqual(
            ErrorObject(-32603, "up: it broke", Raw(data)), failure("up", "tools/call", loss(Fate.NEVER_SENT))
        )
