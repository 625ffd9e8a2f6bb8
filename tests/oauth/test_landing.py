"""
Tests of L{mcpbridge.oauth.landing}.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.errors import LoginRefused
from mcpbridge.oauth.landing import landing_site
from tests.oauth.browser import connected, get


class LandingTests(SynchronousTestCase):
    """Where a browser comes back."""

    def setUp(self) -> None:
        self.answers: list[str] = []
        self.result: Deferred[object] = succeed(None)
        self.site = landing_site(Clock(), {"/callback"}, self._answer)

    def _answer(self, url: str) -> Deferred[object]:
        self.answers.append(url)
        return self.result

    def test_answer(self) -> None:
        """A browser brings an answer; what it is shown is always the same."""
        page = get(self.site, b"GET /callback?code=%3Cscript%3E&state=s")

        self.assertEqual(["http://127.0.0.1/callback?code=%3Cscript%3E&state=s"], self.answers)
        self.assertTrue(page.startswith(b"HTTP/1.1 200 "))
        self.assertIn(
            b"Content-Security-Policy: default-src 'none'",
            page.replace(b"content-security-policy", b"Content-Security-Policy"),
        )
        self.assertNotIn(b"script", page)

    def test_refused(self) -> None:
        """An answer that is none gets a page without a reason; the log has it."""
        self.result = fail(LoginRefused("not ours", final=False))

        page = get(self.site, b"GET /callback?error=%3Cb%3E")

        self.assertTrue(page.startswith(b"HTTP/1.1 400 "))
        self.assertNotIn(b"not ours", page)

    def test_broken(self) -> None:
        """So does a fault of ours."""
        self.result = fail(KeyError("x"))

        page = get(self.site, b"GET /callback?code=x")

        self.assertTrue(page.startswith(b"HTTP/1.1 400 "))
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))

    def test_nothing_else(self) -> None:
        """Other paths and methods, and requests without an answer, are nobody's."""
        for request in (
            b"GET /",
            b"GET /callback",
            b"GET /favicon.ico?x=1",
            b"POST /callback?code=x",
            b"GET //callback?x=1",
        ):
            self.assertTrue(get(self.site, request).startswith(b"HTTP/1.1 404 "), request)
        self.assertEqual([], self.answers)

    def test_crowd(self) -> None:
        """No more come in than a browser needs."""
        made = []

        for _ in range(20):
            protocol = connected(self.site)
            if protocol is not None:
                made.append(protocol)

        self.assertEqual(16, len(made))
        for protocol in made:
            protocol.connectionLost(Failure(ConnectionDone()))
