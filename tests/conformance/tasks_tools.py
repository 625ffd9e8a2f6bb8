"""
Tasks, and tools that become some, whichever dialect they are spoken of in.

The tools are those that the tasks scenarios of the official suite want. C{wait} is ours.
"""

import asyncio
import datetime as dt
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import mcp_types as types
from mcp import MCPError

from tests.conformance.interview import form

POLL_INTERVAL = 100
TTL = 60_000
"""Milliseconds, both."""

JOB = 0.3
"""Seconds that a job takes that nobody says the length of."""

WAIT_LIMIT = 20.0
"""Seconds that a job waits to be cancelled before it gives up."""

INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

Arguments = Mapping[str, Any]
Answer = dict[str, Any]
Wire = dict[str, Any]

CANCELLED: list[str] = []
"""The keys of jobs that waited and were cancelled."""


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


# Tools

Work = Callable[[Task, Arguments], Awaitable[types.CallToolResult]]


def text(words: str, is_error: bool = False) -> types.CallToolResult:
    """A result that is one text."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=words)], is_error=is_error)


NAME: Wire = {"type": "string"}
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
    questions = [form(message, name=NAME, confirm=_CONFIRM) for message in ("Who are you?", "Who else?")]
    answers = await asyncio.gather(*map(task.ask, questions))
    return text(" and ".join(answer.get("content", {}).get("name", answer["action"]) for answer in answers))


async def wait(task: Task, arguments: Arguments) -> types.CallToolResult:
    """Waits to be cancelled."""
    task.becomes("working", "waiting")
    try:
        await asyncio.sleep(WAIT_LIMIT)
    except asyncio.CancelledError:
        CANCELLED.append(arguments["key"])
        raise
    return text("nobody cancelled")


async def test_tool_with_task(_: Task, arguments: Arguments) -> types.CallToolResult:
    """Asks before it is a task; C{answer} is what came of that."""
    answer = arguments["answer"]
    return text(f"Hello, {answer.get('content', {}).get('name', answer['action'])}!")


WORKS: dict[str, Work] = {
    function.__name__: function
    for function in (
        slow_compute,
        failing_job,
        protocol_error_job,
        confirm_delete,
        multi_input,
        wait,
        test_tool_with_task,
    )
}

SCHEMAS: dict[str, Wire] = {
    "greet": {"type": "object", "properties": {"name": NAME}, "required": ["name"]},
    "slow_compute": {
        "type": "object",
        "properties": {"seconds": {"type": "number"}, "label": NAME},
        "required": ["seconds"],
    },
    "confirm_delete": {"type": "object", "properties": {"filename": NAME}, "required": ["filename"]},
    "wait": {"type": "object", "properties": {"key": NAME}, "required": ["key"]},
}


def begin(work: Work, arguments: Arguments) -> Task:
    """A task that does this, from now on."""
    task = Task()
    task.running = asyncio.get_running_loop().create_task(_run(task, work, arguments))
    return task


async def _run(task: Task, work: Work, arguments: Arguments) -> None:
    try:
        result = await work(task, arguments)
    except MCPError as error:
        task.becomes("failed", error.error.message, error=error.error.model_dump(mode="json", exclude_none=True))
    else:
        task.becomes("completed", result=result.model_dump(by_alias=True, mode="json", exclude_none=True))
