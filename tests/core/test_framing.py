"""
Tests for L{mcpbridge.core.framing}.
"""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.framing import KEPT, MAX_LINE, LineFramer, OverlongLine

#: The least that a framer takes.
SMALL = 2 * KEPT

#: Streams with what matters to a framer more often than chance would have it.
streams = st.lists(
    st.one_of(
        st.just(b"\n"),
        st.just(b"\r\n"),
        st.just(b'{"id":1}\n'),
        st.binary(max_size=20),
        st.integers(1, 3 * SMALL).map(lambda size: b"y" * size),
    ),
    max_size=20,
).map(b"".join)


def fed(framer: LineFramer, *parts: bytes) -> list[bytes | OverlongLine]:
    """What a framer makes of these parts, one after the other."""
    return [line for part in parts for line in framer.feed(part)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """These bytes in parts."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


def reference(data: bytes, limit: int) -> tuple[list[bytes | OverlongLine], bytes]:
    """The same work, with no thought for memory or time."""
    *lines, rest = data.split(b"\n")
    found: list[bytes | OverlongLine] = [
        line if len(line) <= limit else OverlongLine(line[:KEPT], line[-KEPT:], len(line))
        for line in lines
        if len(line) > limit or line.strip()
    ]
    return found, rest if rest.strip() and len(rest) <= limit else b""


class LineFramerTests(SynchronousTestCase):
    """Bytes to lines."""

    def test_several_lines_in_one_part(self) -> None:
        """Each newline ends a line; what is behind the last one waits."""
        framer = LineFramer()

        found = framer.feed(b"one\ntwo\nthr")

        self.assertEqual(([b"one", b"two"], b"thr"), (found, framer.rest()))

    def test_one_line_in_several_parts(self) -> None:
        """A line comes whole, whatever the parts were."""
        framer = LineFramer()

        found = fed(framer, b"o", b"n", b"e", b"\n", b"tw", b"o\n")

        self.assertEqual([b"one", b"two"], found)

    def test_small_and_large_parts_keep_their_order(self) -> None:
        """Small parts are gathered apart from large ones and end up where they came."""
        framer = LineFramer()

        found = fed(framer, b"a", b"b" * 2000, b"c", b"d", b"e" * 2000, b"f\n")

        self.assertEqual([b"a" + b"b" * 2000 + b"cd" + b"e" * 2000 + b"f"], found)

    def test_blank_lines_are_dropped(self) -> None:
        """Lines of nothing or of white space say nothing."""
        framer = LineFramer()

        found = fed(framer, b"\n\r\n \t\none\n", b" ", b"\n", b"\n")

        self.assertEqual(([b"one"], b""), (found, framer.rest()))

    def test_carriage_return_stays(self) -> None:
        """A line that ends with CR LF keeps its CR, and a CR alone ends nothing."""
        self.assertEqual([b"one\rtwo\r"], LineFramer().feed(b"one\rtwo\r\n"))

    def test_rest_is_handed_out_once(self) -> None:
        """After the end of the stream the framer is as new."""
        framer = LineFramer()
        framer.feed(b"one")

        found = [framer.rest(), framer.rest(), *framer.feed(b"two\n")]

        self.assertEqual([b"one", b"", b"two"], found)

    def test_rest_that_is_blank(self) -> None:
        """White space behind the last newline is no line."""
        framer = LineFramer()
        framer.feed(b"one\n \r")

        self.assertEqual(b"", framer.rest())

    def test_line_of_the_limit(self) -> None:
        """The limit itself is allowed, in one part and in several."""
        line = b"x" * SMALL

        found = fed(LineFramer(SMALL), line + b"\n", line[:5], line[5:] + b"\n")

        self.assertEqual([line, line], found)

    def test_overlong_line(self) -> None:
        """A line over the limit is told once, by its two ends, and the next line is none the worse."""
        framer = LineFramer(SMALL)

        found = fed(framer, b"(" * KEPT, b"x" * SMALL, b")" * KEPT, b"\nnext\n")

        self.assertEqual([OverlongLine(b"(" * KEPT, b")" * KEPT, 2 * KEPT + SMALL), b"next"], found)

    def test_overlong_line_in_one_part(self) -> None:
        """It makes no difference if the line comes whole, between others."""
        framer = LineFramer(SMALL)

        found = framer.feed(b"one\n" + b"x" * (SMALL + 1) + b"\ntwo\n")

        self.assertEqual([b"one", OverlongLine(b"x" * KEPT, b"x" * KEPT, SMALL + 1), b"two"], found)

    def test_overlong_line_of_white_space(self) -> None:
        """Too much of nothing is too much."""
        framer = LineFramer(SMALL)

        found = fed(framer, b" " * SMALL, b" \n")

        self.assertEqual([OverlongLine(b" " * KEPT, b" " * KEPT, SMALL + 1)], found)

    def test_overlong_line_without_end(self) -> None:
        """How much was thrown away can be seen before the newline, and there is no rest of such a line."""
        framer = LineFramer(SMALL)
        before = framer.discarded
        framer.feed(b"x" * SMALL)
        within = framer.discarded
        framer.feed(b"x" * 10)

        seen = (before, within, framer.discarded, framer.rest(), framer.discarded)

        self.assertEqual((0, 0, SMALL + 10, b"", 0), seen)

    def test_limit_has_a_least_value(self) -> None:
        """Both ends of an overlong line can be kept without overlap."""
        self.assertEqual([b"x" * SMALL], LineFramer(1).feed(b"x" * SMALL + b"\n"))

    def test_memory_for_an_endless_line(self) -> None:
        """What is kept of an overlong line does not grow with it."""
        framer = LineFramer(SMALL)
        part = b"x" * 65536
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)

        for _ in range(500):
            framer.feed(part)

        _, peak = tracemalloc.get_traced_memory()
        self.assertLess(peak, 500_000)

    def test_memory_for_a_drip(self) -> None:
        """A line that comes byte by byte does not cost many times its size."""
        framer = LineFramer()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)

        for _ in range(200_000):
            framer.feed(b"x")

        _, peak = tracemalloc.get_traced_memory()
        self.assertLess(peak, 600_000)

    def test_memory_for_a_flood_of_newlines(self) -> None:
        """Splitting many empty lines does not cost many times their size."""
        flood = b"\n" * 10_000_000
        framer = LineFramer()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)

        found = framer.feed(flood)

        _, peak = tracemalloc.get_traced_memory()
        self.assertEqual([], found)
        self.assertLess(peak, 25_000_000)

    def test_default_limit(self) -> None:
        """It is 16 MiB, and a line of that size arrives."""
        line = b"x" * MAX_LINE

        found = fed(LineFramer(), line, b"\n")

        self.assertEqual(([line], 16 * 1024 * 1024), (found, MAX_LINE))

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(streams, st.lists(st.integers(0, 100_000), max_size=20))
    def test_any_split_gives_the_same_lines(self, data: bytes, places: list[int]) -> None:
        """How a stream is cut into parts makes no difference."""
        framer = LineFramer(SMALL)

        found = fed(framer, *cut(data, places))

        self.assertEqual(reference(data, SMALL), (found, framer.rest()))

    @settings(max_examples=50, derandomize=True, deadline=None)
    @given(streams)
    def test_byte_by_byte(self, data: bytes) -> None:
        """The finest cut is no exception."""
        framer = LineFramer(SMALL)

        found = fed(framer, *(bytes([byte]) for byte in data))

        self.assertEqual(reference(data, SMALL), (found, framer.rest()))
