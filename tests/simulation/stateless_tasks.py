"""
What a server of the stateless era says of its tasks (the extension C{io.modelcontextprotocol/tasks}).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mcpbridge.core.errors import ErrorObject
from tests.simulation.tasks import EXTENSION, REQUIRED, Task, Tasks

_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"

#: A server that can do a thing as a task only, and a client that knows none.
MISSING: Final = ErrorObject(-32021, "Missing required client capability")

#: A call of another tool becomes a task as well, so often.
_SOMETIMES = 0.3


def knows_tasks(params: Mapping[str, Any]) -> bool:
    """Whether a client declares the extension in this request."""
    return EXTENSION in params.get("_meta", {}).get(_CAPABILITIES, {}).get("extensions", {})


def shown(task: Task) -> dict[str, Any]:
    """In the words of the extension, with all that there is to see."""
    found = task.shown("ttlMs", "pollIntervalMs")
    match task.status:
        case "input_required":
            found["inputRequests"] = dict(task.questions)
        case "completed":
            found["result"] = {**task.result(), "resultType": "complete"}
        case "failed":
            found["error"] = {"code": -1, "message": task.token}
    return found


def created(tasks: Tasks | None, params: Mapping[str, Any]) -> dict[str, Any] | ErrorObject | None:
    """A call, if it becomes a task, or must have; L{None} if it is an ordinary one."""
    if tasks is None:
        return None
    asked = params["arguments"]
    knows = knows_tasks(params)
    if params["name"] == REQUIRED:
        if not knows:
            return MISSING
    elif not knows or "requestState" in params or tasks.world.tasks.random() > _SOMETIMES:
        return None
    task = tasks.begin(asked, None)
    return task.shown("ttlMs", "pollIntervalMs")


def answered(tasks: Tasks, method: str, params: Mapping[str, Any]) -> dict[str, Any] | ErrorObject:
    """A request about a task."""
    if not knows_tasks(params):
        return MISSING
    task = tasks.find(params["taskId"], None)
    if task is None:
        return ErrorObject(-32602, "Invalid params: there is no such task")
    match method:
        case "tasks/get":
            return shown(task)
        case "tasks/update":
            for key, answer in params["inputResponses"].items():
                tasks.answer(task, key, answer)
            return {}
        case "tasks/cancel":
            if not task.is_over:
                tasks.cancel(task)
            return {}
    return ErrorObject(-32601, "Method not found")
