"""
Tests of L{mcpbridge.net.addresses}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.net.addresses import AddressRule, is_literal

_PUBLIC = ("93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822", "2002:5db8:d822::1")
_LOOPBACK = ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::")
_PRIVATE = ("10.0.0.1", "172.16.0.1", "192.168.1.1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::")
_NEVER = (
    "169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "100.64.0.1",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "240.0.0.1",
    "255.255.255.255",
    "198.18.0.1",
    "64:ff9b:1::7f00:1",
    "::127.0.0.1",
    "::ffff:0:10.0.0.1",
    "fec0::1",
    "nonsense",
    "",
)


class RuleTests(SynchronousTestCase):
    """Where we let ourselves be sent."""

    def _permitted(self, upstream: str, host: str = "auth.example.com") -> set[str]:
        rule = AddressRule(upstream)
        return {address for address in (*_PUBLIC, *_LOOPBACK, *_PRIVATE, *_NEVER) if rule.permits(host, address)}

    def test_public_upstream(self) -> None:
        """Public addresses only, whatever they are wrapped in."""
        self.assertEqual(set(_PUBLIC), self._permitted("https://mcp.example.com/mcp"))

    def test_loopback_upstream(self) -> None:
        """Loopback for loopback, and nothing else that is not public."""
        for upstream in ("http://127.0.0.1:8080/mcp", "http://localhost/", "http://[::1]/"):
            self.assertEqual({*_PUBLIC, *_LOOPBACK}, self._permitted(upstream))

    def test_private_upstream(self) -> None:
        """Private for private, if it was configured as such an address; a name could resolve to anything."""
        found = self._permitted("https://192.168.1.7/mcp")

        self.assertEqual(set(_PUBLIC), found & {*_PUBLIC, *_LOOPBACK, "169.254.169.254", "0.0.0.0"})
        self.assertLessEqual(set(_PRIVATE), found)
        self.assertEqual(set(_PUBLIC), self._permitted("https://intranet.example/mcp"))

    def test_own_host(self) -> None:
        """The upstream's own host is where its user says it is."""
        rule = AddressRule("https://mcp.corp.example/mcp")

        self.assertTrue(rule.permits("MCP.corp.example.", "10.0.0.1"))
        self.assertFalse(rule.permits("idp.corp.example", "10.0.0.1"))

    def test_trusted_hosts(self) -> None:
        """Hosts that the user lists may be anywhere."""
        rule = AddressRule("https://mcp.corp.example/mcp", frozenset({"idp.corp.example"}))

        self.assertTrue(rule.permits("idp.corp.example", "10.0.0.1"))
        self.assertFalse(rule.permits("x.idp.corp.example", "10.0.0.1"))

    @settings(max_examples=200, derandomize=True)
    @given(st.ip_addresses())
    def test_never_internal(self, address: object) -> None:
        """No address that is not global by the registries is ever permitted for a public upstream."""
        if AddressRule("https://mcp.example.com").permits("x.example", str(address)):
            self.assertTrue(address.is_global or str(address).startswith(("64:ff9b:", "2002:")), address)  # type: ignore[attr-defined]  # both kinds have it

    def test_literal(self) -> None:
        """An address is not a name."""
        self.assertEqual([True, True, False], [is_literal(host) for host in ("10.0.0.1", "::1", "ten.example")])
