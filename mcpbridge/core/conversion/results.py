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
from mcpbridge.core.conversion.shapes import is_array, is_object, listed, mapped, opened, replaced
from mcpbridge.core.conversion.tools import tools_for
from mcpbridge.core.jsonrpc import InvalidMessage
from mcpbridge.core.revisions import STATELESS, STRUCTURED

#: Results up to this size, in bytes, are opened to see what they lack; in larger ones the bytes are searched.
_SMALL = 4096

_NULL = Raw(b"null")

#: Structured content that is no object. In a string these quotes would have backslashes.
_other_value = re.compile(rb'"structuredContent"[ \t]*+:[ \t]*+[^{ \t]')

_content = re.compile(rb'"content"[ \t]*+:[ \t]*+\[')

#: Members that say that the result of a C{tools/call} is none yet: a task, or questions.
_UNFINISHED = frozenset(("task", "taskId", "inputRequests", "requestState"))


def result_for(version: str, method: str, result: Raw, *, wrapped: bool = False, modern: bool = False) -> Raw:
    """
    The result of a request.

    @param version: the revision that the client speaks.
    @param method: of the request.
    @param result: complete, and without the envelope of the stateless era.
    @param wrapped: of C{tools/call}: the tool is one of L{mcpbridge.core.conversion.wrapped_tools}, so that the client
        expects its structured content inside of an object whatever it is. Not for clients of the stateless era.
    @param modern: the server is of the stateless era, where C{null} is a value. In the session era some servers write
        it for nothing.
    """
    if method == "tools/call":
        return _tool_result(version, result, wrapped, modern)
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


def _tool_result(version: str, result: Raw, wrapped: bool, modern: bool) -> Raw:
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
    content = found["content"]
    value = _wrapped(structured, wrapped, modern)
    if is_object(value) and (version < STRUCTURED or value is not structured):
        content = _with_text(content, structured, said=version >= STRUCTURED)
    if value is structured and content is found["content"]:
        return result
    found["structuredContent"], found["content"] = value, content
    return jsonrpc.assemble(found)


def _with_content(result: Raw) -> Raw:
    """Every result of a tool has C{content}; some servers leave it out, or write C{null}, where there is none."""
    view = memoryview(result)
    if view[:12] == b'{"content":[' or (len(view) > _SMALL and _content.search(view) is not None):
        return result
    found = opened(result)
    if not is_object(result) or found.get("content", _NULL) != _NULL or not _UNFINISHED.isdisjoint(found):
        return result
    return jsonrpc.assemble({**found, "content": Raw(b"[]")})


def _wrapped(structured: Raw, wrapped: bool, modern: bool) -> Raw:
    if not wrapped and (is_object(structured) or (structured == _NULL and not modern)):
        return structured
    return jsonrpc.assemble({MEMBER: structured})


def _with_text(content: Raw, structured: Raw, said: bool) -> Raw:
    """
    Content that says what C{structuredContent} says (server/tools, Structured Content).

    @param said: any text will do, because the client has the structured content as well.
    """
    if not is_array(content):
        return content
    blocks = listed(content)
    texts = [text for block in blocks if (text := _text(block)) is not None]
    if (said and texts) or _is_among(structured, texts):
        return content
    block = {"type": Raw(b'"text"'), "text": jsonrpc.value(bytes(structured).decode("utf-8"))}
    return jsonrpc.array([*blocks, jsonrpc.assemble(block)])


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
    try:
        return jsonrpc.read(text.encode("utf-8", "surrogatepass")) in values
    except (InvalidMessage, ValueError):
        return False
