"""
Tests of L{mcpbridge.core.oauth.documents}.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.documents import (
    MAX_LIST,
    MAX_TEXT,
    json_object,
    list_member,
    number_member,
    text_member,
)


class DocumentsTests(SynchronousTestCase):
    """Objects, and what is used of them."""

    def test_objects(self) -> None:
        """Objects only, and nothing that is no JSON, or blows up."""
        bad = (
            b"",
            b"[]",
            b'"a"',
            b"{",
            b'{"a":NaN}',
            b'{"a":-Infinity}',
            b'{"a":"\xff"}',
            b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            b'{"a":' + b"1" * 5000 + b"}",
        )

        self.assertEqual({"a": [1]}, json_object(b' {"a":[1]} '))
        self.assertEqual([None] * len(bad), [json_object(data) for data in bad])

    def test_texts(self) -> None:
        """A text that has something in it, and not too much."""
        found = [text_member({"a": value}, "a") for value in ("x", "x" * MAX_TEXT, "", "x" * (MAX_TEXT + 1), 5, None)]

        self.assertEqual(["x", "x" * MAX_TEXT, None, None, None, None], found)
        self.assertIsNone(text_member({}, "a"))

    def test_lists(self) -> None:
        """The texts of a list; what else is in it is left out, and so is what is too much."""
        self.assertEqual(("x", "y"), list_member({"a": ["x", 5, None, "", ["z"], "y"]}, "a"))
        self.assertEqual((), list_member({"a": []}, "a"))
        self.assertEqual((None, None), (list_member({"a": "x"}, "a"), list_member({}, "a")))
        self.assertEqual(MAX_LIST, len(list_member({"a": ["x"] * (MAX_LIST + 1)}, "a") or ()))

    def test_what_cannot_be_written(self) -> None:
        """A lone surrogate is JSON, but no word of any list; the record that has it could not be kept."""
        document = json_object(json.dumps({"a": ["x", "y\ud800"]}).encode())
        assert document is not None

        self.assertEqual(("x",), list_member(document, "a"))

    def test_numbers(self) -> None:
        """Also those that servers write as texts; nothing below zero or beyond all years."""
        good = {0: 0.0, 5: 5.0, 1.5: 1.5, "3600": 3600.0, "0": 0.0}
        bad = (-1, "-1", 1e15, 10**400, True, "", "1.5", "\u0663", "1" * 16, None, [1])

        self.assertEqual(list(good.values()), [number_member({"a": value}, "a") for value in good])
        self.assertEqual([None] * len(bad), [number_member({"a": value}, "a") for value in bad])
