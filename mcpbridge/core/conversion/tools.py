"""
What a server says of its tools (server/tools, Data Types).
"""

from __future__ import annotations

import re

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.schemas import TooDeep, describes_objects_only, wrapped_schema
from mcpbridge.core.conversion.shapes import is_object, listed, mapped, opened, replaced
from mcpbridge.core.revisions import STATELESS, TASKS

#: An output schema that does not begin with saying that it describes an object. It may still say so later.
_other_schema = re.compile(rb'"outputSchema"[ \t]*+:(?![ \t]*+\{[ \t]*+"type"[ \t]*+:[ \t]*+"object"[ \t]*+[,}])')


def tools_for(version: str, result: Raw) -> Raw:
    """The result of C{tools/list} for a client of this revision."""
    strange_schemas = version < STATELESS and _other_schema.search(result) is not None
    other_tasks = (version < TASKS or version >= STATELESS) and b'"execution"' in bytes(result)
    if not strange_schemas and not other_tasks:
        return result

    def convert(tool: Raw) -> Raw:
        if other_tasks:
            tool = _without_execution(tool)
        return _with_object_schema(tool) if strange_schemas else tool

    return replaced(result, "tools", lambda tools: mapped(tools, convert))


def wrapped_tools(result: Raw) -> frozenset[str]:
    """
    The names of the tools whose output schema, and with it every structured result, is put inside of an object for
    clients of the session era.

    @param result: of a C{tools/list}, as the server gave it.
    """
    if _other_schema.search(result) is None:
        return frozenset()
    tools = (opened(tool) for tool in listed(opened(result).get("tools")) if _other_schema.search(tool) is not None)
    names = (jsonrpc.decode_string(tool.get("name")) for tool in tools if _is_strange(tool.get("outputSchema")))
    return frozenset(name for name in names if name is not None)


def _is_strange(schema: Raw | None) -> bool:
    return schema is not None and is_object(schema) and not describes_objects_only(schema)


def _without_execution(tool: Raw) -> Raw:
    if b'"execution"' not in bytes(tool):
        return tool
    found = opened(tool)
    if found.pop("execution", None) is None:
        return tool
    return jsonrpc.assemble(found)


def _with_object_schema(tool: Raw) -> Raw:
    if _other_schema.search(tool) is None:
        return tool
    found = opened(tool)
    schema = found.get("outputSchema")
    if schema is None or not _is_strange(schema):
        return tool
    try:
        found["outputSchema"] = wrapped_schema(schema)
    except TooDeep:
        # Without a schema a client takes any result; with this one it could take none.
        del found["outputSchema"]
    return jsonrpc.assemble(found)
