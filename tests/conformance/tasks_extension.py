"""
A script: a server of the stateless era whose tools become tasks, by the extension C{io.modelcontextprotocol/tasks}.

    python -m tests.conformance.tasks_extension TRANSPORT [PORT]

C{TRANSPORT} is C{http} or C{stdio}. The official Python SDK leaves tasks to whoever writes a server, so they are
written here, by the text of the extension alone. The tools are those that the tasks scenarios of the official suite
want, and it passes all of them. It knows nothing of mcpbridge.
"""

import asyncio
import datetime as dt
import logging
import secrets
import sys
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import attrs
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
from tests.conformance.wires import MODERN

EXTENSION = "io.modelcontextprotocol/tasks"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"

POLL_INTERVAL = 100
TTL = 60_000
"""Milliseconds, both."""

JOB = 0.3
"""Seconds that a job takes that nobody says the length of."""

HEADER_MISMATCH = -32020
MISSING_CAPABILITY = -32021
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

Arguments = Mapping[str, Any]
Answer = dict[str, Any]
Wire = dict[str, Any]


# Tasks


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@attrs.define(eq=False)
class Task:
    """
    One task.

    @ivar questions: what it asks, by key.
    @ivar answers: what is waited for, by key.
    @ivar more: what its status has beside it.
    @ivar watchers: who is told when it changes.
    """

    task_id: str = attrs.Factory(lambda: secrets.token_urlsafe(16))
    status: str = "working"
    message: str | None = None
    created: str = attrs.Factory(_now)
    updated: str = attrs.Factory(_now)
    more: Wire = attrs.Factory(dict)
    questions: dict[str, types.ElicitRequest] = attrs.Factory(dict)
    answers: dict[str, "asyncio.Future[Answer]"] = attrs.Factory(dict)
    watchers: list[Callable[[Wire], None]] = attrs.Factory(list)
    running: "asyncio.Task[None] | None" = None
    _keys: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.status in ("completed", "failed", "cancelled")

    def seed(self) -> Wire:
        """Without what its status has beside it."""
        found = {
            "taskId": self.task_id,
            "status": self.status,
            "createdAt": self.created,
            "lastUpdatedAt": self.updated,
            "ttlMs": TTL,
            "pollIntervalMs": POLL_INTERVAL,
        }
        return found if self.message is None else {**found, "statusMessage": self.message}

    def detailed(self) -> Wire:
        """All of it."""
        if self.status != "input_required":
            return {**self.seed(), **self.more}
        questions = {key: each.model_dump(by_alias=True, mode="json", exclude_none=True) for key, each in self.asked()}
        return {**self.seed(), "inputRequests": questions}

    def asked(self) -> list[tuple[str, types.ElicitRequest]]:
        """What nobody has answered yet."""
        return list(self.questions.items())

    def becomes(self, status: str, message: str | None = None, **more: Any) -> None:
        """It changes; once it is over, it does not any more."""
        if self.is_over:
            return
        self.status, self.message, self.more, self.updated = status, message, more, _now()
        for watcher in self.watchers:
            watcher(self.detailed())

    async def ask(self, question: types.ElicitRequest) -> Answer:
        """Ask the client."""
        self._keys += 1
        key = f"question-{self._keys}"
        self.questions[key] = question
        self.answers[key] = asyncio.get_running_loop().create_future()
        self.becomes("input_required", "It needs to know something")
        return await self.answers[key]

    def answer(self, key: str, answer: Answer) -> None:
        """The client answers; what is not asked is ignored."""
        if self.questions.pop(key, None) is None:
            return
        self.answers.pop(key).set_result(answer)
        self.becomes("input_required" if self.questions else "working")

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self.becomes("cancelled", "The client cancelled it")
        if self.running is not None:
            self.running.cancel()


TASKS: dict[str, Task] = {}


# Tools

Work = Callable[[Task, Arguments], Awaitable[types.CallToolResult]]


def text(words: str, is_error: bool = False) -> types.CallToolResult:
    """A result that is one text."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=words)], is_error=is_error)


_NAME: Wire = {"type": "string"}
_CONFIRM: Wire = {"type": "boolean"}


async def slow_compute(_: Task | None, arguments: Arguments) -> types.CallToolResult:
    """Waits for some seconds."""
    await asyncio.sleep(arguments["seconds"])
    return text(f"Computed {arguments.get('label', 'it')} in {arguments['seconds']} s")


async def failing_job(_: Task, __: Arguments) -> types.CallToolResult:
    """Fails, as tools do."""
    await asyncio.sleep(JOB)
    return text("The job failed", is_error=True)


async def protocol_error_job(_: Task, __: Arguments) -> types.CallToolResult:
    """Fails, as requests do."""
    raise MCPError(INTERNAL_ERROR, "The job broke down", {"job": 7})


async def confirm_delete(task: Task, arguments: Arguments) -> types.CallToolResult:
    """Asks one question."""
    answer = await task.ask(form(f"Delete {arguments['filename']}?", confirm=_CONFIRM))
    is_sure = answer["action"] == "accept" and answer["content"]["confirm"]
    return text(f"{'Deleted' if is_sure else 'Kept'} {arguments['filename']}")


async def multi_input(task: Task, _: Arguments) -> types.CallToolResult:
    """Asks two at once."""
    questions = [form(message, name=_NAME, confirm=_CONFIRM) for message in ("Who are you?", "Who else?")]
    answers = await asyncio.gather(*map(task.ask, questions))
    return text(" and ".join(answer.get("content", {}).get("name", answer["action"]) for answer in answers))


async def test_tool_with_task(_: Task, arguments: Arguments) -> types.CallToolResult:
    """Asks before it is a task; C{answer} is what came of that."""
    answer = arguments["answer"]
    return text(f"Hello, {answer.get('content', {}).get('name', answer['action'])}!")


WORKS: dict[str, Work] = {
    function.__name__: function
    for function in (slow_compute, failing_job, protocol_error_job, confirm_delete, multi_input, test_tool_with_task)
}

SCHEMAS: dict[str, Wire] = {
    "greet": {"type": "object", "properties": {"name": _NAME}, "required": ["name"]},
    "slow_compute": {
        "type": "object",
        "properties": {"seconds": {"type": "number"}, "label": _NAME},
        "required": ["seconds"],
    },
    "confirm_delete": {"type": "object", "properties": {"filename": _NAME}, "required": ["filename"]},
}


async def _run(task: Task, work: Work, arguments: Arguments) -> None:
    try:
        result = await work(task, arguments)
    except MCPError as error:
        task.becomes("failed", error.error.message, error=error.error.model_dump(mode="json", exclude_none=True))
    else:
        task.becomes("completed", result=result.model_dump(by_alias=True, mode="json", exclude_none=True))


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
        tools=[types.Tool(name=name, input_schema=SCHEMAS.get(name, plain)) for name in ("greet", "statuses", *WORKS)]
    )


async def call_tool(context: Context, params: types.CallToolRequestParams) -> Any:
    arguments = params.arguments or {}
    if params.name == "greet":
        return text(f"Hello, {arguments['name']}!")
    if params.name == "statuses":
        return text(" ".join(sorted(task.status for task in TASKS.values())))
    work = WORKS.get(params.name)
    if work is None:
        raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}")
    if params.name == "slow_compute" and not declares(context):
        return await slow_compute(None, arguments)
    demand(context)
    if params.name == "test_tool_with_task":
        try:
            answers = await Interview(context, params).ask(user_name=form("What is your name?", name=_NAME))
        except Unanswered as question:
            return question.result
        arguments = {"answer": answers["user_name"]}
    task = Task()
    TASKS[task.task_id] = task
    task.running = asyncio.get_running_loop().create_task(_run(task, work, arguments))
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
