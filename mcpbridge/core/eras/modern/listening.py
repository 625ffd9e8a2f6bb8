"""
Who of a client's C{subscriptions/listen} hears what.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.capabilities import TASKS_EXTENSION, has_extension
from mcpbridge.core.conversion.shapes import opened
from mcpbridge.core.effects import Deliver, Emit, Forget, PeerEffect, StartTimer, StopTimer
from mcpbridge.core.eras.modern.envelope import tagged
from mcpbridge.core.eras.modern.wording import Wording
from mcpbridge.core.errors import INVALID_PARAMS, INVALID_REQUEST
from mcpbridge.core.events import Changed, ExchangeId, Subscribed, TasksWatched, Unsubscribed
from mcpbridge.core.jsonrpc import InvalidMessage, Notification, Request, RequestId

#: What each list is called in a filter.
FILTERS: Final[Mapping[str, str]] = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}

#: Resources that one client may listen to: as many as a session of the other era.
MAX_URIS: Final = 1024

#: Tasks that one stream may tell of.
MAX_TASKS: Final = 1024

#: Streams of one client. Real ones have one, and two while they change their minds.
MAX_LISTENS: Final = 64

#: Seconds for which resources are waited for before a C{subscriptions/listen} is acknowledged without them.
ACKNOWLEDGE: Final = 10.0

_EMPTY = Raw(b"{}")
_NONE = Raw(b"[]")


@attrs.define(eq=False)
class Listen:
    """
    One C{subscriptions/listen}.

    @ivar lists: the subjects whose lists it wants to hear of.
    @ivar uris: the resources that it wants to hear of; those that the server refuses are taken out.
    @ivar missing: those of them that the server has not agreed to yet. L{None} once it is acknowledged.
    @ivar tasks: the tasks that it wants to hear of.
    """

    id: RequestId
    lists: frozenset[str]
    uris: list[str]
    missing: set[str] | None
    tasks: tuple[str, ...] = ()

    @classmethod
    def read(cls, request: Request, capabilities: Raw) -> Listen:
        """
        From the request, as far as the server can do it.

        @raise InvalidMessage: it is none of this method.
        """
        found = jsonrpc.members(request.params or _EMPTY).get("notifications")
        if found is None:
            raise InvalidMessage(INVALID_PARAMS, "Invalid params: subscriptions/listen needs notifications")
        wanted = jsonrpc.members(found)
        uris = _strings(wanted, "resourceSubscriptions", MAX_URIS)
        tasks = _strings(wanted, "taskIds", MAX_TASKS)
        offered = opened(capabilities)
        lists = frozenset(
            subject
            for name, subject in FILTERS.items()
            if wanted.get(name) == Raw(b"true") and _has(offered.get(subject), "listChanged")
        )
        if not _has(offered.get("resources"), "subscribe"):
            uris = []
        if not has_extension(capabilities, TASKS_EXTENSION):
            tasks = []
        return cls(request.id, lists, uris, set(uris), tuple(tasks))

    def honoured(self) -> Raw:
        """The filter as it is in force."""
        filter: dict[str, object] = {name: True for name, subject in FILTERS.items() if subject in self.lists}
        if self.uris:
            filter["resourceSubscriptions"] = self.uris
        if self.tasks:
            filter["taskIds"] = self.tasks
        return jsonrpc.value(filter)

    def hears(self, subject: str, uri: str | None) -> bool:
        """Whether a change is for it."""
        if self.missing is not None:
            # Subscriptions, Acknowledgment: that comes first.
            return False
        if uri is None:
            return subject in self.lists
        # Resources, Subscriptions: what was updated may be a part of what was subscribed to.
        return any(uri == wanted or uri.startswith(wanted.rstrip("/") + "/") for wanted in self.uris)


@attrs.define(eq=False)
class Listens:
    """
    All of one client.

    @ivar _subscribing: what the server is being asked for.
    """

    _exchanges: Iterator[ExchangeId]
    _wording: Wording
    _open: dict[RequestId, Listen] = attrs.Factory(dict)
    _subscribing: dict[ExchangeId, str] = attrs.Factory(dict)

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._open

    def __len__(self) -> int:
        return len(self._open)

    def waits_for(self, xid: ExchangeId) -> bool:
        """Whether the answer of this exchange is for us."""
        return xid in self._subscribing

    def open(self, request: Request, capabilities: Raw) -> Sequence[PeerEffect]:
        """
        A new one.

        @param capabilities: the server's.
        @raise InvalidMessage: it cannot be.
        """
        if len(self._open) >= MAX_LISTENS:
            raise InvalidMessage(INVALID_REQUEST, f"Over {MAX_LISTENS} streams of changes are open; close some")
        listen = Listen.read(request, capabilities)
        agreed = {uri for other in self._open.values() for uri in other.uris if uri not in (other.missing or ())}
        listen.missing = {uri for uri in listen.uris if uri not in agreed}
        self._open[request.id] = listen
        effects: list[PeerEffect] = []
        under_way = set(self._subscribing.values())
        for uri in listen.uris:
            if uri in listen.missing and uri not in under_way:
                xid = next(self._exchanges)
                self._subscribing[xid] = uri
                effects.append(Deliver(Subscribed(xid, uri, None)))
        if listen.missing:
            effects.append(StartTimer(("acknowledge", request.id), ACKNOWLEDGE))
        else:
            effects += self._acknowledge(listen)
        return [*effects, *self._watch(listen)]

    def _watch(self, listen: Listen) -> Sequence[PeerEffect]:
        """It has come, or has gone."""
        if not listen.tasks:
            return ()
        return (Deliver(TasksWatched(frozenset(task for each in self._open.values() for task in each.tasks))),)

    def subscribed(self, xid: ExchangeId, agreed: bool) -> Sequence[PeerEffect]:
        """The server has answered."""
        uri = self._subscribing.pop(xid)
        if agreed and not self._is_wanted(uri):
            # Whoever wanted it has gone meanwhile, or did not want to wait.
            return (Deliver(Unsubscribed(next(self._exchanges), uri, None)),)
        effects: list[PeerEffect] = []
        for listen in self._open.values():
            if listen.missing is None or uri not in listen.missing:
                continue
            listen.missing.discard(uri)
            if not agreed:
                listen.uris.remove(uri)
            if not listen.missing:
                effects += (StopTimer(("acknowledge", listen.id)), *self._acknowledge(listen))
        return effects

    def _is_wanted(self, uri: str) -> bool:
        return any(uri in listen.uris for listen in self._open.values())

    def _acknowledge(self, listen: Listen) -> Sequence[PeerEffect]:
        listen.uris = [uri for uri in listen.uris if uri not in (listen.missing or ())]
        listen.missing = None
        params = tagged(jsonrpc.assemble({"notifications": listen.honoured()}), listen.id)
        return (Emit(Notification("notifications/subscriptions/acknowledged", params), listen.id),)

    def fired(self, request_id: RequestId) -> Sequence[PeerEffect]:
        """It has waited long enough to be acknowledged."""
        listen = self._open.get(request_id)
        return () if listen is None else self._acknowledge(listen)

    def cancel(self, request_id: RequestId) -> Sequence[PeerEffect]:
        """The client does not listen any more."""
        listen = self._open.pop(request_id)
        effects: list[PeerEffect] = [Forget(request_id)]
        if listen.missing is not None:
            effects.append(StopTimer(("acknowledge", request_id)))
        asked = self._subscribing.values()
        unwanted = [uri for uri in listen.uris if not self._is_wanted(uri) and uri not in asked]
        effects += [Deliver(Unsubscribed(next(self._exchanges), uri, None)) for uri in unwanted]
        return [*effects, *self._watch(listen)]

    def task(self, params: Raw | None) -> Sequence[PeerEffect]:
        """A task has changed."""
        task_id = jsonrpc.decode_string(opened(params).get("taskId"))
        return [
            Emit(Notification("notifications/tasks", tagged(params, listen.id)), listen.id)
            for listen in self._open.values()
            if task_id in listen.tasks and listen.missing is None
        ]

    def changed(self, event: Changed) -> Sequence[PeerEffect]:
        """Tell those who want to hear of it."""
        method, params = f"notifications/{event.what}/list_changed", event.params
        if event.uri is not None:
            method = "notifications/resources/updated"
            params = params or jsonrpc.value({"uri": event.uri})
        return [
            Emit(Notification(method, tagged(params, listen.id)), listen.id)
            for listen in self._open.values()
            if listen.hears(event.what, event.uri)
        ]

    def end(self) -> Sequence[PeerEffect]:
        """All of them, by our wish: each with its result (Subscriptions)."""
        effects: list[PeerEffect] = []
        for listen in self._open.values():
            effects += (self.ended(listen.id), StopTimer(("acknowledge", listen.id)))
        self._open.clear()
        return effects

    def ended(self, request_id: RequestId) -> Emit:
        """The result of one."""
        return self._wording.result(request_id, "subscriptions/listen", tagged(None, request_id))

    def close(self) -> Sequence[PeerEffect]:
        """The server is somebody else's from now on."""
        self._subscribing.clear()
        return self.end()


def _strings(wanted: Mapping[str, Raw], name: str, at_most: int) -> list[str]:
    found = jsonrpc.read(wanted.get(name, _NONE))
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found) or len(found) > at_most:
        raise InvalidMessage(INVALID_PARAMS, f"Invalid params: {name} is a list of at most {at_most} strings")
    return list(dict.fromkeys(found))


def _has(offered: Raw | None, ability: str) -> bool:
    return opened(offered).get(ability) == Raw(b"true")
