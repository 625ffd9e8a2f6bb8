"""
Following one task to its end, for a client that waits for what comes of it.

That is a client that knows no tasks, whose call became one, or one of the session dialect that asks a server of the
other for C{tasks/result}. The server is asked again and again, as often as it wishes; what it wants to know meanwhile
the client is asked within the request that it waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import opened
from mcpbridge.core.effects import StartTimer, StopTimer
from mcpbridge.core.eras.modern.envelope import COMPLETE
from mcpbridge.core.eras.modern.rounds import MAX_QUESTIONS, read_question, refusal, substitute
from mcpbridge.core.errors import INTERNAL_ERROR, INVALID_PARAMS, ErrorObject, Reason, bridge_error
from mcpbridge.core.events import (
    Completed,
    Envelope,
    ExchangeId,
    Failed,
    InputRequest,
    InputRequired,
    InputWithdrawn,
    Progressed,
)
from mcpbridge.core.jsonrpc import InvalidMessage
from mcpbridge.core.retry import unknown_outcome
from mcpbridge.core.tasks import shapes
from mcpbridge.core.tasks.requests import Answer, Requests, Then
from mcpbridge.core.tasks.shapes import Dialect
from mcpbridge.core.tasks.steps import Down, Step

#: Looks in a row that may fail in a way that asking again may help against.
MAX_FAILURES: Final = 5

#: Questions of one task, over its life.
_MAX_ASKED: Final = 16 * MAX_QUESTIONS


@attrs.define(eq=False, repr=False)
class Pursuit:
    """
    See the top of this module.

    @ivar xid: the client's request that waits.
    @ivar dialect: the server's.
    @ivar relates: the client speaks the session dialect and knows the task: it is told which one asks and ends.
    @ivar is_over: the client has been answered, or wants no answer.
    @ivar hears_progress: the server tells of its progress by itself.
    @ivar borne: questions that a server of the session dialect has put for its task.
    @ivar _upstream: the server's name, for texts.
    @ivar _notice: is shown the task whenever it is looked at, in the words of the extension.
    """

    xid: ExchangeId
    dialect: Dialect
    task_id: str
    wants_progress: bool
    relates: bool
    _requests: Requests
    _notice: Callable[[Mapping[str, Raw]], None]
    _upstream: str
    is_over: bool = False
    hears_progress: bool = False
    borne: set[str] = attrs.Factory(set)
    _under_way: ExchangeId | None = None
    _pause: float = shapes.USUAL_PAUSE
    _failures: int = 0
    _message: str | None = None
    _steps: int = 0
    _asked: dict[str, tuple[str, str]] = attrs.Factory(dict)
    _seen: set[str] = attrs.Factory(set)

    @property
    def timer(self) -> tuple[str, ExchangeId]:
        """The key of its timer."""
        return ("look", self.xid)

    @property
    def deadline(self) -> tuple[str, ExchangeId]:
        """The key of the timer that ends it."""
        return ("deadline", self.xid)

    def begin(self, task: Mapping[str, Raw]) -> Sequence[Step]:
        """
        Its server has said that this is a task.

        @param task: in the words of the extension.
        """
        if self.dialect is Dialect.EXTENSION and shapes.status_of(task) in shapes.TERMINAL:
            # What became of it is told to who asks.
            return self.look()
        return self._consider(task)

    def look(self) -> Sequence[Step]:
        """Ask how it is."""
        return () if self.is_over else self._ask("tasks/get", self._seen_again)

    def _ask(self, method: str, then: Then) -> Sequence[Step]:
        self._under_way, asked = self._requests.ask(method, shapes.naming(self.task_id), then)
        return (asked,)

    def hear(self, task: Mapping[str, Raw]) -> Sequence[Step]:
        """
        Its server says by itself how it is, as one of the session dialect may (2025-11-25, Task Status Notification).

        @param task: in the words of the extension.
        """
        if not _needs_us(task):
            return self._say(task)
        return () if self._under_way is not None else [StopTimer(self.timer), *self._consider(task)]

    def _seen_again(self, event: Answer) -> Sequence[Step]:
        self._under_way = None
        if isinstance(event, Failed):
            return self._not_seen(event.error)
        self._failures = 0
        task = opened(event.result)
        if self.dialect is Dialect.SESSION:
            task = shapes.flat(task)
        self._notice(task)
        return self._consider(task)

    def _not_seen(self, error: ErrorObject) -> Sequence[Step]:
        self._failures += 1
        retryable = opened(opened(error.data).get("mcpbridge")).get("retryable") == Raw(b"true")
        if retryable and self._failures < MAX_FAILURES:
            return (StartTimer(self.timer, self._pause),)
        return self.end(error if self.relates or error.code != INVALID_PARAMS else self._lost(error))

    def _lost(self, error: ErrorObject) -> ErrorObject:
        """The server has forgotten the task. There is nothing wrong with the params of the client, which knows none."""
        text = f"{self._upstream}: it does not know the task any more that this call became: {error.message}"
        return bridge_error(Reason.OUTCOME_UNKNOWN, self._upstream, f"{text}. {unknown_outcome('tools/call')}")

    def _consider(self, task: Mapping[str, Raw]) -> Sequence[Step]:
        self._pause = shapes.pause(task.get("pollIntervalMs"))
        if self.dialect is Dialect.SESSION:
            if _needs_us(task):
                # There it waits, and there it is asked.
                return self._ask("tasks/result", self._got)
        elif shapes.status_of(task) in shapes.TERMINAL:
            return self.end(shapes.outcome(task))
        steps = [*self._say(task)]
        if self.dialect is Dialect.EXTENSION:
            steps += self._put(opened(task.get("inputRequests")))
        if not self.is_over:
            steps.append(StartTimer(self.timer, self._pause))
        return steps

    def _got(self, event: Answer) -> Sequence[Step]:
        self._under_way = None
        return self.end(event.error if isinstance(event, Failed) else event.result)

    def _say(self, task: Mapping[str, Raw]) -> Sequence[Step]:
        """Its state in words is progress, for who wants some and gets none from the server."""
        message = jsonrpc.decode_string(task.get("statusMessage"))
        if message is None or message == self._message or not self.wants_progress or self.hears_progress:
            return ()
        self._message = message
        self._steps += 1
        told = {"progress": jsonrpc.value(self._steps), "message": jsonrpc.value(message)}
        return (Down(Progressed(self.xid, told)),)

    # What a server of the extension wants to know.

    def _put(self, requests: Mapping[str, Raw]) -> Sequence[Step]:
        steps: list[Step] = []
        for key in [ours for ours, (theirs, _) in self._asked.items() if theirs not in requests]:
            del self._asked[key]
            steps.append(Down(InputWithdrawn(key, "the server does not ask any more")))
        questions: dict[str, InputRequest] = {}
        for theirs, each in requests.items():
            if theirs in self._seen:
                continue
            try:
                question = read_question(theirs, each)
            except InvalidMessage as invalid:
                return [*steps, *self._give_up(ErrorObject(INTERNAL_ERROR, f"The task cannot go on: {invalid}"))]
            ours = f"task-{self.xid}.{theirs}"
            self._seen.add(theirs)
            self._asked[ours] = theirs, question.method
            if self.relates:
                question = attrs.evolve(question, params=shapes.related(question.params, self.task_id))
            questions[ours] = question
        if len(self._seen) > _MAX_ASKED:
            text = f"The task cannot go on: it asked more than {_MAX_ASKED} questions"
            return [*steps, *self._give_up(ErrorObject(INTERNAL_ERROR, text))]
        if questions:
            steps.append(Down(InputRequired(self.xid, questions)))
        return steps

    def bears(self, xid: ExchangeId | None, task_id: str | None) -> bool:
        """Whether a question that came in this request of ours, or for this task, is for its client."""
        return (xid is not None and xid == self._under_way) or task_id == self.task_id

    def related(self, key: str, response: Raw | ErrorObject) -> Raw | ErrorObject:
        """An answer to a question, which says whose that was if it was the task's."""
        if key not in self.borne or isinstance(response, ErrorObject):
            return response
        self.borne.discard(key)
        return shapes.related(response, self.task_id)

    def asks(self, key: str) -> bool:
        """Whether this question is its own."""
        return key in self._asked

    def supply(self, responses: Mapping[str, Raw | ErrorObject]) -> Sequence[Step]:
        """The client has answered these questions."""
        answers: dict[str, Raw] = {}
        for key, response in responses.items():
            theirs, method = self._asked.pop(key)
            answer = substitute(method, response) if isinstance(response, ErrorObject) else response
            if isinstance(answer, ErrorObject):
                refused = attrs.evolve(answer, message=f"The client did not answer {method}: {answer.message}")
                return self._give_up(refusal("tools/call", refused))
            answers[theirs] = shapes.unrelated(answer)
        params = {**shapes.naming(self.task_id), "inputResponses": jsonrpc.assemble(answers)}
        return (self._requests.ask("tasks/update", params, self._updated)[1],)

    def _updated(self, event: Answer) -> Sequence[Step]:
        if isinstance(event, Failed):
            return self._give_up(event.error)
        return ()

    # The end.

    def _give_up(self, found: Raw | ErrorObject) -> Sequence[Step]:
        return [] if self.is_over else [*self.cancel(), *self.end(found)]

    def end(self, found: Raw | ErrorObject) -> Sequence[Step]:
        """Answer the client, unless it has been answered."""
        if self.is_over:
            return ()
        steps = list(self.abandon())
        if isinstance(found, ErrorObject):
            return [*steps, Down(Failed(self.xid, found))]
        result = shapes.related(found, self.task_id) if self.relates else shapes.unrelated(found)
        envelope = Envelope(COMPLETE) if self.dialect is Dialect.EXTENSION else None
        return [*steps, Down(Completed(self.xid, result, envelope))]

    def cancel(self) -> Sequence[Step]:
        """Nobody wants to know any more, so the server need not go on."""
        return (self._requests.post("tasks/cancel", shapes.naming(self.task_id)),)

    def abandon(self) -> Sequence[Step]:
        """Follow it no longer."""
        self.is_over = True
        steps: list[Step] = [StopTimer(self.timer), StopTimer(self.deadline)]
        steps += (Down(InputWithdrawn(key, "the task is over")) for key in self._asked)
        self._asked.clear()
        if self._under_way is not None:
            steps += self._requests.drop(self._under_way)
        return steps


def _needs_us(task: Mapping[str, Raw]) -> bool:
    """Whether it does not go on by itself."""
    status = shapes.status_of(task)
    return status in shapes.TERMINAL or status == "input_required"
