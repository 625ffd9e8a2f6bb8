"""
Which tasks are a client's own, at a server that others use as well.
"""

from __future__ import annotations

from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import listed, opened, replaced
from mcpbridge.core.events import ExchangeId
from mcpbridge.core.tasks import shapes

#: Tasks that are kept in mind; the oldest goes first.
_MAX_OWN: Final = 1024


@attrs.define(eq=False, repr=False)
class Owned:
    """
    Those of one client.

    @ivar _by_task: those that its calls became or that it has named, and in which request.
    """

    _by_task: dict[str, ExchangeId] = attrs.Factory(dict)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._by_task

    def add(self, task_id: str, xid: ExchangeId) -> None:
        """One more."""
        self._by_task.setdefault(task_id, xid)
        while len(self._by_task) > _MAX_OWN:
            del self._by_task[next(iter(self._by_task))]

    def bears(self, xid: ExchangeId) -> bool:
        """Whether this call became one of them."""
        return xid in self._by_task.values()

    def only(self, result: Raw) -> Raw:
        """The result of C{tasks/list} without those of others."""

        def own(tasks: Raw) -> Raw:
            return jsonrpc.array([task for task in listed(tasks) if shapes.id_of(opened(task)) in self._by_task])

        return replaced(result, "tasks", own)
