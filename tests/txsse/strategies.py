"""
Event streams for property tests: pieces that matter to the format, in any order.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

bounded = settings(max_examples=150, deadline=None, derandomize=True, database=None)

_pieces = st.sampled_from(
    [
        b"data", b"event", b"id", b"retry", b"unknown", b"Data", b":", b": ", b" ", b"\n", b"\r", b"\r\n", b"\n\n",
        b"\r\r", b"\r\n\r\n",
        b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\xbf", b"\0", b"0", b"15", b"-1", b"\xff", b"\xf0\x9f", b"\x98\x80",
        b"\xe2\x80\xa8",
        b"\xc2\x85", b"\x0b", b"\x0c", b"\x1c", b"x", b"data: ", b"data:\n", b"id: 7\n", b"retry: 9\n", b"event: e\n",
    ]
)  # fmt: skip

streams = st.lists(st.one_of(_pieces, st.binary(max_size=3)), max_size=40).map(b"".join)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """Cut a stream at some places, counted modulo its length; empty chunks are part of life."""
    bounds = sorted(place % (len(stream) + 1) for place in places)
    return [stream[start:end] for start, end in zip([0, *bounds], [*bounds, len(stream)], strict=True)]


places = st.lists(st.integers(0, 10_000), max_size=12)
