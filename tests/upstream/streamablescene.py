"""
A Streamable HTTP transport, its owner, and the network that it talks to.
"""

from __future__ import annotations

from typing import Any

import attrs
from msgspec import Raw

from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Notification, Request
from mcpbridge.upstream.streamable_http import StreamableHTTPTransport
from tests.upstream.httpworld import Wire, World
from tests.upstream.recordinglink import RecordingLink

INITIALIZE = Request(0, "initialize", Raw(b'{"protocolVersion":"2025-11-25"}'))
INITIALIZED = Notification("notifications/initialized")
INITIALIZE_RESULT = b'{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25"}}'
CALL = Request(1, "tools/call", Raw(b'{"name":"x"}'))
RESULT = b'{"jsonrpc":"2.0","id":1,"result":{}}'
CUT = Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "the answer was cut off before it was complete")
LOST = Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "the connection was lost before the answer was complete")


def event(data: bytes, event_id: str = "") -> bytes:
    """One event."""
    return (f"id: {event_id}\n".encode() if event_id else b"") + b"data: " + data + b"\n\n"


@attrs.define(eq=False)
class Scene:
    """A transport, the server that it talks to, and the link that it tells."""

    limits: HTTPLimits = attrs.field(factory=HTTPLimits)
    world: World = attrs.field(factory=World)
    link: RecordingLink = attrs.field(factory=RecordingLink)
    transport: StreamableHTTPTransport = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.transport = StreamableHTTPTransport(
            self.world.clock,
            self.world.client,
            "http://server/mcp",
            {"Authorization": "Bearer s3cret-token"},
            limits=self.limits,
            random=lambda: 0.0,
        )
        self.transport.connect(self.link)

    def send(self, *messages: Any) -> None:
        """The owner sends."""
        for message in messages:
            self.transport.send(message)

    def asks(self, message: Request = CALL) -> Wire:
        """The owner sends a request; the wire that it came on."""
        self.transport.send(message)
        return self.world.take()[1]

    def opened(self, *, stream: int = 405) -> Scene:
        """The handshake was made; the server has a session, and answers this status to the shared stream."""
        self.asks(INITIALIZE).json(INITIALIZE_RESULT, Mcp_Session_Id="s1")
        self.send(INITIALIZED)
        self.world.take()[1].answers(202)
        asked, wire = self.world.take()
        assert asked.method == "GET"
        if stream == 405:
            wire.answers(405)
        self.link.take()
        return self
