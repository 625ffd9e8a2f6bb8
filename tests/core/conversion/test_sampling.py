"""
Tests for L{mcpbridge.core.conversion.sampling}.
"""

from __future__ import annotations

from typing import Any

from mcp_types import methods
from msgspec import Raw
from pydantic import TypeAdapter
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.sampling import sampled_for, sampling_for
from mcpbridge.core.conversion.shapes import LARGE
from mcpbridge.core.conversion.unsayable import Unsayable
from mcpbridge.core.eras import legacy, modern

VERSIONS = (*modern.VERSIONS, *legacy.VERSIONS)
OLDER = ("2025-06-18", "2025-03-26", "2024-11-05")

A = {"type": "text", "text": "a"}
B = {"type": "text", "text": "b"}
IMAGE = {"type": "image", "data": "", "mimeType": "image/png"}
AUDIO = {"type": "audio", "data": "", "mimeType": "audio/wav"}
USE = {"type": "tool_use", "id": "1", "name": "t", "input": {}}


def question(*contents: Any, **others: Any) -> dict[str, Any]:
    """What a model is asked: messages with these contents."""
    return {"messages": [{"role": "user", "content": content} for content in contents], "maxTokens": 1, **others}


def asked(version: str, params: Any) -> Any:
    """The same for a client of this revision."""
    return jsonrpc.read(sampling_for(version, jsonrpc.value(params)))


def answered(version: str, content: Any) -> Any:
    """The content of a model's answer, for a server of this revision."""
    answer = {"role": "assistant", "model": "m", "content": content}
    found = jsonrpc.read(sampled_for(version, jsonrpc.value(answer)))
    assert {name: value for name, value in found.items() if name != "content"} == {"role": "assistant", "model": "m"}
    return found["content"]


class QuestionTests(SynchronousTestCase):
    """What a server asks."""

    def test_separate(self) -> None:
        """A message of several blocks is as many messages of one."""
        for version in OLDER:
            self.assertEqual(question(A, A, IMAGE, B), asked(version, question(A, [A, IMAGE], [], [B])))

    def test_bytes(self) -> None:
        """Everything else keeps its bytes."""
        params = Raw(b'{"messages":[{"role":"user","content":[{"type": "text"}],"_meta":{ }},{"role": "user"}],"x": 1}')

        self.assertEqual(
            Raw(b'{"messages":[{"role":"user","content":{"type": "text"},"_meta":{ }},{"role": "user"}],"x":1}'),
            sampling_for("2025-06-18", params),
        )

    def test_tools(self) -> None:
        """Models without tools cannot be asked to use some, or told that they have."""
        for params in (question(A, tools=[{"name": "t"}]), question([USE]), question({"type": "tool_result"})):
            for version in OLDER:
                self.assertRaises(Unsayable, asked, version, params)

    def test_no_tools(self) -> None:
        """Tools that are none are not missed."""
        for version in OLDER:
            self.assertEqual(question(A), asked(version, question(A, tools=[], toolChoice={"mode": "none"})))

    def test_audio(self) -> None:
        """The first revision has no sounds for models."""
        self.assertEqual(question(AUDIO), asked("2025-03-26", question([AUDIO])))
        for content in (AUDIO, [AUDIO], [A, AUDIO]):
            self.assertRaises(Unsayable, asked, "2024-11-05", question(content))

    def test_untouched(self) -> None:
        """What a client understands it gets as it came."""
        plain, new = jsonrpc.value(question(A, IMAGE)), jsonrpc.value(question([A, B], tools=[{"name": "t"}]))

        self.assertTrue(all(sampling_for(version, plain) is plain for version in VERSIONS))
        self.assertTrue(all(sampling_for(version, new) is new for version in VERSIONS[:2]))

    def test_odd(self) -> None:
        """What is no question is left as it is."""
        for params in ({}, {"messages": 1}, {"messages": [1, None, {"content": 1}], "tools": 1}):
            expected = {name: value for name, value in params.items() if name != "tools"}
            self.assertEqual(expected, asked("2025-06-18", params))

    def test_valid(self) -> None:
        """In the judgement of the official types."""
        for version in legacy.VERSIONS:
            message = {"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage"}
            request = methods.SERVER_REQUESTS["sampling/createMessage", version]
            TypeAdapter(request).validate_python(message | {"params": asked(version, question([A, IMAGE], B))})

    def test_twice(self) -> None:
        """What has been converted needs no conversion."""
        for version in VERSIONS:
            once = sampling_for(version, jsonrpc.value(question([A, B], [A])))

            self.assertIs(once, sampling_for(version, once))


class AnswerTests(SynchronousTestCase):
    """What a model says."""

    def test_one(self) -> None:
        """A server that takes one block gets the only one."""
        for version in OLDER:
            self.assertEqual([A, IMAGE], [answered(version, [A]), answered(version, [IMAGE])])

    def test_texts(self) -> None:
        """Several texts are one; a model that says nothing has said an empty one."""
        for version in OLDER:
            self.assertEqual(
                [{"type": "text", "text": "abb"}, {"type": "text", "text": ""}],
                [answered(version, [A, B, B]), answered(version, [])],
            )

    def test_much(self) -> None:
        """What is too much to look at is not cut short."""
        much = Raw(b'{"content":[' + b"0," * LARGE + b"0]}")

        self.assertRaises(Unsayable, sampled_for, "2025-06-18", much)

    def test_much_is_asked(self) -> None:
        """A question that is too much to look at is asked as it is."""
        much = Raw(b'{"messages":[{"content":[' + b"0," * LARGE + b"0]}]}")

        self.assertIs(much, sampling_for("2025-06-18", much))

    def test_mixed(self) -> None:
        """Texts and images are not."""
        for version in OLDER:
            self.assertRaises(Unsayable, answered, version, [A, IMAGE])

    def test_untouched(self) -> None:
        """What a server understands it gets as it came."""
        one, several = jsonrpc.value({"content": A}), jsonrpc.value({"content": [A, USE]})

        self.assertTrue(all(sampled_for(version, one) is one for version in VERSIONS))
        self.assertTrue(all(sampled_for(version, several) is several for version in VERSIONS[:2]))

    def test_valid(self) -> None:
        """In the judgement of the official types."""
        for version in legacy.VERSIONS:
            answer = {"role": "assistant", "model": "m", "content": answered(version, [A, B])}
            methods.validate_client_result("sampling/createMessage", version, answer)
