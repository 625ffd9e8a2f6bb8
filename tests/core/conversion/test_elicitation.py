"""
Tests for L{mcpbridge.core.conversion.elicitation}.
"""

from __future__ import annotations

from typing import Any

from mcp_types import methods
from msgspec import Raw
from pydantic import TypeAdapter
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.elicitation import elicitation_for
from mcpbridge.core.conversion.unsayable import Unsayable
from mcpbridge.core.eras import legacy, modern

VERSIONS = (*modern.VERSIONS, *legacy.VERSIONS)

#: Clients that can be asked at all, but not by URL.
FORMS_ONLY = "2025-06-18"

TITLED = {
    "type": "string",
    "title": "Colour",
    "oneOf": [{"const": "r", "title": "Red"}, {"const": "g", "title": "Green"}],
    "default": "r",
}


def form(**fields: Any) -> dict[str, Any]:
    """What the user is asked for."""
    return {
        "mode": "form",
        "message": "m",
        "requestedSchema": {"type": "object", "properties": fields, "required": list(fields)},
    }


def asked(version: str, params: Any) -> Any:
    """The same for a client of this revision."""
    return jsonrpc.read(elicitation_for(version, jsonrpc.value(params), "named"))


class FormTests(SynchronousTestCase):
    """Forms."""

    def test_mode(self) -> None:
        """Where there is nothing but forms, nothing says that it is one."""
        params = form(a={"type": "string"})

        self.assertEqual({name: value for name, value in params.items() if name != "mode"}, asked(FORMS_ONLY, params))

    def test_untouched(self) -> None:
        """Clients that know of modes get what the server asks, and the others what has none."""
        params = Raw(b'{"mode": "form","requestedSchema":{"properties":{"a":{"type":"array"}}}}')
        plain = Raw(b'{"requestedSchema":{"properties":{"a":{"type": "number"},"b":{"enum":["x"],"type":"string"}}}}')

        self.assertTrue(all(elicitation_for(version, params, "") is params for version in VERSIONS[:2]))
        self.assertTrue(all(elicitation_for(version, plain, "") is plain for version in VERSIONS))

    def test_choices(self) -> None:
        """Choices with titles were written as two lists."""
        field = asked(FORMS_ONLY, form(a=TITLED))["requestedSchema"]["properties"]["a"]

        self.assertEqual(
            {"type": "string", "title": "Colour", "enum": ["r", "g"], "enumNames": ["Red", "Green"], "default": "r"},
            field,
        )

    def test_without_title(self) -> None:
        """A choice without a title is called what it is."""
        field = asked(FORMS_ONLY, form(a={"type": "string", "oneOf": [{"const": "r"}]}))["requestedSchema"][
            "properties"
        ]

        self.assertEqual({"a": {"type": "string", "enum": ["r"], "enumNames": ["r"]}}, field)

    def test_other_fields(self) -> None:
        """Fields beside them keep their bytes, and so does what is said of all."""
        params = Raw(
            b'{"message":"m","requestedSchema":{"$schema": "s","type":"object","properties":{"n":{"type": "number",'
            b'"maximum":1e400},"a":{"type":"string","oneOf":[{"const":"r","title":"R"}]}},"required":[ "n" ]}}'
        )

        self.assertEqual(
            Raw(
                b'{"message":"m","requestedSchema":{"$schema":"s","type":"object","properties":{"n":{"type": "number",'
                b'"maximum":1e400},"a":{"type":"string","enum":["r"],"enumNames":["R"]}},"required":[ "n" ]}}'
            ),
            elicitation_for(FORMS_ONLY, params, ""),
        )

    def test_other_uses(self) -> None:
        """Not every oneOf is a list of choices."""
        for field in (
            {"type": "string", "oneOf": [{"const": 1, "title": "One"}]},
            {"type": "string", "oneOf": [{"pattern": "a"}]},
            {"type": "string", "oneOf": []},
            {"type": "number", "oneOf": [{"const": "r"}]},
            {"oneOf": "r"},
        ):
            self.assertEqual(field, asked(FORMS_ONLY, form(a=field))["requestedSchema"]["properties"]["a"])

    def test_several(self) -> None:
        """Several choices at once cannot be asked for."""
        with self.assertRaises(Unsayable) as caught:
            asked(FORMS_ONLY, form(a={"type": "array", "items": {"type": "string", "enum": ["r"]}}))

        self.assertIn("several", str(caught.exception))

    def test_odd(self) -> None:
        """What is no form is left as it is."""
        table: list[Any] = [{}, {"requestedSchema": []}, {"requestedSchema": {"properties": 1}}, {"mode": 1}]
        for params in table:
            expected = {name: value for name, value in params.items() if name != "mode"}
            self.assertEqual(expected, asked(FORMS_ONLY, params))


class UrlTests(SynchronousTestCase):
    """Sending the user to a URL."""

    URL = {"mode": "url", "message": "m", "url": "https://example.com/"}

    def test_older(self) -> None:
        """Before 2025-11-25 nobody can."""
        for version in legacy.VERSIONS[1:]:
            self.assertRaises(Unsayable, asked, version, self.URL)

    def test_named(self) -> None:
        """In 2025-11-25 it has a name: the server's own, or ours."""
        self.assertEqual(self.URL | {"elicitationId": "named"}, asked("2025-11-25", self.URL))
        self.assertEqual(self.URL | {"elicitationId": "own"}, asked("2025-11-25", self.URL | {"elicitationId": "own"}))

    def test_unnamed(self) -> None:
        """In the stateless era it has none."""
        params = jsonrpc.value(self.URL)

        self.assertEqual(self.URL, asked("2026-07-28", self.URL | {"elicitationId": "own"}))
        self.assertIs(params, elicitation_for("2026-07-28", params, "named"))


class SchemaTests(SynchronousTestCase):
    """In the judgement of the official types."""

    def test_valid(self) -> None:
        """What is asked is valid for every client that can be asked."""
        questions = [form(a=TITLED, b={"type": "boolean"}), UrlTests.URL, UrlTests.URL | {"elicitationId": "own"}]

        for version in legacy.VERSIONS[:2]:
            request = methods.SERVER_REQUESTS["elicitation/create", version]
            for params in questions[: 3 if version == legacy.VERSIONS[0] else 1]:
                message = {"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": asked(version, params)}
                TypeAdapter(request).validate_python(message)

    def test_twice(self) -> None:
        """What has been converted needs no conversion."""
        for version in VERSIONS[:3]:
            once = elicitation_for(version, jsonrpc.value(form(a=TITLED)), "named")
            self.assertIs(once, elicitation_for(version, once, "another"))
        for version in VERSIONS[:2]:
            once = elicitation_for(version, jsonrpc.value(UrlTests.URL), "named")
            self.assertIs(once, elicitation_for(version, once, "another"))
