"""
Tests for L{mcpbridge.core.jsonrpc.encoding}.
"""

from __future__ import annotations

import json

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.jsonrpc import Error, Notification, Request, Result


class EncodeTests(SynchronousTestCase):
    """Messages to bytes."""

    def test_messages(self) -> None:
        """One line each."""
        table: dict[bytes, jsonrpc.Message] = {
            b'{"jsonrpc":"2.0","id":1,"method":"m"}': Request(1, "m"),
            b'{"jsonrpc":"2.0","id":"1","method":"m","params":{ }}': Request("1", "m", Raw(b"{ }")),
            b'{"jsonrpc":"2.0","method":"m","params":{}}': Notification("m", Raw(b"{}")),
            b'{"jsonrpc":"2.0","id":1,"result":[1e400],"x":1}': Result(1, Raw(b"[1e400]"), (("x", Raw(b"1")),)),
            b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"\\u00e9","data":2}}': Error(
                1, ErrorObject(-1, "é", Raw(b"2"))
            ),
        }

        for line, message in table.items():
            self.assertEqual(line, jsonrpc.encode(message))
            self.assertEqual(message, jsonrpc.decode(line))

    def test_pretty_printed(self) -> None:
        """What came on several lines goes on one, its strings untouched."""
        text = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "m", "params": {"a\n": ["\r", 1]}}, indent=2)

        line = jsonrpc.encode(jsonrpc.decode(text.replace("\n", "\r\n").encode()))  # type: ignore[arg-type]  # no batch

        self.assertNotIn(b"\n", line)
        self.assertNotIn(b"\r", line)
        self.assertEqual(json.loads(text), json.loads(line))

    def test_big_integers_and_fractions(self) -> None:
        """Numbers are not looked at."""
        params = b'{"a":123456789012345678901234567890,"b":1e400,"c":-0,"d":1.10,"e":1E+2}'

        message = jsonrpc.decode(b'{"jsonrpc":"2.0","id":1,"method":"m","params":' + params + b"}")

        assert isinstance(message, Request)
        self.assertEqual(Raw(params), message.params)
