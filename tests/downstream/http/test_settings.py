"""
Tests for L{mcpbridge.downstream.http.settings}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.downstream.http.address import Address
from mcpbridge.downstream.http.settings import EndpointSettings, endpoint_settings


class SettingsTests(SynchronousTestCase):
    """The options together."""

    def test_off(self) -> None:
        """Without an address there is no endpoint."""
        self.assertIsNone(endpoint_settings(None, "token"))
        self.assertIsNone(endpoint_settings("", "none", "x"))

    def test_on(self) -> None:
        """With one there is, by default with a token."""
        where = Address(("127.0.0.1",), 1, True)

        self.assertEqual(EndpointSettings(where, (), True), endpoint_settings("127.0.0.1:1", "token"))
        self.assertEqual(EndpointSettings(where, ("a",), False), endpoint_settings("127.0.0.1:1", "none", "a"))

    def test_unsafe(self) -> None:
        """Nobody opens it to everybody by accident."""
        self.assertIsNotNone(endpoint_settings("0.0.0.0:1", "token"))
        for http, authentication in (("0.0.0.0:1", "none"), ("[::]:1", "none"), ("127.0.0.1:1", "nonee"), (None, "")):
            self.assertRaises(ConfigurationError, endpoint_settings, http, authentication)
