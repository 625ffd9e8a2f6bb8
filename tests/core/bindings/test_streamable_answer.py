"""
Tests for L{mcpbridge.core.bindings.streamable_answer}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.dialogue import Noise, ReadBody, ReadEvents
from mcpbridge.core.bindings.http import HTTPLimits, ResponseHead
from mcpbridge.core.bindings.streamable_answer import error_in, garbage, malformed, plain_text, reading, unanswerable
from mcpbridge.core.errors import INVALID_REQUEST, PARSE_ERROR, ErrorObject
from mcpbridge.core.jsonrpc import Error, InvalidMessage

LIMITS = HTTPLimits(max_message=1000)


class AnswerTests(SynchronousTestCase):
    """How to take a response."""

    def test_unanswerable(self) -> None:
        """
        Successes that say that there is nothing more to say.
        """
        heads = [
            ResponseHead(202),
            ResponseHead(204),
            ResponseHead(200, length=0),
            ResponseHead(200),
            ResponseHead(201),
        ]

        self.assertEqual([True, True, True, False, False], [unanswerable(head) is not None for head in heads])

    def test_reading(self) -> None:
        """
        JSON up to the limit, events with the patience that was given, nothing else.
        """
        json, events = {"content-type": "Application/JSON; charset=x"}, {"content-type": "text/event-stream"}

        self.assertEqual(ReadBody(1000), reading(ResponseHead(200, json, 1000), LIMITS, 5.0))
        self.assertEqual(ReadEvents(1000, 5.0), reading(ResponseHead(200, events), LIMITS, 5.0))
        self.assertEqual(
            malformed("the answer of 1001 bytes is too large: at most 1000 are taken"),
            reading(ResponseHead(200, json, 1001), LIMITS, None),
        )
        self.assertEqual(
            malformed("the server answered with text/html, which is neither JSON nor an event stream; check the URL"),
            reading(ResponseHead(200, {"content-type": "text/html"}), LIMITS, None),
        )

    def test_garbage(self) -> None:
        """
        Noise is logged; what somebody waits for is theirs to judge.
        """
        answered = InvalidMessage(INVALID_REQUEST, "bad", response_id=1)

        self.assertIsInstance(garbage(InvalidMessage(PARSE_ERROR, "bad")), Noise)
        self.assertIs(answered, garbage(answered))

    def test_error_in(self) -> None:
        """
        An error for this request, or for none that could be told; nothing else.
        """
        body = b'{"jsonrpc":"2.0","id":%b,"error":{"code":-1,"message":"x"}}'

        self.assertEqual(Error(7, ErrorObject(-1, "x")), error_in(body % b"7", 7))
        self.assertEqual(Error(None, ErrorObject(-1, "x")), error_in(body % b"null", 7))
        for other in (body % b"8", body % b'"7"', b"{", b'{"jsonrpc":"2.0","id":7,"result":{}}'):
            self.assertIsNone(error_in(other, 7))

    def test_plain_text(self) -> None:
        """
        What a human can read.
        """
        self.assertEqual(["no", "", "\ufffd"], [plain_text(body) for body in (b" no\n", b"<html>no", b"\xff")])
