"""
Which arguments of which tool of a server are to be said again in headers: learnt from the lists that pass by
(MCP 2026-07-28, Streamable HTTP, Custom Headers).

A client is to leave out tools that are marked against the rules; that happens here too, since it is the same look.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.bindings.http import HeaderFields, excerpt
from mcpbridge.core.bindings.param_headers import InvalidAnnotation, ParamHeader, declared, encode_value, shown
from mcpbridge.core.jsonrpc import InvalidMessage

_MARK: Final = b"x-mcp-header"
_integer = re.compile(rb"0|-?[1-9][0-9]{0,300}")

#: Tools with marks that are remembered. A server of hundreds of tools is a large one; the oldest go first.
MAX_TOOLS: Final = 4096

#: Marks of one tool. Servers take a hundred header fields or so.
MAX_MARKS: Final = 100

#: Bytes of a list, and of one schema in it, that are looked at: reading costs some 30 times as much memory.
MAX_LIST: Final = 4 * 1024 * 1024
MAX_SCHEMA: Final = 256 * 1024

#: Tools that were left out and told so, once each.
_MAX_TOLD: Final = 256


@attrs.define(eq=False)
class ToolMarks:
    """
    What one server wants.

    @ivar known: whether there is any use in asking for a list: L{False} until one passed, or could not be had.
    """

    known: bool = False
    _headers: dict[str, tuple[ParamHeader, ...]] = attrs.Factory(dict)
    _told: set[str] = attrs.Factory(set)

    def learn(self, result: Raw) -> tuple[Raw, Sequence[str]]:
        """
        Take what the result of a C{tools/list} marks.

        @return: the result without the tools that are marked against the rules, and a sentence for each that was not
            told before. If there is none, the result as it came.
        """
        self.known = True
        size = len(memoryview(result))
        if size > MAX_LIST or not (self._headers or _MARK in bytes(result)):
            return result, ()
        try:
            found = jsonrpc.members(result)
            listed = jsonrpc.elements(found.get("tools", Raw(b"[]")))
        except InvalidMessage:
            # A list that is none: whoever gets it says so.
            return result, ()
        kept: list[Raw] = []
        told: list[str] = []
        for tool in listed:
            fault = self._take(tool)
            if fault is None:
                kept.append(tool)
            elif self._is_news(fault):
                told.append(fault)
        if len(kept) == len(listed):
            return result, ()
        found["tools"] = jsonrpc.array(kept)
        return jsonrpc.assemble(found), told

    def fields(self, tool: str, arguments: Raw | None) -> HeaderFields:
        """What a call of this tool with these arguments has to say in headers; nothing for what is absent or null."""
        headers = self._headers.get(tool)
        if headers is None or arguments is None:
            return ()
        try:
            top = jsonrpc.members(arguments)
        except InvalidMessage:
            return ()
        found: list[tuple[bytes, bytes]] = []
        for header in headers:
            text = _text_at(top, header.path)
            if text is not None:
                found.append((header.name.encode("ascii"), encode_value(text).encode("ascii")))
        return tuple(found)

    def _take(self, tool: Raw) -> str | None:
        """
        @return: why it must be left out.
        """
        is_marked = _MARK in bytes(tool)
        if not is_marked and not self._headers:
            return None
        try:
            found = jsonrpc.members(tool)
        except InvalidMessage:
            return None
        name = jsonrpc.decode_string(found.get("name"))
        if name is None:
            return None
        self._headers.pop(name, None)
        if not is_marked:
            return None
        try:
            headers = _declared(found.get("inputSchema", Raw(b"{}")))
        except (InvalidAnnotation, InvalidMessage) as fault:
            return f"the tool {excerpt(name)!r} is left out: {excerpt(str(fault))}"
        if headers:
            self._headers[name] = headers
            if len(self._headers) > MAX_TOOLS:
                del self._headers[next(iter(self._headers))]
        return None

    def _is_news(self, fault: str) -> bool:
        if fault in self._told or len(self._told) >= _MAX_TOLD:
            return False
        self._told.add(fault)
        return True


def _declared(schema: Raw) -> tuple[ParamHeader, ...]:
    """
    @raise InvalidAnnotation: the schema is marked against the rules, or beyond reason.
    """
    if _MARK not in bytes(schema):
        return ()
    if len(memoryview(schema)) > MAX_SCHEMA:
        raise InvalidAnnotation(f"its inputSchema has marks and over {MAX_SCHEMA} bytes")
    headers = declared(jsonrpc.read(schema))
    if len(headers) > MAX_MARKS:
        raise InvalidAnnotation(f"over {MAX_MARKS} of its arguments are marked")
    return headers


def _text_at(top: Mapping[str, Raw], path: Sequence[str]) -> str | None:
    """The argument there as text; L{None} if there is none, or none that a header can say."""
    node = top.get(path[0])
    try:
        for name in path[1:]:
            node = None if node is None else jsonrpc.members(node).get(name)
    except InvalidMessage:
        return None
    if node is None:
        return None
    first = bytes(memoryview(node)[:1])
    if first in (b"{", b"[", b"n"):
        return None
    if first == b'"':
        return jsonrpc.decode_string(node)
    text = bytes(node)
    # As is, since reading it costs more than all else here; other forms of numbers are rare.
    return text.decode("ascii") if _integer.fullmatch(text) else shown(jsonrpc.read(node))
