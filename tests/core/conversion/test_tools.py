"""
Tests for L{mcpbridge.core.conversion.tools}.
"""

from __future__ import annotations

from typing import Any

from mcp_types import methods
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.tools import tools_for, wrapped_tools
from mcpbridge.core.eras import legacy, modern
from mcpbridge.core.eras.modern.envelope import close_result

VERSIONS = (*modern.VERSIONS, *legacy.VERSIONS)

INPUT = {"type": "object"}
LIST = {"name": "list", "inputSchema": INPUT, "outputSchema": {"type": "array", "items": {"$ref": "#/$defs/a"}}}
OBJECT = {"name": "object", "inputSchema": INPUT, "outputSchema": {"title": "t", "type": "object"}}
TASK = {"name": "task", "inputSchema": INPUT, "execution": {"taskSupport": "optional"}}
PLAIN = {"name": "plain", "inputSchema": INPUT}


def listing(*tools: Any, **others: Any) -> Raw:
    """The result of tools/list."""
    return jsonrpc.value({"tools": list(tools), **others})


def deep() -> Any:
    """A schema that is not worth it."""
    schema: Any = {"$ref": "#"}
    for _ in range(60):
        schema = {"items": schema}
    return schema


class OutputSchemaTests(SynchronousTestCase):
    """What the results of a tool look like."""

    def test_wrapped(self) -> None:
        """For every client of the session era a schema describes an object; one that does is left as it is."""
        result = listing(PLAIN, LIST, OBJECT, nextCursor="c")
        schema = {"type": "array", "items": {"$ref": "#/properties/result/$defs/a"}}
        expected = {"type": "object", "properties": {"result": schema}, "required": ["result"]}

        for version in legacy.VERSIONS:
            self.assertEqual(
                {"tools": [PLAIN, LIST | {"outputSchema": expected}, OBJECT], "nextCursor": "c"},
                jsonrpc.read(tools_for(version, result)),
            )
        self.assertEqual({"list"}, wrapped_tools(result))

    def test_stateless(self) -> None:
        """Clients of the stateless era take any schema."""
        result = listing(PLAIN, LIST, OBJECT)

        self.assertIs(result, tools_for(modern.VERSIONS[0], result))

    def test_objects_only(self) -> None:
        """Wherever a schema says that it describes an object: nothing is to be done."""
        for schema in (b'{"type":"object"}', b'{ "type" : "object" , "x":1}', b'{"x":[],"type":"object"}'):
            result = Raw(b'{"tools":[{"name":"a","outputSchema":' + schema + b"}]}")

            self.assertIs(result, tools_for("2025-11-25", result))
            self.assertEqual(frozenset(), wrapped_tools(result))

    def test_may_be_an_object(self) -> None:
        """A schema that only allows objects among others is no schema of objects."""
        result = listing(LIST | {"outputSchema": {"type": ["object", "null"]}}, OBJECT | {"outputSchema": {}})

        self.assertEqual({"list", "object"}, wrapped_tools(result))

    def test_odd(self) -> None:
        """What is no tool and no schema is left as it is."""
        for text in (
            b'{"tools":[{"name":"a","outputSchema":true},{"name":"b","outputSchema":null},1,null]}',
            b'{"tools":{"outputSchema":{"type":"array"}}}',
            b'{"tools":[["outputSchema",{"outputSchema":{}}]]}',
            b'{"outputSchema":[]}',
        ):
            result = Raw(text)

            self.assertIs(result, tools_for("2025-11-25", result))
            self.assertEqual(frozenset(), wrapped_tools(result))

    def test_without_name(self) -> None:
        """A tool that nobody can call has nothing to remember."""
        self.assertEqual(frozenset(), wrapped_tools(listing({"outputSchema": {"type": "array"}})))

    def test_too_deep(self) -> None:
        """A schema that is not worth it is left out, so that any result is good."""
        result = listing(PLAIN | {"outputSchema": deep()})

        self.assertEqual({"tools": [PLAIN]}, jsonrpc.read(tools_for("2025-11-25", result)))
        self.assertEqual({"plain"}, wrapped_tools(result))

    def test_bytes(self) -> None:
        """The tools beside one that is converted keep their bytes."""
        plain = b'{ "name": "p", "x": 1e400 }'
        result = Raw(b'{"tools":[' + plain + b',{"name":"q","outputSchema":{"type":"array"}}]}')

        self.assertIn(plain, bytes(tools_for("2025-11-25", result)))


class ExecutionTests(SynchronousTestCase):
    """Whether a tool may run as a task of the session era."""

    def test_for_whom(self) -> None:
        """Only 2025-11-25 has such tasks."""
        result = listing(TASK, PLAIN)

        found = {version: "execution" in jsonrpc.read(tools_for(version, result))["tools"][0] for version in VERSIONS}

        self.assertEqual({version: version == "2025-11-25" for version in VERSIONS}, found)

    def test_only_of_tools(self) -> None:
        """The word may be anywhere; what is not the member of a tool is not touched."""
        result = listing(PLAIN | {"inputSchema": {"type": "object", "properties": {"execution": {"execution": 1}}}})

        self.assertEqual([result] * len(VERSIONS), [tools_for(version, result) for version in VERSIONS])

    def test_untouched(self) -> None:
        """What needs nothing comes back as it came."""
        result = listing(PLAIN, OBJECT)

        self.assertTrue(all(tools_for(version, result) is result for version in VERSIONS))


class SchemaTests(SynchronousTestCase):
    """In the judgement of the official types."""

    def test_valid(self) -> None:
        """Whatever a newer server lists is valid for every client."""
        result = listing(LIST, OBJECT, TASK, PLAIN)

        for version in legacy.VERSIONS:
            methods.validate_server_result("tools/list", version, jsonrpc.read(tools_for(version, result)))
        told = close_result("tools/list", tools_for(modern.VERSIONS[0], result), None, None)
        methods.validate_server_result("tools/list", modern.VERSIONS[0], jsonrpc.read(told))

    def test_twice(self) -> None:
        """What has been converted needs no conversion."""
        for version in VERSIONS:
            once = tools_for(version, listing(LIST, OBJECT, TASK, PLAIN))

            self.assertIs(once, tools_for(version, once))
