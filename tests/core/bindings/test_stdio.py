"""
Tests for L{mcpbridge.core.bindings.stdio}.
"""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.stdio import read_line, read_overlong
from mcpbridge.core.errors import INVALID_REQUEST, PARSE_ERROR
from mcpbridge.core.framing import KEPT, OverlongLine
from mcpbridge.core.jsonrpc import Batch, InvalidMessage, Message, Notification, Request, RequestId, Result

ANSWER = b'{"jsonrpc":"2.0","id":5,"result":{}}'


def ids(found: Message | Batch | InvalidMessage | None) -> tuple[int, RequestId | None, RequestId | None]:
    """What is known of a message that could not be read: code, id as a call, id as an answer."""
    assert isinstance(found, InvalidMessage), found
    return found.code, found.request_id, found.response_id


def overlong(head: bytes, tail: bytes) -> OverlongLine:
    """A large message that begins and ends so."""
    return OverlongLine(head + b"x" * (KEPT - len(head)), b"x" * (KEPT - len(tail)) + tail, 20_000_000)


class ReadLineTests(SynchronousTestCase):
    """What one line of a server's standard output is."""

    def test_messages(self) -> None:
        """Messages are what they are, with white space round them or not."""
        lines = (ANSWER, b' \t{"jsonrpc":"2.0","id":"a","method":"ping"} \r', b'{"jsonrpc":"2.0","method":"m"}')

        found = [read_line(line) for line in lines]

        self.assertEqual([Result(5, Raw(b"{}")), Request("a", "ping"), Notification("m")], found)

    def test_batch(self) -> None:
        """An array of messages is passed on; whether it may be one is for the owner to say."""
        self.assertEqual(Batch((Result(5, Raw(b"{}")),)), read_line(b"[" + ANSWER + b"]"))

    def test_byte_order_mark(self) -> None:
        """Some runtimes begin their output with one."""
        self.assertEqual(Result(5, Raw(b"{}")), read_line(b"\xef\xbb\xbf" + ANSWER))

    def test_noise(self) -> None:
        """What was never meant as a message is noise, whatever it looks like."""
        lines = (
            b"Server running on stdio",
            b"[info] listening",
            b"[1, 2, 3]",
            b"[]",
            b'{"level":"info","msg":"started"}',
            b'{"level":"error","error":"no such table"}',
            b"{'a': 1}",
            b"{",
            b'"jsonrpc"',
            b"42",
            b"\x00\xff\xfe",
            b"{\xff\xfe}",
            b"\x1b[31mred\x1b[0m",
            b"Content-Length: 36\r",
        )

        found = {line: read_line(line) for line in lines}

        self.assertEqual(dict.fromkeys(lines), found)

    def test_broken_answer(self) -> None:
        """Whoever waits for an answer that came broken can be told."""
        lines = (
            b'{"jsonrpc":"2.0","id":5,"result":{"a":}}',
            b'{"jsonrpc":"2.0","id":"5","result":{"a":"cut he',
            b'{"jsonrpc":"2.0","id":5,"result":{"a":"\xff"}}',
            b'{"result":{"a":\x01},"jsonrpc":"2.0","id":5}',
            b'{"error":{},"id":5,"jsonrpc":"2.0"} trailing',
            b'{"jsonrpc":"2.0","id":5,"result":{}}{"jsonrpc":"2.0","id":6,"result":{}}',
        )

        found = [ids(read_line(line)) for line in lines]

        self.assertEqual(
            [(PARSE_ERROR, None, answered) for answered in (5, "5", 5, 5, 5, 5)],
            found,
        )

    def test_answer_nested_too_deep(self) -> None:
        """It is an answer, though the parser that gave up on it took it for a call."""
        line = b'{"jsonrpc":"2.0","id":5,"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

        self.assertEqual((INVALID_REQUEST, None, 5), ids(read_line(line)))

    def test_broken_call(self) -> None:
        """A broken request of the server is known by its id, to be answered with an error."""
        line = b'{"jsonrpc":"2.0","id":5,"method":"roots/list","params":{]}'

        self.assertEqual((PARSE_ERROR, 5, None), ids(read_line(line)))

    def test_could_be_either(self) -> None:
        """A message that shows neither a method nor a result may be a call or an answer."""
        self.assertEqual((PARSE_ERROR, 5, 5), ids(read_line(b'{"jsonrpc":"2.0","id":5,')))

    def test_readable_but_wrong(self) -> None:
        """What can be read and is against the rules keeps the error that says so."""
        line = b'{"jsonrpc":"1.0","id":5,"result":{}}'

        self.assertEqual((INVALID_REQUEST, None, 5), ids(read_line(line)))

    def test_id_of_something_else(self) -> None:
        """The id of an object inside a message that is cut short is not taken for the message's own."""
        line = b'{"result":{"items":[{"id":7},{"id":8}'

        self.assertEqual(None, read_line(line))

    def test_id_inside_is_not_the_id(self) -> None:
        """Ids and names below the top level, and in strings, mean nothing."""
        line = b'{"jsonrpc":"2.0","result":{"id":7,"method":"x","text":"\\"id\\":9,"},"id":5,!}'

        self.assertEqual((PARSE_ERROR, None, 5), ids(read_line(line)))

    def test_what_is_no_id(self) -> None:
        """Fractions, booleans and null are no ids."""
        lines = [b'{"jsonrpc":"2.0","id":%b,"result":{!}}' % value for value in (b"1.5", b"true", b"null", b"[5]")]

        self.assertEqual([(PARSE_ERROR, None, None)] * 4, [ids(read_line(line)) for line in lines])

    def test_broken_batch(self) -> None:
        """An array that was meant as a batch is not passed over in silence, and has no id of its own."""
        self.assertEqual((PARSE_ERROR, None, None), ids(read_line(b"[" + ANSWER)))

    def test_hostile_line_takes_no_time(self) -> None:
        """A line that no parser reads is looked at by its ends only."""
        lines = [b'{"jsonrpc":"2.0",' + junk * 1_000_000 for junk in (b'"', b"\\", b'"\\', b"{", b'"id":')]
        start = time.process_time()

        for line in lines:
            read_line(line)

        self.assertLess(time.process_time() - start, 2.0)

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(st.binary(max_size=200), st.sampled_from((b"", b"{", b"[", b'{"jsonrpc":"2.0","id":1,')))
    def test_any_bytes(self, data: bytes, start: bytes) -> None:
        """No line makes it raise."""
        found = read_line(start + data)

        self.assertIsInstance(found, Message | Batch | InvalidMessage | None)


class ReadOverlongTests(SynchronousTestCase):
    """What a line was that is too large to be read."""

    def test_id_before_the_payload(self) -> None:
        """Python's servers write it first."""
        line = overlong(b'{"jsonrpc":"2.0","id":5,"result":{"text":"', b'"}}')

        self.assertEqual((INVALID_REQUEST, None, 5), ids(read_overlong(line)))

    def test_id_behind_the_payload(self) -> None:
        """TypeScript's servers write it last, with or without the version behind it."""
        ends = (b'"},"jsonrpc":"2.0","id":5}', b'"},"id":5,"jsonrpc":"2.0"}\r', b'"},"id":5}', b'"} , "id" : "a" }')

        found = [ids(read_overlong(overlong(b'{"result":{"text":"', end))) for end in ends]

        self.assertEqual([(INVALID_REQUEST, None, answered) for answered in (5, 5, 5, "a")], found)

    def test_call(self) -> None:
        """A server's request that is too large is to be answered."""
        line = overlong(b'{"method":"sampling/createMessage","params":{"x":"', b'"},"jsonrpc":"2.0","id":5}')

        self.assertEqual((INVALID_REQUEST, 5, None), ids(read_overlong(line)))

    def test_text_says_how_large(self) -> None:
        """The error tells the size."""
        found = read_overlong(overlong(b'{"jsonrpc":"2.0","id":5,', b"}"))

        self.assertEqual("The message is too large: 20000000 bytes in one line", str(found))

    def test_id_cannot_be_found(self) -> None:
        """It is garbage all the same, if it was meant as a message."""
        line = overlong(b'{"jsonrpc":"2.0","result":{"text":"', b'"},"id":5,"extra":{}}')

        self.assertEqual((INVALID_REQUEST, None, None), ids(read_overlong(line)))

    def test_noise(self) -> None:
        """A large line may be noise as well."""
        lines = (overlong(b"base64 ", b"=="), overlong(b'{"level":"info","text":"', b'"}'), overlong(b"[1,2,", b"]"))

        self.assertEqual([None, None, None], [read_overlong(line) for line in lines])

    def test_byte_order_mark(self) -> None:
        """It does not hide what follows."""
        line = overlong(b'\xef\xbb\xbf{"jsonrpc":"2.0","id":5,"result":"', b'"}')

        self.assertEqual((INVALID_REQUEST, None, 5), ids(read_overlong(line)))
