"""
Notifications of clients, on their way to a server that may have to come up first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from mcpbridge.core.conversations import Conversations, Phase
from mcpbridge.core.effects import BridgeEffect, ConversationId, Note, SessionId
from mcpbridge.core.events import Notified, RootsChanged

#: Those that wait for a server to come up.
_MAX_HELD: Final = 64


@attrs.define(eq=False)
class Notices:
    """Those that wait; others are passed on at once."""

    _conversations: Conversations
    _do: Callable[[BridgeEffect], None]
    _held: list[tuple[SessionId, Notified]] = attrs.Factory(list)

    def __len__(self) -> int:
        return len(self._held)

    def notify(self, session: SessionId, event: Notified | RootsChanged) -> None:
        """A client says something that wants no answer. Its roots it says anew when it is asked."""
        if self._conversations.phase is Phase.READY:
            self._conversations.say(self._conversations.current, event)
        elif isinstance(event, Notified) and len(self._held) < _MAX_HELD:
            self._held.append((session, event))
        elif isinstance(event, Notified):
            self._do(Note(f"{event.method} was dropped: {_MAX_HELD} notifications wait for the server"))

    def flush(self, conversation: ConversationId) -> None:
        """The server is there."""
        held, self._held = self._held, []
        for _, event in held:
            self._conversations.say(conversation, event)

    def detach(self, session: SessionId) -> None:
        """The client is gone."""
        self._held = [held for held in self._held if held[0] != session]

    def clear(self) -> None:
        """The server will not come."""
        self._held.clear()
