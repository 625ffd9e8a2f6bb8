"""
Tests for L{mcpbridge.downstream.http.channel}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.downstream.http.limits import EndpointLimits
from tests.downstream.http.world import HOST, Connection, World

HEAD = f"POST /mcp/demo HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n".encode()


class DeadlineTests(SynchronousTestCase):
    """How long a connection may take."""

    def setUp(self) -> None:
        """A client connects."""
        self.world = World(limits=EndpointLimits(head_deadline=10.0, body_deadline=30.0))
        self.connection = Connection(self.world)
        self.addCleanup(self.connection.leave)

    def is_closed_after(self, seconds: float, drip: bytes = b"") -> bool:
        """Whether it is, with a byte in each tenth of a second if there are any."""
        for _ in range(round(seconds * 10)):
            self.connection.write(drip)
            self.world.clock.advance(0.1)
        return self.connection.wire.closed

    def test_silent(self) -> None:
        """One that says nothing takes no place for long."""
        self.assertEqual((False, True), (self.is_closed_after(9.9), self.is_closed_after(0.2)))
        self.assertEqual(0, len(self.world.factory.channels))

    def test_dripping(self) -> None:
        """Nor does one that says a little all the time."""
        self.connection.write(HEAD + b"X-Long: ")

        self.assertEqual((False, True), (self.is_closed_after(9.8, b"x"), self.is_closed_after(0.3, b"x")))

    def test_body(self) -> None:
        """A body has a deadline of its own."""
        self.connection.write(HEAD + b"Content-Length: 1000\r\n\r\n")

        self.assertEqual((False, True), (self.is_closed_after(29.8, b" "), self.is_closed_after(0.3, b" ")))
