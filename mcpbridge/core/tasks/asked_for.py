"""
Tasks that a client of the session dialect asks for, at a server of the extension, which decides by itself.

What the server makes a task is one. What it answers at once has been a task that was over as soon as it began: it is
kept here for the client to fetch, as is which tasks there are, since such a server has no list of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import opened
from mcpbridge.core.errors import INVALID_PARAMS, METHOD_NOT_FOUND, ErrorObject
from mcpbridge.core.events import Called, Completed, ExchangeId, Failed
from mcpbridge.core.jsonrpc import InvalidMessage
from mcpbridge.core.tasks import shapes
from mcpbridge.core.tasks.requests import Answer, Requests
from mcpbridge.core.tasks.steps import Down, Step

#: Tasks of one client that are kept in mind; the oldest goes first.
MAX_TASKS: Final = 256

#: Bytes of results that are kept for one client.
MAX_KEPT: Final = 16 * 1024 * 1024

_EMPTY = Raw(b"{}")
_CANCELLED: Final = Raw(b'"cancelled"')


@attrs.define(eq=False, repr=False)
class _Known:
    """
    One task.

    @ivar task: as it was when it was last seen, in the words of the session dialect.
    @ivar result: of one that was over at once; it is known here only.
    @ivar is_cancelled: the client was told so, and it stays so (2025-11-25, Task Cancellation).
    """

    task: dict[str, Raw]
    result: Completed | None = None
    is_cancelled: bool = False

    def shown(self) -> Raw:
        """To the client."""
        return jsonrpc.assemble({**self.task, "status": _CANCELLED} if self.is_cancelled else self.task)

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return 0 if self.result is None else len(memoryview(self.result.result))


@attrs.define(eq=False, repr=False)
class AskedFor:
    """
    All of one client.

    @ivar _handles: gives texts that cannot be guessed.
    @ivar _timestamp: the time, as ISO 8601 writes it.
    """

    _requests: Requests
    _handles: Callable[[], str]
    _timestamp: Callable[[], str]
    _known: dict[str, _Known] = attrs.Factory(dict)

    # Calls.

    def created(self, event: Completed, task: Mapping[str, Raw]) -> Sequence[Step]:
        """
        A call has become a task.

        @param task: in the words of the extension.
        """
        seen = shapes.nested(task)
        task_id = shapes.id_of(task)
        assert task_id is not None
        self._keep(task_id, _Known(seen))
        found = {"task": jsonrpc.assemble(seen)}
        if "_meta" in task:
            found["_meta"] = task["_meta"]
        return (Down(Completed(event.xid, jsonrpc.assemble(found), None)),)

    def fabricated(self, call: Called, event: Completed) -> Sequence[Step]:
        """A call was answered at once."""
        wanted = opened(opened(call.params).get("task")).get("ttl")
        now = jsonrpc.value(self._timestamp())
        is_error = opened(event.result).get("isError") == Raw(b"true")
        task = {
            "taskId": jsonrpc.value(f"mcpbridge-{self._handles()}"),
            "status": jsonrpc.value("failed" if is_error else "completed"),
            "createdAt": now,
            "lastUpdatedAt": now,
            "ttl": wanted if wanted is not None and _is_duration(wanted) else jsonrpc.value(shapes.TTL),
        }
        task_id = shapes.id_of(task)
        assert task_id is not None
        self._keep(task_id, _Known(task, attrs.evolve(event, result=Raw(bytes(event.result)))))
        return (Down(Completed(event.xid, jsonrpc.assemble({"task": jsonrpc.assemble(task)}), None)),)

    def _keep(self, task_id: str, known: _Known) -> None:
        self._known[task_id] = known
        while len(self._known) > MAX_TASKS:
            del self._known[next(iter(self._known))]
        size = sum(each.size for each in self._known.values())
        for old, each in list(self._known.items()):
            if size > MAX_KEPT and each.result is not None and each is not known:
                size -= each.size
                del self._known[old]

    # Requests about tasks.

    def asked(self, event: Called) -> Sequence[Step]:
        """The client asks about tasks; not for the result of one."""
        if event.method == "tasks/list":
            tasks = [known.shown() for known in self._known.values()]
            return (Down(Completed(event.xid, jsonrpc.assemble({"tasks": jsonrpc.array(tasks)}))),)
        task_id = shapes.id_of(opened(event.params))
        known = self._known.get(task_id) if task_id is not None else None
        if task_id is None:
            return (Down(Failed(event.xid, shapes.unknown_task())),)
        if event.method == "tasks/get":
            return self._get(event.xid, task_id) if known is None or known.result is None else _told(event, known)
        if event.method == "tasks/cancel":
            return self._cancel(event, task_id, known)
        # What is the extension's only, a client of this dialect has not.
        return (Down(Failed(event.xid, ErrorObject(METHOD_NOT_FOUND, f"Method not found: {event.method}"))),)

    def result(self, event: Called) -> Sequence[Step] | None:
        """
        The client asks for the result of a task.

        @return: L{None} if the server has to be asked.
        """
        task_id = shapes.id_of(opened(event.params))
        known = self._known.get(task_id) if task_id is not None else None
        if known is None or known.result is None:
            return None
        assert task_id is not None
        result = shapes.related(known.result.result, task_id)
        return (Down(attrs.evolve(known.result, xid=event.xid, result=result)),)

    def _get(self, xid: ExchangeId, task_id: str) -> Sequence[Step]:
        def answered(event: Answer) -> Sequence[Step]:
            if isinstance(event, Failed):
                return (Down(Failed(xid, event.error)),)
            return (Down(Completed(xid, self._seen(task_id, event.result).shown())),)

        return (self._requests.ask_for(xid, "tasks/get", shapes.naming(task_id), answered),)

    def _seen(self, task_id: str, result: Raw) -> _Known:
        known = self._known.get(task_id) or _Known({})
        known.task = shapes.nested(opened(result))
        self._keep(task_id, known)
        return known

    def noticed(self, task: Mapping[str, Raw]) -> None:
        """
        A task was looked at for another reason.

        @param task: in the words of the extension.
        """
        known = self._known.get(shapes.id_of(task) or "")
        if known is not None:
            known.task = shapes.nested(task)

    def _cancel(self, event: Called, task_id: str, known: _Known | None) -> Sequence[Step]:
        status = shapes.status_of(known.task) if known is not None else None
        if known is not None and (known.is_cancelled or status in shapes.TERMINAL):
            text = f"Cannot cancel task: already in terminal status '{'cancelled' if known.is_cancelled else status}'"
            return (Down(Failed(event.xid, ErrorObject(INVALID_PARAMS, text))),)

        def cancelled(answer: Answer) -> Sequence[Step]:
            if isinstance(answer, Failed):
                return (Down(Failed(event.xid, answer.error)),)
            # It may go on for a while, but to this client it is over.
            self._known.setdefault(task_id, known or _Known({})).is_cancelled = True
            return self._get(event.xid, task_id)

        return (self._requests.ask_for(event.xid, "tasks/cancel", shapes.naming(task_id), cancelled),)


def _told(event: Called, known: _Known) -> Sequence[Step]:
    return (Down(Completed(event.xid, known.shown())),)


def _is_duration(raw: Raw) -> bool:
    try:
        return type(jsonrpc.read(raw)) in (int, float)
    except InvalidMessage:
        return False
