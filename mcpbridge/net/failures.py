"""
What can go wrong between us and an HTTP server, by name.
"""

from __future__ import annotations


class HTTPFailure(Exception):
    """The root of what this package raises. The text is for a human, and free of secrets."""


class NotConnected(HTTPFailure):
    """No connection came about, so the server has seen nothing of the request."""

    def __init__(self, text: str, *, refused: bool = False) -> None:
        """@param refused: whether nothing listens there; something may soon."""
        super().__init__(text)
        self.refused = refused


class HeadRefused(HTTPFailure):
    """The response began with something that is refused: too large, or a protocol that nobody asked for."""


class CodingRefused(HTTPFailure):
    """The body was compressed in a way that is refused: unknown, broken, or grown out of all proportion."""


class BodyTooLarge(HTTPFailure):
    """The body is larger than agreed."""

    def __init__(self, limit: int) -> None:
        """@param limit: in bytes."""
        super().__init__(f"the body is larger than {limit} bytes")
        self.limit = limit


class BodyTimeout(HTTPFailure):
    """The body did not arrive in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the body did not arrive within {seconds:g} s")
