"""
Tests for L{txsse._writer}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.txsse.strategies import bounded
from txsse import Event, EventParser, Retry, format_comment, format_event

_text = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("\r\n :\0")), max_size=30)
_line = _text.map(lambda text: text.replace("\r", "").replace("\n", ""))


class FormatEventTests(SynchronousTestCase):
    def test_table(self) -> None:
        """
        What is asked for is what is written.
        """
        self.assertEqual(b"data: a\n\n", format_event("a"))
        self.assertEqual(b"data: \xc3\xa9\n\n", format_event("é"))
        self.assertEqual(b"data: \xff\n\n", format_event(b"\xff"))
        self.assertEqual(b"data: \n\n", format_event(""))
        self.assertEqual(b"data: a\ndata: b\ndata: c\ndata: d\n\n", format_event("a\nb\rc\r\nd"))
        self.assertEqual(b"data: a\ndata: \n\n", format_event(b"a\r\n"))
        self.assertEqual("data: a\u2028b\x85c\n\n".encode(), format_event("a\u2028b\x85c"))
        self.assertEqual(b"event: e\nid: 1\nretry: 5\ndata: a\n\n", format_event("a", event="e", id="1", retry=5))
        self.assertEqual(b"id: \ndata: a\n\n", format_event("a", id=""))

    def test_without_data(self) -> None:
        """
        An id or a reconnection time can go alone.
        """
        self.assertEqual(b"id: 1\n\n", format_event(None, id="1"))
        self.assertEqual(b"retry: 0\n\n", format_event(None, retry=0))

    def test_refused(self) -> None:
        """
        What would break the format, or be ignored at the other end, is refused.
        """
        for id in ("a\n", "\r", "a\0b"):
            self.assertRaises(ValueError, format_event, "a", id=id)
        for event in ("a\nb", "\r"):
            self.assertRaises(ValueError, format_event, "a", event=event)
        self.assertRaises(ValueError, format_event, "a", retry=-1)
        self.assertRaises(ValueError, format_event, "\ud83d")

    @bounded
    @given(_text, _line, _line.map(lambda text: text.replace("\0", "")), st.integers(0, 10**15 - 1))
    def test_round_trip(self, data: str, name: str, id: str, retry: int) -> None:
        """
        A parser reads back what was written, but for the kind of line end.
        """
        block = format_event(data, event=name, id=id, retry=retry)

        raw = data.replace("\r\n", "\n").replace("\r", "\n").encode()
        self.assertEqual([Retry(retry), Event(name or "message", raw, id)], EventParser().feed(block))


class FormatCommentTests(SynchronousTestCase):
    def test_table(self) -> None:
        """
        Every line of a comment is one.
        """
        self.assertEqual(b":\n\n", format_comment())
        self.assertEqual(b": a\n\n", format_comment("a"))
        self.assertEqual(b": a\n: b\n: \n\n", format_comment(b"a\r\nb\r"))

    @bounded
    @given(_text)
    def test_says_nothing(self, text: str) -> None:
        """
        No text can get out of its comment.
        """
        self.assertEqual([], EventParser().feed(format_comment(text)))
