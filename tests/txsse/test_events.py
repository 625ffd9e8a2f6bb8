"""
Tests for L{txsse._events}.
"""

from __future__ import annotations

import codecs

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.txsse.strategies import bounded
from txsse import Event


class EventTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """
        Without anything said, an event is an empty message.
        """
        self.assertEqual(("message", b"", "", ""), (Event().name, Event().raw, Event().id, Event().data))

    def test_frozen(self) -> None:
        """
        An event is a fact.
        """
        with self.assertRaises(attrs.exceptions.FrozenInstanceError):
            Event().name = "other"  # type: ignore[misc]  # the point of the test

    @bounded
    @given(st.lists(st.binary(max_size=6).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=5))
    def test_decoding(self, lines: list[bytes]) -> None:
        """
        Decoding the data of an event gives what an incremental decoder makes of the same bytes within a stream.
        """
        raw = b"\n".join(lines)

        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = "".join(decoder.decode(raw[i : i + 1]) for i in range(len(raw))) + decoder.decode(b"\n")

        self.assertEqual(text.removesuffix("\n"), Event(raw=raw).data)
