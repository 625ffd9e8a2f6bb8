"""
What a server offers, as far as we know: the answers to its opening and to the four lists.

Lists are kept whole: a server's pages are fetched to the end and merged, because several clients read only the
first. What came in one page is kept as the very bytes that came.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.jsonrpc import InvalidMessage

#: A server that pages for ever, or in a circle, is stopped here; what came so far is kept.
_MAX_PAGES: Final = 100

#: All pages of one list together, in bytes. Real servers stay below 1 MiB with a thousand tools.
_MAX_SIZE: Final = 8 * 1024 * 1024


_NULL: Final = Raw(b"null")


@attrs.frozen
class Listing:
    """
    One of the lists that a server has.

    @ivar member: where the items are in its result.
    @ivar subject: what C{notifications/<subject>/list_changed} calls it, and the capability that it needs.
    """

    member: str
    subject: str


LISTINGS: Final[Mapping[str, Listing]] = {
    "tools/list": Listing("tools", "tools"),
    "prompts/list": Listing("prompts", "prompts"),
    "resources/list": Listing("resources", "resources"),
    "resources/templates/list": Listing("resourceTemplates", "resources"),
}


@attrs.frozen
class Snapshot:
    """
    What is remembered of a server between two conversations, also across restarts.

    @ivar opening: the C{InitializeResult} as it came.
    @ivar lists: by method, the whole list as the result of one page.
    @ivar era: which it was found to speak; L{None} if that has to be found out again.
    """

    opening: Raw
    lists: Mapping[str, Raw]
    era: str | None = None

    def to_bytes(self) -> bytes:
        """As one JSON object."""
        found = {"opening": self.opening, "lists": jsonrpc.assemble(self.lists), "era": jsonrpc.value(self.era)}
        return bytes(jsonrpc.assemble(found))

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """
        The inverse of L{to_bytes}.

        @raise ValueError: this is none.
        """
        try:
            found = jsonrpc.members(data)
            jsonrpc.members(found["opening"])
            lists = jsonrpc.members(found["lists"])
            era = jsonrpc.decode_string(found.get("era"))
            return cls(found["opening"], {method: lists[method] for method in LISTINGS if method in lists}, era)
        except (InvalidMessage, KeyError) as error:
            raise ValueError("this is no snapshot of a server") from error


@attrs.define
class _Fetch:
    """A list on its way, page by page."""

    pages: list[Raw] = attrs.Factory(list)
    cursors: set[str] = attrs.Factory(set)
    size: int = 0
    stale: bool = False


@attrs.define(eq=False)
class Catalog:
    """
    The lists of one server.

    A list is I{trusted} from when it was fetched until something happens that may have changed it; whoever sees such
    a thing calls L{doubt}.
    """

    _lists: dict[str, Raw] = attrs.Factory(dict)
    _trusted: set[str] = attrs.Factory(set)
    _fetches: dict[str, _Fetch] = attrs.Factory(dict)

    def known(self, method: str) -> Raw | None:
        """The last known list, trusted or not."""
        return self._lists.get(method)

    def trusted(self, method: str) -> bool:
        """Whether nothing has happened since it was fetched that may have changed it."""
        return method in self._trusted

    def doubtful(self) -> list[str]:
        """The known lists that are neither trusted nor being fetched."""
        return [method for method in self._lists if method not in self._trusted and method not in self._fetches]

    def doubt(self, subject: str | None = None) -> None:
        """
        Trust the lists of this subject (C{tools}, C{prompts}, C{resources}) no more; all of them if L{None}.

        A fetch under way may have been answered before the change: it is repeated when it ends.
        """
        for method, listing in LISTINGS.items():
            if subject in (None, listing.subject):
                self._trusted.discard(method)
                if method in self._fetches:
                    self._fetches[method].stale = True

    def all(self) -> Mapping[str, Raw]:
        """What is worth remembering."""
        return dict(self._lists)

    def fill(self, lists: Mapping[str, Raw]) -> None:
        """Take over what was remembered, untrusted."""
        self._lists.update(lists)

    def begin(self, method: str) -> bool:
        """Whether to ask for the first page now; C{False} if that has been done."""
        if method in self._fetches:
            return False
        self._fetches[method] = _Fetch()
        return True

    def has_pages(self, method: str) -> bool:
        """Whether a page has come, and the fetch goes on."""
        fetch = self._fetches.get(method)
        return fetch is not None and bool(fetch.pages)

    def abort(self, method: str) -> None:
        """The fetch failed."""
        self._fetches.pop(method, None)

    def take(self, method: str, page: Raw) -> Raw | bool:
        """
        One more page has come.

        @return: the cursor of the next page, as it came; else whether the whole list differs from what was known.
        @raise InvalidMessage: this is no page. The fetch has ended.
        """
        fetch = self._fetches[method]
        try:
            found = jsonrpc.members(page, _MAX_SIZE)
        except InvalidMessage as invalid:
            self.abort(method)
            raise InvalidMessage(invalid.code, f"the result of {method} cannot be used: {invalid}") from None
        if bytes(memoryview(found.get(LISTINGS[method].member, _NULL))[:1]) != b"[":
            self.abort(method)
            raise InvalidMessage(0, f"the result of {method} has no array {LISTINGS[method].member!r}")
        if page not in fetch.pages:
            # Whoever ignores cursors gives the same page again; its items are there once.
            fetch.pages.append(page)
        fetch.size += len(memoryview(page))
        cursor = jsonrpc.decode_string(found.get("nextCursor"))
        room = len(fetch.pages) < _MAX_PAGES and fetch.size < _MAX_SIZE
        # Some servers end with an empty cursor.
        if cursor and cursor not in fetch.cursors and room:
            fetch.cursors.add(cursor)
            return found["nextCursor"]
        merged = _merge(fetch.pages, LISTINGS[method].member)
        before = self._lists.get(method)
        self._lists[method] = merged
        del self._fetches[method]
        if not fetch.stale:
            self._trusted.add(method)
        return before != merged


def _merge(pages: list[Raw], member: str) -> Raw:
    first = jsonrpc.members(pages[0])
    if len(pages) == 1 and "nextCursor" not in first:
        # A copy of its own: a slice would keep alive the whole message that it came in.
        return Raw(bytes(pages[0]))
    first.pop("nextCursor", None)
    # Arrays are joined by what is between their brackets: their items are not looked at.
    insides = (bytes(jsonrpc.members(page)[member])[1:-1].strip() for page in pages)
    first[member] = Raw(b"[" + b",".join(inside for inside in insides if inside) + b"]")
    return jsonrpc.assemble(first)
