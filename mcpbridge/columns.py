"""
Rows of words, one under the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

#: Characters of a word that a column makes room for. What is longer, such as an error, sticks out of its own line only.
WIDEST: Final = 120


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """
    Lines with two spaces in front and between, each column as wide as its widest word, within reason.

    @param rows: all of the same length.
    """
    fitting = ([len(word) for word in column if len(word) <= WIDEST] for column in zip(*rows, strict=True))
    widths = [max(lengths, default=0) for lengths in fitting]
    return [
        "  " + "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
