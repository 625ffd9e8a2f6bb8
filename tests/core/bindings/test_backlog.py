"""
Tests for L{mcpbridge.core.bindings.backlog}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.backlog import MAX_BYTES, MAX_MESSAGES, Backlog, answer_for
from mcpbridge.core.jsonrpc import Error, Notification, Request, Result, value

CHANGED = Notification("notifications/tools/list_changed")
ASKED = Request(1, "roots/list")
SAID = Notification("notifications/message", value({"data": "x"}))


def updated(uri: str) -> Notification:
    return Notification("notifications/resources/updated", value({"uri": uri}))


class BacklogTests(SynchronousTestCase):
    """What waits for a stream."""

    def test_in_order(self) -> None:
        """All of it is had at once, in order, and once."""
        backlog = Backlog()
        for message in (SAID, ASKED, CHANGED):
            self.assertEqual((), tuple(backlog.add(message, 0)))

        self.assertEqual([SAID, ASKED, CHANGED], backlog.take())
        self.assertEqual([], backlog.take())

    def test_said_twice(self) -> None:
        """What says no more if it is said twice is kept once."""
        backlog = Backlog()
        for message in (CHANGED, updated("a:"), CHANGED, updated("b:"), updated("a:"), SAID, SAID):
            backlog.add(message, 0)

        self.assertEqual([CHANGED, updated("a:"), updated("b:"), SAID, SAID], backlog.take())

    def test_impatience(self) -> None:
        """Questions and news are given up after a while, what lasts is not."""
        backlog = Backlog()
        backlog.add(CHANGED, 0)
        self.assertFalse(backlog.is_impatient())
        backlog.add(ASKED, 0)
        backlog.add(SAID, 10)
        self.assertTrue(backlog.is_impatient())

        self.assertEqual([], backlog.expire(29.9))
        self.assertEqual([ASKED], backlog.expire(30))
        self.assertEqual([SAID], backlog.expire(40))
        self.assertEqual([CHANGED], backlog.take())

    def test_full(self) -> None:
        """The oldest give way."""
        backlog = Backlog()
        backlog.add(ASKED, 0)
        for _ in range(MAX_MESSAGES - 1):
            backlog.add(SAID, 0)

        self.assertEqual([ASKED], backlog.add(SAID, 0))
        self.assertEqual(MAX_MESSAGES, len(backlog))

    def test_large(self) -> None:
        """Bytes are counted too, and one message that is too large does not push out the others."""
        backlog = Backlog()
        half = Notification("notifications/message", value({"data": "x" * (MAX_BYTES // 2 + 1)}))
        whole = Notification("notifications/message", value({"data": "x" * MAX_BYTES}))
        backlog.add(half, 0)

        self.assertEqual((whole,), backlog.add(whole, 0))
        self.assertEqual([half], backlog.add(half, 0))
        self.assertEqual([half], backlog.take())

    def test_withdrawn(self) -> None:
        """A question that is withdrawn before it was asked is not asked; a withdrawal of another one waits."""
        backlog = Backlog()
        backlog.add(ASKED, 0)
        here = Notification("notifications/cancelled", value({"requestId": 1}))
        elsewhere = Notification("notifications/cancelled", value({"requestId": "1"}))

        backlog.add(elsewhere, 0)
        backlog.add(here, 0)

        self.assertEqual([elsewhere], backlog.take())

    def test_questions(self) -> None:
        """What is of a question can be said where other things cannot."""
        cancelled = Notification("notifications/cancelled", value({"requestId": 7}))
        found = []
        for messages in ((), (CHANGED, SAID), (SAID, ASKED), (cancelled,)):
            backlog = Backlog()
            for message in messages:
                backlog.add(message, 0)
            found.append(backlog.has_questions())

        self.assertEqual([False, False, True, True], found)

    def test_answers(self) -> None:
        """What a server is told of a question that was not asked."""
        roots = answer_for(ASKED, "it is away")

        assert isinstance(roots, Error)
        self.assertEqual((1, -32603), (roots.id, roots.error.code))
        self.assertIn("it is away", roots.error.message)
        self.assertEqual(Result(2, value({"action": "cancel"})), answer_for(Request(2, "elicitation/create"), ""))
