"""
What both ends of a conversation of the session era have in common.
"""

from __future__ import annotations

from typing import Final

from mcpbridge.core.effects import Emit
from mcpbridge.core.errors import (
    ErrorObject,
)
from mcpbridge.core.jsonrpc import Error, Request

VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")

#: Revisions in which a client may send an array of messages.
BATCHES: Final = frozenset(("2025-03-26",))

#: A client that never answers what it is asked must not cost memory without end.
MAX_QUESTIONS = 256

#: Calls that became tasks, and whose progress is told after their answer. The oldest goes first.
MAX_TASKS = 256


def refuse(request: Request, code: int, text: str) -> Emit:
    return Emit(Error(request.id, ErrorObject(code, text)), request.id)
