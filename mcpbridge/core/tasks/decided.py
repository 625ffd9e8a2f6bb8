"""
Tasks for a client of the extension, at a server of the session dialect: we decide what becomes one, which is each call
of a tool that runs as nothing else.

Such a client looks at a task and finds all of it there: what came of it, or what it asks. Such a server tells what
came of a task, and asks, to who waits for its result. So that is waited for here from the moment when the task needs
something, and what it asks is kept until the client looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.capabilities import can_answer
from mcpbridge.core.conversion import question_for
from mcpbridge.core.conversion.results import result_for
from mcpbridge.core.conversion.shapes import is_object, opened
from mcpbridge.core.effects import StartTimer, StopTimer
from mcpbridge.core.eras.modern.envelope import COMPLETE, TASK
from mcpbridge.core.errors import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, ErrorObject
from mcpbridge.core.events import Called, Completed, Envelope, ExchangeId, Failed, InputRequest, InputSupplied
from mcpbridge.core.revisions import STATELESS
from mcpbridge.core.tasks import shapes
from mcpbridge.core.tasks.requests import Answer, Requests, Then
from mcpbridge.core.tasks.steps import Down, Step, Up

#: Tasks of one client that are kept in mind, and questions of one. The oldest task goes first.
MAX_TASKS: Final = 256
MAX_QUESTIONS: Final = 64

#: Seconds that a look at a task that needs something waits for what that is.
PATIENCE: Final = 1.0

_EMPTY = Raw(b"{}")


@attrs.define(eq=False, repr=False)
class _Watched:
    """
    A task that something is known of.

    @ivar waiting: our request for its result, while that is open.
    @ivar questions: what it asks, by key.
    @ivar looks: the client's requests that wait for a question, and how the task was then.
    """

    task_id: str
    waiting: ExchangeId | None = None
    questions: dict[str, InputRequest] = attrs.Factory(dict)
    looks: dict[ExchangeId, dict[str, Raw]] = attrs.Factory(dict)


@attrs.define(eq=False, repr=False)
class Decided:
    """
    All of one client.

    @ivar capabilities: the client's.
    @ivar _under_way: our requests, by that of the client.
    """

    _requests: Requests
    capabilities: Raw = _EMPTY
    _watched: dict[str, _Watched] = attrs.Factory(dict)
    _under_way: dict[ExchangeId, ExchangeId] = attrs.Factory(dict)

    # Calls.

    def created(self, event: Completed, task: Mapping[str, Raw]) -> Sequence[Step]:
        """
        A call has become a task.

        @param task: in the words of the extension.
        """
        found = dict(task)
        meta = opened(event.result).get("_meta")
        if meta is not None:
            found["_meta"] = meta
        return (Down(Completed(event.xid, jsonrpc.assemble(found), Envelope(TASK))),)

    # Requests about tasks.

    def asked(self, event: Called) -> Sequence[Step]:
        """The client asks about a task."""
        params = opened(event.params)
        task_id = shapes.id_of(params)
        if task_id is None:
            return (Down(Failed(event.xid, shapes.unknown_task())),)
        match event.method:
            case "tasks/get":
                return self._get(event.xid, task_id)
            case "tasks/update":
                return self._update(event, task_id, opened(params.get("inputResponses")))
            case "tasks/cancel":
                return self._cancel(event.xid, task_id)
        return (Down(Failed(event.xid, ErrorObject(METHOD_NOT_FOUND, f"Method not found: {event.method}"))),)

    def _get(self, xid: ExchangeId, task_id: str) -> Sequence[Step]:
        def answered(event: Answer) -> Sequence[Step]:
            self._under_way.pop(xid, None)
            if isinstance(event, Failed):
                return (Down(Failed(xid, event.error)),)
            return self._seen(xid, task_id, shapes.flat(opened(event.result)))

        return self._ask(xid, "tasks/get", task_id, answered)

    def _seen(self, xid: ExchangeId, task_id: str, task: dict[str, Raw]) -> Sequence[Step]:
        match shapes.status_of(task):
            case "completed" | "failed":
                return self._fetch(xid, task_id, task)
            case "input_required":
                return self._look(xid, self._watch(task_id), task)
        return (_shown(xid, task),)

    def _fetch(self, xid: ExchangeId, task_id: str, task: dict[str, Raw]) -> Sequence[Step]:
        def answered(event: Answer) -> Sequence[Step]:
            self._under_way.pop(xid, None)
            if isinstance(event, Completed):
                result = result_for(STATELESS, "tools/call", shapes.unrelated(event.result), earlier=True)
                return (_shown(xid, {**task, "status": Raw(b'"completed"'), "result": result}),)
            if _is_ours(event.error):
                return (Down(Failed(xid, event.error)),)
            failed = {**task, "status": Raw(b'"failed"'), "error": shapes.error_members(event.error)}
            return (_shown(xid, failed),)

        return self._ask(xid, "tasks/result", task_id, answered)

    def _update(self, event: Called, task_id: str, responses: Mapping[str, Raw]) -> Sequence[Step]:
        watched = self._watched.get(task_id)
        if watched is None:
            return (Down(Failed(event.xid, shapes.unknown_task())),)
        if not all(map(is_object, responses.values())):
            text = "Invalid params: each of the inputResponses is an object"
            return (Down(Failed(event.xid, ErrorObject(INVALID_PARAMS, text))),)
        answers: dict[str, Raw | ErrorObject] = {}
        for key, response in responses.items():
            # Task Update Requests: what is not asked, or not any more, is ignored.
            if watched.questions.pop(key, None) is not None:
                answers[key] = shapes.related(response, task_id)
        told = Down(Completed(event.xid, _EMPTY, Envelope(COMPLETE)))
        return (Up(InputSupplied(None, answers)), told) if answers else (told,)

    def _cancel(self, xid: ExchangeId, task_id: str) -> Sequence[Step]:
        def answered(event: Answer) -> Sequence[Step]:
            self._under_way.pop(xid, None)
            if isinstance(event, Failed) and (_is_ours(event.error) or event.error.code != INVALID_PARAMS):
                return (Down(Failed(xid, event.error)),)
            if isinstance(event, Failed):
                # Over already, which in this dialect is no error, or not there at all.
                return self._is_there(xid, task_id)
            return (Down(Completed(xid, _EMPTY, Envelope(COMPLETE))),)

        return self._ask(xid, "tasks/cancel", task_id, answered)

    def _is_there(self, xid: ExchangeId, task_id: str) -> Sequence[Step]:
        def answered(event: Answer) -> Sequence[Step]:
            self._under_way.pop(xid, None)
            if isinstance(event, Failed):
                return (Down(Failed(xid, event.error)),)
            return (Down(Completed(xid, _EMPTY, Envelope(COMPLETE))),)

        return self._ask(xid, "tasks/get", task_id, answered)

    def _ask(self, xid: ExchangeId, method: str, task_id: str, then: Then) -> Sequence[Step]:
        self._under_way[xid], asked = self._requests.ask(method, shapes.naming(task_id), then)
        return (asked,)

    def cancelled(self, xid: ExchangeId) -> Sequence[Step] | None:
        """
        The client does not wait for this request any more.

        @return: L{None} if it is none of ours.
        """
        for watched in self._watched.values():
            if watched.looks.pop(xid, None) is not None:
                return (StopTimer(("wait", xid)),)
        ours = self._under_way.pop(xid, None)
        return None if ours is None else self._requests.drop(ours)

    # What a task asks.

    def _watch(self, task_id: str) -> _Watched:
        watched = self._watched.setdefault(task_id, _Watched(task_id))
        for old in list(self._watched.values())[:-MAX_TASKS]:
            if not old.looks:
                del self._watched[old.task_id]
        return watched

    def _look(self, xid: ExchangeId, watched: _Watched, task: dict[str, Raw]) -> Sequence[Step]:
        if watched.questions:
            return (_shown(xid, _with_questions(task, watched)),)
        watched.looks[xid] = task
        steps: list[Step] = [StartTimer(("wait", xid), PATIENCE)]
        if watched.waiting is None:
            watched.waiting, asked = self._requests.ask(
                "tasks/result", shapes.naming(watched.task_id), lambda event: self._over(watched)
            )
            steps.append(asked)
        return steps

    def _over(self, watched: _Watched) -> Sequence[Step]:
        """Its result is there: whoever looks now finds it."""
        watched.waiting = None
        self._watched.pop(watched.task_id, None)
        steps: list[Step] = []
        for xid in watched.looks:
            steps += (StopTimer(("wait", xid)), *self._get(xid, watched.task_id))
        return steps

    def put(
        self, xid: ExchangeId | None, task_id: str | None, key: str, question: InputRequest
    ) -> Sequence[Step] | None:
        """
        The server asks something.

        @param xid: the request of ours that it asks in, if that is known.
        @param task_id: what it says which task it asks for.
        @return: L{None} if it is for no task of ours.
        """
        watched = self._watched.get(task_id) if task_id is not None else None
        if watched is None and xid is not None:
            watched = next((each for each in self._watched.values() if each.waiting == xid), None)
        if watched is None:
            return None
        asked = self._sayable(question)
        if isinstance(asked, InputRequest) and len(watched.questions) >= MAX_QUESTIONS:
            asked = ErrorObject(INTERNAL_ERROR, f"Over {MAX_QUESTIONS} questions of this task are open")
        if isinstance(asked, ErrorObject):
            return (Up(InputSupplied(None, {key: asked})),)
        watched.questions[key] = asked
        looks, watched.looks = watched.looks, {}
        steps: list[Step] = []
        for look, task in looks.items():
            steps += (StopTimer(("wait", look)), _shown(look, _with_questions(task, watched)))
        return steps

    def _sayable(self, question: InputRequest) -> InputRequest | ErrorObject:
        if not can_answer(self.capabilities, question.method, question.params):
            return ErrorObject(METHOD_NOT_FOUND, f"The client does not support {question.method}")
        return question_for(STATELESS, question)

    def withdrawn(self, key: str) -> bool:
        """The server does not ask this any more; whether it was for a task."""
        return any(watched.questions.pop(key, None) is not None for watched in self._watched.values())

    # Time, and the end.

    def fired(self, xid: ExchangeId) -> Sequence[Step]:
        """A look has waited long enough for what the task asks: until that is known, it works."""
        for watched in self._watched.values():
            task = watched.looks.pop(xid, None)
            if task is not None:
                return (_shown(xid, {**task, "status": Raw(b'"working"')}),)
        return ()

    def end(self, error: ErrorObject) -> Sequence[Step]:
        """The server is nobody's from now on: whoever looks is told so."""
        steps: list[Step] = []
        for watched in self._watched.values():
            for xid in watched.looks:
                steps += (StopTimer(("wait", xid)), Down(Failed(xid, error)))
        self._watched.clear()
        return steps

    def close(self) -> Sequence[Step]:
        """The client is gone."""
        steps = [StopTimer(("wait", xid)) for watched in self._watched.values() for xid in watched.looks]
        self._watched.clear()
        self._under_way.clear()
        return steps


def _shown(xid: ExchangeId, task: Mapping[str, Raw]) -> Down:
    return Down(Completed(xid, jsonrpc.assemble(task), Envelope(COMPLETE)))


def _with_questions(task: Mapping[str, Raw], watched: _Watched) -> dict[str, Raw]:
    asked = {
        key: jsonrpc.assemble(
            {
                "method": jsonrpc.value(question.method),
                **({} if question.params is None else {"params": question.params}),
            }
        )
        for key, question in watched.questions.items()
    }
    return {**task, "inputRequests": jsonrpc.assemble(asked)}


def _is_ours(error: ErrorObject) -> bool:
    """Whether the bridge made it: then it says nothing of the task."""
    return "mcpbridge" in opened(error.data)
