"""
A JSON Schema put inside of another one.

In the session era the structured result of a tool is an object, and the root of C{outputSchema} says so. In the
stateless era it is any value. So that a client of the session era understands both, such a value is the only member of
an object, and its schema the schema of that member.

References by pointer to the schema's own root (RFC 6901 in a fragment) are then one level too high, and are put right.
References to anchors and to other documents mean the same wherever they stand; so does everything below an C{$id},
which
is the root of its own references (JSON Schema Core, 8.2.1).
"""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import is_array, is_object, mapped, opened

#: The one member of the object round a value.
MEMBER: Final = "result"

#: Schemas with references nested deeper than this are not rewritten: each level is read once more than the one above.
#: Generators of schemas keep what is referred to at the top.
MAX_DEPTH: Final = 40

_ROOT: Final = f"#/properties/{MEMBER}"

#: Keywords whose values are data, not schemas.
_DATA: Final = frozenset(("const", "enum", "default", "examples"))

#: Keywords whose values are objects of schemas by names that somebody chose.
_NAMED: Final = frozenset(
    ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies")
)

_POINTERS: Final = frozenset(("$ref", "$dynamicRef"))


class TooDeep(ValueError):
    """A schema is not worth it: its references are nested deeper than L{MAX_DEPTH}, or it is too large."""


def describes_objects_only(schema: Raw) -> bool:
    """Whether the root of a schema says that its values are objects, in the one way that the session era allows."""
    return jsonrpc.decode_string(opened(schema).get("type")) == "object"


def wrapped_schema(schema: Raw) -> Raw:
    """
    The schema of C{{"result": value}}, for values of this schema.

    @param schema: an object.
    @raise TooDeep: it is not worth it.
    """
    found = opened(schema)
    dialect = found.get("$schema")
    outer: dict[str, Raw] = {}
    inner = schema
    if dialect is not None:
        # It belongs to the root of a document; below an $id there is one.
        outer["$schema"] = dialect
        if not _is_root(found):
            del found["$schema"]
            inner = jsonrpc.assemble(found)
    outer["type"] = Raw(b'"object"')
    outer["properties"] = jsonrpc.assemble({MEMBER: _moved(inner, 0, _is_of_2019(dialect))})
    outer["required"] = jsonrpc.value([MEMBER])
    return jsonrpc.assemble(outer)


def _moved(schema: Raw, depth: int, recursive: bool) -> Raw:
    """
    A schema whose references allow for its new place.

    @param recursive: whether C{$recursiveRef} is a keyword (2019-09 only).
    """
    if not _refers(schema):
        return schema
    if depth > MAX_DEPTH:
        raise TooDeep
    if is_array(schema):
        return mapped(schema, lambda element: _moved(element, depth + 1, recursive))
    found = _members(schema)
    if _is_root(found):
        return schema
    moved = {name: _moved_member(name, value, depth, recursive) for name, value in found.items()}
    if recursive and "$ref" not in moved and moved.get("$recursiveRef") == Raw(b'"#"'):
        # Without a $recursiveAnchor it is a $ref (Core 2019-09, 8.2.4.2.1); with one it starts from there.
        del moved["$recursiveRef"]
        moved["$ref"] = jsonrpc.value(_ROOT)
    return jsonrpc.assemble(moved)


def _moved_member(name: str, value: Raw, depth: int, recursive: bool) -> Raw:
    if name in _DATA:
        return value
    if name in _POINTERS:
        return _moved_pointer(value)
    if name in _NAMED and is_object(value) and _refers(value):
        schemas = _members(value)
        return jsonrpc.assemble({key: _moved(schema, depth + 1, recursive) for key, schema in schemas.items()})
    return _moved(value, depth + 1, recursive)


def _members(schema: Raw) -> dict[str, Raw]:
    found = opened(schema)
    if not found:
        # It refers to something, so it has members.
        raise TooDeep
    return found


def _moved_pointer(value: Raw) -> Raw:
    pointer = jsonrpc.decode_string(value)
    if pointer is None or not (pointer == "#" or pointer.startswith("#/")):
        return value
    return jsonrpc.value(_ROOT + pointer[1:])


def _refers(schema: Raw) -> bool:
    text = bytes(schema)
    return text[:1] in b"{[" and (b'Ref"' in text or b'$ref"' in text)


def _is_root(found: dict[str, Raw]) -> bool:
    identity = jsonrpc.decode_string(found.get("$id"))
    # A fragment alone is how draft 7 spells an anchor.
    return identity is not None and not identity.startswith("#")


def _is_of_2019(dialect: Raw | None) -> bool:
    return dialect is not None and b"/draft/2019-09/" in bytes(dialect)
