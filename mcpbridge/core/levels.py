"""
The severities of log messages (RFC 5424; MCP server/utilities/logging, Log Levels).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Least severe first.
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


def least(levels: Iterable[str | None]) -> str | None:
    """The least severe of those that are set: what a server must send so that all who wish so hear enough."""
    wanted = [level for level in levels if level is not None]
    return min(wanted, key=LEVELS.index, default=None)
