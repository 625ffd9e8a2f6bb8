"""
Tests for L{mcpbridge.core.capabilities}.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.capabilities import (
    announces_changes,
    client_capabilities_for,
    declared,
    profile,
    server_opening_for,
    with_list_changed,
)


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


VERSIONS = ("2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")


class ClientCapabilitiesTests(SynchronousTestCase):
    """What a server is told that a client can do."""

    def told(self, capabilities: object) -> list[object]:
        """By revision, newest first."""
        given = jsonrpc.value(capabilities)
        return [jsonrpc.read(client_capabilities_for(version, given)) for version in VERSIONS]

    def test_roots(self) -> None:
        """In the stateless era nobody tells of changed roots."""
        before: Any = {"roots": {"listChanged": True, "x": 1}}

        self.assertEqual([{"roots": {"x": 1}}, before, before, before, before], self.told(before))

    def test_sampling(self) -> None:
        """Tools and context came with 2025-11-25."""
        before: Any = {"sampling": {"tools": {}, "context": {}, "x": {}}}
        after: Any = {"sampling": {"x": {}}}

        self.assertEqual([before, before, after, after, after], self.told(before))

    def test_elicitation(self) -> None:
        """It came with 2025-06-18, as forms only; nothing said means forms."""
        forms: list[tuple[object, list[object]]] = [
            ({}, [{"form": {}}, {}, {}]),
            ({"form": {}}, [{"form": {}}, {"form": {}}, {}]),
            ({"url": {}, "form": {"a": 1}}, [{"url": {}, "form": {"a": 1}}, {"url": {}, "form": {"a": 1}}, {}]),
            ({"x": {}}, [{"form": {}, "x": {}}, {"x": {}}, {"x": {}}]),
        ]

        for before, after in forms:
            self.assertEqual([*({"elicitation": one} for one in after), {}, {}], self.told({"elicitation": before}))

    def test_elicitation_by_url_only(self) -> None:
        """Whoever knows no URLs cannot ask such a client anything."""
        before: Any = {"elicitation": {"url": {}}}

        self.assertEqual([before, before, {}, {}, {}], self.told(before))

    def test_tasks(self) -> None:
        """Only 2025-11-25 has such tasks."""
        before: Any = {"tasks": {"list": {}}}

        self.assertEqual([{}, before, {}, {}, {}], self.told(before))

    def test_untouched(self) -> None:
        """Everything else, known or not, is told to everybody as it came."""
        for text in (
            b'{"experimental":{ },"extensions":{"a/b":{}},"x":[ 1e400 ],"roots":{}}',
            b"{}",
            b'{"sampling":true}',
            b"[]",
        ):
            given = Raw(text)
            self.assertTrue(all(client_capabilities_for(version, given) is given for version in VERSIONS))

    def test_twice(self) -> None:
        """What has been taken away is not there to be taken away."""
        given = jsonrpc.value(
            {"elicitation": {"url": {}}, "sampling": {"tools": {}}, "roots": {"listChanged": True}, "tasks": {}}
        )

        for version in VERSIONS:
            once = client_capabilities_for(version, given)
            self.assertIs(once, client_capabilities_for(version, once))

    def test_on_the_way(self) -> None:
        """A client of the stateless era is told of to a server of the session era in the same way as by itself."""
        elicitations: list[Any] = [{}, {"form": {}}, {"form": {}, "url": {}}, {"url": {}}]
        for elicitation in elicitations:
            given = jsonrpc.value({"elicitation": elicitation})
            neutral = client_capabilities_for("2026-07-28", given)

            self.assertEqual(
                client_capabilities_for("2025-06-18", given), client_capabilities_for("2025-06-18", neutral)
            )


class ServerOpeningTests(SynchronousTestCase):
    """What a client is told of a server."""

    def test_tasks(self) -> None:
        """Only 2025-11-25 has such tasks."""
        opening = Raw(b'{"protocolVersion":"2025-11-25","capabilities":{"tasks":{},"tools":{ }},"x": 1e400}')

        with_tasks = [b'"tasks"' in bytes(server_opening_for(version, opening)) for version in VERSIONS]

        self.assertEqual([False, True, False, False, False], with_tasks)
        self.assertEqual(
            Raw(b'{"protocolVersion":"2025-11-25","capabilities":{"tools":{ }},"x":1e400}'),
            server_opening_for("2025-06-18", opening),
        )

    def test_completions(self) -> None:
        """Servers of the first revision could not say that they complete; where there is something to, they may."""
        for subject in ("prompts", "resources"):
            opening = jsonrpc.value({"protocolVersion": "2024-11-05", "capabilities": {subject: {}}})
            expected = {"protocolVersion": "2024-11-05", "capabilities": {subject: {}, "completions": {}}}

            for version in VERSIONS[:4]:
                self.assertEqual(expected, jsonrpc.read(server_opening_for(version, opening)))
            self.assertIs(opening, server_opening_for("2024-11-05", opening))

    def test_no_completions(self) -> None:
        """Servers that could have said it did not, and where nothing is to be completed nobody completes."""
        for text in (
            b'{"protocolVersion":"2025-03-26","capabilities":{"prompts":{}}}',
            b'{"protocolVersion":"2024-11-05","capabilities":{"tools":{}}}',
            b'{"protocolVersion":"2024-11-05","capabilities":{"prompts":{},"completions":{"x":1}}}',
            b'{"capabilities":{"prompts":{}}}',
            b'{"protocolVersion":"2024-11-05"}',
            b'{"capabilities":[]}',
        ):
            opening = Raw(text)
            self.assertTrue(all(server_opening_for(version, opening) is opening for version in VERSIONS))
