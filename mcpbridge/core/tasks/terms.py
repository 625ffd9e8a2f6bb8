"""
On what terms one client and one server speak of tasks.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from msgspec import Raw

from mcpbridge.core.conversion.shapes import opened
from mcpbridge.core.eras.modern.envelope import TASK
from mcpbridge.core.events import Called, Completed, Failed, Opened
from mcpbridge.core.revisions import STATELESS
from mcpbridge.core.tasks import shapes
from mcpbridge.core.tasks.offer import Offer
from mcpbridge.core.tasks.shapes import Dialect


@attrs.define(eq=False, repr=False)
class Terms:
    """
    Of one conversation between them.

    @ivar offer: the server's.
    @ivar is_alone: no other client uses the server's conversation: all of its tasks are this client's.
    @ivar version: the revision that the client speaks, and its C{dialect}.
    """

    offer: Offer
    is_alone: bool
    version: str = ""
    dialect: Dialect = Dialect.NONE

    def opened(self, event: Opened) -> Opened:
        """
        The client says what it is.

        @return: what the server is told of it.
        """
        self.version = event.version
        self.dialect = shapes.dialect_of_client(event.version, event.params)
        if event.version >= STATELESS:
            return event
        # What becomes a task at a server of the extension is followed to its end for a client that knows none.
        return attrs.evolve(event, params=shapes.with_extension_too(event.params))

    def shown(self, opening: Raw) -> Raw:
        """What the client is told of the server."""
        return shapes.opening_for(self.version, self.dialect, opening)

    @property
    def are_equal(self) -> bool:
        """Whether what either says passes as it is."""
        if not self.offer.is_known:
            return False
        if self.offer.dialect is Dialect.EXTENSION and self.version >= STATELESS:
            # One that has no tasks is not given any, unless others speak for it as well.
            return self.is_alone or self.dialect is Dialect.EXTENSION
        return self.offer.dialect is Dialect.NONE

    @property
    def we_decide(self) -> bool:
        """Whether what becomes a task is for us to say."""
        return self.dialect is Dialect.EXTENSION and self.offer.dialect is Dialect.SESSION

    @property
    def server_decides(self) -> bool:
        """Whether it is for the server to say, and the client may ask for it."""
        return self.dialect is Dialect.SESSION and self.offer.dialect is Dialect.EXTENSION

    def asks_for_task(self, call: Called) -> bool:
        """Whether the client asks for one."""
        return self.dialect is Dialect.SESSION and "task" in opened(call.params)

    def task_of(self, event: Completed | Failed) -> Mapping[str, Raw]:
        """The task that a call was answered with, in the words of the extension; empty if it is none."""
        if isinstance(event, Failed):
            return {}
        if self.offer.dialect is Dialect.EXTENSION:
            is_task = event.envelope is not None and event.envelope.kind == TASK
            return opened(event.result) if is_task else {}
        return shapes.flat(shapes.created(event.result))
