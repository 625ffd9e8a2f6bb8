"""
What can go wrong with an event stream, by name.

Nothing here is raised for odd bytes: by the standard every byte sequence is an event stream. Errors are for limits,
times and HTTP.
"""

from __future__ import annotations

from txsse._events import Event, Retry


class SSEError(Exception):
    """The root of every error this package names."""


class EventTooLarge(SSEError):
    """
    The peer sent more than we agreed to keep in memory. The stream cannot be resynchronised and has to be dropped.

    @ivar completed: what the same chunk had completed before the breach, in order.
    """

    def __init__(self, what: str, limit: int) -> None:
        """
        @param what: the part that grew too large, for instance C{"an event"}.
        @param limit: in bytes.
        """
        super().__init__(f"{what} is larger than {limit} bytes")
        self.limit = limit
        self.completed: list[Event | Retry] = []


class IdleTimeout(SSEError):
    """Not a single byte arrived for as long as we were willing to wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"nothing received for {seconds:g} s")
        self.seconds = seconds


class ConnectTimeout(SSEError):
    """No response head arrived in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no response within {seconds:g} s")
        self.seconds = seconds


class UnexpectedResponse(SSEError):
    """
    The response is not an event stream.

    @ivar code: the HTTP status code.
    @ivar content_type: the value of the Content-Type header as it came, or C{""}.
    """

    def __init__(self, code: int, content_type: str) -> None:
        super().__init__(f"wanted 200 text/event-stream, got {code} {content_type or 'without a content type'}")
        self.code = code
        self.content_type = content_type


class StreamOverflow(SSEError):
    """The reader at the far end is too slow: what waits for it would pass the bound. Nothing was queued."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes would wait for a slow reader")
        self.limit = limit
