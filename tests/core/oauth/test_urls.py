"""
Tests of L{mcpbridge.core.oauth.urls}.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.errors import UntrustedURL
from mcpbridge.core.oauth.urls import URLPolicy, is_loopback, origin, same_origin, shown

_remote = URLPolicy("https://mcp.example.com/mcp")
_local = URLPolicy("http://127.0.0.1:8080/mcp")
_plain = URLPolicy("http://mcp.lan:8080/mcp")


class PolicyTests(SynchronousTestCase):
    """What is let through."""

    def test_accepted(self) -> None:
        """It comes out in one spelling."""
        table = {
            "https://auth.example.com/a": "https://auth.example.com/a",
            "HTTPS://Auth.Example.COM/A?b=c%20d": "https://auth.example.com/A?b=c%20d",
            "https://auth.example.com:8443": "https://auth.example.com:8443",
            "https://[2001:db8::1]/x": "https://[2001:db8::1]/x",
            "https://a.example/x'$(id)`|<>": "https://a.example/x'$(id)%60%7C%3C%3E",
        }

        self.assertEqual(list(table.values()), [_remote.endpoint(url) for url in table])

    def test_refused(self) -> None:
        """All that is no https URL of a plain host."""
        for url in (
            "http://auth.example.com/",
            "http://127.0.0.1/",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "data:text/html,x",
            "ssh://-oProxyCommand=id/x",
            "https://user@host/",
            "https://user:pw@host/",
            "https://a.example/#x",
            "https://a.example/\r\nX: y",
            "https://a.example/ x",
            "https://a.example\\@b.example/",
            "https://\u00e4.example/",
            "https:///x",
            "https://-x.example/",
            "https://a.example:x/",
            "https://a.example:99999/",
            "https://$(id)/",
            "--help",
            "",
            None,
            7,
            ["https://a.example"],
            "https://a.example/" + "x" * 9000,
        ):
            self.assertRaises(UntrustedURL, _remote.endpoint, url)

    def test_loopback(self) -> None:
        """Without TLS on loopback only, and only for an upstream there."""
        for url in ("http://localhost:9/x", "http://127.0.0.1:9/x", "http://[::1]:9/x"):
            self.assertEqual(url, _local.endpoint(url))
            self.assertRaises(UntrustedURL, _remote.endpoint, url)
        self.assertRaises(UntrustedURL, _local.endpoint, "http://192.168.1.1/")

    def test_document(self) -> None:
        """A plain upstream may publish its metadata where it is; its authorization server has to be better."""
        self.assertEqual("http://mcp.lan:8080/x", _plain.document("http://mcp.lan:8080/x"))
        self.assertRaises(UntrustedURL, _plain.endpoint, "http://mcp.lan:8080/x")
        self.assertRaises(UntrustedURL, _plain.document, "http://mcp.lan:8081/x")

    @settings(max_examples=300, derandomize=True)
    @given(st.text(max_size=40) | st.text(max_size=30).map(lambda text: f"https://{text}"))
    def test_anything(self, url: str) -> None:
        """Whatever comes in: out comes a URL that is read the same by everybody, or an error."""
        try:
            found = _remote.endpoint(url)
        except UntrustedURL:
            return
        parts = urlsplit(found)
        self.assertEqual(("https", None, ""), (parts.scheme, parts.username, parts.fragment))
        self.assertTrue(found.isascii() and found.isprintable() and " " not in found)
        self.assertEqual(found, _remote.endpoint(found))


class OriginTests(SynchronousTestCase):
    """What is the same place."""

    def test_origin(self) -> None:
        """Default ports and the case of a host make no difference."""
        self.assertEqual("https://a.example", origin("https://A.example:443/x"))
        self.assertTrue(same_origin("http://a:80/x", "http://A/y"))
        self.assertFalse(same_origin("http://a/", "https://a/"))
        self.assertFalse(same_origin("https://a/", "nonsense"))

    def test_loopback(self) -> None:
        """By name and by address."""
        for url in ("http://localhost/", "http://x.localhost/", "http://127.9.9.9/", "http://[::1]/"):
            self.assertTrue(is_loopback(url), url)
        for url in ("http://localhost.example/", "http://10.0.0.1/", "http://127.0.0.1.example/", "http://[x/"):
            self.assertFalse(is_loopback(url), url)

    def test_shown(self) -> None:
        """A query may be secret."""
        self.assertEqual("https://a.example/x", shown("https://a.example/x?token=1"))
