"""
Tests for L{mcpbridge.core.notices}.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.conversations import Phase
from mcpbridge.core.effects import BridgeEffect, ConversationId, Note
from mcpbridge.core.events import Event, Notified, RootsChanged
from mcpbridge.core.notices import Notices


@attrs.define(eq=False)
class FakeConversations:
    """
    One conversation.

    @ivar said: in which, and what.
    """

    phase: Phase = Phase.CONNECTING
    current: ConversationId = 3
    said: list[tuple[ConversationId, Event]] = attrs.Factory(list)

    def say(self, conversation: ConversationId, event: Event) -> None:
        self.said.append((conversation, event))


class NoticesTests(SynchronousTestCase):
    """What wants no answer."""

    def setUp(self) -> None:
        self.server = FakeConversations()
        self.done: list[BridgeEffect] = []
        server: Any = self.server
        self.notices = Notices(server, self.done.append)

    def test_at_once(self) -> None:
        """A server that is up is told."""
        self.server.phase = Phase.READY

        self.notices.notify(1, Notified(None, "x/y", None))
        self.notices.notify(1, RootsChanged())

        self.assertEqual([(3, Notified(None, "x/y", None)), (3, RootsChanged())], self.server.said)
        self.assertEqual((0, []), (len(self.notices), self.done))

    def test_held(self) -> None:
        """One that is not is told later, once and in order; that roots have changed it need not know."""
        for number in range(3):
            self.notices.notify(1, Notified(None, f"x/{number}", None))
        self.notices.notify(1, RootsChanged())
        held = len(self.notices)

        self.notices.flush(4)
        self.notices.flush(5)

        self.assertEqual([(4, Notified(None, f"x/{number}", None)) for number in range(3)], self.server.said)
        self.assertEqual((3, 0), (held, len(self.notices)))

    def test_in_vain(self) -> None:
        """Of a client that is gone, and for a server that does not come, nothing is kept."""
        for session in (1, 2, 1):
            self.notices.notify(session, Notified(None, f"x/{session}", None))
        self.notices.detach(1)
        left = len(self.notices)
        self.notices.clear()

        self.notices.flush(4)

        self.assertEqual((1, []), (left, self.server.said))

    def test_too_many(self) -> None:
        """What is too much is dropped, which is noted."""
        for number in range(66):
            self.notices.notify(1, Notified(None, f"x/{number}", None))

        self.assertEqual(64, len(self.notices))
        self.assertEqual(
            [Note(f"x/{number} was dropped: 64 notifications wait for the server") for number in (64, 65)], self.done
        )
