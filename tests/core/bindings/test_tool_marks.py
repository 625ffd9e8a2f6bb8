"""
Tests for L{mcpbridge.core.bindings.tool_marks}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings import tool_marks
from mcpbridge.core.bindings.tool_marks import ToolMarks
from mcpbridge.core.jsonrpc import read, value


def tool(name: str, **properties: Any) -> dict[str, Any]:
    """A tool with these properties; a string is a mark on a string."""
    schemas = {
        key: {"type": "string", "x-mcp-header": mark} if isinstance(mark, str) else mark
        for key, mark in properties.items()
    }
    return {"name": name, "inputSchema": {"type": "object", "properties": schemas}}


def listed(*tools: Any, **more: Any) -> Raw:
    """The result of a C{tools/list}."""
    return value({"tools": tools, **more})


def learnt(*tools: Any) -> ToolMarks:
    """What is known after this list."""
    marks = ToolMarks()
    marks.learn(listed(*tools))
    return marks


GOOD = tool("good", region="Region", count={"type": "integer", "x-mcp-header": "Count"})
BAD = tool("bad", region="not a token")
PLAIN = tool("plain", text={"type": "string"})


class LearnTests(SynchronousTestCase):
    """What a list says, and what is left of it."""

    def test_nothing_dropped(self) -> None:
        """
        A list in which all is well is the very same object.
        """
        for result in (listed(GOOD, PLAIN), listed(PLAIN), listed(), value({"tools": 1}), value(["x-mcp-header"])):
            marks = ToolMarks()

            kept, told = marks.learn(result)

            self.assertIs(result, kept)
            self.assertEqual((), told)
            self.assertTrue(marks.known)

    def test_dropped(self) -> None:
        """
        Tools that are marked against the rules are left out, and all else stays as it came, to the byte.
        """
        good = b'{"name":"good", "inputSchema":{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}, "x":1e400}'
        bad = b'{"name":"b\\u0061d","inputSchema":{"items":{"x-mcp-header":"A"}}}'
        result = Raw(b'{"nextCursor":"c","tools":[%b,%b,{"name":"plain"}],"ttlMs":5}' % (good, bad))

        kept, told = ToolMarks().learn(result)

        self.assertEqual(b'{"nextCursor":"c","tools":[%b,{"name":"plain"}],"ttlMs":5}' % good, bytes(kept))
        text = "the tool 'bad' is left out: x-mcp-header stands where no plain path of properties leads"
        self.assertEqual([text], told)

    def test_told_once(self) -> None:
        """
        A list is fetched again and again; what is wrong with it is news once.
        """
        marks = learnt(BAD)

        kept, told = marks.learn(listed(BAD, PLAIN))

        self.assertEqual({"tools": [PLAIN]}, read(kept))
        self.assertEqual([], told)

    def test_odd_tools(self) -> None:
        """
        What is no tool at all is not ours to judge.
        """
        result = listed("x-mcp-header", {"name": 1, "inputSchema": BAD["inputSchema"]}, {"x-mcp-header": 1})

        self.assertIs(result, ToolMarks().learn(result)[0])

    def test_beyond_reason(self) -> None:
        """
        Schemas too large or too deep to be looked at, or with more marks than a server takes headers.
        """
        deep: Any = {"x-mcp-header": "A"}
        for _ in range(200):
            deep = {"properties": {"a": deep}}
        large = tool("large", a="A", b={"description": "x" * tool_marks.MAX_SCHEMA})
        many = tool("many", **{f"p{n}": f"P{n}" for n in range(tool_marks.MAX_MARKS + 1)})

        kept, told = ToolMarks().learn(listed({"name": "deep", "inputSchema": deep}, large, many, GOOD))

        self.assertEqual({"tools": [GOOD]}, read(kept))
        self.assertEqual(["'deep'", "'large'", "'many'"], [text.split()[2] for text in told])

    def test_bounded(self) -> None:
        """
        However many tools are listed, so many are remembered: the last ones.
        """
        marks = ToolMarks()

        for start in range(0, tool_marks.MAX_TOOLS + 1000, 1000):
            marks.learn(listed(*(tool(f"t{n}", a="A") for n in range(start, start + 1000))))

        self.assertEqual((), marks.fields("t0", value({"a": "x"})))
        self.assertEqual(((b"Mcp-Param-A", b"x"),), marks.fields("t4999", value({"a": "x"})))
        self.assertEqual(tool_marks.MAX_TOOLS, len(marks._headers))

    def test_too_large(self) -> None:
        """
        A list that is too large to be looked at passes as it is.
        """
        result = listed(BAD, {"name": "x" * tool_marks.MAX_LIST})

        self.assertIs(result, ToolMarks().learn(result)[0])

    @given(st.binary(max_size=40))
    @settings(max_examples=200, derandomize=True, deadline=None)
    def test_never_fails(self, name: bytes) -> None:
        """
        Whatever the mark is, the tool is either kept or left out.
        """
        mark = name.decode("latin-1")

        kept, told = ToolMarks().learn(listed(tool("t", a=mark)))

        self.assertEqual(1, len(read(kept)["tools"]) + len(told))


class FieldsTests(SynchronousTestCase):
    """What calls say."""

    def test_fields(self) -> None:
        """
        Present arguments, encoded where they must be.
        """
        marks = learnt(GOOD)

        table = [
            ({"region": "eu", "count": 42}, ((b"Mcp-Param-Region", b"eu"), (b"Mcp-Param-Count", b"42"))),
            ({"region": " eu"}, ((b"Mcp-Param-Region", b"=?base64?IGV1?="),)),
            ({"region": "\u00e9"}, ((b"Mcp-Param-Region", b"=?base64?w6k=?="),)),
            ({"region": "a\r\nX: y"}, ((b"Mcp-Param-Region", b"=?base64?YQ0KWDogeQ==?="),)),
            ({"region": ""}, ((b"Mcp-Param-Region", b""),)),
            ({"region": None, "count": 42.0}, ((b"Mcp-Param-Count", b"42"),)),
            ({"region": {"a": 1}, "count": [1]}, ()),
            ({"other": "eu"}, ()),
            ([], ()),
        ]
        for arguments, fields in table:
            found = dict(marks.fields("good", value(arguments)))
            self.assertEqual(dict(fields), found, arguments)
        self.assertEqual((), marks.fields("good", None))
        self.assertEqual((), marks.fields("plain", value({"region": "eu"})))

    def test_numbers(self) -> None:
        """
        Every way to write a number has one way to be said; what is no integer is said as nothing, and nothing is too
        long.
        """
        marks = learnt(GOOD)
        table = [
            (b"0", b"0"),
            (b"-0", b"0"),
            (b"-17", b"-17"),
            (b"9007199254740993", b"9007199254740993"),
            (b"1" * 1000, b"1" * 1000),
            (b"1e3", b"1000"),
            (b"1.5", None),
            (b"1e400", None),
            (b"1" * 5000, None),
            (b"true", b"true"),
            (b"null", None),
        ]

        for written, said in table:
            fields = marks.fields("good", Raw(b'{"count":%b}' % written))
            self.assertEqual(() if said is None else ((b"Mcp-Param-Count", said),), fields, written)

    def test_nested(self) -> None:
        """
        Arguments inside of others are found by their path.
        """
        inner = {"type": "object", "properties": {"b": {"type": "boolean", "x-mcp-header": "B"}}}
        marks = learnt(tool("t", a=inner))

        self.assertEqual(((b"Mcp-Param-B", b"true"),), marks.fields("t", value({"a": {"b": True}})))
        for arguments in ({"a": 1}, {"a": {"c": 1}}, {"a": None}):
            self.assertEqual((), marks.fields("t", value(arguments)))

    def test_forgotten(self) -> None:
        """
        A tool that is listed without marks, or with wrong ones, says nothing any more.
        """
        for later in (tool("good"), tool("good", region="")):
            marks = learnt(GOOD)

            marks.learn(listed(later))

            self.assertEqual((), marks.fields("good", value({"region": "eu"})))

    def test_pages(self) -> None:
        """
        Another page takes nothing away.
        """
        marks = learnt(GOOD)

        marks.learn(listed(PLAIN))

        self.assertEqual(((b"Mcp-Param-Region", b"eu"),), marks.fields("good", value({"region": "eu"})))
