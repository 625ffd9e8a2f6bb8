"""
Tests for L{mcpbridge.downstream.http.address}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.downstream.http.address import Address, address, names


class AddressTests(SynchronousTestCase):
    """HOST:PORT."""

    def test_good(self) -> None:
        """IP addresses, localhost, and ports alone."""
        both = ("127.0.0.1", "::1")
        table = {
            "127.0.0.1:8808": Address(("127.0.0.1",), 8808, True),
            "[::1]:0": Address(("::1",), 0, True),
            "localhost:1": Address(both, 1, True),
            "LocalHost:1": Address(both, 1, True),
            "8808": Address(both, 8808, True),
            ":8808": Address(both, 8808, True),
            "0.0.0.0:80": Address(("0.0.0.0",), 80, False),
            "[::]:80": Address(("::",), 80, False),
            " 127.1.2.3:80\n": Address(("127.1.2.3",), 80, True),
        }

        self.assertEqual(table, {text: address(text) for text in table})
        self.assertEqual(["127.0.0.1", "[::1]"], [address(text).host for text in ("127.0.0.1:1", "[::1]:1")])

    def test_bad(self) -> None:
        """All else says what to write."""
        for text in (
            "",
            "x",
            "127.0.0.1",
            "127.0.0.1:99999",
            "::1:80",
            "[127.0.0.1]:80",
            "example.com:80",
            "a b:1",
            "1:2:3",
        ):
            self.assertRaises(ConfigurationError, address, text)

    def test_names(self) -> None:
        """Names and ports, separated by commas."""
        self.assertEqual(("mcp.example.com", "b:8808", "[::1]:1"), names(" MCP.example.com,b:8808,, [::1]:1"))
        for text in ("a b", "http://a", "a/b", "a:b"):
            self.assertRaises(ConfigurationError, names, text)
