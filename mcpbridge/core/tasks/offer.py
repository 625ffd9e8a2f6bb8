"""
What a server says of its tasks.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.tasks import shapes
from mcpbridge.core.tasks.shapes import Dialect

#: Tools that are kept in mind. Of those that come after these none becomes a task.
_MAX_TOOLS = 10_000


@attrs.define(eq=False)
class Offer:
    """
    One of one server.

    @ivar name: the server's, for texts.
    @ivar is_known: it has said what it is.
    @ivar dialect: how it speaks of tasks.
    @ivar tools: C{required} or C{optional}, by the name of the tool; L{None} if that is not known. Of a server of the
        session dialect: the other one decides by itself.
    """

    dialect: Dialect = Dialect.NONE
    tools: Mapping[str, str] | None = None
    name: str = "the server"
    is_known: bool = False

    def opened(self, opening: Raw) -> None:
        """The server has said what it is."""
        self.dialect = shapes.dialect_of_server(jsonrpc.members(opening))
        self.tools = None
        self.is_known = True

    def changed(self) -> None:
        """Its tools are not what they were."""
        self.tools = None

    def learn(self, before: Mapping[str, str], page: Raw) -> dict[str, str]:
        """Another page of its tools, and the pages before it."""
        found = {**before, **shapes.supports(page)}
        return found if len(found) <= _MAX_TOOLS else dict(before)
