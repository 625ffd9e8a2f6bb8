"""
Tests for L{mcpbridge.core.jsonrpc.salvage}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.jsonrpc.salvage import find_id


class SalvageTests(SynchronousTestCase):
    """Whom to tell that nobody can read what he has sent."""

    def test_found(self) -> None:
        """The id of the message itself, wherever it stands, and whatever else is broken."""
        for data, expected in (
            (b'{"id":7,\xff', 7),
            (b'{"id" : "a\\"b" }\xff', 'a"b'),
            (b'{"params":{"id":1,"x":[{"id":2}]},"id":3}\xff', 3),
            (b'{"x":"\\"id\\":1 }{","id":-4,\xff', -4),
            (b'{"id":[],"id":5}\xff', 5),
            (b'\xff{"method":"id","id":6}', 6),
        ):
            self.assertEqual(expected, find_id(data), data)

    def test_not_found(self) -> None:
        """None is better than one that might be somebody else's."""
        for data in (
            b"",
            b"\xff",
            b'"id":1 \xff',
            b'[{"id":1}]',
            b'{"id":1',
            b'{"id":1.5}',
            b'{"id":-0}',
            b'{"id":"\xff"}',
            b'{"id":"' + b"x" * 5000 + b'"}',
            b'{"x":{"id":1}}',
            b'{"x":"unfinished,"id":1}',
        ):
            self.assertIsNone(find_id(data), data)

    def test_patience(self) -> None:
        """It is not looked for behind a flood."""
        self.assertIsNone(find_id(b"{" + b'"",' * 200_001 + b'"id":1}'))
