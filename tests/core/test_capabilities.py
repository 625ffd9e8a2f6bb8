"""
Tests for L{mcpbridge.core.capabilities}.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.capabilities import announces_changes, declared, profile, with_list_changed


class ListChangedTests(SynchronousTestCase):
    """What a client that is served from memory is shown."""

    def test_each_list_that_there_is(self) -> None:
        """It may change; what the server has not is not invented, and the rest stays as it came."""
        opening = Raw(
            b'{"x":[ 1e400 ],"capabilities":{"tools":{},"prompts":{"listChanged":false,"y": 1},'
            b'"logging":{ }},"serverInfo":{"name": "s"}}'
        )

        expected = Raw(
            b'{"x":[ 1e400 ],"capabilities":{"tools":{"listChanged":true},"prompts":{"listChanged":true,"y":1},'
            b'"logging":{ }},"serverInfo":{"name": "s"}}'
        )
        self.assertEqual(expected, with_list_changed(opening))

    def test_odd_ones(self) -> None:
        """Servers say many things; a value that is no object is taken as an empty one."""
        table = {
            b'{"capabilities":{"tools":true}}': b'{"capabilities":{"tools":{"listChanged":true}}}',
            b'{"capabilities":[]}': b'{"capabilities":{}}',
            b"{}": b'{"capabilities":{}}',
        }

        found = {opening: bytes(with_list_changed(Raw(opening))) for opening in table}

        self.assertEqual(table, found)


class DeclaredTests(SynchronousTestCase):
    """What is in an opening."""

    def test_declared(self) -> None:
        """The capabilities by name."""
        self.assertEqual({"tools": Raw(b"{ }")}, declared({"capabilities": Raw(b'{"tools":{ }}')}))
        self.assertEqual([{}, {}], [declared({}), declared({"capabilities": Raw(b"7")})])

    def test_announces_changes(self) -> None:
        """Only a plain true counts."""
        table = {b'{"listChanged":true}': True, b'{"listChanged":1}': False, b"{}": False, b"null": False}

        found = {one: announces_changes({"tools": Raw(one)}, "tools") for one in table}

        self.assertEqual(table, found)
        self.assertFalse(announces_changes({}, "tools"))


class ProfileTests(SynchronousTestCase):
    """Which clients look the same to a server."""

    def test_same(self) -> None:
        """Their names and the layout of what they say make no difference."""
        one = {"capabilities": Raw(b'{"a":{},"b":[1, 2]}'), "clientInfo": Raw(b'{"name":"x"}')}
        other = {"capabilities": Raw(b'{ "b":[1,2], "a": {} }')}

        self.assertEqual(profile("v", one), profile("v", other))
        self.assertEqual(profile("v", {}), profile("v", {"capabilities": Raw(b"{}")}))

    def test_different(self) -> None:
        """Their revision and what they can do does."""
        ones = [
            profile("v", {}),
            profile("w", {}),
            profile("v", {"capabilities": Raw(b'{"roots":{}}')}),
            profile("v", {"capabilities": Raw(b'{"roots":{"listChanged":true}}')}),
            profile("v", {"capabilities": Raw(b'{"roots":{"listChanged":false}}')}),
        ]

        self.assertEqual(5, len(set(ones)))

    def test_anything(self) -> None:
        """Any JSON may be declared."""
        for odd in (b"[]", b"null", b'{"a":' + b"1" * 5000 + b"}", b'{"a":1e400}', b'{"\\ud800":"\\udfff"}'):
            self.assertEqual(32, len(profile("v", {"capabilities": Raw(odd)})))
