"""
All there is to see of a task of the session dialect, for who looks at it as the extension does.

Such a look finds what came of the task, or what it asks. A server of the session dialect tells that, and asks, to who
waits for the result. So that is waited for from the moment when the task needs something, and what it asks is kept
until somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Final, TypeAlias

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.capabilities import can_answer
from mcpbridge.core.conversion import question_for, result_for
from mcpbridge.core.conversion.shapes import opened
from mcpbridge.core.effects import StartTimer, StopTimer
from mcpbridge.core.eras.modern.envelope import COMPLETE
from mcpbridge.core.errors import INTERNAL_ERROR, METHOD_NOT_FOUND, ErrorObject
from mcpbridge.core.events import Completed, ExchangeId, Failed, InputRequest, InputSupplied
from mcpbridge.core.revisions import STATELESS
from mcpbridge.core.tasks import shapes
from mcpbridge.core.tasks.requests import Answer, Requests
from mcpbridge.core.tasks.steps import Step, Up

#: Tasks of one client that something is known of, and questions of one. The oldest task goes first.
MAX_TASKS: Final = 256
MAX_QUESTIONS: Final = 64

#: Seconds that a look at a task that needs something waits for what that is.
PATIENCE: Final = 1.0

_EMPTY = Raw(b"{}")

Found: TypeAlias = dict[str, Raw] | ErrorObject
Tell: TypeAlias = Callable[[Found], Sequence[Step]]


@attrs.define(eq=False, repr=False)
class _Sight:
    """
    A task that needs something, or did.

    @ivar result: our request for its result, while that is open.
    @ivar questions: what it asks, by key.
    @ivar looks: those who wait for a question, and how the task was when they looked.
    """

    task_id: str
    result: ExchangeId | None = None
    questions: dict[str, InputRequest] = attrs.Factory(dict)
    looks: dict[Hashable, tuple[dict[str, Raw], Tell]] = attrs.Factory(dict)


@attrs.define(eq=False, repr=False)
class Sights:
    """
    Of all tasks of one client.

    @ivar capabilities: the client's: what it may be asked.
    """

    _requests: Requests
    capabilities: Raw = _EMPTY
    _by_task: dict[str, _Sight] = attrs.Factory(dict)

    # Looks.

    def look(self, who: Hashable, task_id: str, tell: Tell) -> Sequence[Step]:
        """
        Look at a task.

        @param who: nobody else's name, for as long as it looks.
        @param tell: what to do with the task, in the words of the extension, or with the error that came instead.
        """

        def answered(event: Answer) -> Sequence[Step]:
            return tell(event.error) if isinstance(event, Failed) else self._seen(who, task_id, event.result, tell)

        return (self._requests.ask_for(who, "tasks/get", shapes.naming(task_id), answered),)

    def _seen(self, who: Hashable, task_id: str, result: Raw, tell: Tell) -> Sequence[Step]:
        task = shapes.flat(opened(result))
        match shapes.status_of(task):
            case "completed" | "failed":
                return self._fetch(who, task_id, task, tell)
            case "input_required":
                return self._await_question(who, self._sight(task_id), task, tell)
        return tell(task)

    def _fetch(self, who: Hashable, task_id: str, task: dict[str, Raw], tell: Tell) -> Sequence[Step]:
        def answered(event: Answer) -> Sequence[Step]:
            if isinstance(event, Completed):
                result = result_for(STATELESS, "tools/call", shapes.unrelated(event.result), earlier=True)
                # Basic Protocol: every result says which kind it is, and this is what the call would have returned.
                whole = jsonrpc.assemble({**opened(result), "resultType": COMPLETE})
                return tell({**task, "status": Raw(b'"completed"'), "result": whole})
            if is_ours(event.error) or shapes.status_of(task) == "completed":
                # It did not fail; what came of it cannot be had.
                return tell(event.error)
            return tell({**task, "status": Raw(b'"failed"'), "error": shapes.error_members(event.error)})

        return (self._requests.ask_for(who, "tasks/result", shapes.naming(task_id), answered),)

    def leave(self, who: Hashable) -> Sequence[Step] | None:
        """
        Somebody does not want to know any more.

        @return: L{None} if nobody of that name looks.
        """
        for sight in self._by_task.values():
            if sight.looks.pop(who, None) is not None:
                return (StopTimer(("wait", who)),)
        return self._requests.leave(who)

    # What a task asks.

    def _sight(self, task_id: str) -> _Sight:
        sight = self._by_task.setdefault(task_id, _Sight(task_id))
        for old in list(self._by_task.values())[:-MAX_TASKS]:
            if not old.looks:
                del self._by_task[old.task_id]
        return sight

    def _await_question(self, who: Hashable, sight: _Sight, task: dict[str, Raw], tell: Tell) -> Sequence[Step]:
        if sight.questions:
            return tell(_with_questions(task, sight))
        sight.looks[who] = task, tell
        steps: list[Step] = [StartTimer(("wait", who), PATIENCE)]
        if sight.result is None:
            sight.result, asked = self._requests.ask(
                "tasks/result", shapes.naming(sight.task_id), lambda event: self._over(sight)
            )
            steps.append(asked)
        return steps

    def _over(self, sight: _Sight) -> Sequence[Step]:
        """Its result is there: who looks now finds it."""
        sight.result = None
        self._by_task.pop(sight.task_id, None)
        steps: list[Step] = []
        for who, (_, tell) in sight.looks.items():
            steps += (StopTimer(("wait", who)), *self.look(who, sight.task_id, tell))
        return steps

    def asked(
        self, xid: ExchangeId | None, task_id: str | None, key: str, question: InputRequest
    ) -> Sequence[Step] | None:
        """
        The server asks something.

        @param xid: the request of ours that it asks in, if that is known.
        @param task_id: what it says which task it asks for.
        @return: L{None} if it is for no task that was looked at.
        """
        sight = self._by_task.get(task_id) if task_id is not None else None
        if sight is None and xid is not None:
            sight = next((each for each in self._by_task.values() if each.result == xid), None)
        if sight is None:
            return None
        asked = self._sayable(question)
        if isinstance(asked, InputRequest) and len(sight.questions) >= MAX_QUESTIONS:
            asked = ErrorObject(INTERNAL_ERROR, f"Over {MAX_QUESTIONS} questions of this task are open")
        if isinstance(asked, ErrorObject):
            return (Up(InputSupplied(None, {key: asked})),)
        sight.questions[key] = asked
        looks, sight.looks = sight.looks, {}
        steps: list[Step] = []
        for who, (task, tell) in looks.items():
            steps += (StopTimer(("wait", who)), *tell(_with_questions(task, sight)))
        return steps

    def _sayable(self, question: InputRequest) -> InputRequest | ErrorObject:
        if not can_answer(self.capabilities, question.method, question.params):
            return ErrorObject(METHOD_NOT_FOUND, f"The client does not support {question.method}")
        # Whose it is the extension says by the task that it is found in.
        return question_for(STATELESS, attrs.evolve(question, params=shapes.unrelated(question.params)))

    def supply(self, task_id: str, responses: Mapping[str, Raw]) -> Sequence[Step] | None:
        """
        The client answers. What is not asked, or not any more, is ignored (Task Update Requests).

        @return: L{None} if nothing is known of such a task.
        """
        sight = self._by_task.get(task_id)
        if sight is None:
            return None
        answers: dict[str, Raw | ErrorObject] = {
            key: shapes.related(response, task_id)
            for key, response in responses.items()
            if sight.questions.pop(key, None) is not None
        }
        return (Up(InputSupplied(None, answers)),) if answers else ()

    def withdrawn(self, key: str) -> bool:
        """The server does not ask this any more; whether it was for a task."""
        return any(sight.questions.pop(key, None) is not None for sight in self._by_task.values())

    # Time, and the end.

    def fired(self, who: Hashable) -> Sequence[Step]:
        """Somebody has waited long enough for what a task asks: until that is known, it works."""
        for sight in self._by_task.values():
            found = sight.looks.pop(who, None)
            if found is not None:
                task, tell = found
                return tell({**task, "status": Raw(b'"working"')})
        return ()

    def end(self, error: ErrorObject) -> Sequence[Step]:
        """The server is nobody's from now on: who looks is told so."""
        steps: list[Step] = []
        for sight in self._by_task.values():
            for who, (_, tell) in sight.looks.items():
                steps += (StopTimer(("wait", who)), *tell(error))
        self._by_task.clear()
        return steps

    def close(self) -> Sequence[Step]:
        """The client is gone."""
        steps = [StopTimer(("wait", who)) for sight in self._by_task.values() for who in sight.looks]
        self._by_task.clear()
        return steps


def is_ours(error: ErrorObject) -> bool:
    """Whether the bridge made it: then it says nothing of the task."""
    return "mcpbridge" in opened(error.data)


def _with_questions(task: Mapping[str, Raw], sight: _Sight) -> dict[str, Raw]:
    asked: dict[str, Raw] = {}
    for key, question in sight.questions.items():
        members = {"method": jsonrpc.value(question.method)}
        if question.params is not None:
            members["params"] = question.params
        asked[key] = jsonrpc.assemble(members)
    return {**task, "inputRequests": jsonrpc.assemble(asked)}
