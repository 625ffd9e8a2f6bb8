"""
Tests for L{mcpbridge.core.eras.legacy.memento}.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.eras.legacy.memento import Memento

PARAMS = {"protocolVersion": Raw(b'"2025-06-18"'), "capabilities": Raw(b"{}"), "x": Raw(b'"\\ud800"')}


class MementoTests(SynchronousTestCase):
    """What is written down of a client."""

    def test_written_and_read(self) -> None:
        """All of it comes back, the params of its handshake as they came."""
        memento = Memento(PARAMS, True, "warning", {"a:b": Raw(b'{"uri":"a:b","_meta":{}}')}, 3)

        self.assertEqual(memento, Memento.from_bytes(memento.to_bytes()))
        self.assertEqual("2025-06-18", memento.asked)

    def test_without_wishes(self) -> None:
        """A client need not have any."""
        memento = Memento(PARAMS, False, None, {}, 0)

        self.assertEqual(memento, Memento.from_bytes(memento.to_bytes()))

    def test_none(self) -> None:
        """Whatever is missing or broken, it is none, and says so in one way."""
        whole = jsonrpc.members(Memento(PARAMS, True, None, {}, 0).to_bytes())
        needed = [name for name in whole if name != "era"]
        broken = [{name: value for name, value in whole.items() if name != gone} for gone in needed]
        broken += [{**whole, name: Raw(b'"x"')} for name in needed if name != "ready"]
        broken += [{**whole, "initialize": Raw(b"{}")}, {**whole, "level": Raw(b"[]")}]

        for known in broken:
            self.assertRaises(ValueError, Memento.from_bytes, bytes(jsonrpc.assemble(known)))
        for data in (b"", b"[]", b"{", b"\xff"):
            self.assertRaises(ValueError, Memento.from_bytes, data)
