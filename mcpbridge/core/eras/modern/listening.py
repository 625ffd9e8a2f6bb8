"""
Who of the clients' C{subscriptions/listen} hears what.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.jsonrpc import InvalidMessage, RequestId

#: What each list is called in a filter.
FILTERS: Final[Mapping[str, str]] = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}

#: Resources that one client may listen to: as many as a session of the other era.
MAX_URIS: Final = 1024

_EMPTY = Raw(b"{}")


@attrs.define(eq=False)
class Listen:
    """
    One C{subscriptions/listen}.

    @ivar lists: the subjects whose lists it wants to hear of.
    @ivar uris: the resources that it wants to hear of; those that the server refuses are taken out.
    @ivar missing: those of them that the server has not agreed to yet. L{None} once it is acknowledged.
    """

    id: RequestId
    lists: frozenset[str]
    uris: list[str]
    missing: set[str] | None

    @classmethod
    def read(cls, request_id: RequestId, params: Raw | None) -> Listen:
        """
        From the params of the request.

        @raise InvalidMessage: they are none of this method.
        """
        found = jsonrpc.members(params or _EMPTY).get("notifications")
        if found is None:
            raise InvalidMessage(-32602, "Invalid params: subscriptions/listen needs notifications")
        wanted = jsonrpc.members(found)
        uris = jsonrpc.read(wanted.get("resourceSubscriptions", Raw(b"[]")))
        if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in uris) or len(uris) > MAX_URIS:
            raise InvalidMessage(-32602, f"Invalid params: resourceSubscriptions is a list of at most {MAX_URIS} uris")
        lists = frozenset(subject for name, subject in FILTERS.items() if wanted.get(name) == Raw(b"true"))
        return cls(request_id, lists, list(dict.fromkeys(uris)), set(uris))

    def honoured(self) -> Raw:
        """The filter as it is in force."""
        filter: dict[str, object] = {name: True for name, subject in FILTERS.items() if subject in self.lists}
        if self.uris:
            filter["resourceSubscriptions"] = self.uris
        return jsonrpc.value(filter)

    def hears(self, subject: str, uri: str | None) -> bool:
        """Whether a change is for it."""
        if self.missing is not None:
            return False
        if uri is None:
            return subject in self.lists
        # Resources, Subscriptions: what was updated may be a part of what was subscribed to.
        return any(uri == wanted or uri.startswith(wanted.rstrip("/") + "/") for wanted in self.uris)
