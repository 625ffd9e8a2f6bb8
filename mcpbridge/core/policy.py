"""
What an operator decides about one server, as far as the bridge obeys it.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Policy:
    """
    The settings of one server that the bridge obeys. Times in seconds.

    @ivar exclusive: at most one client at a time.
    @ivar snapshot: answer openings and lists from memory.
    @ivar call_timeout: for requests that act.
    @ivar read_timeout: for requests that only read.
    @ivar opening_deadline: how long a client's opening may wait for the server.
    @ivar unreachable_deadline: how long a request waits for a server that cannot be reached.
    @ivar max_open: exchanges under way at once.
    @ivar has_pulse: a server that hangs is ended (L{mcpbridge.core.pulse}).
    """

    exclusive: bool = True
    snapshot: bool = True
    call_timeout: float = 3600.0
    read_timeout: float = 60.0
    opening_deadline: float = 25.0
    unreachable_deadline: float = 5.0
    max_open: int = 1024
    has_pulse: bool = False
