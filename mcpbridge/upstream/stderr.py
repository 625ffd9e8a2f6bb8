"""
What a child says on its standard error: free text, for humans (MCP, Transports, stdio).

It is always read, lest the child wait for us. It is logged within reason, and the end of it is kept, because that is
where the cause of death stands. Neither shows the secrets that the child was given.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mcpbridge.core.framing import KEPT, LineFramer, OverlongLine
from mcpbridge.core.printable import printable

#: What is kept: a long stack trace, and not more than 64 KiB of it.
MAX_LINES = 50
MAX_TAIL = 64 * 1024

#: Bytes in one line. What is longer is a dump of data, of which the start says enough.
_MAX_LINE = 2 * KEPT

#: Lines logged within a second. A chatty server at start-up has some dozens.
_LINES_PER_SECOND = 100

#: Characters of the last words in an error text: it ends up before a user, who sees the log for the rest.
_MAX_LAST_WORDS = 1000
_LAST_WORDS_LINES = 12

#: Seconds before its end in which a server that was up says why it ends. What it said before is of no interest.
_LAST_MOMENTS = 3.0

# What is shorter is a flag, a number or a word, and masking it would garble every other line. Under a name that says
# what it is, less is enough.
_MIN_SECRET = 8
_MIN_NAMED_SECRET = 4
_secret_name = re.compile("KEY|TOKEN|SECRET|PASS|PWD|AUTH|CRED|PRIVATE|SESSION|COOKIE", re.IGNORECASE)

_MASK = "***"


class Mask:
    """Hides the values that a user configured for a server."""

    def __init__(self, configured: Mapping[str, str]) -> None:
        # A key in PEM has many lines, and would be told line by line.
        secrets = {
            line
            for name, value in configured.items()
            for line in (value, *value.splitlines())
            if len(line) >= (_MIN_NAMED_SECRET if _secret_name.search(name) else _MIN_SECRET)
        }
        # The longest first, since one may be part of another.
        found = "|".join(re.escape(secret) for secret in sorted(secrets, key=len, reverse=True))
        self._secrets = re.compile(found) if found else None

    def hide(self, text: str) -> str:
        """The text without them."""
        return text if self._secrets is None else self._secrets.sub(_MASK, text)


class Allowance:
    """So many log records in a second; the others are only counted."""

    def __init__(self, clock: IReactorTime, per_second: int = _LINES_PER_SECOND) -> None:
        self._clock = clock
        self._per_second = per_second
        self._since = clock.seconds()
        self._used = 0
        self._refused = 0

    def take(self, wanted: int = 1) -> int:
        """How many of these may be logged."""
        now = self._clock.seconds()
        if now - self._since >= 1:
            self._since, self._used = now, 0
        granted = min(wanted, self._per_second - self._used)
        self._used += granted
        self._refused += wanted - granted
        return granted

    def refused(self, at_end: bool = False) -> int:
        """
        How many were not logged since there was last an answer other than 0.

        @param at_end: answer also within the second in which more may be refused.
        """
        if not at_end and self._used >= self._per_second and self._clock.seconds() - self._since < 1:
            return 0
        refused, self._refused = self._refused, 0
        return refused


class StandardError:
    """The standard error of one child."""

    _log = Logger()

    def __init__(self, name: str, clock: IReactorTime, mask: Mask) -> None:
        """
        @param name: of the upstream.
        """
        self._name = name
        self._mask = mask
        self._clock = clock
        self._framer = LineFramer(_MAX_LINE)
        self._allowance = Allowance(clock)
        self._is_up = False
        self._kept: deque[tuple[float, bytes]] = deque()
        self._size = 0

    def received(self, data: bytes) -> None:
        """The child wrote this."""
        self._take(
            [line.head if isinstance(line, OverlongLine) else line.rstrip(b"\r") for line in self._framer.feed(data)]
        )

    def came_up(self) -> None:
        """The child does its work; what it said until now did not keep it from that."""
        self._is_up = True

    def ended(self) -> None:
        """It will write no more."""
        rest = self._framer.rest()
        self._take([rest] if rest else [])
        self._tell_refused(at_end=True)

    def tail(self) -> list[str]:
        """The last lines, fit to be shown."""
        return [self._shown(line) for _, line in self._kept]

    def last_words(self) -> str:
        """The last few lines as one, but those that only underline others; empty if there are none."""
        since = self._clock.seconds() - _LAST_MOMENTS if self._is_up else 0.0
        last = list(self._kept)[-_LAST_WORDS_LINES:]
        lines = [self._shown(line).strip() for when, line in last if when >= since]
        text = " | ".join(line for line in lines if any(map(str.isalnum, line)))
        return text if len(text) <= _MAX_LAST_WORDS else "..." + text[-_MAX_LAST_WORDS:]

    def _take(self, lines: list[bytes]) -> None:
        # Only what can stay is looked at: a flood is cheap for the child, and has to be for us.
        now = self._clock.seconds()
        for line in lines[-MAX_LINES:]:
            self._kept.append((now, line))
            self._size += len(line)
        while len(self._kept) > MAX_LINES or self._size > MAX_TAIL:
            self._size -= len(self._kept.popleft()[1])
        if not lines:
            return
        self._tell_refused()
        for line in lines[: self._allowance.take(len(lines))]:
            self._log.info("{upstream} says: {line}", upstream=self._name, line=self._shown(line))

    def _tell_refused(self, at_end: bool = False) -> None:
        refused = self._allowance.refused(at_end)
        if refused:
            self._log.info("{upstream} said {count} lines more than are logged", upstream=self._name, count=refused)

    def _shown(self, line: bytes) -> str:
        return printable(self._mask.hide(line.decode("utf-8", "backslashreplace")))
