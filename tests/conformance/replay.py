"""
What a server of the session era keeps of its streams, so that a client may come back to one.
"""

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCMessage


class Kept(EventStore):
    """Everything that was ever sent, in memory: a run is short."""

    def __init__(self) -> None:
        self._events: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        if not last_event_id.isdigit() or not 0 < int(last_event_id) <= len(self._events):
            return None
        at = int(last_event_id)
        stream = self._events[at - 1][0]
        for number, (found, message) in enumerate(self._events[at:], at + 1):
            if found == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream
