"""
Tests for L{mcpbridge.core.progress}.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.jsonrpc import Notification, Request, Result
from mcpbridge.core.progress import is_progress, progress_token, with_progress_token


class ProgressTests(SynchronousTestCase):
    """The token in C{_meta}."""

    def test_is_progress(self) -> None:
        """One notification is; a request of that name is none."""
        name = "notifications/progress"
        messages = (Notification(name), Notification("notifications/message"), Request(1, name), Result(1, Raw(b"{}")))

        self.assertEqual([True, False, False, False], [is_progress(message) for message in messages])

    def test_token(self) -> None:
        """As it came, typed."""
        tokens = (b"7", b'"7"', b'"\\u0041"')

        found = [progress_token(Raw(b'{"_meta":{"progressToken":%b}}' % token)) for token in tokens]

        self.assertEqual(list(map(Raw, tokens)), found)

    def test_none(self) -> None:
        """What is no token, or not where it should be, is none."""
        texts = (
            b'{"_meta":{"progressToken":null}}',
            b'{"_meta":{"progressToken":1.5}}',
            b'{"_meta":{"progressToken":true}}',
            b'{"_meta":"progressToken"}',
            b'{"progressToken":1}',
            b'{"arguments":{"_meta":{"progressToken":1}}}',
            b'{"_meta":{}}',
            b"{}",
        )

        self.assertEqual([None] * 9, [progress_token(params) for params in (None, *map(Raw, texts))])

    def test_escapes(self) -> None:
        """The name may be spelt with escapes."""
        self.assertEqual(Raw(b"1"), progress_token(Raw(b'{"_meta":{"pro\\u0067ressToken":1}}')))

    def test_own(self) -> None:
        """Ours takes the place of another; all else keeps its bytes."""
        params = Raw(b'{"a": 1e400,"_meta":{"progressToken":"x","k": [1 ]}}')

        found = with_progress_token(params, 5)

        self.assertEqual(b'{"a":1e400,"_meta":{"progressToken":5,"k":[1 ]}}', bytes(found))
        self.assertEqual({"_meta": {"progressToken": "s"}}, jsonrpc.read(with_progress_token(None, "s")))
