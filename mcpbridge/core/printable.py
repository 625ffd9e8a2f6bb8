"""
Foreign text, made fit for a log and for an error message: one line, no control characters, not too long.
"""

from __future__ import annotations

import re

#: Characters of foreign text in one log record or error: a screen line or two of a stack trace.
MAX_TEXT = 500

# C0, DEL and C1 move cursors and forge records; the others hide text, turn it round or end lines (bidirectional and
# invisible formats, separators, tags). Lone surrogates cannot be written at all.
_unprintable = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def printable(text: str | bytes, limit: int = MAX_TEXT) -> str:
    """
    This text with everything that is not to be seen written as an escape, C{\\x1b} or C{\\u202e}.

    @param text: bytes are taken as UTF-8, and those that are not are escaped too.
    @param limit: characters to keep of it; how many are gone is said.
    """
    if isinstance(text, bytes):
        # A character has at most four bytes, so what is cut here would be cut below.
        gone = max(len(text) - 4 * limit, 0)
        text = text[: 4 * limit].decode("utf-8", "backslashreplace")
        gone += max(len(text) - limit, 0)
    else:
        gone = max(len(text) - limit, 0)
    shown = _unprintable.sub(_escape, text[:limit])
    return f"{shown}... ({gone} more)" if gone else shown


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
