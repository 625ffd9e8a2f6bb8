"""
Tests for L{mcpbridge.core.conversion.schemas}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import (  # type: ignore[import-untyped]  # it has no types, and comes with the official SDK
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
)
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.schemas import MAX_DEPTH, TooDeep, describes_objects_only, wrapped_schema

OF_2019 = "https://json-schema.org/draft/2019-09/schema"
OF_7 = "http://json-schema.org/draft-07/schema#"


def wrapped(schema: Any) -> Any:
    """The schema of an object with a value of this one."""
    return jsonrpc.read(wrapped_schema(jsonrpc.value(schema)))


def inner(schema: Any) -> Any:
    """What it became inside of the object."""
    return wrapped(schema)["properties"]["result"]


class WrappedTests(SynchronousTestCase):
    """The object round a value."""

    def test_object(self) -> None:
        """The session era finds what it wants: an object, here with one member."""
        self.assertEqual(
            {"type": "object", "properties": {"result": {"type": "array"}}, "required": ["result"]},
            wrapped({"type": "array"}),
        )

    def test_bytes(self) -> None:
        """What has no references keeps its bytes: numbers are not read."""
        schema = Raw(b'{"type": "number","maximum": 1e400,"x":12345678901234567890123}')

        self.assertEqual(
            Raw(b'{"type":"object","properties":{"result":' + bytes(schema) + b'},"required":["result"]}'),
            wrapped_schema(schema),
        )

    def test_some_bytes(self) -> None:
        """So do the parts of a schema that have none, where others do."""
        schema = Raw(b'{"anyOf":[{"maximum": 1e400},{"$ref":"#/a"}]}')

        self.assertIn(b'{"maximum": 1e400}', bytes(wrapped_schema(schema)))

    def test_dialect(self) -> None:
        """The dialect is that of the whole document."""
        self.assertEqual(
            {
                "$schema": OF_7,
                "type": "object",
                "properties": {"result": {"type": "array"}},
                "required": ["result"],
            },
            wrapped({"$schema": OF_7, "type": "array"}),
        )

    def test_describes_objects_only(self) -> None:
        """One spelling of it is known to the session era."""
        table = {
            '{"type":"object"}': True,
            '{"properties":{},"type":"object"}': True,
            '{"type":["object"]}': False,
            '{"type":"array"}': False,
            '{"anyOf":[{"type":"object"}]}': False,
            "{}": False,
            "true": False,
        }

        self.assertEqual(table, {text: describes_objects_only(Raw(text.encode())) for text in table})


class ReferenceTests(SynchronousTestCase):
    """What refers to the root of the schema."""

    def test_pointers(self) -> None:
        """Pointers lead one level deeper; anchors and other documents stay where they are."""
        table = {
            "#": "#/properties/result",
            "#/$defs/a": "#/properties/result/$defs/a",
            "#/$defs/a~1b%25": "#/properties/result/$defs/a~1b%25",
            "#anchor": "#anchor",
            "https://example.com/s#/$defs/a": "https://example.com/s#/$defs/a",
            "other.json": "other.json",
            "": "",
        }

        for keyword in ("$ref", "$dynamicRef"):
            found = {before: inner({"items": {keyword: before}})["items"][keyword] for before in table}
            self.assertEqual(table, found)

    def test_data(self) -> None:
        """Data is no schema, whatever it looks like."""
        schema = {
            "anyOf": [{"const": {"$ref": "#/a"}}, {"enum": [{"$ref": "#"}]}],
            "default": {"$ref": "#"},
            "examples": [{"$ref": "#"}],
            "properties": {"x": {"$ref": "#"}},
        }

        self.assertEqual(schema | {"properties": {"x": {"$ref": "#/properties/result"}}}, inner(schema))

    def test_names(self) -> None:
        """What somebody has named like a keyword is none."""
        for names in ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"):
            schema = {names: {name: {"$ref": "#/a"} for name in ("default", "const", "$id", "properties", "$ref")}}

            self.assertEqual(
                {names: {name: {"$ref": "#/properties/result/a"} for name in schema[names]}}, inner(schema)
            )

    def test_lists_of_names(self) -> None:
        """Draft 7 has names where there may be schemas."""
        schema = {"dependencies": {"a": ["$ref"], "b": {"$ref": "#/c"}}}

        self.assertEqual({"dependencies": {"a": ["$ref"], "b": {"$ref": "#/properties/result/c"}}}, inner(schema))

    def test_own_root(self) -> None:
        """Below an $id, references are relative to it."""
        nested = {"$id": "https://example.com/y", "items": {"$ref": "#/$defs/e"}}
        table = [
            {"$id": "https://example.com/x", "items": {"$ref": "#/$defs/d"}, "$schema": OF_7},
            {"anyOf": [nested, {"const": 1}], "$defs": {"$ref": nested}},
        ]

        self.assertEqual(table, [inner(schema) for schema in table])
        self.assertEqual(OF_7, wrapped(table[0])["$schema"])

    def test_no_root(self) -> None:
        """A fragment as $id is an anchor, and a property of that name is none at all."""
        for schema in ({"$id": "#a", "items": {"$ref": "#"}}, {"$id": 7, "items": {"$ref": "#"}}):
            self.assertEqual({"$ref": "#/properties/result"}, inner(schema)["items"])

    def test_recursive(self) -> None:
        """In 2019-09 recursion has a keyword of its own, which leads to the root as well."""
        items = {"anyOf": [{"type": "number"}, {"$recursiveRef": "#"}]}

        self.assertEqual(
            [{"type": "number"}, {"$ref": "#/properties/result"}],
            inner({"$schema": OF_2019, "items": items})["items"]["anyOf"],
        )
        self.assertEqual(items, inner({"items": items})["items"])

    def test_no_text(self) -> None:
        """A reference that is no text is left as it is."""
        self.assertEqual({"$ref": 1, "items": {"$ref": None}}, inner({"$ref": 1, "items": {"$ref": None}}))

    def test_too_deep(self) -> None:
        """There is a limit to what is worth it; without references there is nothing to do at any depth."""
        reference: Any = {"$ref": "#"}
        plain: Any = {}
        for _ in range(MAX_DEPTH + 1):
            reference, plain = {"items": reference}, {"items": plain}

        self.assertRaises(TooDeep, wrapped, reference)
        self.assertRaises(TooDeep, wrapped_schema, Raw(b'{"items":' * 50_000 + b'{"$ref":"#"}' + b"}" * 50_000))
        self.assertEqual(plain, inner(plain))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "$ref"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "$ref"]), inner, max_size=2),
    max_leaves=8,
)

_LEAVES: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"type": "integer"},
        {"type": "string"},
        {"type": "null"},
        {"$ref": "#/$defs/x"},
        {"$ref": "#/$defs/default"},
        {"$ref": "#anchor"},
        {"const": {"$ref": "#/$defs/x"}},
        {"enum": [{"$ref": "#"}, "$ref", 1]},
    ]
)

_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(lambda items: {"type": "array", "items": {"anyOf": [items, {"$ref": "#"}]}}, inner),
        st.builds(lambda any_of: {"anyOf": any_of}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(
            lambda properties: {"type": "object", "properties": properties},
            st.dictionaries(st.sampled_from(["a", "b", "$ref", "default"]), inner, max_size=2),
        ),
    ),
    max_leaves=6,
)


class MeaningTests(SynchronousTestCase):
    """Wrapped schemas say the same as before, in the judgement of somebody else's validator."""

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(_SCHEMAS, _LEAVES.filter(lambda leaf: "$ref" not in leaf), _VALUES)
    def test_same(self, schema: Any, leaf: Any, value: Any) -> None:
        """A value is good in the object exactly if it was good alone."""
        schema = {
            "allOf": [schema],
            "$defs": {"x": leaf, "default": {"type": "array", "items": leaf}, "y": {"$anchor": "anchor", **leaf}},
        }

        alone = Draft202012Validator(schema).is_valid(value)
        inside = Draft202012Validator(wrapped(schema)).is_valid({"result": value})

        self.assertEqual(alone, inside)

    def test_recursion(self) -> None:
        """Old dialects too."""
        values: list[Any] = [[], [[], [[]]], [1], {}]
        table: list[tuple[Any, Any]] = [
            (Draft201909Validator, {"$schema": OF_2019, "type": "array", "items": {"$recursiveRef": "#"}}),
            (Draft7Validator, {"$schema": OF_7, "type": "array", "items": {"$ref": "#"}}),
        ]

        for validator, schema in table:
            outer = wrapped(schema)
            self.assertEqual(
                [True, True, False, False],
                [validator(outer).is_valid({"result": value}) for value in values],
            )
