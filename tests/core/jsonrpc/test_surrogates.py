"""
Tests for L{mcpbridge.core.jsonrpc.surrogates}.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.jsonrpc import InvalidMessage
from mcpbridge.core.jsonrpc.surrogates import cut_elements, cut_members, without_surrogates
from tests.core.jsonrpc.strategies import layouts, texts, values, written


class SurrogatesTests(SynchronousTestCase):
    """The slow path."""

    def test_members(self) -> None:
        """Each member as it came, white space and escapes in names included; of equal ones the last counts."""
        cut = cut_members(b' {"a" : "\\ud800" ,\n"\\u0061\\"":[ 1, {"\\uDFFF":2} ],"\\udabc":{},"a":7}\t')

        self.assertEqual({"a": Raw(b"7"), 'a"': Raw(b'[ 1, {"\\uDFFF":2} ]'), "\udabc": Raw(b"{}")}, cut)
        self.assertEqual({}, cut_members(b"{ }"))

    def test_same_in_disguise(self) -> None:
        """Names that differ in their surrogates alone are not taken for one."""
        cut = cut_members(b'{"\\ud800":1,"\\ud801":2," ":3}')

        self.assertEqual([("\ud800", Raw(b"1")), ("\ud801", Raw(b"2")), (" ", Raw(b"3"))], list(cut.items()))

    def test_elements(self) -> None:
        """Each element as it came."""
        data = b' [ "\\ud800",{"a":"\\udc00"} , 1 ]'

        cut = cut_elements(data, without_surrogates(msgspec.json.Decoder(list[Raw]).decode, data))

        self.assertEqual([Raw(b'"\\ud800"'), Raw(b'{"a":"\\udc00"}'), Raw(b"1")], cut)

    def test_not_this(self) -> None:
        """What is JSON, but no object, is told from what is no JSON."""
        self.assertRaises(msgspec.ValidationError, cut_members, b'["\\ud800"]')
        for data in (b'{"\\ud800"}', b'{"a":\\ud800}', b"", b'{"a":"\\ud80"}'):
            self.assertRaises(InvalidMessage, cut_members, data)

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(st.dictionaries(texts, values, max_size=4), st.lists(values, max_size=4), st.sampled_from(layouts))
    def test_cut_like_msgspec(self, found: dict[str, object], row: list[object], layout: dict[str, Any]) -> None:
        """What msgspec would take too is cut in the same places by the slow path."""
        text = written(found, layout).encode()
        line = written(row, layout).encode()
        try:
            expected = (msgspec.json.decode(text, type=dict[str, Raw]), msgspec.json.decode(line, type=list[Raw]))
        except msgspec.DecodeError:
            return

        self.assertEqual(expected, (cut_members(text), cut_elements(line, expected[1])))
