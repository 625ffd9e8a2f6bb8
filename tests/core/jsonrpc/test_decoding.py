"""
Tests for L{mcpbridge.core.jsonrpc.decoding}.
"""

from __future__ import annotations

import contextlib
import time
import tracemalloc
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, ErrorObject
from mcpbridge.core.jsonrpc import Batch, Error, InvalidMessage, Notification, Request, Result

MIB = 1024 * 1024


def request(id_text: str, rest: str = '"method":"m"') -> bytes:
    """A request whose id is spelt like this."""
    return f'{{"jsonrpc":"2.0","id":{id_text},{rest}}}'.encode()


def refused(data: bytes) -> tuple[int, Any, Any]:
    """Why this is no message: the code, the id to answer, and the id that it meant to answer."""
    try:
        jsonrpc.decode(data)
    except InvalidMessage as invalid:
        return (invalid.code, invalid.request_id, invalid.response_id)
    raise AssertionError(f"taken: {data[:80]!r}")


def nested(depth: int, before: str = '"id":7,', behind: str = "") -> bytes:
    """A request with so many arrays in one another."""
    deep = "[" * depth + "]" * depth
    return f'{{"jsonrpc":"2.0",{before}"method":"m","params":{{"x":{deep}}}{behind}}}'.encode()


class CallTests(SynchronousTestCase):
    """Requests and notifications."""

    def test_request(self) -> None:
        """An id makes a call a request."""
        data = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}'

        self.assertEqual(Request(1, "tools/call", Raw(b'{"name":"a"}')), jsonrpc.decode(data))

    def test_notification(self) -> None:
        """Without an id it is a notification."""
        data = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'

        self.assertEqual(Notification("notifications/initialized"), jsonrpc.decode(data))

    def test_order_of_members(self) -> None:
        """The order of members means nothing."""
        data = b'{"params":{},"method":"m","id":"a","jsonrpc":"2.0"}'

        self.assertEqual(Request("a", "m", Raw(b"{}")), jsonrpc.decode(data))

    def test_unknown_members_are_kept(self) -> None:
        """What JSON-RPC does not define is kept as it came, in order."""
        data = b'{"z":[1, 2],"jsonrpc":"2.0","method":"m","a":1e400}'

        message = jsonrpc.decode(data)

        self.assertEqual(Notification("m", None, (("z", Raw(b"[1, 2]")), ("a", Raw(b"1e400")))), message)

    def test_the_last_of_equal_members_counts(self) -> None:
        """As with every reader in use, so that all see the same."""
        taken = [
            jsonrpc.decode(b'{"jsonrpc":"2.0","id":1,"id":2,"method":"a","method":"b"}'),
            jsonrpc.decode(b'{"jsonrpc":"2.0","id":1,"id":2,"method":"a","method":"b","params":{"x":"\\ud800"}}'),
        ]

        self.assertEqual([Request(2, "b"), Request(2, "b", Raw(b'{"x":"\\ud800"}'))], taken)

    def test_escaped_names(self) -> None:
        """Names and methods may be written with escapes."""
        data = b'{"jsonrpc":"2.\\u0030","\\u0069d":1,"m\\u0065thod":"to\\u006fls\\/list"}'

        self.assertEqual(Request(1, "tools/list"), jsonrpc.decode(data))

    def test_broken_calls(self) -> None:
        """What is no call is refused with the id that it has."""
        table: dict[bytes, tuple[int, Any, Any]] = {
            b'{"id":1,"method":"m"}': (INVALID_REQUEST, 1, None),
            b'{"jsonrpc":2.0,"id":1,"method":"m"}': (INVALID_REQUEST, 1, None),
            b'{"jsonrpc":"1.0","id":"a","method":"m"}': (INVALID_REQUEST, "a", None),
            b'{"jsonrpc":"2.0","id":1,"method":7}': (INVALID_REQUEST, 1, None),
            b'{"jsonrpc":"2.0","id":1,"method":null}': (INVALID_REQUEST, 1, None),
            b'{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}': (INVALID_PARAMS, 1, None),
            b'{"jsonrpc":"2.0","id":1,"method":"m","params":"x"}': (INVALID_PARAMS, 1, None),
            b'{"jsonrpc":"2.0","id":1,"method":"m","params":null}': (INVALID_PARAMS, 1, None),
            b'{"jsonrpc":"2.0","id":1,"method":"m","result":{}}': (INVALID_REQUEST, 1, None),
            b'{"jsonrpc":"2.0","id":1,"method":"m","error":{}}': (INVALID_REQUEST, 1, None),
            b'{"jsonrpc":"2.0","method":"m","params":[]}': (INVALID_PARAMS, None, None),
        }

        found = {data: refused(data) for data in table}

        self.assertEqual(table, found)


class LargeTests(SynchronousTestCase):
    """Messages over L{jsonrpc.MAX_KEPT}."""

    def test_same_but_for_the_unknown(self) -> None:
        """They are read as the others are; members that JSON-RPC does not define are left out."""
        for text in (b"x", b"\\ud800"):
            params = b'{"x":"' + text + b"y" * jsonrpc.MAX_KEPT + b'"}'
            whole = b'{"id":1,"jsonrpc":"2.0","z":1,"params": ' + params + b',"m\\u0065thod":"a","method":"m"}'

            self.assertEqual(Request(1, "m", Raw(params)), jsonrpc.decode(whole))

    def test_answers(self) -> None:
        """So are answers."""
        result = b'["' + b"y" * jsonrpc.MAX_KEPT + b'"]'

        found = [
            jsonrpc.decode(b'{"jsonrpc":"2.0","result":' + result + b',"id":"a"}'),
            jsonrpc.decode(b'{"jsonrpc":"2.0","error":{"data":' + result + b',"code":1,"message":"m"},"id":"a"}'),
            jsonrpc.decode(b'{"jsonrpc":"2.0","error":{"x":' + result + b',"code":1,"message":"m"},"id":"a"}'),
        ]

        error = ErrorObject(1, "m")
        self.assertEqual(
            [Result("a", Raw(result)), Error("a", ErrorObject(1, "m", Raw(result))), Error("a", error)], found
        )
        self.assertEqual((INVALID_REQUEST, None, 1), refused(request("1", '"error":{"x":' + result.decode() + "}")))

    def test_garbage(self) -> None:
        """And what is none is refused in the same way."""
        much = b'"' + b"y" * jsonrpc.MAX_KEPT + b'"'

        self.assertEqual((PARSE_ERROR, None, None), refused(b'{"id":1,"x":' + much))
        self.assertEqual((INVALID_REQUEST, None, None), refused(much))
        self.assertEqual(
            (INVALID_PARAMS, 1, None), refused(b'{"jsonrpc":"2.0","id":1,"method":"m","params":' + much + b"}")
        )


class IdTests(SynchronousTestCase):
    """Ids have types."""

    def test_ids(self) -> None:
        """Integers and strings are ids, each of its own type and as they were written."""
        texts = ["0", "1", "-1", '"1"', '""', "9007199254740993", "1" * 400, '"\\ud800"', '"\\u0031"', '"\U0001f600"']
        expected: list[object] = [0, 1, -1, "1", "", 9007199254740993, int("1" * 400), "\ud800", "1", "\U0001f600"]

        found = [jsonrpc.decode(request(text)) for text in texts]

        self.assertEqual(expected, [message.id for message in found if isinstance(message, Request)])
        self.assertEqual(
            [type(one) for one in expected], [type(message.id) for message in found if isinstance(message, Request)]
        )

    def test_no_ids(self) -> None:
        """Nothing else is: not by its value, but by its form."""
        for text in ("null", "true", "1.0", "1e0", "-0", "[1]", "{}", "1" * 4300, '"' + "a" * 4096 + '"'):
            self.assertEqual((INVALID_REQUEST, None, None), refused(request(text)), text[:20])

    def test_null_id_of_an_error(self) -> None:
        """An error may have no id, where the request's could not be read."""
        error = Error(None, ErrorObject(-32700, "no"))

        found = [
            jsonrpc.decode(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}'),
            jsonrpc.decode(b'{"jsonrpc":"2.0","error":{"code":-32700,"message":"no"}}'),
        ]

        self.assertEqual([error, error], found)
        self.assertEqual(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}', jsonrpc.encode(error))


class ResponseTests(SynchronousTestCase):
    """Results and errors."""

    def test_result(self) -> None:
        """Any JSON value may be a result; it is kept as it came, without the white space around it."""
        data = b'{"jsonrpc":"2.0","id":"a","result" :  {"b": 1, "a":1e400}  }'

        self.assertEqual(Result("a", Raw(b'{"b": 1, "a":1e400}')), jsonrpc.decode(data))

    def test_error(self) -> None:
        """Its data are kept as they came."""
        data = b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m","data":[ 1 ],"more":2}}'

        self.assertEqual(Error(1, ErrorObject(-1, "m", Raw(b"[ 1 ]"))), jsonrpc.decode(data))

    def test_broken_responses(self) -> None:
        """What is no response names the request that it meant to answer, and asks for no answer."""
        bodies = (
            '"error":null',
            '"error":"boom"',
            '"error":{}',
            '"error":{"code":1}',
            '"error":{"message":"m"}',
            '"error":{"code":1.5,"message":"m"}',
            '"error":{"code":"1","message":"m"}',
            '"error":{"code":true,"message":"m"}',
            '"error":{"code":1,"message":7}',
            '"error":{"code":1,"message":null}',
            '"error":{"code":1,"message":"m"},"result":{}',
        )

        for body in bodies:
            self.assertEqual((INVALID_REQUEST, None, 5), refused(request("5", body)), body)
        self.assertEqual((INVALID_REQUEST, None, None), refused(b'{"jsonrpc":"2.0","id":1.5,"result":{}}'))
        self.assertEqual((INVALID_REQUEST, None, None), refused(b'{"jsonrpc":"2.0","id":true,"error":{}}'))
        self.assertEqual((INVALID_REQUEST, None, 5), refused(b'{"id":5,"result":{}}'))

    def test_neither_call_nor_response(self) -> None:
        """An id alone could be meant as either."""
        self.assertEqual((INVALID_REQUEST, 1, 1), refused(b'{"jsonrpc":"2.0","id":1}'))
        self.assertEqual((INVALID_REQUEST, None, None), refused(b"{}"))


class GarbageTests(SynchronousTestCase):
    """Bytes that are no message."""

    def test_no_json(self) -> None:
        """It is a parse error."""
        for data in (
            b"",
            b" ",
            b"x",
            b"{",
            b"[",
            b"{]",
            b'{"jsonrpc":"2.0","method":"m"',
            b'{"jsonrpc":"2.0","method":"m"}x',
            b'{"jsonrpc":"2.0","method":"m",}',
            b'{"jsonrpc":"2.0","method":"\\x"}',
            b'{"jsonrpc":"2.0","method":"m","params":{"x":NaN}}',
            b'{"jsonrpc":"2.0","method":"m","params":{"x":01}}',
            b'{"jsonrpc":"2.0","method":"m","params":{"x":"\t"}}',
            b'{"jsonrpc":"2.0","method":"m","params":{"x":"\\ud800"}',
            b'{"jsonrpc":"2.0","method":"m","params":{"x":"\\ud800","y":}}',
            b"\xef\xbb\xbf{}",
        ):
            self.assertEqual((PARSE_ERROR, None, None), refused(data), data)

    def test_other_json(self) -> None:
        """A message is an object."""
        for data in (b"1", b"null", b'"a"', b'"\\ud800"', b"true"):
            self.assertEqual((INVALID_REQUEST, None, None), refused(data), data)

    def test_invalid_utf8(self) -> None:
        """It is refused with its id, wherever that stands."""
        found = [
            refused(b'{"jsonrpc":"2.0","id":"a","method":"m","params":{"x":"\xff"}}'),
            refused(b'{"jsonrpc":"2.0","params":{"id":3,"x":"\xed\xa0\x80"},"method":"m","id":4}'),
            refused(b'{"id":"\xff"}'),
            refused(b'\xff{"id":[1],"x":{"id":1}}'),
            refused(b'"id":1 \xff'),
        ]

        self.assertEqual(
            [
                (PARSE_ERROR, "a", None),
                (PARSE_ERROR, 4, None),
                (PARSE_ERROR, None, None),
                (PARSE_ERROR, None, None),
                (PARSE_ERROR, None, None),
            ],
            found,
        )

    def test_nesting(self) -> None:
        """500 levels pass unchanged, 100,000 are refused with the id."""
        self.assertIsInstance(jsonrpc.decode(nested(500)), Request)
        self.assertIsInstance(jsonrpc.decode(nested(500, behind=',"\\ud800":1')), Request)
        self.assertEqual((INVALID_REQUEST, 7, None), refused(nested(100_000)))
        self.assertEqual((INVALID_REQUEST, 8, None), refused(nested(100_000, "", ',"id":8')))
        self.assertEqual((INVALID_REQUEST, 7, None), refused(nested(100_000, behind=',"\\ud800":1')))
        self.assertEqual((INVALID_REQUEST, None, None), refused(b"[" * 100_000))

    def test_nesting_found_out_later(self) -> None:
        """A payload that is opened deeper in the program than its message was is refused, not blown up on."""
        deep = Raw(b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")

        self.assertRaises(InvalidMessage, jsonrpc.members, deep)
        self.assertRaises(InvalidMessage, jsonrpc.elements, Raw(b"[" * 100_000 + b"]" * 100_000))
        self.assertRaises(InvalidMessage, jsonrpc.read, deep)

    def test_garbage_costs_linear_time_and_memory(self) -> None:
        """Neither a long string nor many quotes in one that never ends cost more than a few times their size."""
        for data in (b'\xff"' + b'\\"' * MIB, b'\xff{"x":"' + b"a" * 2 * MIB + b'"}', b"\xff" + b'"a' * MIB):
            tracemalloc.start()
            began = time.process_time()
            refused(data)
            seconds = time.process_time() - began
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()

            # Quadratic time would take hours.
            self.assertTrue(seconds < 5, seconds)
            self.assertTrue(peak < 8 * len(data), peak)

    def test_floods(self) -> None:
        """Neither millions of elements nor of members cost more than a few times their size."""
        many = b'{"jsonrpc":"2.0","id":1,"method":"m",' + b",".join(b'"%07d":1' % n for n in range(300_000)) + b"}"
        fault = b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m",' + many.partition(b'"m",')[2] + b"}"
        for data in (b"[" + b"1," * MIB + b"1]", b"[" + b"{}," * MIB + b'"\\ud800"]', many, fault):
            tracemalloc.start()
            with contextlib.suppress(InvalidMessage):
                jsonrpc.decode(data)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()

            self.assertTrue(peak < 5 * len(data), peak)

    def test_members_over_a_limit(self) -> None:
        """What is larger than its reader wants is not opened."""
        self.assertEqual({"a": Raw(b"1")}, jsonrpc.members(Raw(b'{"a":1}'), 7))
        self.assertRaises(InvalidMessage, jsonrpc.members, Raw(b'{"a":1}'), 6)

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\u0123d8ef \n-.e', max_size=40).map(str.encode))
    def test_any_bytes(self, data: bytes) -> None:
        """Any bytes are a message, or refused with the named exception."""
        with contextlib.suppress(InvalidMessage):
            jsonrpc.decode(data)


class BatchTests(SynchronousTestCase):
    """Arrays of messages."""

    def test_batch(self) -> None:
        """Each element is read for itself, also next to one that is none."""
        data = b' [{"jsonrpc":"2.0","id":1,"method":"a"} , {"jsonrpc":"2.0","method":"b"},7]'

        batch = jsonrpc.decode(data)

        assert isinstance(batch, Batch)
        self.assertEqual((Request(1, "a"), Notification("b")), batch.elements[:2])
        assert isinstance(batch.elements[2], InvalidMessage)
        self.assertEqual(INVALID_REQUEST, batch.elements[2].code)

    def test_lone_surrogates(self) -> None:
        """They are kept in a batch too."""
        data = b'[ {"jsonrpc":"2.0","method":"b","params":{"x":"\\ud800"}} ,{"jsonrpc":"2.0","method":"\\udfff"} ] '

        self.assertEqual(
            Batch((Notification("b", Raw(b'{"x":"\\ud800"}')), Notification("\udfff"))), jsonrpc.decode(data)
        )

    def test_too_long(self) -> None:
        """A batch has an end."""
        longest = b"[" + b",".join([b'{"jsonrpc":"2.0","method":"m"}'] * jsonrpc.MAX_BATCH) + b"]"

        batch = jsonrpc.decode(longest)

        assert isinstance(batch, Batch)
        self.assertEqual(jsonrpc.MAX_BATCH, len(batch.elements))
        self.assertEqual((INVALID_REQUEST, None, None), refused(longest[:-1] + b",1]"))

    def test_empty(self) -> None:
        """An empty one is no message (JSON-RPC 2.0, section 6)."""
        self.assertEqual((INVALID_REQUEST, None, None), refused(b"[]"))

    def test_encode(self) -> None:
        """Several answers go as one array."""
        answers: list[jsonrpc.Message] = [Result(1, Raw(b"{}")), Error("a", ErrorObject(1, "m"))]

        self.assertEqual(
            b'[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":"a","error":{"code":1,"message":"m"}}]',
            jsonrpc.encode_batch(answers),
        )
