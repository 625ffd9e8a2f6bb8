"""Tests for L{mcpbridge.downstream.intake}."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.jsonrpc import (
    Error,
    InvalidMessage,
    Notification,
    Request,
    RequestId,
    Result,
    encode,
    value,
)
from mcpbridge.downstream.intake import Intake, overlong
from tests.downstream.manual import Notes

ASK = Request(1, "tools/list")
TELL = Notification("notifications/initialized")


class IntakeTests(SynchronousTestCase):
    """What a client says."""

    def setUp(self) -> None:
        """An intake with a book that has room for three."""
        self.told: list[Any] = []
        self.book: set[RequestId] = set()
        self.intake = Intake(Notes(self.note), self, self.send, self.refuse, "linear")

    def note(self, what: str, argument: Any) -> None:
        """The link was told."""
        self.told.append((what, argument))

    def holds(self, request_id: RequestId) -> bool:
        """The book."""
        return request_id in self.book

    def enter(self, request_id: RequestId) -> bool:
        """The book."""
        if len(self.book) == 3:
            return False
        self.book.add(request_id)
        self.told.append(("entered", request_id))
        return True

    def send(self, error: Error) -> None:
        """Answer one in the book."""
        self.told.append(("sent", error.id, error.error.code))

    def refuse(self, error: Error) -> None:
        """Answer another one."""
        self.told.append(("refused", error.id, error.error.code))

    def consume(self) -> None:
        """It is dealt with."""
        self.told.append("consumed")

    def test_request(self) -> None:
        """A request is in the book before it is consumed, and consumed before it is handed over."""
        self.intake.take(encode(ASK), self.consume)

        self.assertEqual([("entered", 1), "consumed", ("received", ASK)], self.told)

    def test_others(self) -> None:
        """What wants no answer is handed over before it is consumed: it may come twice, but not never."""
        answer = Result(9, value({}))
        for message in (TELL, answer):
            self.intake.take(encode(message), self.consume)

        self.assertEqual([("received", TELL), "consumed", ("received", answer), "consumed"], self.told)

    def test_same_id(self) -> None:
        """An id that is in use is refused; the first request stays as it was."""
        self.intake.take(encode(ASK), self.consume)
        self.told.clear()

        self.intake.take(encode(ASK), self.consume)

        self.assertEqual((["consumed", ("refused", 1, -32600)], {1}), (self.told, self.book))

    def test_ids_are_typed(self) -> None:
        """C{1} is not C{"1"}."""
        self.intake.take(encode(ASK), self.consume)
        self.intake.take(encode(Request("1", "ping")), self.consume)

        self.assertEqual({1, "1"}, self.book)

    def test_too_many(self) -> None:
        """Too many are refused."""
        self.book |= {7, 8, 9}

        self.intake.take(encode(ASK), self.consume)

        self.assertEqual(["consumed", ("refused", 1, -32603)], self.told)

    def test_garbage(self) -> None:
        """What is no message is reported; an id that it has is in the book, for it will be answered."""
        self.intake.take(b"{", self.consume)
        self.intake.take(b'{"jsonrpc":"2.0","id":5,"method":"x","params":[]}', self.consume)

        self.assertEqual(
            [
                "consumed",
                ("received_garbage", (-32700, None)),
                ("entered", 5),
                "consumed",
                ("received_garbage", (-32602, 5)),
            ],
            self.told,
        )

    def test_broken_answer(self) -> None:
        """What may have been a broken answer is not in the book, for it will not be answered."""
        self.intake.take(b'{"jsonrpc":"2.0","id":5}', self.consume)

        self.assertEqual(["consumed", ("received_garbage", (-32600, 5))], self.told)

    def test_garbage_with_id_in_use(self) -> None:
        """Garbage does not disturb a request whose id it has."""
        self.book.add(5)

        self.intake.take(b'{"jsonrpc":"2.0","id":5,"method":"x","params":[]}', self.consume)

        self.assertEqual(["consumed", ("refused", 5, -32600)], self.told)

    def test_batch(self) -> None:
        """A batch is in the book as a whole before it is consumed; what is refused of it is answered apart."""
        line = b'[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":1,"method":"b"},7]'

        self.intake.take(line, self.consume)

        self.assertEqual([("entered", 1), "consumed", ("refused", 1, -32600)], self.told[:3])
        ((what, (request, invalid)),) = self.told[3:]
        self.assertEqual(("received_batch", Request(1, "a"), -32600), (what, request, invalid.code))

    def test_batch_refused(self) -> None:
        """Of a batch that is refused as a whole nobody is told."""
        self.book |= {1}

        self.intake.take(b'[{"jsonrpc":"2.0","id":1,"method":"a"}]', self.consume)

        self.assertEqual(["consumed", ("refused", 1, -32600)], self.told)

    def test_holding(self) -> None:
        """While requests are held back, they are not touched; everything else is."""
        self.intake.holding = True

        found = [
            self.intake.take(line, self.consume) for line in (encode(TELL), encode(ASK), b"[" + encode(ASK) + b"]")
        ]

        self.assertEqual(([True, False, False], [("received", TELL), "consumed"]), (found, self.told))

    def test_link_fails(self) -> None:
        """When its owner fails at a request it is answered, and the next one is heard."""

        def fail(what: str, argument: Any) -> None:
            self.told.append(what)
            raise RuntimeError("a bug")

        self.intake = Intake(Notes(fail), self, self.send, self.refuse, "linear")

        self.intake.take(encode(ASK), self.consume)
        self.intake.take(encode(TELL), self.consume)

        self.assertEqual(
            [("entered", 1), "consumed", "received", ("sent", 1, -32603), "received", "consumed"], self.told
        )
        self.assertEqual(2, len(self.flushLoggedErrors(RuntimeError)))

    def test_link_fails_after_the_answer(self) -> None:
        """But only once."""

        def fail(what: str, argument: Any) -> None:
            self.book.clear()
            raise RuntimeError("a bug")

        self.intake = Intake(Notes(fail), self, self.send, self.refuse, "linear")

        self.intake.take(encode(ASK), self.consume)

        self.assertEqual([("entered", 1), "consumed"], self.told)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    @settings(max_examples=150, derandomize=True, deadline=None)
    @given(
        st.one_of(st.binary(max_size=200), st.text(alphabet='{}[]",:0 idmethoparsjnrc2.', max_size=80).map(str.encode))
    )
    def test_anything(self, line: bytes) -> None:
        """Whatever a line is, it is consumed exactly once."""
        self.told.clear()
        self.book.clear()

        taken = self.intake.take(line, self.consume)

        self.assertEqual((True, 1), (taken, self.told.count("consumed")))


class OverlongTests(SynchronousTestCase):
    """The id of a message of which only the ends are there."""

    def found(self, head: bytes, tail: bytes) -> RequestId | None:
        """The id."""
        return overlong(head, tail, 100).request_id

    def test_code(self) -> None:
        """It is an invalid request, and its sender is told the limit."""
        invalid = overlong(b"", b"", 16)

        self.assertIsInstance(invalid, InvalidMessage)
        self.assertEqual(
            Error(None, ErrorObject(-32600, "Invalid request: a message has at most 16 bytes")), invalid.answer
        )

    def test_in_front(self) -> None:
        """Clients that write the id first."""
        for head, expected in (
            (b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"a', 7),
            (b' { "id" : "a\\"b" , "params":{', 'a"b'),
            (b'{"method":"tools/call","jsonrpc":"2.0","id":-3,"par', -3),
            (b'{"jsonrpc":"2.0","method":"x","params":{"id":7,', None),
            (b'{"jsonrpc":"2.0","id":1.5,"method"', None),
            (b'{"jsonrpc":"2.0","id":null,"method"', None),
            (b'[{"jsonrpc":"2.0","id":7,"method"', None),
            (b'{"jsonrpc":"2.0","id":12', None),
        ):
            self.assertEqual(expected, self.found(head, b""), head)

    def test_behind(self) -> None:
        """Clients that write it last."""
        for tail, expected in (
            (b'xxx"},"id":7}', 7),
            (b'xxx"},"id":"a","jsonrpc":"2.0"}', "a"),
            (b'xxx"}, "jsonrpc": "2.0", "id": 7 }  ', 7),
            (b'xxx","id":7}}', None),
            (b'xxx"id":7}', None),
        ):
            self.assertEqual(expected, self.found(b'{"params":', tail), tail)

    @settings(max_examples=100, derandomize=True, deadline=None)
    @given(st.binary(max_size=4096), st.binary(max_size=4096))
    def test_anything(self, head: bytes, tail: bytes) -> None:
        """Whatever the ends are, something is said of them."""
        self.assertEqual(-32600, overlong(head, tail, 1).code)
