"""
Tests for L{mcpbridge.core.bindings.http_sse}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.dialogue import Finish, Noise, ReadEvents, Send
from mcpbridge.core.bindings.http import HTTPLimits, ResponseHead
from mcpbridge.core.bindings.http_sse import HTTPSSE, EventsDialogue, PostDialogue
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Notification, Request

OPEN = ResponseHead(200, {"content-type": "text/event-stream; charset=utf-8"})
CUT = Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "cut")


def session(endpoint: str | None = None) -> HTTPSSE:
    """A session, whose endpoint may be known."""
    made = HTTPSSE.make("https://h/sse?key=1", {"X-Key": "k3y"}, HTTPLimits())
    made.endpoint = endpoint
    return made


class EventsTests(SynchronousTestCase):
    """The stream."""

    def test_endpoint(self) -> None:
        """
        The first one counts, resolved against the URL of the stream.
        """
        made = session()
        dialogue = EventsDialogue(made)
        dialogue.begin()
        self.assertIsInstance(dialogue.head_received(OPEN, 0.0), ReadEvents)

        told = [dialogue.event_received("endpoint", data) for data in (b" /m?s=1 ", b"/other")]

        self.assertEqual([(), ()], told)
        self.assertEqual(("https://h/m?s=1", True), (made.endpoint, dialogue.settled))

    def test_foreign_endpoint(self) -> None:
        """
        One of another origin ends it; its query is not shown.
        """
        dialogue = EventsDialogue(session())

        [loss] = dialogue.event_received("endpoint", b"http://h/m?secret=1")

        text = "the server named an endpoint of another origin, http://h:80, which is not used"
        self.assertEqual(Loss(Fate.FAILED, Reason.MALFORMED, text), loss)

    def test_redirected(self) -> None:
        """
        The endpoint is resolved against where the stream really is.
        """
        made = session()
        dialogue = EventsDialogue(made)
        dialogue.begin()

        step = dialogue.head_received(ResponseHead(307, {"location": "/a/sse"}), 0.0)
        dialogue.event_received("endpoint", b"m")

        self.assertIsInstance(step, Send)
        self.assertEqual("https://h/a/m", made.endpoint)

    def test_end(self) -> None:
        """
        It ends with a loss, always.
        """
        for endpoint, fate in ((None, Fate.FAILED), ("https://h/m", Fate.UNKNOWN)):
            step = EventsDialogue(session(endpoint)).ended(0.0, "e1")
            assert isinstance(step, Finish)
            [loss] = step.deliveries
            assert isinstance(loss, Loss)
            self.assertEqual(fate, loss.fate)


class PostTests(SynchronousTestCase):
    """Messages of ours."""

    def test_headers(self) -> None:
        """
        The configured headers go to the endpoint as well.
        """
        step = PostDialogue(session("https://h/m"), Request(1, "ping")).begin()

        assert isinstance(step, Send)
        self.assertIn((b"X-Key", b"k3y"), step.request.headers)
        self.assertEqual(("POST", "https://h/m"), (step.request.method, step.request.url))
        self.assertNotIn("k3y", repr(step))

    def test_accepted(self) -> None:
        """
        Any success will do.
        """
        for status in (200, 202, 204):
            dialogue = PostDialogue(session("https://h/m"), Request(1, "ping"))
            self.assertEqual(Finish(), dialogue.head_received(ResponseHead(status), 0.0))

    def test_lost(self) -> None:
        """
        A request is lost by its status; 404 is about the session.
        """
        for status, fate in ((404, Fate.SESSION_LOST), (401, Fate.REJECTED), (400, Fate.FAILED), (502, Fate.UNKNOWN)):
            step = PostDialogue(session("https://h/m"), Request(1, "ping")).head_received(ResponseHead(status), 0.0)
            assert isinstance(step, Finish)
            [loss] = step.deliveries
            assert isinstance(loss, Loss)
            self.assertEqual(fate, loss.fate)

    def test_notification_lost(self) -> None:
        """
        A notification is only logged.
        """
        step = PostDialogue(session("https://h/m"), Notification("n")).failed(CUT, 0.0)

        self.assertEqual(Finish((Noise("n was not accepted: cut"),)), step)

    def test_answered_before(self) -> None:
        """
        When the answer is there already, nothing is lost.
        """
        dialogue = PostDialogue(session("https://h/m"), Request(1, "ping"))

        dialogue.answered_elsewhere()

        self.assertEqual(Finish(), dialogue.failed(CUT, 0.0))
