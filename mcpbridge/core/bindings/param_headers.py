"""
Values of a message that are said again in HTTP headers: C{Mcp-Name}, and C{Mcp-Param-*} for the arguments of a tool
that its schema marks with C{x-mcp-header} (MCP 2026-07-28, Transports, Value Encoding and Custom Headers).

For both ends: what a client has to send, and whether what a server got agrees with the body. It knows no HTTP but
names and values of fields.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.jsonrpc import InvalidMessage

#: The values of each field by its lower-case name, in the order in which they came.
Fields: TypeAlias = Mapping[str, Sequence[str]]

PREFIX: Final = "Mcp-Param-"

_MARK: Final = "x-mcp-header"
_TYPES: Final = frozenset(("string", "integer", "boolean"))

#: Levels of properties below the root of a schema. Real ones have three.
_MAX_DEPTH: Final = 128

#: Of an integer. str() takes 4300 digits at most (sys.get_int_max_str_digits), which are some 14,000 bits.
_MAX_BITS: Final = 13_000

_sentinel = re.compile(r"=\?base64\?(.*)\?=")
_plain = re.compile(r"[!-~](?:[\t -~]*[!-~])?")
_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_decimal = re.compile(r"(-?[0-9]{1,4000})(?:\.0+)?")

# Where JSON Schema 2020-12 keeps further schemas, other than in "properties".
_ONE: Final = (
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_LISTS: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_TABLES: Final = ("$defs", "definitions", "dependentSchemas", "patternProperties")


class InvalidAnnotation(ValueError):
    """A tool's schema marks what must not be marked; clients are to leave such a tool out of the list."""


@attrs.frozen
class ParamHeader:
    """
    An argument that is said again in a header.

    @ivar name: of the header, as the schema spells it.
    @ivar path: names of properties, from the arguments down.
    @ivar type: C{string}, C{integer} or C{boolean}.
    """

    name: str
    path: tuple[str, ...]
    type: str


def encode_value(text: str) -> str:
    """A value as a header can carry it: as it is where that is possible, else in Base64 between marks."""
    if text == "" or (_plain.fullmatch(text) and not _sentinel.fullmatch(text)):
        return text
    return f"=?base64?{b64encode(text.encode('utf-8', 'surrogatepass')).decode('ascii')}?="


def decode_value(field: str) -> str | None:
    """The inverse of L{encode_value}; L{None} if what is between the marks is no canonical Base64 of UTF-8."""
    found = _sentinel.fullmatch(field)
    if found is None:
        return field
    try:
        data = b64decode(found[1], validate=True)
        return data.decode("utf-8", "surrogatepass") if b64encode(data).decode("ascii") == found[1] else None
    except (NotBase64, ValueError):
        return None


def declared(schema: object) -> tuple[ParamHeader, ...]:
    """
    What a tool's C{inputSchema} marks.

    @param schema: as plain Python; anything may be in it.
    @raise InvalidAnnotation: says which mark is against the rules.
    """
    found: dict[str, ParamHeader] = {}
    for path, node in _positions(schema):
        if _MARK not in node:
            continue
        header = _judged(path, node)
        if header.name.lower() in found:
            raise InvalidAnnotation(f"{_MARK} {header.name[len(PREFIX) :]!r} is there twice")
        found[header.name.lower()] = header
    return tuple(found.values())


def _judged(path: tuple[str, ...] | None, node: Mapping[str, Any]) -> ParamHeader:
    if not path:
        raise InvalidAnnotation(f"{_MARK} stands where no plain path of properties leads")
    where = ".".join(path)
    mark, kind = node[_MARK], node.get("type")
    if not isinstance(mark, str) or not _token.fullmatch(mark):
        raise InvalidAnnotation(f"{_MARK} of {where!r} is no name for a header")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise InvalidAnnotation(f"{_MARK} of {where!r} is on a property that is no string, integer or boolean")
    return ParamHeader(PREFIX + mark, path, kind)


def _positions(root: object) -> Iterator[tuple[tuple[str, ...] | None, Mapping[str, Any]]]:
    """Every schema inside a schema; with the path of properties to it, L{None} if it is reached in another way."""
    stack: list[tuple[tuple[str, ...] | None, object]] = [((), root)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, dict):
            continue
        yield path, node
        properties = node.get("properties")
        if isinstance(properties, dict):
            above = path if path is not None and len(path) < _MAX_DEPTH else None
            stack.extend((None if above is None else (*above, name), sub) for name, sub in properties.items())
        stack.extend((None, node[name]) for name in _ONE if name in node)
        stack.extend((None, sub) for name in _LISTS if isinstance(node.get(name), list) for sub in node[name])
        stack.extend((None, sub) for name in _TABLES if isinstance(node.get(name), dict) for sub in node[name].values())


def shown(value: object) -> str | None:
    """An argument as the text of its header, before encoding; L{None} if there is no header for it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and value.bit_length() <= _MAX_BITS:
        return str(value)
    return None


def headers_for(headers: Sequence[ParamHeader], arguments: object) -> dict[str, str]:
    """
    What a client sends along.

    @param headers: what the tool declares.
    @param arguments: of the call, as plain Python.
    @return: encoded values by the names of the headers; absent and null arguments have none.
    """
    found: dict[str, str] = {}
    for header in headers:
        text = shown(_at(arguments, header.path))
        if text is not None:
            found[header.name] = encode_value(text)
    return found


def mismatch(headers: Sequence[ParamHeader], arguments: object, fields: Fields) -> str | None:
    """
    Whether headers that came agree with the arguments that came with them.

    @return: the first that does not, as a sentence; L{None} if all do.
    """
    for header in headers:
        came = fields.get(header.name.lower(), ())
        text = shown(_at(arguments, header.path))
        where = ".".join(header.path)
        if len(came) > 1:
            return f"the header {header.name} is there {len(came)} times"
        if text is None:
            if came:
                return f"the header {header.name} is there, though the argument {where!r} is not"
            continue
        if not came:
            return f"the header {header.name} is missing, though the argument {where!r} is there"
        said = decode_value(came[0])
        if said is None:
            return f"the header {header.name} has broken Base64"
        if not _same(header.type, said, text):
            return f"the header {header.name} is not the argument {where!r}"
    return None


def _same(kind: str, said: str, text: str) -> bool:
    if kind == "integer":
        # 42.0 is 42: servers compare integers by value.
        found = _decimal.fullmatch(said)
        if found is not None and _decimal.fullmatch(text):
            return int(found[1]) == int(text)
    return said == text


def _at(arguments: object, path: tuple[str, ...]) -> object:
    for name in path:
        if not isinstance(arguments, dict):
            return None
        arguments = arguments.get(name)
    return arguments


def index(tools: Raw) -> Mapping[str, tuple[ParamHeader, ...]]:
    """
    What each tool of a C{tools/list} result declares, by its name. Tools that declare nothing, or wrongly, are left
    out.

    Cheap where no tool does: the list is not read then.
    """
    if _MARK.encode("ascii") not in bytes(tools):
        return {}
    found: dict[str, tuple[ParamHeader, ...]] = {}
    try:
        listed = jsonrpc.elements(jsonrpc.members(tools).get("tools", Raw(b"[]")))
        for tool in listed:
            if _MARK.encode("ascii") in bytes(tool):
                _add(found, jsonrpc.members(tool))
    except InvalidMessage:
        # A list that is none: whoever forwards it says so.
        return found
    return found


def _add(found: dict[str, tuple[ParamHeader, ...]], tool: Mapping[str, Raw]) -> None:
    name = jsonrpc.decode_string(tool.get("name"))
    try:
        headers = declared(jsonrpc.read(tool.get("inputSchema", Raw(b"{}"))))
    except InvalidAnnotation:
        return
    if name is not None and headers:
        found[name] = headers
