"""
What a server answers a client of another revision.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.content import block_for, is_strange
from mcpbridge.core.conversion.schemas import MEMBER
from mcpbridge.core.conversion.shapes import (
    LARGE,
    appended,
    is_array,
    is_large,
    is_object,
    listed,
    mapped,
    opened,
    replaced,
)
from mcpbridge.core.conversion.tools import tools_for
from mcpbridge.core.jsonrpc import InvalidMessage
from mcpbridge.core.revisions import STATELESS, STRUCTURED

#: Results up to this size, in bytes, are opened to see what they lack; in larger ones the bytes are searched.
_SMALL = 4096

_NULL = Raw(b"null")
_NOTHING = Raw(b"[]")

#: Structured content that is no object. In a string these quotes would have backslashes.
_other_value = re.compile(rb'"structuredContent"[ \t]*+:[ \t]*+[^{ \t]')

#: How nearly all results begin.
_begins_with_content = re.compile(rb'\{(?:"isError":(?:false|true),)?"content":\[')

_content = re.compile(rb'"content"[ \t]*+:[ \t]*+\[')

#: Requests that are answered with the result of a tool. What became of a task is one as well: only tools become any.
_OF_TOOLS = frozenset(("tools/call", "tasks/result"))

#: Members that say that the result of a C{tools/call} is none yet: a task, or questions.
_UNFINISHED = frozenset(("task", "taskId", "inputRequests", "requestState"))


def result_for(
    version: str, method: str, result: Raw, *, modern: bool = False, earlier: bool = False, wrapped: bool = False
) -> Raw:
    """
    The result of a request.

    @param version: the revision that the client speaks.
    @param method: of the request.
    @param result: complete, and without the envelope of the stateless era.
    @param modern: the server is of the stateless era, where C{null} is a value. In the session era some servers write
        it for nothing.
    @param earlier: the server speaks an earlier revision than the client: what that let it leave out is put there. For
        a client of the stateless era that is any server of the other.
    @param wrapped: of C{tools/call}: the tool is one of L{mcpbridge.core.conversion.wrapped_tools}, so that the client
        expects its structured content inside of an object whatever it is. Not for clients of the stateless era.
    """
    if method in _OF_TOOLS:
        return _tool_result(version, result, modern, earlier, wrapped)
    if method == "tools/list":
        return tools_for(version, result)
    if method == "prompts/get":
        return _prompt(version, result)
    return result


def _prompt(version: str, result: Raw) -> Raw:
    if version >= STRUCTURED or not is_strange(version, bytes(result)):
        return result

    def convert(message: Raw) -> Raw:
        return replaced(message, "content", lambda block: block_for(version, block))

    return replaced(result, "messages", lambda messages: mapped(messages, convert))


def _tool_result(version: str, result: Raw, modern: bool, earlier: bool, wrapped: bool) -> Raw:
    if earlier or (version >= STATELESS and not modern):
        result = _with_content(result)
    if version >= STATELESS:
        return result
    if version < STRUCTURED:
        payload = bytes(result)
        if is_strange(version, payload):
            result = replaced(result, "content", lambda content: mapped(content, lambda one: block_for(version, one)))
        touched = b'"structuredContent"' in payload
    else:
        touched = wrapped or _other_value.search(result) is not None
    if not touched:
        return result
    found = opened(result)
    structured = found.get("structuredContent")
    if structured is None:
        return result
    before = found.get("content", _NOTHING)
    value, content = _wrapped(structured, modern, wrapped), before
    if is_object(value) and (version < STRUCTURED or value is not structured):
        content = _with_text(before, structured, said=version >= STRUCTURED)
    if value is structured and content is before:
        return result
    return jsonrpc.assemble({**found, "content": content, "structuredContent": value})


def _with_content(result: Raw) -> Raw:
    """Every result of a tool has C{content}; earlier servers leave it out, or write C{null}, where there is none."""
    if _begins_with_content.match(result) is not None:
        return result
    if len(memoryview(result)) > _SMALL and _content.search(result) is not None:
        return result
    found = opened(result)
    if not is_object(result) or found.get("content", _NULL) != _NULL or not _UNFINISHED.isdisjoint(found):
        return result
    return jsonrpc.assemble({**found, "content": _NOTHING})


def _wrapped(structured: Raw, modern: bool, wrapped: bool) -> Raw:
    if not wrapped and (is_object(structured) or (structured == _NULL and not modern)):
        return structured
    return jsonrpc.assemble({MEMBER: structured})


def _with_text(content: Raw, structured: Raw, said: bool) -> Raw:
    """
    Content that says what C{structuredContent} says (server/tools, Structured Content).

    @param said: any text will do, because the client has the structured content as well. It does too where so much is
        structured that it is not read to be compared.
    """
    if not is_array(content):
        return content
    texts = [text for block in listed(content) if (text := _text(block)) is not None]
    if texts and (said or is_large(structured) or _is_among(structured, texts)):
        return content
    block = {"type": Raw(b'"text"'), "text": jsonrpc.value(bytes(structured).decode("utf-8"))}
    return appended(content, jsonrpc.assemble(block))


def _text(block: Raw) -> str | None:
    found = opened(block)
    return jsonrpc.decode_string(found.get("text")) if found.get("type") == Raw(b'"text"') else None


def _is_among(structured: Raw, texts: list[str]) -> bool:
    """Whether one of these texts is that value in JSON, as it is or as it was before it was put inside of an object."""
    try:
        value = jsonrpc.read(structured)
    except InvalidMessage:
        return False
    values = [value]
    if isinstance(value, dict) and list(value) == [MEMBER]:
        values.append(value[MEMBER])
    return any(_says(text, values) for text in texts)


def _says(text: str, values: list[Any]) -> bool:
    if text in values:
        # A string may be said without its quotes.
        return True
    if len(text) > LARGE:
        return False
    try:
        return jsonrpc.read(text.encode("utf-8", "surrogatepass")) in values
    except (InvalidMessage, ValueError, RecursionError):
        return False
