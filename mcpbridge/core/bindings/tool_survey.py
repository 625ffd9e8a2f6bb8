"""
All lists of tools of a server, page after page, asked for by ourselves: for what the headers of its tools must be, not
for a client.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.jsonrpc import InvalidMessage, Request, Result

#: Pages. Who has not come to an end by then goes in a circle.
MAX_PAGES: Final = 100


@attrs.define(eq=False)
class ToolSurvey:
    """
    One way through the lists.

    @ivar _envelope: the C{_meta} of each request.
    @ivar _numbers: those of requests. Clients' ids are numbers, so ours are none.
    """

    _envelope: Raw
    _numbers: Iterator[int] = attrs.Factory(lambda: itertools.count(1))
    _pages: int = 0

    def first(self) -> Request:
        """The request for the first page."""
        return self._ask({})

    def following(self, answer: Result) -> Request | None:
        """The request for the next page; L{None} if this was the last."""
        try:
            cursor = jsonrpc.members(answer.result).get("nextCursor")
        except InvalidMessage:
            return None
        if cursor is None or jsonrpc.decode_string(cursor) is None or self._pages == MAX_PAGES:
            return None
        return self._ask({"cursor": cursor})

    def _ask(self, params: dict[str, Raw]) -> Request:
        self._pages += 1
        params["_meta"] = self._envelope
        return Request(f"mcpbridge-tools-{next(self._numbers)}", "tools/list", jsonrpc.assemble(params))
