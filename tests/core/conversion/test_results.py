"""
Tests for L{mcpbridge.core.conversion.results}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_types import methods
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.results import result_for
from mcpbridge.core.conversion.shapes import LARGE
from mcpbridge.core.eras import legacy, modern
from mcpbridge.core.eras.modern.envelope import close_result

VERSIONS = (*modern.VERSIONS, *legacy.VERSIONS)
NEWEST = VERSIONS[0]

#: Clients that know no structured content.
PLAIN = ("2025-03-26", "2024-11-05")

TEXT = {"type": "text", "text": "t"}
AUDIO = {"type": "audio", "data": "UklGRg==", "mimeType": "audio/wav"}
LINK = {"type": "resource_link", "uri": "file:///a", "name": "a"}


def called(version: str, result: Any, **details: Any) -> Any:
    """The result of a tool for a client of this revision."""
    return jsonrpc.read(result_for(version, "tools/call", jsonrpc.value(result), **details))


def texts(result: Any) -> list[str]:
    """The texts in a result."""
    return [block["text"] for block in result["content"] if block["type"] == "text"]


class ContentTests(SynchronousTestCase):
    """Blocks in results."""

    def test_tools(self) -> None:
        """The blocks that a client does not know are converted; the others stay as they are."""
        result = Raw(b'{"content":[{"type": "text","text":"t"},{"type":"resource_link","uri":"x:y"}],"isError": true}')

        for version in PLAIN:
            self.assertEqual(
                Raw(b'{"content":[{"type": "text","text":"t"},{"type":"text","text":"<x:y>"}],"isError":true}'),
                result_for(version, "tools/call", result),
            )

    def test_prompts(self) -> None:
        """So are those in the messages of a prompt."""
        result = {
            "description": "d",
            "messages": [{"role": "user", "content": TEXT}, {"role": "assistant", "content": LINK}],
        }

        found = jsonrpc.read(result_for("2024-11-05", "prompts/get", jsonrpc.value(result)))

        self.assertEqual(
            {
                "description": "d",
                "messages": [
                    {"role": "user", "content": TEXT},
                    {"role": "assistant", "content": {"type": "text", "text": "a <file:///a>"}},
                ],
            },
            found,
        )

    def test_none(self) -> None:
        """A result of a tool has content, be it none; what a server leaves out or writes as null is put there."""
        results: list[Any] = [{}, {"content": None}, {"isError": False}, {"structuredContent": {"content": 1}}]
        for result in results:
            for version in VERSIONS[:-2]:
                self.assertEqual({**result, "content": []}, called(version, result, earlier=True))

    def test_none_of_many(self) -> None:
        """Large results too, which are not opened to see that they have it."""
        filling = "x" * 10_000

        for before, after in (({"x": filling}, []), ({"x": filling, "content": [TEXT]}, [TEXT])):
            self.assertEqual({"x": filling, "content": after}, called(NEWEST, before))

    def test_none_among_equals(self) -> None:
        """A server that is not known to be of an earlier revision answers as it likes."""
        for result in (Raw(b"{ }"), Raw(b'{"x": 1}'), Raw(b'{"content":null }')):
            self.assertTrue(all(result_for(version, "tools/call", result) is result for version in legacy.VERSIONS))
            self.assertIs(result, result_for(NEWEST, "tools/call", result, modern=True))

    def test_unfinished(self) -> None:
        """What is no result yet gets none."""
        results: list[Any] = [{"task": {"taskId": "1"}}, {"taskId": "1"}, {"inputRequests": {}}, {"requestState": "s"}]
        for result in results:
            for version in VERSIONS:
                self.assertEqual(result, called(version, result, earlier=True))

    def test_odd(self) -> None:
        """Content that is none is left as it is."""
        results: list[Any] = [{"content": {}}, {"content": "resource_link"}, {"content": [1, ["resource_link"]]}]
        for result in results:
            for version in VERSIONS:
                self.assertEqual(result, called(version, result))


class StructuredTests(SynchronousTestCase):
    """Structured content: an object for the session era, anything for the stateless one."""

    def test_values(self) -> None:
        """Clients of the session era get a value that is no object inside of one; their schema has it there."""
        for value in ([1, 2], [], "text", 0, 12, False, True):
            for version in legacy.VERSIONS[:2]:
                self.assertEqual(
                    {"content": [TEXT], "structuredContent": {"result": value}},
                    called(version, {"content": [TEXT], "structuredContent": value}),
                )

    def test_objects(self) -> None:
        """Objects they get as they are, unless the tool's schema allows for other things."""
        result = {"content": [TEXT], "structuredContent": {"a": 1}}

        for version in legacy.VERSIONS[:2]:
            self.assertEqual(result, called(version, result))
            self.assertEqual({"result": {"a": 1}}, called(version, result, wrapped=True)["structuredContent"])

    def test_null(self) -> None:
        """Null is a value where it comes from a server that has such values."""
        result = {"content": [TEXT], "structuredContent": None}

        for version in legacy.VERSIONS:
            self.assertEqual(result, called(version, result))
            self.assertEqual({"result": None}, called(version, result, modern=True)["structuredContent"])
            self.assertEqual({"result": None}, called(version, result, wrapped=True)["structuredContent"])

    def test_stateless(self) -> None:
        """Clients of the stateless era get the value."""
        for value in ([1], {"a": 1}, None, 0):
            result = jsonrpc.value({"content": [], "structuredContent": value})

            self.assertIs(result, result_for(NEWEST, "tools/call", result, modern=True))

    def test_said(self) -> None:
        """Where there is no text at all, the value is said in one: not all clients show structured content."""
        for version in legacy.VERSIONS:
            found = called(version, {"content": [], "structuredContent": [1, "ä"]})

            self.assertEqual(['[1,"\\u00e4"]'], texts(found))

    def test_said_to_older_ones(self) -> None:
        """Clients before 2025-06-18 see nothing but content, so a text says exactly what is structured."""
        for version in PLAIN:
            found = called(version, {"content": [TEXT], "structuredContent": {"a": [1]}})

            self.assertEqual(
                {"content": [TEXT, {"type": "text", "text": '{"a":[1]}'}], "structuredContent": {"a": [1]}}, found
            )

    def test_said_already(self) -> None:
        """What one of the texts says is not said again, whatever the spelling."""
        table: list[tuple[Any, str]] = [
            ({"a": 1, "b": 2}, '{ "b": 2, "a": 1 }'),
            ({"result": [1]}, "[1]"),
            ([1], "[1]"),
            ("a text", "a text"),
            ("a text", '"a text"'),
            (7, "7"),
        ]

        for value, text in table:
            found = called("2024-11-05", {"content": [{"type": "text", "text": text}], "structuredContent": value})
            self.assertEqual([text], texts(found))

    def test_text_of_no_use(self) -> None:
        """A text that is no JSON, or none that can be read, says something else."""
        for text in ("", "{", "[" * 100_000, "\ud800", "[" * 300 + "]" * 300):
            found = called("2024-11-05", {"content": [{"type": "text", "text": text}], "structuredContent": {"a": 1}})

            self.assertEqual([text, '{"a":1}'], texts(found))

    def test_without_content(self) -> None:
        """A value and nothing else becomes both."""
        self.assertEqual(
            {"content": [{"type": "text", "text": "[1]"}], "structuredContent": {"result": [1]}},
            called("2025-06-18", {"structuredContent": [1]}, earlier=True),
        )

    def test_in_a_text(self) -> None:
        """A text that speaks of it is no structured content."""
        result = Raw(b'{"content":[{"type":"text","text":"{\\"structuredContent\\":[]}"}]}')

        self.assertTrue(all(result_for(version, "tools/call", result) is result for version in VERSIONS))

    def test_much(self) -> None:
        """So much that it is not read is wrapped all the same, and said unless something is."""
        much = b"[" + b"0," * LARGE + b"0]"
        silent = Raw(b'{"content":[],"structuredContent":' + much + b"}")
        spoken = Raw(b'{"content":[{"type":"text","text":"t"}],"structuredContent":' + much + b"}")

        for version in legacy.VERSIONS:
            self.assertEqual(
                Raw(
                    b'{"content":[{"type":"text","text":"' + much + b'"}],"structuredContent":{"result":' + much + b"}}"
                ),
                result_for(version, "tools/call", silent),
            )
            self.assertEqual(
                Raw(b'{"content":[{"type":"text","text":"t"}],"structuredContent":{"result":' + much + b"}}"),
                result_for(version, "tools/call", spoken),
            )

    def test_beside_no_content(self) -> None:
        """Content that is none cannot say anything more."""
        result = {"content": "c", "structuredContent": [1]}

        self.assertEqual({"content": "c", "structuredContent": {"result": [1]}}, called("2024-11-05", result))

    def test_large_text(self) -> None:
        """A text is not read to be compared with something much smaller than it."""
        text = '{"a":1}' + " " * LARGE

        found = called("2024-11-05", {"content": [{"type": "text", "text": text}], "structuredContent": {"a": 1}})

        self.assertEqual([text, '{"a":1}'], texts(found))

    def test_too_deep(self) -> None:
        """What cannot be read is told as it is."""
        deep = '{"a":' * 50_000 + "1" + "}" * 50_000
        result = jsonrpc.assemble(
            {"structuredContent": Raw(deep.encode()), "content": jsonrpc.value([{"type": "text", "text": deep}])}
        )

        found = bytes(result_for("2024-11-05", "tools/call", result))

        self.assertIn(b'"structuredContent":' + deep.encode(), found)

    def test_bytes(self) -> None:
        """Numbers are not read."""
        result = Raw(b'{"content":[],"structuredContent":[ 1e400, 12345678901234567890123 ],"_meta": {"x": 1.0} }')

        found = bytes(result_for("2025-11-25", "tools/call", result))

        self.assertIn(b'{"result":[ 1e400, 12345678901234567890123 ]}', found)
        self.assertIn(b'{"x": 1.0}', found)

    def test_deep(self) -> None:
        """What is nested deep is said as it is."""
        deep = Raw(b'{"content":[],"structuredContent":' + b"[" * 500 + b"]" * 500 + b"}")

        for version in legacy.VERSIONS:
            self.assertIn(b'{"result":[[[', bytes(result_for(version, "tools/call", deep)))


class OtherTests(SynchronousTestCase):
    """All the rest."""

    def test_methods(self) -> None:
        """Results of other methods are nobody's business."""
        result = Raw(b'{"content":[{"type":"audio","data":""}],"structuredContent":1,"tools":[{"execution":1}] }')

        for method in ("resources/read", "completion/complete", "initialize", "tasks/get", "x/unknown"):
            self.assertTrue(all(result_for(version, method, result) is result for version in VERSIONS))

    def test_task(self) -> None:
        """What became of a task is the result of a tool."""
        result = Raw(b'{"content":[],"structuredContent":1}')

        found = [
            result_for(version, method, result, modern=True)
            for version in VERSIONS
            for method in ("tools/call", "tasks/result")
        ]

        self.assertEqual(found[::2], found[1::2])
        self.assertIn(b'{"result":1}', bytes(found[-1]))

    def test_untouched(self) -> None:
        """What every revision can say comes back as the very object that it was."""
        for text in (
            b'{"content":[{"type":"text","text":"t"}] }',
            b'{"isError":false,"content":[ ]}',
            b'{"_meta":{"progress":1e400},"content":[{"type":"image","data":"","mimeType":""}]}',
            b'{"content":[{"type":"x-new","of":{"content":[]}}],"isError":true}',
        ):
            result = Raw(text)

            self.assertTrue(all(result_for(version, "tools/call", result) is result for version in VERSIONS))

    def test_tools(self) -> None:
        """Lists of tools are converted elsewhere."""
        result = jsonrpc.value({"tools": [{"name": "a", "execution": {}}]})

        self.assertEqual(Raw(b'{"tools":[{"name":"a"}]}'), result_for(NEWEST, "tools/list", result))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('ab\\"ä', max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "result", "content"]), inner, max_size=2)
    ),
    max_leaves=5,
)

_BLOCKS = st.sampled_from(
    [
        TEXT,
        AUDIO,
        LINK,
        LINK | {"description": "d", "annotations": {"priority": 0.5}},
        {"type": "image", "data": "", "mimeType": "image/png"},
        {"type": "resource", "resource": {"uri": "x:y", "text": '"audio"'}},
        {"type": "text", "text": '{"a":1}'},
    ]
)

_RESULTS = st.fixed_dictionaries(
    {"content": st.lists(_BLOCKS, max_size=3)},
    optional={"structuredContent": _JSON, "isError": st.booleans(), "_meta": st.just({"x/y": 1})},
)


class PropertyTests(SynchronousTestCase):
    """Whatever a tool of the newest revision may answer."""

    @settings(max_examples=150, derandomize=True, deadline=None)
    @given(_RESULTS)
    def test_valid(self, result: Any) -> None:
        """It is valid for every client, and of no kind that its revision does not know."""
        for version in legacy.VERSIONS:
            found = called(version, result, modern=True)
            methods.validate_server_result("tools/call", version, found)
            kinds = {block["type"] for block in found["content"]}
            self.assertTrue(version >= "2025-06-18" or "resource_link" not in kinds)
            self.assertTrue(version >= "2025-03-26" or "audio" not in kinds)

    @settings(max_examples=150, derandomize=True, deadline=None)
    @given(_RESULTS)
    def test_newest(self, result: Any) -> None:
        """For a client of the newest revision it is the very same, and valid in its envelope."""
        told = jsonrpc.value(result)

        self.assertIs(told, result_for(NEWEST, "tools/call", told, modern=True))
        methods.validate_server_result("tools/call", NEWEST, jsonrpc.read(close_result("tools/call", told, None, None)))

    @settings(max_examples=150, derandomize=True, deadline=None)
    @given(_RESULTS, st.booleans(), st.booleans())
    def test_twice(self, result: Any, modern: bool, earlier: bool) -> None:
        """Once it has been converted, nothing is left to do."""
        for version in VERSIONS:
            once = result_for(version, "tools/call", jsonrpc.value(result), modern=modern, earlier=earlier)

            self.assertIs(once, result_for(version, "tools/call", once, modern=modern, earlier=earlier))

    @settings(max_examples=150, derandomize=True, deadline=None)
    @given(st.binary(max_size=40) | _JSON)
    def test_anything(self, value: Any) -> None:
        """Whatever an object holds where something else should be, nothing breaks."""
        found = value.decode("latin-1") if isinstance(value, bytes) else value

        for member in ("content", "structuredContent", "messages", "tools"):
            for method in ("tools/call", "tools/list", "prompts/get"):
                for version in VERSIONS:
                    result = jsonrpc.value({member: found, "audio": '"resource_link"', "outputSchema": [found]})
                    jsonrpc.read(result_for(version, method, result, wrapped=True))
