"""
Tests for L{mcpbridge.core.bindings.dialogue}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.dialogue import BareDialogue, Dialogue, Finish
from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.core.bindings.http_sse import HTTPSSE, EventsDialogue, PostDialogue
from mcpbridge.core.bindings.modern_http import ModernHTTP, Spoken
from mcpbridge.core.bindings.modern_notice import ModernNoticeDialogue
from mcpbridge.core.bindings.modern_request import ModernRequestDialogue
from mcpbridge.core.bindings.streamable_http import StreamableHTTP
from mcpbridge.core.bindings.streamable_notice import FarewellDialogue, NoticeDialogue
from mcpbridge.core.bindings.streamable_request import RequestDialogue
from mcpbridge.core.bindings.streamable_stream import StreamDialogue
from mcpbridge.core.jsonrpc import Notification, Request


class DialogueTests(SynchronousTestCase):
    """The seam."""

    def test_all_are_dialogues(self) -> None:
        """
        Every one has the shape; mypy looks at it more closely than we can.
        """
        session = StreamableHTTP.make("http://h/", {}, HTTPLimits(), lambda: 0.0)
        sse = HTTPSSE.make("http://h/", {}, HTTPLimits())
        rules, spoken = ModernHTTP(session), Spoken("2026-07-28", "a")
        dialogues: list[Dialogue] = [
            RequestDialogue(session, Request(1, "a")),
            NoticeDialogue(session, Notification("a")),
            FarewellDialogue(session),
            StreamDialogue(session),
            EventsDialogue(sse),
            PostDialogue(sse, Request(1, "a")),
            ModernRequestDialogue(rules, Request(1, "a"), spoken),
            ModernNoticeDialogue(rules, Notification("a"), spoken),
        ]

        ids = [dialogue.request_id for dialogue in dialogues]
        self.assertEqual([1, None, None, None, None, 1, 1, None], ids)
        self.assertEqual([False] * 8, [dialogue.settled for dialogue in dialogues])

    def test_bare(self) -> None:
        """
        What is not asked for ends it.
        """
        bare = BareDialogue()
        bare.retry_received(5)

        self.assertEqual(
            (Finish(), Finish(), (), Finish()),
            (bare.proceed(), bare.body_received(b""), bare.event_received("", b""), bare.ended(0, "")),
        )
