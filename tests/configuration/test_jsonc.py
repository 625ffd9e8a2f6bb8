"""Tests of L{mcpbridge.configuration.jsonc}."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.jsonc import Members, blanked, loads

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
_flags: st.SearchStrategy[bool] = st.booleans()
_noise: st.SearchStrategy[str] = st.sampled_from(
    ["", " ", "\n", '// a ] } , " comment\n', '/* , ] } " // \n */', "\t/**/"]
)


def _written(value: object, draw: st.DataObject) -> str:
    """C{value} as a person might write it: noise between all tokens, commas at the ends."""

    def noise() -> str:
        return draw.draw(_noise)

    match value:
        case dict():
            members = [f"{json.dumps(key)}{noise()}:{_written(item, draw)}" for key, item in value.items()]
            body = ("," + noise()).join(members) + ("," if bool(members) and draw.draw(_flags) else "")
            return noise() + "{" + noise() + body + noise() + "}" + noise()
        case list():
            items = [_written(item, draw) for item in value]
            body = ",".join(items) + (noise() + "," if bool(items) and draw.draw(_flags) else "")
            return noise() + "[" + noise() + body + noise() + "]" + noise()
        case _:
            return noise() + json.dumps(value) + noise()


class LoadsTests(SynchronousTestCase):
    """L{loads}."""

    def test_comments_and_trailing_commas(self) -> None:
        """Both kinds of comments and commas before a closing bracket are no part of the document."""
        text = '{ // one\n "a": [1, /* two */ 2, ], "b": {"c": null,},\n}'

        value = loads(text)

        self.assertEqual({"a": [1, 2], "b": {"c": None}}, value)

    def test_strings_are_left_alone(self) -> None:
        """What looks like a comment or a trailing comma inside a string is text."""
        value = loads(r'{"url": "https://x/*y*/", "a": ",]", "b": "\"//\\", "c": "\\"}')

        self.assertEqual({"url": "https://x/*y*/", "a": ",]", "b": '"//\\', "c": "\\"}, value)

    def test_stray_commas(self) -> None:
        """Only a comma after a value is a trailing one."""
        for text in ("[,]", "{,}", "[1,,]", "[1,,2]", ",", "[1],"):
            self.assertRaises(ValueError, loads, text)

    def test_place_of_a_mistake(self) -> None:
        """Lines and columns are those of the file as written."""
        error = self.assertRaises(ValueError, loads, '{\n// comment\n/* two\nlines */ "a": secret\n}')

        self.assertEqual("line 4, column 15: Expecting value", str(error))

    def test_endless_comment(self) -> None:
        """A comment without an end is told with the line where it begins."""
        error = self.assertRaises(ValueError, loads, '{\n  /* "a": 1}')

        self.assertEqual("line 2: this comment is never closed", str(error))

    def test_no_json(self) -> None:
        """What Python takes besides JSON is refused, and so is what nests without end."""
        for text in ("NaN", "[Infinity]", "-Infinity", "[" * 100_000, "", "'a'", "1" * 5000, '"\\'):
            self.assertRaises(ValueError, loads, text)

    def test_duplicates(self) -> None:
        """The names that an object holds twice are kept."""
        value = loads('{"a": 1, "b": {"c": 1, "c": 2, "d": 3}, "a": 2}')

        self.assertEqual(({"a": 2, "b": {"c": 2, "d": 3}}, ("a",), ("c",)), (value, *map(_twice, (value, value["b"]))))

    @settings(max_examples=150, derandomize=True, deadline=None)
    @given(_values, st.data())
    def test_any_noise(self, value: object, draw: st.DataObject) -> None:
        """Whatever is put between the tokens, the same value comes out."""
        text = _written(value, draw)

        self.assertEqual(value, loads(text))

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(st.text(st.sampled_from('"\\/*,]}[{ \n\rax1:'), max_size=40))
    def test_any_text(self, text: str) -> None:
        """Whatever comes in, what comes out has the same length and lines, or it is a L{ValueError}."""
        try:
            blank = blanked(text)
        except ValueError:
            return

        self.assertEqual((len(text), text.splitlines(True)[1:2] == []), (len(blank), blank.splitlines(True)[1:2] == []))

    def test_linear(self) -> None:
        """A megabyte of quotes that never close, or of commas, takes one pass."""
        for text in ('"\\' * 500_000, "[" + "1, " * 300_000 + "]", "/" * 1_000_000, "[" + " " * 1_000_000 + "]"):
            self.assertEqual(len(text), len(blanked(text)))


def _twice(value: object) -> tuple[str, ...]:
    return value.duplicates if isinstance(value, Members) else ()
