"""
A script: a server of 2025-11-25 whose tools are tasks, on the official Python SDK.

    python -m tests.conformance.tasks_session TRANSPORT [PORT]

C{TRANSPORT} is C{http} or C{stdio}. That SDK has the types of such tasks and nothing that runs them, so they are
written here, by the text of the revision. C{tasks_session.mjs} beside this is the same on the official TypeScript SDK,
and does more; this one needs nothing but Python. It knows nothing of mcpbridge.
"""

import asyncio
import sys
from typing import Any

import mcp_types as types
from mcp import MCPError
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.shared.message import ServerMessageMetadata

from tests.conformance.interview import Context
from tests.conformance.reference import serve
from tests.conformance.tasks_tools import (
    CANCELLED,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    POLL_INTERVAL,
    SCHEMAS,
    TTL,
    WORKS,
    Answer,
    Task,
    Wire,
    begin,
    text,
)

SPOKEN = "2025-11-25"
RELATED = "io.modelcontextprotocol/related-task"
METHOD_NOT_FOUND = -32601

TOOLS = {name: work for name, work in WORKS.items() if name != "test_tool_with_task"}
"""All that ask nothing before they are tasks. Each of them runs as nothing else."""

CAPABILITY = types.ServerTasksCapability(
    list=types.TasksListCapability(),
    cancel=types.TasksCancelCapability(),
    requests=types.ServerTasksRequestsCapability(tools=types.TasksToolsCapability(call=types.TasksCallCapability())),
)


def tasks_of(context: Context) -> dict[str, Task]:
    """The tasks of this session, by id."""
    # The SDK has no public name for the connection.
    found: dict[str, Task] = context.session._connection.state.setdefault("tasks", {})
    return found


def told(task: Task) -> Wire:
    """A task in the words of this dialect: a result that says it is an error is a failure."""
    has_failed = task.more.get("result", {}).get("isError", False)
    found = {
        "taskId": task.task_id,
        "status": "failed" if has_failed else task.status,
        "createdAt": task.created,
        "lastUpdatedAt": task.updated,
        "ttl": TTL,
        "pollInterval": POLL_INTERVAL,
    }
    return found if task.message is None else {**found, "statusMessage": task.message}


# Tools


async def list_tools(_: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    plain: Wire = {"type": "object"}
    required = types.ToolExecution(task_support="required")
    found = [types.Tool(name=name, input_schema=SCHEMAS.get(name, plain), execution=required) for name in TOOLS]
    return types.ListToolsResult(tools=[types.Tool(name="cancelled", input_schema=plain), *found])


async def call_tool(_: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
    """Without a task."""
    if params.name == "cancelled":
        return text(" ".join(CANCELLED))
    if params.name in TOOLS:
        raise MCPError(METHOD_NOT_FOUND, f"{params.name} runs as a task only")
    raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}")


async def call_as_task(ctx: Context, call_next: CallNext) -> HandlerResult:
    """With one. The SDK lets no handler of C{tools/call} answer so, hence this is before them."""
    params = ctx.params or {}
    if ctx.method != "tools/call" or "task" not in params or params.get("name") not in TOOLS:
        return await call_next(ctx)
    task = begin(TOOLS[params["name"]], params.get("arguments") or {})
    tasks_of(ctx)[task.task_id] = task
    return {"task": told(task)}


# Tasks


class TaskParams(types.RequestParams):
    """Of a request about a task."""

    task_id: str


def _task(context: Context, params: TaskParams) -> Task:
    task = tasks_of(context).get(params.task_id)
    if task is None:
        raise MCPError(INVALID_PARAMS, "Failed to retrieve task: Task not found")
    return task


async def list_tasks(context: Context, _: types.PaginatedRequestParams) -> Wire:
    return {"tasks": [told(task) for task in tasks_of(context).values()]}


async def get_task(context: Context, params: TaskParams) -> Wire:
    return told(_task(context, params))


async def cancel_task(context: Context, params: TaskParams) -> Wire:
    task = _task(context, params)
    if task.is_over:
        raise MCPError(INVALID_PARAMS, f"Cannot cancel task: it is {task.status}")
    task.cancel()
    return told(task)


async def task_result(context: Context, params: TaskParams) -> Wire:
    """Wait for what comes of a task, and ask meanwhile what it asks."""
    task = _task(context, params)
    changes: asyncio.Queue[Wire] = asyncio.Queue()
    task.watchers.append(changes.put_nowait)
    try:
        while not task.is_over:
            for key, question in task.asked():
                task.answer(key, await _answer(context, task, question))
            if not task.is_over:
                await changes.get()
    finally:
        task.watchers.remove(changes.put_nowait)
    if "error" in task.more:
        raise MCPError(**task.more["error"])
    if "result" not in task.more:
        raise MCPError(INTERNAL_ERROR, f"There is no result: the task is {task.status}")
    return {**task.more["result"], "_meta": {RELATED: {"taskId": task.task_id}}}


async def _answer(context: Context, task: Task, question: types.ElicitRequest) -> Answer:
    meta: Any = {RELATED: {"taskId": task.task_id}}
    asked = types.ElicitRequest(params=question.params.model_copy(update={"meta": meta}))
    beside = ServerMessageMetadata(related_request_id=context.request_id)
    result = await context.session.send_request(asked, types.ElicitResult, metadata=beside)
    return result.model_dump(by_alias=True, mode="json", exclude_none=True)


def make() -> Server[Any]:
    """The server."""
    server: Server[Any] = Server(
        "tasks-session",
        version="1.0.0",
        instructions="Made for tests.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
    server.middleware.append(call_as_task)
    server.add_request_handler("tasks/list", types.PaginatedRequestParams, list_tasks)
    server.add_request_handler("tasks/get", TaskParams, get_task)
    server.add_request_handler("tasks/cancel", TaskParams, cancel_task)
    server.add_request_handler("tasks/result", TaskParams, task_result)
    capabilities = server.get_capabilities(NotificationOptions(), {})
    with_tasks = capabilities.model_copy(update={"tasks": CAPABILITY})
    options = server.create_initialization_options().model_copy(update={"capabilities": with_tasks})
    server.create_initialization_options = lambda *_: options  # type: ignore[method-assign]  # no other way to it
    return server


if __name__ == "__main__":
    serve(make(), sys.argv[1], SPOKEN, *sys.argv[2:])
