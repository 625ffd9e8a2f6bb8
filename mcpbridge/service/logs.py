"""
What a log record looks like: one line, nothing in it that moves a cursor, at most so long.

Two forms, for humans and for machines. Which records are worth a line is decided here too; where a file is and how
large it gets is twistd's business.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any, TextIO, TypeAlias

import attrs
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from mcpbridge.core.printable import printable

#: Names that an operator may use, weakest first, as L{LogLevel} has them.
LEVELS = tuple(
    level.name for level in (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error, LogLevel.critical)
)
FORMATS = ("text", "json")

#: Characters of one message, of one traceback, of one field: a screenful. What is longer is of no use in a log, and
#: a flood of it fills disks.
_MAX_MESSAGE = 8_192
_MAX_TRACEBACK = 16_384
_MAX_FIELD = 1_024
_MAX_FIELDS = 32

#: Who says every connection made and lost at level info; for an operator that is debugging.
_CHATTER = ("twisted.", "log_legacy")
_RANKS = {name: rank for rank, name in enumerate(LEVELS)}
_INFO = _RANKS["info"]

Format: TypeAlias = Callable[[LogEvent], str]


def observer(stream: TextIO, form: str, level: str) -> LineObserver:
    """
    An observer that writes to C{stream}.

    @param form: one of L{FORMATS}.
    @param level: one of L{LEVELS}: what is weaker is not written.
    """
    return LineObserver(stream, {"text": text_line, "json": json_line}[form], _RANKS[level])


@implementer(ILogObserver)
@attrs.define
class LineObserver:
    """
    Writes records, each with one call and flushed.

    @ivar dropped: records that could not be written: the disk is full, or whoever read is gone. There is nobody to
        tell, and the daemon has better things to do than to die of it.
    """

    _stream: TextIO
    _format: Format
    _least: int
    dropped: int = attrs.field(default=0, init=False)

    def __call__(self, event: LogEvent) -> None:
        if _rank(event) < self._least:
            return
        try:
            self._stream.write(self._format(event) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # ValueError: the stream is closed.
            self.dropped += 1


def text_line(event: LogEvent) -> str:
    """C{2026-11-22T10:30:00.123Z info mcpbridge.service.daemon: listening}, and a traceback behind it."""
    line = f"{_time(event)} {_level(event)} {_name(event)}: {_message(event)}"
    traceback = _traceback(event)
    return f"{line} | {traceback}" if traceback else line


def json_line(event: LogEvent) -> str:
    """
    One JSON object: C{time}, C{level}, C{logger}, C{message}, C{traceback} where there is one, and under C{fields}
    what the message was made of.
    """
    record: dict[str, Any] = {
        "time": _time(event),
        "level": _level(event),
        "logger": _name(event),
        "message": _message(event),
    }
    if fields := _fields(event):
        record["fields"] = fields
    if traceback := _traceback(event):
        record["traceback"] = traceback
    return json.dumps(record)


def _rank(event: LogEvent) -> int:
    rank = _RANKS.get(_level(event), _INFO)
    if rank == _INFO and _name(event).startswith(_CHATTER):
        return _RANKS["debug"]
    return rank


def _level(event: LogEvent) -> str:
    return getattr(event.get("log_level"), "name", "info")


def _name(event: LogEvent) -> str:
    return printable(str(event.get("log_namespace") or "-"))


def _time(event: LogEvent) -> str:
    seconds = event.get("log_time") or 0.0
    whole, fraction = divmod(int(seconds * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{fraction:03d}Z"


def _message(event: LogEvent) -> str:
    return printable(formatEvent(event), _MAX_MESSAGE)


def _traceback(event: LogEvent) -> str | None:
    failure = event.get("log_failure")
    if failure is None:
        return None
    try:
        return printable(failure.getTraceback().rstrip(), _MAX_TRACEBACK)
    except Exception as error:  # noqa: BLE001 - whatever a foreign __repr__ raises, the record has to be written
        return f"(this traceback cannot be shown: {type(error).__name__})"


def _fields(event: LogEvent) -> dict[str, str | int | float | bool | None]:
    fields: dict[str, str | int | float | bool | None] = {}
    if "log_legacy" in event:
        return fields
    for name, value in event.items():
        if name.startswith("log_") or len(fields) == _MAX_FIELDS:
            continue
        if isinstance(value, float) and not math.isfinite(value):
            # JSON has no such numbers.
            fields[name] = str(value)
        elif value is None or isinstance(value, (bool, int, float)):
            fields[name] = value
        elif isinstance(value, str):
            fields[name] = printable(value, _MAX_FIELD)
    return fields
