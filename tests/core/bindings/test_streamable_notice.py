"""
Tests for L{mcpbridge.core.bindings.streamable_notice}.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.dialogue import Finish, Noise, Send
from mcpbridge.core.bindings.http import HTTPLimits, ResponseHead
from mcpbridge.core.bindings.streamable_http import StreamableHTTP
from mcpbridge.core.bindings.streamable_notice import FarewellDialogue, NoticeDialogue
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Message, Notification, Result

INITIALIZED = Notification("notifications/initialized")
ANSWER = Result(3, Raw(b"{}"))
UNSENT = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "refused")
UNKNOWN = Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "cut")


def session(session_id: str | None = "s") -> StreamableHTTP:
    """A session."""
    made = StreamableHTTP.make("https://h/mcp", {}, HTTPLimits(), lambda: 0.0)
    made.session_id = session_id
    return made


def begun(message: Message, made: StreamableHTTP | None = None) -> NoticeDialogue:
    """A dialogue whose message is out."""
    dialogue = NoticeDialogue(session() if made is None else made, message)
    assert isinstance(dialogue.begin(), Send)
    return dialogue


class NoticeTests(SynchronousTestCase):
    """Notifications and answers."""

    def test_accepted(self) -> None:
        """
        Any success will do.
        """
        for status in (200, 202, 204):
            made = session()
            dialogue = begun(INITIALIZED, made)
            self.assertEqual(Finish(), dialogue.head_received(ResponseHead(status), 0.0))
            self.assertEqual((True, True), (dialogue.settled, made.stream_due))

    def test_not_accepted(self) -> None:
        """
        It is only logged; but 404 says that the session is lost.
        """
        made = session()

        step = begun(INITIALIZED, made).head_received(ResponseHead(500), 0.0)
        begun(ANSWER, made).head_received(ResponseHead(404), 0.0)

        text = "the server answered HTTP 500; it may or may not have run the request"
        self.assertEqual(Finish((Noise(f"notifications/initialized was not accepted: {text}"),)), step)
        self.assertIsNotNone(made.lost)
        after = NoticeDialogue(made, ANSWER).begin()
        self.assertEqual(Finish((Noise("an answer of ours was not accepted: the session is lost"),)), after)

    def test_redirects(self) -> None:
        """
        On the same origin they are followed.
        """
        dialogue = begun(INITIALIZED)

        self.assertIsInstance(dialogue.head_received(ResponseHead(307, {"location": "/mcp/"}), 0.0), Send)
        self.assertIsInstance(dialogue.head_received(ResponseHead(307, {"location": "http://h/"}), 0.0), Finish)

    def test_repeated(self) -> None:
        """
        Once, if it never arrived, or if it may arrive twice.
        """
        cases: list[tuple[Message, Loss, bool]] = [
            (INITIALIZED, UNSENT, True),
            (INITIALIZED, UNKNOWN, True),
            (ANSWER, UNSENT, True),
            (ANSWER, UNKNOWN, False),
            (Notification("other"), UNKNOWN, False),
        ]
        for message, loss, repeated in cases:
            dialogue = begun(message)
            step = dialogue.failed(loss, 0.0)
            self.assertEqual(repeated, isinstance(step, Send), (message, loss))
            if repeated:
                self.assertIsInstance(dialogue.failed(loss, 0.0), Finish)


class FarewellTests(SynchronousTestCase):
    """The end of a session."""

    def test_delete(self) -> None:
        """
        It is DELETEd, and whatever the server says is good enough.
        """
        dialogue = FarewellDialogue(session())

        step = dialogue.begin()

        assert isinstance(step, Send)
        self.assertEqual(("DELETE", 5.0), (step.request.method, step.deadline))
        self.assertEqual([Finish()] * 3, [dialogue.head_received(ResponseHead(code), 0.0) for code in (200, 405, 404)])

    def test_nothing_to_delete(self) -> None:
        """
        Without a session, or with one that is lost, nothing is sent.
        """
        lost = session()
        lost.session_lost(404)

        self.assertEqual([Finish()] * 2, [FarewellDialogue(made).begin() for made in (session(None), lost)])

    def test_failed(self) -> None:
        """
        It is only logged.
        """
        step = FarewellDialogue(session()).failed(UNSENT, 0.0)

        self.assertEqual(Finish((Noise("the session could not be ended: refused"),)), step)
