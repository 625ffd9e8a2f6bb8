"""
Tests for L{txsse._verdict}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IResponse
from zope.interface.verify import verifyObject

from tests.txsse.fakes import FakeResponse
from tests.txsse.strategies import bounded
from txsse import (
    Accept,
    EventTooLarge,
    GiveUp,
    TryAgain,
    UnexpectedResponse,
    judge_failure,
    judge_patiently,
    judge_strictly,
)


class StrictTests(SynchronousTestCase):
    def test_fake(self) -> None:
        """
        The response these tests use is one.
        """
        verifyObject(IResponse, FakeResponse())

    def test_stream(self) -> None:
        """
        A stream is known by its type, whatever its case and its parameters.
        """
        for value in ("text/event-stream", "Text/Event-Stream ; charset=utf-8", "text/event-stream;x=y"):
            self.assertEqual(Accept(), judge_strictly(FakeResponse(200, {"Content-Type": value})), value)

    def test_no_content(self) -> None:
        """
        204 is how a server ends a source, and no error.
        """
        self.assertEqual(GiveUp(None), judge_strictly(FakeResponse(204)))

    def test_unexpected(self) -> None:
        """
        Everything else is the end, with what came in the error.
        """
        for code, headers, text in [
            (200, {"Content-Type": "text/html"}, "200 text/html"),
            (200, {"Content-Type": "text/event-streams"}, "200 text/event-streams"),
            (200, {}, "200 without a content type"),
            (201, None, "201 text/event-stream"),
            (301, None, "301 text/event-stream"),
            (503, None, "503 text/event-stream"),
        ]:
            verdict = judge_strictly(FakeResponse(code, headers))

            assert isinstance(verdict, GiveUp)
            self.assertIsInstance(verdict.error, UnexpectedResponse)
            self.assertEqual(f"wanted 200 text/event-stream, got {text}", str(verdict.error))


class PatientTests(SynchronousTestCase):
    def test_passing_trouble(self) -> None:
        """
        Codes of a server in trouble are worth another attempt, those of a wrong request are not.
        """
        for code in (408, 425, 429, 500, 502, 503, 504):
            self.assertEqual(TryAgain(), judge_patiently(FakeResponse(code)), str(code))
        for code in (400, 401, 403, 404, 405, 410, 501):
            self.assertIsInstance(judge_patiently(FakeResponse(code)), GiveUp, str(code))

    def test_as_strict(self) -> None:
        """
        Where all is well it is as the strict one.
        """
        self.assertEqual(Accept(), judge_patiently(FakeResponse()))
        self.assertEqual(GiveUp(), judge_patiently(FakeResponse(204)))

    def test_retry_after(self) -> None:
        """
        The wait is what the server asks for, within reason.
        """
        date = "Wed, 21 Oct 2015 07:28:00 GMT"
        for headers, seconds in [
            ({"Retry-After": "120"}, 120.0),
            ({"Retry-After": " 0 "}, 0.0),
            ({"Retry-After": "9" * 5000}, 3600.0),
            ({"Retry-After": "-1"}, None),
            ({"Retry-After": "\u0661"}, None),
            ({"Retry-After": "soon"}, None),
            ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": date}, 30.0),
            ({"Retry-After": "Wed, 21 Oct 2015 07:27:30 GMT", "Date": date}, 0.0),
            ({"Retry-After": "Wed, 21 Oct 2515 07:27:30 GMT", "Date": date}, 3600.0),
            ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT"}, None),
        ]:
            self.assertEqual(TryAgain(seconds), judge_patiently(FakeResponse(503, headers)), str(headers)[:80])

    @bounded
    @given(st.text(st.sampled_from("0123456789 ,:+-Wed21OctGMT\x80\xff"), max_size=40))
    def test_any_header(self, value: str) -> None:
        """
        No header makes it raise.
        """
        for name in ("Retry-After", "Date"):
            headers = {
                "Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT",
                "Date": "Wed, 21 Oct 2015 07:28:30 GMT",
                name: value,
            }
            self.assertIsInstance(judge_patiently(FakeResponse(503, headers)), TryAgain)


class FailureTests(SynchronousTestCase):
    def test_connection(self) -> None:
        """
        A lost connection is worth another attempt.
        """
        self.assertEqual(TryAgain(), judge_failure(Failure(ConnectionLost())))

    def test_too_large(self) -> None:
        """
        An event over the limit would only come again.
        """
        error = EventTooLarge("an event", 10)

        self.assertEqual(GiveUp(error), judge_failure(Failure(error)))
