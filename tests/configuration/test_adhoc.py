"""Tests of L{mcpbridge.configuration.adhoc}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.adhoc import ad_hoc
from mcpbridge.configuration.facts import HTTPUpstream, Settings
from mcpbridge.core.errors import ConfigurationError


class AdHocTests(SynchronousTestCase):
    """L{ad_hoc}."""

    def test_url(self) -> None:
        """A URL becomes a server that is named like it, found out by asking, with the settings given."""
        settings = Settings(snapshot=False)

        upstream = ad_hoc("https://Host/mcp", settings)

        self.assertEqual(HTTPUpstream("https://host/mcp", "https://host/mcp", "auto", {}, settings), upstream)

    def test_query(self) -> None:
        """A query is sent, and kept out of the name, but still tells two servers apart."""
        one, other = ad_hoc("https://host/mcp?key=s3cret"), ad_hoc("https://host/mcp?key=other")

        self.assertEqual("https://host/mcp?key=s3cret", one.url)
        self.assertNotIn("s3cret", repr(one))
        self.assertNotEqual(one.name, other.name)

    def test_refused(self) -> None:
        """What is no URL of a server is refused in one line that does not show it."""
        for url in ("file:///s3cret", "https://s3cret@host/", "https://s3cret\nhost", "command s3cret"):
            error = self.assertRaises(ConfigurationError, ad_hoc, url)

            self.assertTrue(str(error).startswith("this URL "))
            self.assertNotIn("s3cret", str(error))
