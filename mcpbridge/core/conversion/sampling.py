"""
What a server asks the client's model, and what that says (client/sampling).

Before 2025-11-25 a message has one block of content, and the model has no tools.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import is_array, is_large, listed, opened
from mcpbridge.core.conversion.unsayable import Unsayable
from mcpbridge.core.revisions import AUDIO, SAMPLING_TOOLS

#: Kinds of content that only a model with tools says or is told.
_OF_TOOLS: Final = frozenset(("tool_use", "tool_result"))

_TEXT: Final = Raw(b'"text"')


def sampling_for(version: str, params: Raw) -> Raw:
    """
    The params of C{sampling/createMessage}.

    @param version: the revision that the client speaks.
    @raise Unsayable: the client knows no such question.
    """
    if version >= SAMPLING_TOOLS:
        return params
    found = opened(params)
    if listed(found.get("tools")):
        raise Unsayable("give its model tools")
    kept = {name: value for name, value in found.items() if name not in ("tools", "toolChoice")}
    messages = listed(found.get("messages"))
    told = [said for message in messages for said in _separate(version, message)]
    changed = len(told) != len(messages) or any(new is not old for new, old in zip(told, messages, strict=True))
    if changed:
        kept["messages"] = jsonrpc.array(told)
    return jsonrpc.assemble(kept) if changed or len(kept) != len(found) else params


def _separate(version: str, message: Raw) -> Iterator[Raw]:
    """
    One message for each block of content. A model takes several messages of one role in turn for one with several
    blocks.
    """
    found = opened(message)
    content = found.get("content")
    if content is None or not is_array(content):
        _check(version, [] if content is None else [opened(content)])
        yield message
        return
    blocks = listed(content)
    _check(version, map(opened, blocks))
    for block in blocks:
        yield jsonrpc.assemble({**found, "content": block})


def _check(version: str, blocks: Iterable[Mapping[str, Raw]]) -> None:
    for block in blocks:
        kind = jsonrpc.decode_string(block.get("type"))
        if kind in _OF_TOOLS:
            raise Unsayable("tell its model of the use of tools")
        if kind == "audio" and version < AUDIO:
            raise Unsayable("give its model audio")


def sampled_for(version: str, answer: Raw) -> Raw:
    """
    The result of C{sampling/createMessage}.

    @param version: the revision that the server speaks.
    @raise Unsayable: the server takes no such result.
    """
    if version >= SAMPLING_TOOLS:
        return answer
    found = opened(answer)
    content = found.get("content")
    if content is None or not is_array(content):
        return answer
    blocks = listed(content)
    if not blocks and is_large(content):
        raise Unsayable("take so much content")
    return jsonrpc.assemble({**found, "content": _joined(blocks)})


def _joined(blocks: list[Raw]) -> Raw:
    """One block that says the same as several."""
    if len(blocks) == 1:
        return blocks[0]
    texts = []
    for block in blocks:
        found = opened(block)
        text = jsonrpc.decode_string(found.get("text"))
        if found.get("type") != _TEXT or text is None:
            raise Unsayable("take several blocks of content that are not all text")
        texts.append(text)
    # A model breaks its text into blocks anywhere.
    return jsonrpc.assemble({"type": _TEXT, "text": jsonrpc.value("".join(texts))})
