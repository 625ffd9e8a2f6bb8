"""
The types that all that is said of tasks is held against. The SDK has those of 2025-11-25, but does not ask for them;
of the extension it has none.
"""

from typing import Any, Literal

import mcp_types as types
from mcp_types import methods
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

EXTENSION = "io.modelcontextprotocol/tasks"

_SESSION, _STATELESS = "2025-11-25", "2026-07-28"


class _Task(BaseModel):
    """What every task of the extension has."""

    model_config = ConfigDict(alias_generator=to_camel)

    task_id: str
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int | None = None
    status_message: str | None = None


class Created(_Task):
    """The answer of a call."""

    result_type: Literal["task"]
    status: Literal["working", "input_required", "completed", "failed", "cancelled"]


class _Seen(_Task):
    result_type: Literal["complete"]


class Plain(_Seen):
    """Nothing to tell beside its status."""

    status: Literal["working", "cancelled"]


class Asking(_Seen):
    """It wants to know something."""

    status: Literal["input_required"]
    input_requests: dict[str, types.ElicitRequest]


class Completed(_Seen):
    """With what the call would have been answered with."""

    status: Literal["completed"]
    result: dict[str, Any]


class Failed(_Seen):
    """Likewise."""

    status: Literal["failed"]
    error: types.ErrorData


class Acknowledged(BaseModel):
    """That is all."""

    model_config = ConfigDict(alias_generator=to_camel)

    result_type: Literal["complete"]


RESULTS: dict[tuple[str, str], Any] = {
    **methods.SERVER_RESULTS,
    ("tools/call", _SESSION): methods.SERVER_RESULTS[("tools/call", _SESSION)] | types.CreateTaskResult,
    ("tasks/get", _SESSION): types.GetTaskResult,
    ("tasks/cancel", _SESSION): types.CancelTaskResult,
    ("tasks/list", _SESSION): types.ListTasksResult,
    ("tasks/result", _SESSION): methods.SERVER_RESULTS[("tools/call", _SESSION)],
    ("tools/call", _STATELESS): methods.SERVER_RESULTS[("tools/call", _STATELESS)] | Created,
    ("tasks/get", _STATELESS): Plain | Asking | Completed | Failed,
    ("tasks/update", _STATELESS): Acknowledged,
    ("tasks/cancel", _STATELESS): Acknowledged,
}
"""By method and revision. Such tasks are of tools only."""
