"""
Tests for L{mcpbridge.upstream.http_failure}.
"""

from __future__ import annotations

from twisted.internet.defer import TimeoutError
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web._newclient import ParseError, RequestNotSent
from twisted.web.client import (
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)

from mcpbridge.core.errors import Fate, Reason
from mcpbridge.net.failures import BodyTimeout, BodyTooLarge, CodingRefused, HeadRefused, NotConnected
from mcpbridge.upstream.http_failure import loss_of
from txsse import EventTooLarge, IdleTimeout


class LossTests(SynchronousTestCase):
    """What failures mean."""

    def test_table(self) -> None:
        """
        Every failure has its fate; what is not known better may have run.
        """
        lost = Failure(ConnectionLost())
        for error, fate, reason in [
            (NotConnected("x"), Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE),
            (RequestNotSent(), Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE),
            (RequestTransmissionFailed([lost]), Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE),
            (RequestGenerationFailed([lost]), Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE),
            (ResponseNeverReceived([lost]), Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
            (ResponseFailed([lost]), Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
            (ResponseFailed([Failure(HeadRefused("x"))]), Fate.FAILED, Reason.MALFORMED),
            (ResponseFailed([Failure(ParseError("x", b"y"))]), Fate.FAILED, Reason.MALFORMED),
            (ResponseFailed([Failure(ValueError("x"))]), Fate.FAILED, Reason.MALFORMED),
            (CodingRefused("x"), Fate.FAILED, Reason.MALFORMED),
            (BodyTooLarge(5), Fate.FAILED, Reason.MALFORMED),
            (EventTooLarge("an event", 5), Fate.FAILED, Reason.MALFORMED),
            (BodyTimeout(5.0), Fate.UNKNOWN, Reason.UPSTREAM_TIMEOUT),
            (IdleTimeout(5.0), Fate.UNKNOWN, Reason.UPSTREAM_TIMEOUT),
            (TimeoutError(5.0, "Deferred"), Fate.UNKNOWN, Reason.UPSTREAM_TIMEOUT),
            (RuntimeError("x"), Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN),
        ]:
            loss = loss_of(Failure(error))
            self.assertEqual((fate, reason), (loss.fate, loss.reason), repr(error))

    def test_refused(self) -> None:
        """Where nothing listens, it is said what is waited for."""
        said = [loss_of(Failure(NotConnected("cannot connect", refused=refused))).text for refused in (False, True)]

        self.assertEqual(
            [
                "cannot connect",
                "cannot connect; waiting for a server to listen there. Is it started, and is its url right?",
            ],
            said,
        )
