"""
Tests for L{mcpbridge.core.printable}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.printable import printable


class PrintableTests(SynchronousTestCase):
    """Foreign text, made fit to be shown."""

    def test_plain_text(self) -> None:
        """What can be seen stays, in any script."""
        self.assertEqual("Grüße, 世界 🙂 \\o/", printable("Grüße, 世界 🙂 \\o/"))

    def test_what_cannot_be_seen(self) -> None:
        """Controls, line ends, bidirectional and invisible characters become escapes."""
        text = "\x1b[31m\r\n\t\x7f\x9b\u202e\u2066\u200b\u2028\ufeff\ud800\U000e0041"

        self.assertEqual(
            "\\x1b[31m\\r\\n\\t\\x7f\\x9b\\u202e\\u2066\\u200b\\u2028\\ufeff\\ud800\\U000e0041", printable(text)
        )

    def test_bytes(self) -> None:
        """Bytes that are no text are escaped too."""
        self.assertEqual("ü \\xff\\xfe", printable("ü ".encode() + b"\xff\xfe"))

    def test_length(self) -> None:
        """What is too long is cut, and says so."""
        self.assertEqual(
            ["abc", "abc... (2 more)", "abc... (9997 more)"],
            [
                printable("abc", 3),
                printable("abcde", 3),
                printable(b"abc" + b"x" * 9997, 3),
            ],
        )

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(st.one_of(st.text(max_size=50), st.binary(max_size=50)))
    def test_any_text(self, text: str | bytes) -> None:
        """The outcome is one line that can be written, whatever came."""
        shown = printable(text)

        self.assertEqual([shown] if shown else [], shown.encode("utf-8").decode("utf-8").splitlines())
