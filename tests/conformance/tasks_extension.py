"""
A script: a server of the stateless era whose tools become tasks, by the extension C{io.modelcontextprotocol/tasks}.

    python -m tests.conformance.tasks_extension TRANSPORT [PORT]

C{TRANSPORT} is C{http} or C{stdio}. The official Python SDK leaves tasks to whoever writes a server, so they are
written here, by the text of the extension alone. The tools are those that the tasks scenarios of the official suite
want, and it passes all of them. It knows nothing of mcpbridge.
"""

import asyncio
import logging
import sys
import warnings
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp import MCPError
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.runner import _serve_modern_stream
from mcp.server.stdio import stdio_server
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.conformance.interview import Context, Interview, Unanswered, form
from tests.conformance.reference import OneEra
from tests.conformance.tasks_tools import (
    CANCELLED,
    INVALID_PARAMS,
    NAME,
    SCHEMAS,
    WORKS,
    Answer,
    Task,
    Wire,
    begin,
    slow_compute,
    text,
)
from tests.conformance.wires import MODERN

EXTENSION = "io.modelcontextprotocol/tasks"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"

HEADER_MISMATCH = -32020
MISSING_CAPABILITY = -32021

PLAIN = ("greet", "statuses", "cancelled")
"""Tools that are never tasks."""

TASKS: dict[str, Task] = {}


# What it answers


def declares(context: Context) -> bool:
    """Whether the client knows tasks, by what it says of itself in this request."""
    meta = (context.params or {}).get("_meta") or {}
    return EXTENSION in ((meta.get(CAPABILITIES) or {}).get("extensions") or {})


def demand(context: Context) -> None:
    """
    Refuse a client that does not know tasks.

    @raise MCPError: -32021.
    """
    if not declares(context):
        data: Wire = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        raise MCPError(MISSING_CAPABILITY, "Missing required client capability", data)


async def list_tools(_: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    plain: Wire = {"type": "object"}
    return types.ListToolsResult(
        tools=[types.Tool(name=name, input_schema=SCHEMAS.get(name, plain)) for name in (*PLAIN, *WORKS)]
    )


async def call_tool(context: Context, params: types.CallToolRequestParams) -> Any:
    arguments = params.arguments or {}
    if params.name == "greet":
        return text(f"Hello, {arguments['name']}!")
    if params.name == "statuses":
        return text(" ".join(sorted(task.status for task in TASKS.values())))
    if params.name == "cancelled":
        return text(" ".join(CANCELLED))
    work = WORKS.get(params.name)
    if work is None:
        raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}")
    if params.name == "slow_compute" and not declares(context):
        return await slow_compute(None, arguments)
    demand(context)
    if params.name == "test_tool_with_task":
        try:
            answers = await Interview(context, params).ask(user_name=form("What is your name?", name=NAME))
        except Unanswered as question:
            return question.result
        arguments = {"answer": answers["user_name"]}
    task = begin(work, arguments)
    TASKS[task.task_id] = task
    return {**task.seed(), "resultType": "task"}


class TaskParams(types.RequestParams):
    """Of a request about a task."""

    task_id: str


class UpdateParams(TaskParams):
    """Of answers to what a task asks."""

    input_responses: dict[str, Answer]


def _task(context: Context, params: TaskParams) -> Task:
    headers = getattr(context.request, "headers", None)
    # The SDK holds the header against the body for the methods that it knows; these it does not.
    if headers is not None and headers.get("mcp-name") != params.task_id:
        raise MCPError(HEADER_MISMATCH, "mcp-name header does not match the request body's 'taskId' parameter")
    demand(context)
    task = TASKS.get(params.task_id)
    if task is None:
        raise MCPError(INVALID_PARAMS, "Failed to retrieve task: Task not found")
    return task


async def get_task(context: Context, params: TaskParams) -> Wire:
    return _task(context, params).detailed()


async def update_task(context: Context, params: UpdateParams) -> Wire:
    task = _task(context, params)
    for key, answer in params.input_responses.items():
        task.answer(key, answer)
    return {}


async def cancel_task(context: Context, params: TaskParams) -> Wire:
    _task(context, params).cancel()
    return {}


class TaskNotification(BaseModel):
    """Of the extension, so the SDK has no type for it."""

    method: str = "notifications/tasks"
    params: Wire


async def listen(context: Context, params: types.SubscriptionsListenRequestParams) -> types.SubscriptionsListenResult:
    """Of tasks only: nothing else changes here."""
    wanted = (params.notifications.model_extra or {}).get("taskIds") or []
    if wanted:
        demand(context)
    tasks = [TASKS[task_id] for task_id in wanted if task_id in TASKS]
    assert context.request_id is not None
    meta = {SUBSCRIPTION: context.request_id}
    changes: asyncio.Queue[Wire] = asyncio.Queue()
    for task in tasks:
        task.watchers.append(changes.put_nowait)
    honored = types.SubscriptionFilter.model_validate({"taskIds": [task.task_id for task in tasks]} if tasks else {})
    told = types.SubscriptionsAcknowledgedNotificationParams(notifications=honored, _meta=meta)
    try:
        await context.session.send_notification(
            types.SubscriptionsAcknowledgedNotification(params=told), context.request_id
        )
        while True:
            notification: Any = TaskNotification(params={**await changes.get(), "_meta": meta})
            await context.session.send_notification(notification, context.request_id)
    finally:
        for task in tasks:
            task.watchers.remove(changes.put_nowait)


def make() -> Server[Any]:
    """The server."""
    server: Server[Any] = Server(
        "tasks-extension",
        version="1.0.0",
        instructions="Made for tests.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_subscriptions_listen=listen,
    )
    server.extensions[EXTENSION] = {}
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="tasks"))
    server.add_request_handler("tasks/get", TaskParams, get_task)
    server.add_request_handler("tasks/update", UpdateParams, update_task)
    server.add_request_handler("tasks/cancel", TaskParams, cancel_task)
    return server


# Transports


def http_app() -> ASGIApp:
    manager = OneEra(app=make())
    manager.spoken = MODERN

    class Endpoint:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await manager.handle_request(scope, receive, send)

    return Starlette(routes=[Route("/mcp", endpoint=Endpoint())], lifespan=lambda _: manager.run())


async def serve_stdio() -> None:
    async with stdio_server() as (reading, writing):
        await _serve_modern_stream(make(), reading, writing, lifespan_state={}, raise_exceptions=False)


def main() -> None:
    """Serve as the command line says."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    if sys.argv[1] == "stdio":
        anyio.run(serve_stdio)
        return
    uvicorn.run(http_app(), host="127.0.0.1", port=int(sys.argv[2]), log_level="error", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
