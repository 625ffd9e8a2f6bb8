"""Tests of L{mcpbridge.demo}."""

from __future__ import annotations

import io
import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.demo import MAX_LINE, MAX_NOTE, MAX_NOTES, NOTES_URI, REVISIONS, Demo, serve


class DemoCase(SynchronousTestCase):
    """A server that has been said hello to."""

    revision = REVISIONS[0]

    def setUp(self) -> None:
        self.demo = Demo()
        self.request("initialize", {"protocolVersion": self.revision, "capabilities": {}})

    def send(self, message: object) -> list[Any]:
        """@return: what the server writes."""
        return [json.loads(line) for line in self.demo.receive(json.dumps(message).encode("ascii"))]

    def request(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """@return: the result, or the error's code."""
        [answer] = self.send({"jsonrpc": "2.0", "id": 7, "method": method, "params": params or {}})
        self.assertEqual(7, answer["id"])
        return answer["result"] if "result" in answer else answer["error"]["code"]

    def call(self, tool: str, **arguments: object) -> tuple[str, Any]:
        """@return: the text, and what is structured; for a failed tool, L{None}."""
        result = self.request("tools/call", {"name": tool, "arguments": arguments})
        return result["content"][0]["text"], None if result["isError"] else result.get("structuredContent", {})


class HandshakeTests(DemoCase):
    """C{initialize}."""

    def test_revisions(self) -> None:
        """The client's revision is spoken if it is known, else the newest."""
        answers = {
            asked: self.request("initialize", {"protocolVersion": asked})["protocolVersion"]
            for asked in (*REVISIONS, "2026-07-28", "")
        }

        self.assertEqual(
            {**dict(zip(REVISIONS, REVISIONS, strict=True)), "2026-07-28": REVISIONS[0], "": REVISIONS[0]}, answers
        )

    def test_capabilities(self) -> None:
        """What is claimed is what there is: no list ever changes."""
        result = self.request("initialize", {"protocolVersion": "2025-06-18"})

        self.assertEqual({"tools": {}, "resources": {"subscribe": True}, "prompts": {}}, result["capabilities"])

    def test_before(self) -> None:
        """Before hello there is only C{ping}; unknown methods are unknown even then."""
        self.demo = Demo()

        self.assertEqual(
            [-32600, {}, -32601, -32602],
            [self.request(method) for method in ("tools/list", "ping", "server/discover", "initialize")],
        )

    def test_old_revisions(self) -> None:
        """An old client gets nothing that its revision does not have."""
        found = {}
        for revision in REVISIONS:
            self.request("initialize", {"protocolVersion": revision})
            tool = self.request("tools/list")["tools"][0]
            called = self.request("tools/call", {"name": "echo", "arguments": {"text": "x"}})
            found[revision] = sorted(tool), "structuredContent" in called

        newest = ["annotations", "description", "inputSchema", "name", "outputSchema", "title"]
        self.assertEqual(
            {
                "2025-11-25": (newest, True),
                "2025-06-18": (newest, True),
                "2025-03-26": (["annotations", "description", "inputSchema", "name"], False),
                "2024-11-05": (["description", "inputSchema", "name"], False),
            },
            found,
        )


class ToolsTests(DemoCase):
    """C{tools/call}."""

    def test_echo(self) -> None:
        """It says the text again, also what is no text."""
        self.assertEqual(
            [("ä\ud83d", {"text": "ä\ud83d"}), ("", {"text": ""})],
            [self.call("echo", text=text) for text in ("ä\ud83d", "")],
        )

    def test_add(self) -> None:
        """Whole numbers are exact, sums that no JSON number is are refused."""
        table: list[tuple[Any, Any, str]] = [
            (2, 40, "42"),
            (10**30, 1, "1000000000000000000000000000001"),
            (0.5, 1, "1.5"),
            (1e308, 1e308, "the sum is too large"),
            (10**400, 0.5, "the sum is too large"),
            (True, 1, "a must be a number"),
            (1, "1", "b must be a number"),
        ]

        self.assertEqual([text for _, _, text in table], [self.call("add", a=a, b=b)[0] for a, b, _ in table])

    def test_clock(self) -> None:
        """The time is that of the offset; what is no offset fails the tool, not the request."""
        text, structured = self.call("clock", utc_offset="-03:30")

        self.assertEqual({"time": text}, structured)
        self.assertTrue(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d-03:30", text), text)
        self.assertTrue(self.call("clock")[0].endswith("+00:00"))
        for offset in ("", "2", "+2:00", "+15:00", "+02:60", "+02", "+٠٢:00", 2):
            self.assertIsNone(self.call("clock", utc_offset=offset)[1], offset)

    def test_notes(self) -> None:
        """What is remembered is recalled, over a new hello as well."""
        self.call("remember", name="a", text="one")
        self.request("initialize", {"protocolVersion": self.revision})

        self.assertEqual(
            [
                ("Remembered; 2 notes now.", {"notes": 2}),
                ("one", {"text": "one"}),
                ("a, b", {"names": ["a", "b"]}),
                ("there is no note c", None),
            ],
            [
                self.call("remember", name="b", text="two"),
                self.call("recall", name="a"),
                self.call("recall"),
                self.call("recall", name="c"),
            ],
        )

    def test_bounds(self) -> None:
        """There are only so many notes, and only so long ones."""
        results = [self.call("remember", name=str(number), text="x")[1] for number in range(MAX_NOTES + 1)]

        self.assertEqual(({"notes": MAX_NOTES}, None), (results[-2], results[-1]))
        self.assertIsNotNone(self.call("remember", name="0", text="x" * MAX_NOTE)[1])
        self.assertIsNone(self.call("remember", name="0", text="x" * (MAX_NOTE + 1))[1])
        self.assertIsNone(self.call("remember", name="x" * 201, text="x")[1])

    def test_wrong_calls(self) -> None:
        """A tool that is not there, and arguments that are none, are errors of the protocol."""
        calls: list[dict[str, Any]] = [{}, {"name": "nope"}, {"name": ["echo"]}, {"name": "echo", "arguments": []}]

        self.assertEqual([-32602] * 4, [self.request("tools/call", params) for params in calls])

    def test_missing_arguments(self) -> None:
        """Arguments that do not fit the schema fail the tool, for the model to try again."""
        self.assertEqual(("text must be a string", None), self.call("echo"))


class ResourcesTests(DemoCase):
    """C{resources/...}."""

    def test_read(self) -> None:
        """The notes can be read as a resource."""
        self.call("remember", name="a", text="one")
        [resource] = self.request("resources/list")["resources"]

        [contents] = self.request("resources/read", {"uri": resource["uri"]})["contents"]

        self.assertEqual((NOTES_URI, {"a": "one"}), (contents["uri"], json.loads(contents["text"])))
        self.assertEqual([-32002, -32602], [self.request("resources/read", params) for params in ({"uri": "x"}, {})])
        self.assertEqual({"resourceTemplates": []}, self.request("resources/templates/list"))

    def test_subscription(self) -> None:
        """Whoever subscribed is told of a change, after the answer; whoever did not is not."""
        remember = {"name": "remember", "arguments": {"name": "a", "text": "one"}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": remember}

        before = self.send(message)
        self.request("resources/subscribe", {"uri": NOTES_URI})
        during = self.send(message)
        self.request("resources/unsubscribe", {"uri": NOTES_URI})
        after = self.send(message)

        self.assertEqual((1, 2, 1), (len(before), len(during), len(after)))
        self.assertEqual(
            {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": NOTES_URI}}, during[1]
        )
        self.assertEqual(-32002, self.request("resources/subscribe", {"uri": "x"}))


class PromptsTests(DemoCase):
    """C{prompts/...}."""

    def test_get(self) -> None:
        """The prompt holds the notes and the language asked for."""
        self.call("remember", name="a", text="one")
        [prompt] = self.request("prompts/list")["prompts"]

        result = self.request("prompts/get", {"name": prompt["name"], "arguments": {"language": "German"}})

        text = result["messages"][0]["content"]["text"]
        self.assertTrue(text.startswith("Summarize these notes in German:") and '"a": "one"' in text)
        self.assertEqual(
            [-32602] * 3,
            [
                self.request("prompts/get", params)
                for params in (
                    {"name": "nope"},
                    {"name": prompt["name"], "arguments": 1},
                    {"name": prompt["name"], "arguments": {"language": 1}},
                )
            ],
        )


class MessagesTests(DemoCase):
    """What is no request, or none that can be understood."""

    def test_broken(self) -> None:
        """Each gets an error with the id, as far as there is one."""
        table: list[tuple[bytes, Any, int]] = [
            (b"{", None, -32700),
            (b"\xff", None, -32700),
            (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":NaN}', None, -32700),
            (b"[" * 100_000, None, -32700),
            (b"1", None, -32600),
            (b"[]", None, -32600),
            (b'{"id":1,"method":"ping"}', 1, -32600),
            (b'{"jsonrpc":"2.0","id":"a"}', "a", -32600),
            (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', None, -32600),
            (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', None, -32600),
            (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', 1, -32602),
            (b'{"jsonrpc":"2.0","id":1,"method":"nope"}', 1, -32601),
        ]

        answers = [[json.loads(line) for line in self.demo.receive(line)] for line, _, _ in table]

        self.assertEqual(
            [(identity, code) for _, identity, code in table],
            [(answer["id"], answer["error"]["code"]) for [answer] in answers],
        )

    def test_silent(self) -> None:
        """Notifications and answers get no answer."""
        self.assertEqual(
            [[], [], []],
            [
                self.send({"jsonrpc": "2.0", "method": "notifications/initialized"}),
                self.send({"jsonrpc": "2.0", "method": "nope"}),
                self.send({"jsonrpc": "2.0", "id": 1, "result": {}}),
            ],
        )

    def test_batch(self) -> None:
        """Only the revision that has batches gets them answered, in one line."""
        batch = [{"jsonrpc": "2.0", "id": 1, "method": "ping"}, {"jsonrpc": "2.0", "method": "x"}, 5]

        [refused] = self.send(batch)
        self.request("initialize", {"protocolVersion": "2025-03-26"})
        [answered] = self.send(batch)

        self.assertEqual(-32600, refused["error"]["code"])
        self.assertEqual([1, None], [answer["id"] for answer in answered])

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["jsonrpc", "id", "method", "params", "name", "arguments", "uri", "text"]),
                    inner,
                    max_size=5,
                )
            ),
        ),
        st.sampled_from(["tools/call", "resources/read", "prompts/get", "initialize", "ping", "tools/list"]),
    )
    def test_any_params(self, params: object, method: str) -> None:
        """Whatever a client sends, it gets exactly one answer with its id."""
        answers = self.send({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})

        self.assertEqual([7], [answer["id"] for answer in answers if "method" not in answer])


class ServeTests(SynchronousTestCase):
    """L{serve}."""

    def test_lines(self) -> None:
        """A line in, a line out; blank lines are none, a last line needs no end."""
        ping = b'{"jsonrpc":"2.0","id":%d,"method":"ping"}'
        sink = io.BytesIO()

        serve(io.BytesIO(ping % 1 + b"\n\r\n  \n" + ping % 2), sink)

        self.assertEqual([1, 2], [json.loads(line)["id"] for line in sink.getvalue().splitlines()])

    def test_overlong_line(self) -> None:
        """A line without an end is refused in bounded memory; the next one is taken."""
        sink = io.BytesIO()

        serve(io.BytesIO(b"x" * (2 * MAX_LINE + 5) + b'\n{"jsonrpc":"2.0","id":1,"method":"ping"}\n'), sink)

        self.assertEqual([None, 1], [json.loads(line)["id"] for line in sink.getvalue().splitlines()])

    def test_nobody_reads(self) -> None:
        """A client that is gone ends the server without a word."""

        class Gone(io.BytesIO):
            def flush(self) -> None:
                raise BrokenPipeError

        serve(io.BytesIO(b"{}\n" * 5), Gone())
