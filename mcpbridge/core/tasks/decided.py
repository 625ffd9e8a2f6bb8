"""
Tasks for a client of the extension, at a server of the session dialect: we decide what becomes one, which is each call
of a tool that runs as nothing else.

Such a client may ask to be told when a task changes. Such a server need not tell, so its task is looked at again and
again, as often as it wishes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import is_object, opened
from mcpbridge.core.effects import StartTimer, StopTimer
from mcpbridge.core.eras.modern.envelope import COMPLETE, TASK
from mcpbridge.core.errors import INVALID_PARAMS, METHOD_NOT_FOUND, ErrorObject
from mcpbridge.core.events import Called, Completed, Envelope, ExchangeId, Failed, Notified
from mcpbridge.core.tasks import shapes
from mcpbridge.core.tasks.requests import Answer, Requests
from mcpbridge.core.tasks.sights import Found, Sights, is_ours
from mcpbridge.core.tasks.steps import Down, Step

_EMPTY = Raw(b"{}")

#: A task is looked at this much later when its server says that it has changed, in seconds: it may say more.
_SOON: Final = 0.05


@attrs.define(eq=False, repr=False)
class Decided:
    """
    All of one client.

    @ivar sights: what there is to see of them.
    @ivar _watched: those that it wants to hear of, and what it was told last.
    """

    _requests: Requests
    sights: Sights
    _watched: dict[str, dict[str, Raw]] = attrs.Factory(dict)

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
                return self.sights.look(event.xid, task_id, lambda found: (_answer(event.xid, found),))
            case "tasks/update":
                return self._update(event.xid, task_id, opened(params.get("inputResponses")))
            case "tasks/cancel":
                return self._cancel(event.xid, task_id)
        return (Down(Failed(event.xid, ErrorObject(METHOD_NOT_FOUND, f"Method not found: {event.method}"))),)

    def _update(self, xid: ExchangeId, task_id: str, responses: Mapping[str, Raw]) -> Sequence[Step]:
        if not all(map(is_object, responses.values())):
            text = "Invalid params: each of the inputResponses is an object"
            return (Down(Failed(xid, ErrorObject(INVALID_PARAMS, text))),)
        supplied = self.sights.supply(task_id, responses)
        if supplied is None:
            return (Down(Failed(xid, shapes.unknown_task())),)
        return (*supplied, _answer(xid, {}))

    def _cancel(self, xid: ExchangeId, task_id: str) -> Sequence[Step]:
        def answered(event: Answer) -> Sequence[Step]:
            if isinstance(event, Completed):
                return (_answer(xid, {}),)
            if is_ours(event.error) or event.error.code != INVALID_PARAMS:
                return (_answer(xid, event.error),)
            # Over already, which in this dialect is no error, or not there at all.
            return (self._requests.ask_for(xid, "tasks/get", shapes.naming(task_id), is_there),)

        def is_there(event: Answer) -> Sequence[Step]:
            return (_answer(xid, event.error if isinstance(event, Failed) else {}),)

        return (self._requests.ask_for(xid, "tasks/cancel", shapes.naming(task_id), answered),)

    # Changes.

    def watch(self, task_ids: frozenset[str]) -> Sequence[Step]:
        """The client wants to hear of changes of these, and of no others."""
        steps: list[Step] = []
        for task_id in self._watched.keys() - task_ids:
            del self._watched[task_id]
            steps += (StopTimer(("watch", task_id)), *(self.sights.leave(("watch", task_id)) or ()))
        for task_id in sorted(task_ids - self._watched.keys()):
            self._watched[task_id] = {}
            steps += self._look(task_id)
        return steps

    def changed(self, params: Raw | None) -> Sequence[Step]:
        """The server says that a task has changed (2025-11-25, Task Status Notification)."""
        task_id = shapes.id_of(opened(params))
        return (StartTimer(("watch", task_id), _SOON),) if task_id in self._watched else ()

    def _look(self, task_id: str) -> Sequence[Step]:
        def tell(found: Found) -> Sequence[Step]:
            if isinstance(found, ErrorObject):
                # There is nothing to tell; who looks sees why.
                return (StartTimer(("watch", task_id), shapes.LONGEST_PAUSE),) if is_ours(found) else ()
            steps: list[Step] = []
            if found != self._watched.get(task_id):
                self._watched[task_id] = found
                steps.append(Down(Notified(None, "notifications/tasks", jsonrpc.assemble(found))))
            if shapes.status_of(found) not in shapes.TERMINAL:
                steps.append(StartTimer(("watch", task_id), shapes.pause(found.get("pollIntervalMs"))))
            return steps

        who = ("watch", task_id)
        return [*(self.sights.leave(who) or ()), *self.sights.look(who, task_id, tell)]

    # Time, and the end.

    def fired(self, task_id: str) -> Sequence[Step]:
        """It is time to look at a task that the client wants to hear of."""
        return self._look(task_id) if task_id in self._watched else ()

    def end(self, error: ErrorObject) -> Sequence[Step]:
        """The server is nobody's from now on: who waits for something is told so."""
        return [*self._stop_watching(), *self.sights.end(error)]

    def close(self) -> Sequence[Step]:
        """The client is gone."""
        return [*self._stop_watching(), *self.sights.close()]

    def _stop_watching(self) -> Sequence[Step]:
        watched, self._watched = self._watched, {}
        return [StopTimer(("watch", task_id)) for task_id in watched]


def _answer(xid: ExchangeId, found: Found) -> Down:
    if isinstance(found, ErrorObject):
        return Down(Failed(xid, found))
    return Down(Completed(xid, jsonrpc.assemble(found) if found else _EMPTY, Envelope(COMPLETE)))
