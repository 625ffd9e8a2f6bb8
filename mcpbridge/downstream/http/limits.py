"""
How much of its clients the endpoint puts up with.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class EndpointLimits:
    """
    Bytes, seconds and numbers. What comes on top is refused, with HTTP 413 or 429 and a reason.

    @ivar body: bytes of one request body, as of one line of a relay.
    @ivar head: bytes of one request head; arguments that are repeated in headers need more than the usual 16 KiB.
    @ivar fields: header fields in it.
    @ivar head_deadline: seconds for a head to be complete, however steadily it drips.
    @ivar body_deadline: seconds for the body after it. 16 MiB at 2 Mbit/s take 64.
    @ivar idle: seconds without a byte after which a connection that serves no request is closed.
    @ivar linger: seconds for which the rest of a refused body is read, so that the refusal is not lost with it.
    @ivar connections: that are open at once.
    @ivar sessions: of the session era, and clients of the other, at once; each.
    @ivar session_idle: seconds until a session ends in which there is neither a stream nor a request.
    @ivar session_unused: the same for one in which nothing was said after C{initialize}: its client may never have read
        the answer.
    @ivar evictable: seconds after which such a session gives way to a new one when there are too many.
    @ivar client_idle: the same for a client of the stateless era: above the 15 minutes that a call waits for input.
    @ivar requests: of one client, open at once.
    @ivar streams: of one session, open at once, that belong to no request.
    @ivar waiting: messages of a client that wait while nobody reads from it.
    @ivar orphan: seconds for which a request goes on whose client has lost the connection (session era).
    @ivar silence: seconds after which a response is begun as a stream, so that comments can keep it alive.
    @ivar stall: seconds after which a client that does not read what is sent to it is cut off.
    @ivar queue: bytes that wait for such a client, on one stream.
    """

    body: int = 16 * 1024 * 1024
    head: int = 64 * 1024
    fields: int = 200
    head_deadline: float = 10.0
    body_deadline: float = 120.0
    idle: float = 120.0
    linger: float = 2.0
    connections: int = 1024
    sessions: int = 512
    session_idle: float = 600.0
    session_unused: float = 60.0
    evictable: float = 60.0
    client_idle: float = 1200.0
    requests: int = 128
    streams: int = 8
    waiting: int = 64
    orphan: float = 300.0
    silence: float = 15.0
    stall: float = 60.0
    queue: int = 4 * 1024 * 1024
