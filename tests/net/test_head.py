"""
Tests for L{mcpbridge.net.head}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.net.failures import HeadRefused
from mcpbridge.net.head import HeadScanner

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"


def verdict(data: bytes, *, size: int | None = None) -> bool | str:
    """Whether the head is complete, or why it is refused."""
    scanner = HeadScanner()
    try:
        for start in range(0, len(data), size or len(data)):
            scanner.feed(data[start : start + (size or len(data))])
    except HeadRefused as refused:
        return str(refused)
    return scanner.complete


class HeadScannerTests(SynchronousTestCase):
    """Response heads."""

    def test_complete(self) -> None:
        """
        A head ends with an empty line, whichever line ends the server uses, and however it is cut.
        """
        for head in (HEAD, HEAD.replace(b"\r\n", b"\n"), HEAD + b"body\n\nbody", b"HTTP/1.1 103 X\r\n\r\n" + HEAD):
            for size in (1, 2, 3, 1000):
                self.assertIs(True, verdict(head, size=size))

    def test_incomplete(self) -> None:
        """
        Before that it is not.
        """
        for head in (
            b"HTTP/1.1",
            HEAD[:-2],
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD[:-1],
        ):
            self.assertIs(False, verdict(head))

    def test_refused(self) -> None:
        """
        What is too large, too long, too many, or no HTTP; in one piece or in many.
        """
        line = b"X: %b\r\n" % (b"y" * 1000)
        for data, why in [
            (b"HTTP/1.1 200 OK\r\n" + line * 100, "the head of the response is larger than 65536 bytes"),
            (b"HTTP/1.1 200 OK\r\n" + b"a:b\r\n" * 300, "the response has more than 200 header fields"),
            (b"HTTP/1.1 200 OK\r\n" + b"a:b\r\n" * 300 + b"\r\n", "the response has more than 200 header fields"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000, "a header line of the response is longer than 16384 bytes"),
            (b"HTTP/1.1 100 C\r\na: b\r\n\r\n" * 300, "the response has more than 200 header fields"),
            (b"HTTP/1.1 100 C\r\n\r\n" * 5000, "the head of the response is larger than 65536 bytes"),
            (b"SSH-2.0-x\r\n", "the response is not HTTP"),
            (b"\x15\x03\x01", "the response is not HTTP"),
            (b"HTTP/1.1 abc\r\n\r\n", "the response is not HTTP"),
            (
                b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
                "the server switched to a protocol that nobody asked for (HTTP 101)",
            ),
        ]:
            for size in (7, 1000, len(data)):
                self.assertEqual(why, verdict(data, size=size))

    @given(st.binary(max_size=300), st.integers(1, 20))
    @settings(max_examples=200, derandomize=True, deadline=None)
    def test_any_split(self, tail: bytes, size: int) -> None:
        """
        Whatever the bytes, cutting them changes nothing but when a refusal comes; nothing else is raised.
        """
        data = b"HTTP/1.1 200 OK\r\n" + tail

        self.assertEqual(verdict(data), verdict(data, size=size))
