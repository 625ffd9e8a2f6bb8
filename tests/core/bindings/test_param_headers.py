"""
Tests for L{mcpbridge.core.bindings.param_headers}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.param_headers import (
    InvalidAnnotation,
    ParamHeader,
    declared,
    decode_value,
    encode_value,
    headers_for,
    index,
    mismatch,
)
from mcpbridge.core.jsonrpc import value

REGION = ParamHeader("Mcp-Param-Region", ("region",), "string")
COUNT = ParamHeader("Mcp-Param-Count", ("of", "count"), "integer")
FLAG = ParamHeader("Mcp-Param-Flag", ("flag",), "boolean")


def marked(mark: object = "Region", kind: object = "string", **more: object) -> dict[str, object]:
    return {"type": kind, "x-mcp-header": mark, **more}


class ValueTests(SynchronousTestCase):
    """Values that a header can carry, and others."""

    def test_table(self) -> None:
        """Plain where that is possible."""
        table = {
            "echo": "echo",
            "a b\tc": "a b\tc",
            "": "",
            " a": "=?base64?IGE=?=",
            "a\n": "=?base64?YQo=?=",
            "\u00e9": "=?base64?w6k=?=",
            "=?base64?YQ==?=": "=?base64?PT9iYXNlNjQ/WVE9PT89?=",
            "=?base64?YQ==": "=?base64?YQ==",
        }

        self.assertEqual(table, {text: encode_value(text) for text in table})

    def test_broken(self) -> None:
        """What is between the marks has to be canonical Base64 of UTF-8."""
        for field in ("=?base64?SGVsbG8?=", "=?base64?SGVs!!!bG8=?=", "=?base64?YR==?=", "=?base64?/w==?="):
            self.assertIsNone(decode_value(field))

    @settings(derandomize=True, max_examples=200)
    @given(st.text())
    def test_round_trip(self, text: str) -> None:
        """Every text comes back, and is visible ASCII on its way."""
        field = encode_value(text)

        self.assertEqual(text, decode_value(field))
        self.assertTrue(field.isascii() and field == field.strip() and "\n" not in field and "\r" not in field)


class DeclarationTests(SynchronousTestCase):
    """What schemas mark."""

    def test_found(self) -> None:
        """Marks on a plain path of properties, at any depth."""
        schema = {
            "type": "object",
            "properties": {
                "region": marked(),
                "of": {"properties": {"count": marked("Count", "integer")}},
                "default": {"type": "string", "default": {"x-mcp-header": "data, no mark"}},
            },
        }

        self.assertEqual({REGION, COUNT}, set(declared(schema)))

    def test_against_the_rules(self) -> None:
        """Marks elsewhere, on other types, with other names, or twice."""
        bad: list[Any] = [
            marked(),
            {"properties": {"a": marked(kind="number")}},
            {"properties": {"a": marked(kind=["string", "null"])}},
            {"properties": {"a": {"x-mcp-header": "A"}}},
            {"properties": {"a": marked("")}},
            {"properties": {"a": marked("a b")}},
            {"properties": {"a": marked("a\r\nb")}},
            {"properties": {"a": marked(1)}},
            {"properties": {"a": marked("A"), "b": marked("a")}},
            {"properties": {"a": {"items": marked()}}},
            {"properties": {"a": {"items": {"properties": {"b": marked()}}}}},
            {"anyOf": [{"properties": {"a": marked()}}]},
            {"$defs": {"a": marked()}},
            {"if": {"properties": {"a": marked()}}},
        ]

        for schema in bad:
            self.assertRaises(InvalidAnnotation, declared, schema)

    def test_nothing(self) -> None:
        """Whatever has no marks declares nothing."""
        nothing: list[object] = [
            {},
            None,
            1,
            [],
            {"properties": 1, "allOf": {}, "$defs": []},
            {"properties": {"a": None}},
        ]
        for schema in nothing:
            self.assertEqual((), declared(schema))

    def test_deep(self) -> None:
        """A schema that is deeper than any real one is not followed for ever."""
        schema: dict[str, Any] = marked()
        for _ in range(900):
            schema = {"properties": {"a": schema}}

        self.assertRaises(InvalidAnnotation, declared, schema)

    def test_index(self) -> None:
        """By tool; those that declare nothing, or wrongly, are left out."""
        tools = [
            {"name": "good", "inputSchema": {"properties": {"region": marked()}}},
            {"name": "bad", "inputSchema": {"properties": {"a": marked("")}}},
            {"name": "plain", "inputSchema": {}, "description": "says x-mcp-header"},
            {"name": 1, "inputSchema": {"properties": {"region": marked()}}},
            "x-mcp-header",
        ]

        self.assertEqual({"good": (REGION,)}, index(value({"tools": tools[:4]})))
        self.assertEqual({}, index(value({"tools": [{"name": "plain"}]})))
        self.assertEqual({}, index(value(["x-mcp-header"])))


class AgreementTests(SynchronousTestCase):
    """Whether headers say what the arguments say."""

    def test_headers_for(self) -> None:
        """Absent and null arguments have none; numbers and booleans have one way to be written."""
        self.assertEqual(
            {"Mcp-Param-Region": "=?base64?w6k=?=", "Mcp-Param-Count": "42", "Mcp-Param-Flag": "false"},
            headers_for((REGION, COUNT, FLAG), {"region": "\u00e9", "of": {"count": 42}, "flag": False}),
        )
        self.assertEqual({}, headers_for((REGION, COUNT), {"region": None, "of": 1}))

    def test_agree(self) -> None:
        """What a client sends agrees, and integers by their value."""
        arguments = {"region": "eu", "of": {"count": 42}}
        fields = {"mcp-param-region": ("=?base64?ZXU=?=",), "mcp-param-count": ("42.0",)}

        self.assertIsNone(mismatch((REGION, COUNT), arguments, fields))
        self.assertIsNone(mismatch((REGION,), {"region": None}, {}))
        self.assertIsNone(mismatch((REGION,), None, {}))
        self.assertIsNone(mismatch((COUNT,), {"of": {"count": 42.0}}, {"mcp-param-count": ("42",)}))

    def test_disagree(self) -> None:
        """Missing, superfluous, other, twice, broken."""
        table: list[tuple[ParamHeader, object, dict[str, tuple[str, ...]]]] = [
            (REGION, {"region": "eu"}, {}),
            (REGION, {}, {"mcp-param-region": ("eu",)}),
            (REGION, {"region": ["eu"]}, {"mcp-param-region": ("eu",)}),
            (REGION, {"region": "eu"}, {"mcp-param-region": ("EU",)}),
            (REGION, {"region": "eu"}, {"mcp-param-region": ("eu", "eu")}),
            (REGION, {"region": "eu"}, {"mcp-param-region": ("=?base64?!?=",)}),
            (COUNT, {"of": {"count": 42}}, {"mcp-param-count": ("42.5",)}),
            (COUNT, {"of": {"count": 42}}, {"mcp-param-count": ("4.2e1",)}),
            (FLAG, {"flag": True}, {"mcp-param-flag": ("1",)}),
        ]

        for header, arguments, fields in table:
            self.assertIsNotNone(mismatch((header,), arguments, fields))
