"""
Tests for L{mcpbridge.core.bindings.attempt}.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.attempt import Attempt
from mcpbridge.core.bindings.dialogue import Send
from mcpbridge.core.bindings.http import HTTPRequest, ResponseHead
from mcpbridge.core.errors import Loss

REQUEST = HTTPRequest("POST", "http://h/a", ((b"X", b"y"),), b"{}")


class AttemptTests(SynchronousTestCase):
    """Redirects."""

    def test_followed(self) -> None:
        """
        The same request to another place, at once, with the same deadline; and it is told.
        """
        moved: list[Any] = []
        attempt = Attempt(lambda head, url, target: moved.append((head.status, url, target)))

        first = attempt.send(REQUEST, 3.0, 30.0)
        second = attempt.redirected(ResponseHead(308, {"location": "b"}))

        self.assertEqual(Send(REQUEST, 3.0, 30.0), first)
        self.assertEqual(Send(attrs.evolve(REQUEST, url="http://h/b"), 0.0, 30.0), second)
        self.assertEqual([(308, "http://h/a", "http://h/b")], moved)

    def test_counted_anew(self) -> None:
        """
        Each request may be redirected three times.
        """
        attempt = Attempt(lambda *_: None)

        for _ in range(2):
            attempt.send(REQUEST)
            found = [type(attempt.redirected(ResponseHead(307, {"location": "/x"}))) for _ in range(4)]
            self.assertEqual([Send, Send, Send, Loss], found)
