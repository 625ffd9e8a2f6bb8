"""
Tests for L{mcpbridge.core.jsonrpc.values}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Request, Result
from tests.core.jsonrpc.strategies import layouts, texts, values, written


class PartsTests(SynchronousTestCase):
    """Objects and arrays as they came."""

    def test_members(self) -> None:
        """An object comes apart and together again."""
        raw = Raw(b'{"b":[1, 2],"a":"\\ud800","c":{}}')

        found = jsonrpc.members(raw)

        self.assertEqual([("b", Raw(b"[1, 2]")), ("a", Raw(b'"\\ud800"')), ("c", Raw(b"{}"))], list(found.items()))
        self.assertEqual(raw, jsonrpc.assemble(found))
        self.assertEqual(Raw(b"{}"), jsonrpc.assemble({}))

    def test_elements(self) -> None:
        """So does an array."""
        raw = Raw(b'[{"a": 1},"\\udc00",3]')

        found = jsonrpc.elements(raw)

        self.assertEqual([Raw(b'{"a": 1}'), Raw(b'"\\udc00"'), Raw(b"3")], found)
        self.assertEqual(raw, jsonrpc.array(found))

    def test_wrong_kind(self) -> None:
        """What is another kind of value is refused, with lone surrogates or without."""
        for data in (b"[]", b"null", b'"x"', b'["\\ud800"]', b'"\\ud800"'):
            self.assertRaises(InvalidMessage, jsonrpc.members, Raw(data))
        for data in (b"{}", b"1", b'{"a":"\\ud800"}'):
            self.assertRaises(InvalidMessage, jsonrpc.elements, Raw(data))

    def test_read(self) -> None:
        """A value as plain Python, whatever its numbers are."""
        raw = Raw(b'{"a":[1,1.5,null],"b":' + b"9" * 5000 + b"}")

        self.assertEqual({"a": [1, 1.5, None], "b": float("inf")}, jsonrpc.read(raw))

    def test_value_and_canonical(self) -> None:
        """Plain Python as JSON; equal values in one form."""
        self.assertEqual(Raw(b'{"b":1,"a":"\\ud800"}'), jsonrpc.value({"b": 1, "a": "\ud800"}))
        self.assertEqual(jsonrpc.canonical({"a": 1, "b": [2]}), jsonrpc.canonical({"b": [2], "a": 1}))


class PropertyTests(SynchronousTestCase):
    """What holds for every message."""

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(st.dictionaries(texts, values, max_size=4), st.sampled_from(layouts))
    def test_params_stay_as_they_are(self, params: dict[str, object], layout: dict[str, Any]) -> None:
        """The bytes of C{params} are the same before and behind, but for line breaks between tokens."""
        text = written(params, layout).encode()
        data = b'{ "params" : ' + text + b', "id" : 1, "jsonrpc": "2.0", "method": "m" }'

        message = jsonrpc.decode(data)

        assert isinstance(message, Request)
        self.assertEqual(Raw(text.replace(b"\n", b" ")), message.params)
        self.assertEqual(message, jsonrpc.decode(jsonrpc.encode(message)))

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(values, st.sampled_from(layouts))
    def test_results_stay_as_they_are(self, value: object, layout: dict[str, Any]) -> None:
        """So are those of C{result} and of an error's C{data}."""
        text = written(value, layout).encode()
        expected = Raw(text.replace(b"\n", b" "))

        found = [
            jsonrpc.decode(b'{"jsonrpc":"2.0","id":1,"result":' + text + b"}"),
            jsonrpc.decode(b'{"jsonrpc":"2.0","id":1,"error":{"data":' + text + b',"code":1,"message":"m"}}'),
        ]

        self.assertEqual([Result(1, expected), Error(1, ErrorObject(1, "m", expected))], found)
