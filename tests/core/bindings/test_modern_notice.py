"""
Tests for L{mcpbridge.core.bindings.modern_notice}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.dialogue import Finish, Noise, Send
from mcpbridge.core.bindings.http import ResponseHead
from mcpbridge.core.bindings.modern_http import Spoken
from mcpbridge.core.bindings.modern_notice import ModernNoticeDialogue
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Notification
from tests.core.bindings.test_modern_http import rules

NOTICE = Notification("notifications/own")
NEVER_SENT = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "refused")


def begun() -> tuple[ModernNoticeDialogue, Send]:
    """A dialogue, and its request."""
    dialogue = ModernNoticeDialogue(rules(), NOTICE, Spoken("2026-07-28", NOTICE.method))
    step = dialogue.begin()
    assert isinstance(step, Send)
    return dialogue, step


class ModernNoticeTests(SynchronousTestCase):
    """What becomes of a notification."""

    def test_post(self) -> None:
        """
        It says its revision and its method, and has a deadline.
        """
        _, send = begun()

        self.assertEqual(b'{"jsonrpc":"2.0","method":"notifications/own"}', send.request.body)
        self.assertIn((b"MCP-Protocol-Version", b"2026-07-28"), send.request.headers)
        self.assertIn((b"Mcp-Method", b"notifications/own"), send.request.headers)
        self.assertEqual(30.0, send.deadline)

    def test_accepted(self) -> None:
        """
        Any success will do.
        """
        for status in (200, 202, 204):
            dialogue, _ = begun()
            self.assertEqual(Finish(), dialogue.head_received(ResponseHead(status), 0.0))
            self.assertTrue(dialogue.settled)

    def test_refused(self) -> None:
        """
        A refusal is a word in the log, and never the end of a session: there is none.
        """
        dialogue, _ = begun()

        step = dialogue.head_received(ResponseHead(404), 0.0)

        text = (
            "notifications/own was not accepted: the server answered HTTP 404: there is no MCP endpoint at this URL; "
            "check it"
        )
        self.assertEqual(Finish((Noise(text),)), step)
        self.assertFalse(dialogue.settled)

    def test_redirected(self) -> None:
        """
        Within the origin it is sent on.
        """
        dialogue, _ = begun()

        on = dialogue.head_received(ResponseHead(307, {"location": "/other"}), 0.0)
        away = dialogue.head_received(ResponseHead(307, {"location": "https://evil/"}), 0.0)

        assert isinstance(on, Send)
        self.assertEqual("https://h/other", on.request.url)
        self.assertIsInstance(away, Finish)

    def test_repeated(self) -> None:
        """
        What never arrived is sent once more; what may have is not.
        """
        dialogue, _ = begun()
        other, _ = begun()

        again = dialogue.failed(NEVER_SENT, 0.0)
        given_up = dialogue.failed(NEVER_SENT, 0.0)
        unknown = other.failed(Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "cut"), 0.0)

        assert isinstance(again, Send)
        self.assertEqual(0.5, again.after)
        self.assertEqual(Finish((Noise("notifications/own was not accepted: refused"),)), given_up)
        self.assertEqual(Finish((Noise("notifications/own was not accepted: cut"),)), unknown)
