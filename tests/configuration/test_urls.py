"""Tests of L{mcpbridge.configuration.urls}."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.urls import checked_url, looks_like_url


class CheckedURLTests(SynchronousTestCase):
    """L{checked_url}."""

    def test_one_spelling(self) -> None:
        """What is allowed comes out in ASCII and in one spelling."""
        table = {
            "https://mcp.linear.app/mcp": "https://mcp.linear.app/mcp",
            "HTTPS://MCP.Linear.App": "https://mcp.linear.app/",
            "http://127.0.0.1:3001/sse?a=b&c[]=%2F": "http://127.0.0.1:3001/sse?a=b&c[]=%2F",
            "http://[::1]:80/": "http://[::1]:80/",
            "http://[FE80::1]/x": "http://[fe80::1]/x",
            "https://bücher.example/ä?ö=é": "https://xn--bcher-kva.example/%C3%A4?%C3%B6=%C3%A9",
            "http://x:/mcp": "http://x/mcp",
            "http://my_host.local/a%20b": "http://my_host.local/a%20b",
        }

        self.assertEqual(table, {url: checked_url(url) for url in table})

    def test_refused(self) -> None:
        """Each thing that is not allowed has its own sentence, which shows nothing of the URL."""
        table = {
            "ftp://host/": "must begin with https:// or http://",
            "javascript:alert(1)": "must begin with https:// or http://",
            "file:///etc/passwd": "must begin with https:// or http://",
            "host/mcp": "must begin with https:// or http://",
            "": "must begin with https:// or http://",
            "https://": "has no host",
            "https:///mcp": "has no host",
            "https://:80/": "has no host",
            "https://user@host/": 'holds a user name or a password; send them in "headers" as Authorization',
            "https://user:pw@host/": 'holds a user name or a password; send them in "headers" as Authorization',
            "https://host/#top": "has a fragment (#...), which is never sent to a server; leave it out",
            "https://host/#": "has a fragment (#...), which is never sent to a server; leave it out",
            "https://host/a b": "holds white space, a control character or a backslash",
            "https://host/\r\nX: y": "holds white space, a control character or a backslash",
            "https://host\\@evil/": "holds white space, a control character or a backslash",
            "https://host/\x00": "holds white space, a control character or a backslash",
            "https://host:99999/": "has a host or a port that cannot be read",
            "https://host:x/": "has a host or a port that cannot be read",
            "https://[::1/": "has a host or a port that cannot be read",
            "https://ho;st/": "has a host that is no name",
            "https://%00/": "has a host that is no name",
            "https://" + "a" * 9000: "is longer than 8192 characters",
        }

        self.assertEqual(table, {url: str(self.assertRaises(ValueError, checked_url, url)) for url in table})

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(
        st.text(st.sampled_from("htps:/@#?[]%.\\ -ä\u0130xn1"), max_size=20),
        st.sampled_from(["", "http://", "https://h"]),
    )
    def test_any_text(self, text: str, start: str) -> None:
        """Whatever comes in, what comes out is ASCII and stays what it is; or it is a L{ValueError}."""
        try:
            url = checked_url(start + text)
        except ValueError:
            return

        self.assertEqual((True, url), (url.isascii(), checked_url(url)))


class LooksLikeURLTests(SynchronousTestCase):
    """L{looks_like_url}."""

    def test_names_and_urls(self) -> None:
        """The scheme's end makes the difference."""
        self.assertEqual([False, False, True, True], [*map(looks_like_url, ("linear", "a:b", "https://x", "ftp://x"))])
