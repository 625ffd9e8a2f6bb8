"""
Tests for L{mcpbridge.core.bindings.streamable_http}.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.http import HTTPLimits, ResponseHead
from mcpbridge.core.bindings.streamable_http import StreamableHTTP
from mcpbridge.core.jsonrpc import Notification, Request, Result


def session() -> StreamableHTTP:
    """A session that has been initialized."""
    made = StreamableHTTP.make("https://h/mcp", {"Authorization": "Bearer s3cret-token"}, HTTPLimits(), lambda: 0.0)
    made.initialize_answered(ResponseHead(200, {"mcp-session-id": "session-1"}))
    made.initialized_with(Result(0, Raw(b'{"protocolVersion":"2025-11-25"}')))
    return made


class SessionTests(SynchronousTestCase):
    """What all requests say."""

    def test_headers(self) -> None:
        """
        Every request names the session, the revision, and what was configured.
        """
        made = session()
        common = (
            (b"Mcp-Session-Id", b"session-1"),
            (b"MCP-Protocol-Version", b"2025-11-25"),
            (b"Authorization", b"Bearer s3cret-token"),
            (b"User-Agent", b"mcpbridge"),
        )

        post, get, delete = made.post(Request(1, "ping")), made.get("e1"), made.delete()

        self.assertEqual(
            (
                (b"Accept", b"application/json, text/event-stream"),
                (b"Content-Type", b"application/json"),
                *common,
            ),
            post.headers,
        )
        self.assertEqual(((b"Accept", b"text/event-stream"), *common, (b"Last-Event-ID", b"e1")), get.headers)
        self.assertEqual(((b"Accept", b"text/event-stream"), *common), delete.headers)
        self.assertEqual(("POST", "GET", "DELETE"), (post.method, get.method, delete.method))
        self.assertEqual(b'{"jsonrpc":"2.0","id":1,"method":"ping"}', post.body)

    def test_headers_are_shared(self) -> None:
        """
        They are made once, so that a transport can prepare them once.
        """
        made = session()

        self.assertIs(made.post(Request(1, "a")).headers, made.post(Request(2, "b")).headers)

    def test_initialize_again(self) -> None:
        """
        A second C{initialize} carries nothing of the first.
        """
        made = session()

        made.initialize_sent()

        names = [name for name, _ in made.post(Request(0, "initialize")).headers]
        self.assertEqual([b"Accept", b"Content-Type", b"Authorization", b"User-Agent"], names)

    def test_odd_results(self) -> None:
        """
        A result without a revision, or with one that is none, makes no header.
        """
        for result in (b"{}", b"[]", b'{"protocolVersion":1}', b'{"protocolVersion":"2025-06-18\\r\\n"}'):
            made = session()
            made.initialized_with(Result(0, Raw(result)))
            self.assertIsNone(made.version, result)

    def test_moved(self) -> None:
        """
        A redirect for good counts for all that follows.
        """
        made = session()
        made.moved(ResponseHead(308), "https://h/other", "https://h/x")
        made.moved(ResponseHead(307), "https://h/mcp", "https://h/y")
        before = made.get().url

        made.moved(ResponseHead(308), "https://h/mcp", "https://h/z")

        self.assertEqual(("https://h/mcp", "https://h/z"), (before, made.get().url))

    def test_stream_is_due(self) -> None:
        """
        When C{notifications/initialized} was accepted, and for nothing else.
        """
        made = session()
        made.accepted(Notification("notifications/cancelled"))
        before = made.stream_due

        made.accepted(Notification("notifications/initialized"))

        self.assertEqual((False, True), (before, made.stream_due))

    def test_secrets(self) -> None:
        """
        They are known as such, and not shown.
        """
        made = session()

        self.assertEqual(["Bearer s3cret-token", "s3cret-token", "session-1"], made.secrets())
        self.assertNotIn("s3cret", repr(made))
        self.assertNotIn("session-1", repr(made))
