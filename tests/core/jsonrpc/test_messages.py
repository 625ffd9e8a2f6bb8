"""
Tests for L{mcpbridge.core.jsonrpc.messages}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import INVALID_REQUEST, ErrorObject
from mcpbridge.core.jsonrpc import Error, InvalidMessage


class MessagesTests(SynchronousTestCase):
    """Messages that are none."""

    def test_answer_of_an_invalid_message(self) -> None:
        """It says what to answer."""
        invalid = self.assertRaises(InvalidMessage, jsonrpc.decode, b'{"jsonrpc":"2.0","id":3,"method":7}')

        error = ErrorObject(INVALID_REQUEST, "Invalid request: a method is a string")
        self.assertEqual(Error(3, error), invalid.answer)
