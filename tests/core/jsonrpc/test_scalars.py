"""
Tests for L{mcpbridge.core.jsonrpc.scalars}.
"""

from __future__ import annotations

import json

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.jsonrpc.scalars import decode_id, encode_id


class ScalarsTests(SynchronousTestCase):
    """Ids and texts."""

    def test_ids_come_back_as_they_went(self) -> None:
        """An id is written as the value that was read."""
        for one in (0, -1, 2**70, "1", "", "\ud800", 'a"b\\', "é\n"):
            self.assertEqual(one, json.loads(jsonrpc.encode_id(one)))

    def test_ids_are_told_apart(self) -> None:
        """By their form: nothing that would come back as something else is taken for one."""
        good: list[str | int] = [0, -7, 10**400, "", "0", "\ud800"]
        bad = (
            b"-0",
            b"01",
            b"1.0",
            b"1e0",
            b"+1",
            b" 1",
            b"null",
            b"true",
            b"[1]",
            b"{}",
            b"",
            b'"' + b"x" * 4096 + b'"',
        )

        self.assertEqual(good, [decode_id(Raw(encode_id(one))) for one in good])
        self.assertEqual([None] * len(bad), [decode_id(Raw(one)) for one in bad])

    def test_strings(self) -> None:
        """Text survives, lone surrogates too; what is no string has none."""
        for text in ("", "a", "é\u2028", "\ud800", '"\\\n', "\U0001f600"):
            self.assertEqual(text, jsonrpc.decode_string(Raw(jsonrpc.encode_string(text))))
        self.assertEqual([None, None, None], [jsonrpc.decode_string(raw) for raw in (None, Raw(b"1"), Raw(b"{}"))])
