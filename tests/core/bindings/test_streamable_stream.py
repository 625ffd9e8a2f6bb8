"""
Tests for L{mcpbridge.core.bindings.streamable_stream}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.dialogue import Finish, Noise, ReadEvents, Send
from mcpbridge.core.bindings.http import HTTPLimits, ResponseHead
from mcpbridge.core.bindings.streamable_http import StreamableHTTP
from mcpbridge.core.bindings.streamable_stream import StreamDialogue
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import InvalidMessage, Notification

OPEN = ResponseHead(200, {"content-type": "text/event-stream"})
UNSENT = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "refused")


def begun() -> tuple[StreamDialogue, StreamableHTTP]:
    """A stream that was asked for."""
    session = StreamableHTTP.make("https://h/mcp", {}, HTTPLimits(), lambda: 0.0)
    dialogue = StreamDialogue(session)
    assert isinstance(dialogue.begin(), Send)
    return dialogue, session


def after(step: Any) -> float:
    """How long to wait before asking again."""
    assert isinstance(step, Send), step
    return step.after


class StreamTests(SynchronousTestCase):
    """The shared stream."""

    def test_none(self) -> None:
        """
        405 is a plain no, other refusals are worth a word in the log.
        """
        steps = [begun()[0].head_received(ResponseHead(status), 0.0) for status in (405, 404, 401, 200, 501)]

        self.assertEqual(Finish(), steps[0])
        for step in steps[1:]:
            assert isinstance(step, Finish)
            self.assertEqual([Noise], [type(delivery) for delivery in step.deliveries])

    def test_settled(self) -> None:
        """
        Whether there is one is known with the first answer that leads nowhere else, or when there was none.
        """
        asked, moved, opened, busy, lost = (begun()[0] for _ in range(5))

        moved.head_received(ResponseHead(307, {"location": "/elsewhere"}), 0.0)
        opened.head_received(OPEN, 0.0)
        busy.head_received(ResponseHead(503), 0.0)
        lost.failed(UNSENT, 0.0)

        found = [dialogue.settled for dialogue in (asked, moved, opened, busy, lost)]
        self.assertEqual([False, False, True, True, True], found)

    def test_passing(self) -> None:
        """
        A server in trouble is asked again, later and later, and not before it wants.
        """
        dialogue, _ = begun()

        steps = [
            dialogue.head_received(ResponseHead(409), 0.0),
            dialogue.failed(UNSENT, 1.0),
            dialogue.head_received(ResponseHead(503, {"retry-after": "20"}), 2.0),
        ]

        self.assertEqual([1.0, 2.0, 20.0], [after(step) for step in steps])

    def test_never_given_up(self) -> None:
        """
        Once it was open it is asked for as long as the session lives.
        """
        dialogue, session = begun()
        dialogue.head_received(OPEN, 0.0)

        steps = [dialogue.head_received(ResponseHead(401), float(n)) for n in range(100)]
        session.session_lost(404)

        self.assertEqual(60.0, after(steps[-1]))
        self.assertEqual(Finish(), dialogue.ended(200.0, ""))

    def test_ends(self) -> None:
        """
        A stream that lived is asked for after its own time, one that ends at once after longer and longer.
        """
        dialogue, _ = begun()
        dialogue.retry_received(2000)
        delays = []
        for lived in (60.0, 0.0, 0.0, 0.0, 60.0):
            dialogue.head_received(OPEN, 0.0)
            delays.append(after(dialogue.ended(lived, "")))

        self.assertEqual([2.0, 4.0, 8.0, 16.0, 2.0], delays)

    def test_last_event_id(self) -> None:
        """
        The last id that there was goes along.
        """
        dialogue, _ = begun()
        for event_id in ("e1", "", "bad\x01"):
            dialogue.head_received(OPEN, 0.0)
            step = dialogue.ended(0.0, event_id)
            assert isinstance(step, Send)
            self.assertIn((b"Last-Event-ID", b"e1"), step.request.headers)

    def test_events(self) -> None:
        """
        Messages pass, invalid ones for the owner to judge; noise is noise.
        """
        dialogue, _ = begun()
        self.assertIsInstance(dialogue.head_received(OPEN, 0.0), ReadEvents)

        self.assertEqual((Notification("n"),), dialogue.event_received("message", b'{"jsonrpc":"2.0","method":"n"}'))
        self.assertEqual(((), ()), (dialogue.event_received("message", b""), dialogue.event_received("x", b"{}")))
        self.assertIsInstance(dialogue.event_received("message", b"{")[0], Noise)
        self.assertIsInstance(
            dialogue.event_received("message", b'{"jsonrpc":"2.0","id":1,"result":1,"error":2}')[0], InvalidMessage
        )
