"""
Tests for L{txsse._client}.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from txsse import discard, open_with
from txsse.testing import MemoryEventServer


class OpenWithTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = MemoryEventServer()

    def headers(self, *names: str) -> list[Sequence[str] | None]:
        [connection] = self.server.connections
        return [connection.request.requestHeaders.getRawHeaders(name) for name in names]

    def test_headers(self) -> None:
        """
        The request says what it wants, that it wants it fresh, and nothing of a last event id it does not have.
        """
        response = self.successResultOf(open_with(self.server.client, self.server.url, clock=self.server.clock)(""))

        self.assertEqual(200, response.code)
        self.assertEqual(
            [["text/event-stream"], ["no-store"], None], self.headers("Accept", "Cache-Control", "Last-Event-ID")
        )
        self.assertEqual(b"GET", self.server.connections[0].request.method)

    def test_last_event_id(self) -> None:
        """
        The last event id goes out as UTF-8.
        """
        open_with(self.server.client, self.server.url, clock=self.server.clock)("7\u2026")

        self.assertEqual("7\u2026", self.server.connections[0].last_event_id)

    def test_own_headers(self) -> None:
        """
        Headers of the caller go along, and win.
        """
        own = {"Authorization": "Bearer x", "accept": "text/event-stream, */*"}

        open_with(self.server.client, self.server.url, own, clock=self.server.clock)("")

        self.assertEqual([["Bearer x"], ["text/event-stream, */*"]], self.headers("Authorization", "Accept"))

    def test_redirect(self) -> None:
        """
        A redirect is a response like others.
        """
        self.server.will_refuse(302, {"Location": "http://elsewhere.example/"})

        response = self.successResultOf(open_with(self.server.client, self.server.url, clock=self.server.clock)(""))

        self.assertEqual((302, 1), (response.code, len(self.server.connections)))

    def test_discard(self) -> None:
        """
        A response discarded closes a real connection.
        """
        response = self.successResultOf(open_with(self.server.client, self.server.url, clock=self.server.clock)(""))

        discard(response)
        self.server.flush()

        self.assertTrue(self.server.connections[0].closed)

    def test_cancel(self) -> None:
        """
        Cancelling an attempt ends it.
        """
        self.server.will_hang()
        attempt = open_with(self.server.client, self.server.url, clock=self.server.clock)("")
        gone = self.server.connections[0].request.notifyFinish()

        attempt.cancel()
        self.server.flush()

        self.failureResultOf(attempt)
        self.failureResultOf(gone)
