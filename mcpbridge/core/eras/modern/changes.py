"""
How a server of the stateless era tells what changes: on the stream of one C{subscriptions/listen} of ours.

It is for the lists that the server says may change, and for the resources and tasks that are wanted. Where the wishes
change a new one is opened before the old one is closed, so that nothing is missed. One that ends is opened anew after
a while; what may have changed meanwhile is looked up again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import opened
from mcpbridge.core.effects import Abandon, Deliver, Emit, PeerEffect, StartTimer, StopTimer
from mcpbridge.core.eras.modern.envelope import subscription_of, untagged, with_meta
from mcpbridge.core.eras.modern.listening import FILTERS
from mcpbridge.core.errors import INVALID_PARAMS, METHOD_NOT_FOUND, ErrorObject, Fate, Loss, Reason
from mcpbridge.core.events import Changed, Completed, Event, ExchangeId, Failed, Lost
from mcpbridge.core.jsonrpc import Notification, Request, RequestId

#: Seconds before a server that ended the stream is asked for another: the first time, and at the most.
FIRST_SILENCE: Final = 1.0
LONGEST_SILENCE: Final = 60.0

#: A stream that has lasted so many seconds is no reason to wait long before the next.
STEADY: Final = 60.0

#: Seconds in which a server has to acknowledge a stream, or another one is opened in its place.
ACKNOWLEDGED_WITHIN: Final = 20.0

_EMPTY = Raw(b"{}")

_LISTS: Final = {f"notifications/{subject}/list_changed": subject for subject in FILTERS.values()}

#: Notifications that tell of a change.
TELLING: Final = frozenset((*_LISTS, "notifications/resources/updated"))


def cancel(request_id: RequestId, reason: str | None = None) -> Sequence[PeerEffect]:
    """Tell the server that the answer to a request of ours is not wanted any more."""
    params: dict[str, object] = {"requestId": request_id}
    if reason is not None:
        params["reason"] = reason
    return (Emit(Notification("notifications/cancelled", jsonrpc.value(params))), Abandon(request_id))


@attrs.define(eq=False)
class _Listening:
    """
    One C{subscriptions/listen}.

    @ivar waiting: the exchanges that end when it is acknowledged, by the resource that each wants.
    """

    uris: frozenset[str]
    waiting: dict[ExchangeId, str]
    acknowledged: bool = False


@attrs.define(eq=False)
class Changes:
    """
    See the top of this module.

    @ivar _current: the latest of those that are open, which all wishes are in.
    @ivar _silences: how often it has ended since it last was steady.
    @ivar _refused: what the server said, if it knows no such request.
    """

    _ids: Iterator[int]
    _meta: Mapping[str, Raw] = attrs.Factory(dict)
    _lists: tuple[str, ...] = ()
    _uris: set[str] = attrs.Factory(set)
    _tasks: frozenset[str] = frozenset()
    _open: dict[RequestId, _Listening] = attrs.Factory(dict)
    _current: RequestId | None = None
    _silences: int = 0
    _refused: ErrorObject | None = None

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._open

    def start(self, capabilities: Raw, meta: Mapping[str, Raw]) -> Sequence[PeerEffect]:
        """
        The server is known now.

        @param capabilities: its own.
        @param meta: what we say of the client with each request.
        """
        found = opened(capabilities)
        self._meta = meta
        self._lists = tuple(
            subject for subject in FILTERS.values() if opened(found.get(subject)).get("listChanged") == Raw(b"true")
        )
        return self._listen({})

    # Wishes.

    def subscribe(self, xid: ExchangeId, uri: str) -> Sequence[PeerEffect]:
        """Updates of a resource are wanted."""
        if self._refused is not None:
            return (Deliver(Failed(xid, self._refused)),)
        current = self._open.get(self._current) if self._current is not None else None
        if current is not None and uri in self._uris and uri in current.uris and current.acknowledged:
            return (Deliver(Completed(xid, _EMPTY)),)
        self._uris.add(uri)
        return self._listen({xid: uri})

    def unsubscribe(self, xid: ExchangeId, uri: str) -> Sequence[PeerEffect]:
        """They are not wanted any more."""
        effects: list[PeerEffect] = []
        for listening in self._open.values():
            for asked in [asked for asked, of in listening.waiting.items() if of == uri]:
                # Who had asked for it before has had it, for as long as it was wanted.
                del listening.waiting[asked]
                effects.append(Deliver(Completed(asked, _EMPTY)))
        effects.append(Deliver(Completed(xid, _EMPTY)))
        if uri in self._uris:
            self._uris.discard(uri)
            effects += self._listen({})
        return effects

    def watch(self, task_ids: frozenset[str]) -> Sequence[PeerEffect]:
        """Changes of these tasks are wanted, and of no others (the tasks extension, Task Status Notifications)."""
        if task_ids == self._tasks:
            return ()
        self._tasks = task_ids
        return self._listen({})

    def _listen(self, waiting: Mapping[ExchangeId, str]) -> Sequence[PeerEffect]:
        """Ask to be told of what is wanted now, beside what was wanted before."""
        before = self._open.get(self._current) if self._current is not None else None
        if self._refused is not None:
            return ()
        if not self._is_wanted:
            self._current = None
            return (StopTimer("unheard"), *self._close_all(but=None))
        listening = _Listening(frozenset(self._uris), dict(waiting))
        if before is not None:
            listening.waiting = {**before.waiting, **waiting}
            before.waiting = {}
        request_id = self._current = next(self._ids)
        self._open[request_id] = listening
        wanted: dict[str, object] = {name: True for name, subject in FILTERS.items() if subject in self._lists}
        if self._uris:
            wanted["resourceSubscriptions"] = sorted(self._uris)
        if self._tasks:
            wanted["taskIds"] = sorted(self._tasks)
        params = with_meta(jsonrpc.value({"notifications": wanted}), self._meta)
        return (Emit(Request(request_id, "subscriptions/listen", params)), StartTimer("unheard", ACKNOWLEDGED_WITHIN))

    @property
    def _is_wanted(self) -> bool:
        """Whether there is anything to be told of."""
        return bool(self._lists or self._uris or self._tasks)

    def _close_all(self, but: RequestId | None) -> list[PeerEffect]:
        closed = [request_id for request_id in self._open if request_id != but]
        effects: list[PeerEffect] = []
        for request_id in closed:
            del self._open[request_id]
            effects += cancel(request_id)
        return effects

    # What the server says.

    def acknowledged(self, params: Raw | None, within: RequestId | None) -> Sequence[PeerEffect]:
        """C{notifications/subscriptions/acknowledged}."""
        tag = subscription_of(params)
        request_id = tag if tag is not None else within
        listening = self._open.get(request_id) if request_id is not None else None
        if listening is None or listening.acknowledged:
            return ()
        listening.acknowledged = True
        honoured = opened(opened(params).get("notifications"))
        uris = jsonrpc.read(honoured.get("resourceSubscriptions", Raw(b"[]")))
        effects: list[PeerEffect] = []
        for xid, uri in listening.waiting.items():
            if isinstance(uris, list) and uri in uris:
                effects.append(Deliver(Completed(xid, _EMPTY)))
            else:
                self._uris.discard(uri)
                error = ErrorObject(INVALID_PARAMS, f"The server does not tell of updates of {uri}")
                effects.append(Deliver(Failed(xid, error)))
        listening.waiting = {}
        if request_id == self._current:
            steady = (StopTimer("unheard"), StartTimer("steady", STEADY))
            effects += (*self._close_all(but=request_id), *steady)
            if self._silences:
                effects += self._suspect()
        return effects

    def _suspect(self) -> Sequence[PeerEffect]:
        """Nobody told what changed while there was no stream."""
        lists = [Changed(subject, suspected=True) for subject in self._lists]
        uris = [Changed("resources", uri) for uri in sorted(self._uris)]
        return tuple(map(Deliver, (*lists, *uris)))

    def changed(self, method: str, params: Raw | None) -> Event | None:
        """
        One of the notifications L{TELLING}.

        @return: the change that it tells of; L{None} if it tells of none, or on a stream that was closed.
        """
        tag = subscription_of(params)
        if tag is not None and tag not in self._open:
            # The stream that took its place tells of it.
            return None
        params = untagged(params)
        if method in _LISTS:
            return Changed(_LISTS[method], None, params)
        uri = jsonrpc.decode_string(opened(params).get("uri"))
        return None if uri is None else Changed("resources", uri, params)

    def over(self, request_id: RequestId, why: ErrorObject | Loss) -> Sequence[PeerEffect]:
        """
        A stream has ended, by the server's wish or by accident.

        @param why: what to tell those who still wait for it.
        """
        listening = self._open.pop(request_id, None)
        if listening is None or request_id != self._current:
            return ()
        self._current = None
        effects: list[PeerEffect] = [StopTimer("steady"), StopTimer("unheard")]
        for xid, uri in listening.waiting.items():
            self._uris.discard(uri)
            effects.append(Deliver(Lost(xid, why) if isinstance(why, Loss) else Failed(xid, why)))
        if isinstance(why, ErrorObject) and why.code == METHOD_NOT_FOUND:
            self._refused = why
            return effects
        if self._is_wanted:
            self._silences += 1
            pause = min(LONGEST_SILENCE, FIRST_SILENCE * 2.0 ** min(self._silences - 1, 16))
            effects.append(StartTimer("listen", pause))
        return effects

    # Time, and the end.

    def fired(self, key: str) -> Sequence[PeerEffect]:
        """A timer has run out."""
        if key == "steady":
            self._silences = 0
        elif key == "unheard" and self._current is not None:
            loss = Loss(Fate.UNKNOWN, Reason.UPSTREAM_TIMEOUT, "it did not acknowledge a subscription in time")
            return (*cancel(self._current), *self.over(self._current, loss))
        elif key == "listen" and self._current is None:
            return self._listen({})
        return ()

    def close(self, loss: Loss) -> Sequence[PeerEffect]:
        """The channel is gone."""
        waiting = [xid for listening in self._open.values() for xid in listening.waiting]
        self._open.clear()
        self._current = None
        return [Deliver(Lost(xid, loss)) for xid in waiting]
