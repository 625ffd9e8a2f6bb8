"""
What a server of the session era says of its tasks (2025-11-25, Tasks).

A task that wants to know something asks within C{tasks/result}, or aside while that is open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.jsonrpc import Error, Message, Notification, Request, RequestId, Result
from tests.simulation.tasks import OPTIONAL, REQUIRED, Task, Tasks

RELATED: Final = "io.modelcontextprotocol/related-task"

CAPABILITY: Final[dict[str, Any]] = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}

#: What a list of tools has of them.
TOOLS: Final = (
    {"name": REQUIRED, "execution": {"taskSupport": "required"}},
    {"name": OPTIONAL, "execution": {"taskSupport": "optional"}},
)


def shown(task: Task) -> dict[str, Any]:
    """In the words of the session era."""
    return task.shown("ttl", "pollInterval")


@attrs.define(eq=False)
class SessionTasks:
    """
    Those of one session.

    @ivar _session: whose they are.
    @ivar _say: tells the client something, within one of its requests or not.
    @ivar _ids: of requests to the client.
    @ivar _waiters: requests for results that are open.
    @ivar _asked: what the client was asked: for which task, what, and within which request.
    """

    _tasks: Tasks
    _session: object
    _say: Callable[[Message, RequestId | None], None]
    _ids: Iterator[int]
    _waiters: dict[RequestId, Task] = attrs.Factory(dict)
    _asked: dict[RequestId, tuple[Task, str, RequestId]] = attrs.Factory(dict)

    # The client says something.

    def asked(self, request: Request, params: dict[str, Any]) -> None:
        """A request about tasks."""
        if request.method == "tasks/list":
            self._answer(request.id, {"tasks": [shown(task) for task in self._tasks.begun_by(self._session)]})
            return
        task = self._tasks.find(params["taskId"], self._session)
        if task is None or (request.method == "tasks/cancel" and task.is_over):
            self._say(Error(request.id, ErrorObject(-32602, f"Invalid params: {task}")), request.id)
            return
        match request.method:
            case "tasks/get":
                self._answer(request.id, shown(task))
            case "tasks/cancel":
                self._tasks.cancel(task)
                self._answer(request.id, shown(task))
            case "tasks/result":
                task.fetched += 1
                self._waiters[request.id] = task
                self.changed(task)
            case _:
                self._say(Error(request.id, ErrorObject(-32601, "Method not found")), request.id)

    def call(self, request: Request, params: dict[str, Any]) -> None:
        """A call becomes a task."""
        self._answer(request.id, {"task": shown(self._tasks.begin(params["arguments"], self._session))})

    def cancelled(self, request_id: RequestId) -> None:
        """The client does not wait for a result any more, but for the task's own sake."""
        self._waiters.pop(request_id, None)
        for key, (_, _, within) in list(self._asked.items()):
            if within == request_id:
                del self._asked[key]

    def answered(self, message: Result | Error) -> bool:
        """Whether this answers a question of a task."""
        task, key, _ = self._asked.pop(message.id, (None, "", 0)) if message.id is not None else (None, "", 0)
        if task is None:
            return False
        self._tasks.answer(task, key, jsonrpc.read(message.result) if isinstance(message, Result) else {})
        return True

    def is_asked(self, question_id: RequestId) -> bool:
        """Whether the answer is still waited for."""
        return question_id in self._asked

    # A task says something.

    def tell(self, task: Task) -> None:
        """It has changed."""
        if task.owner is self._session and self._tasks.telling:
            told = Notification("notifications/tasks/status", jsonrpc.value(shown(task)))
            self._say(told, None)
            tales = self._tasks.world.tales
            if tales.random() < 0.3:
                # It says so twice, the second time perhaps when it is not true any more.
                self._tasks.world.clock.callLater(tales.choice((0.0, 0.1, 3.0)), self._say, told, None)

    def changed(self, task: Task) -> None:
        """Whoever waits for it hears of it."""
        waiters = [request_id for request_id, each in self._waiters.items() if each is task]
        if task.is_over:
            for key in [key for key, (each, _, _) in self._asked.items() if each is task]:
                del self._asked[key]
            for request_id in waiters:
                del self._waiters[request_id]
                self._end(request_id, task)
        elif task.status == "input_required" and waiters:
            under_way = {key for each, key, _ in self._asked.values() if each is task}
            for key in [key for key in task.questions if key not in under_way]:
                self._ask(task, key, waiters[-1])

    def _ask(self, task: Task, key: str, within: RequestId) -> None:
        question = task.questions[key]
        params = {**question.get("params", {}), "_meta": {RELATED: {"taskId": task.task_id}}}
        number = f"q{next(self._ids)}"
        self._asked[number] = task, key, within
        asked = Request(number, question["method"], jsonrpc.value(params))
        self._say(asked, None if self._tasks.aside else within)

    def _end(self, request_id: RequestId, task: Task) -> None:
        if task.wanted["fail"] or task.status == "cancelled":
            self._say(Error(request_id, ErrorObject(-1, task.token)), request_id)
        else:
            self._answer(request_id, {**task.result(), "_meta": {RELATED: {"taskId": task.task_id}}})

    def _answer(self, request_id: RequestId, result: dict[str, Any]) -> None:
        self._say(Result(request_id, jsonrpc.value(result)), request_id)
