"""
The calls of a client of the stateless era, and what a server of the session era asks while they run.

Such a server sends its question and waits, with the call still open. Such a client can only be asked by ending its
request: with C{input_required}, the questions, and a state. So the call is I{parked}: it stays open toward the
server while the client has no request for it. When the client asks again, with the answers and that state, its new
request becomes the carrier of the very same call; nothing runs twice.

The state is a handle that cannot be guessed, good for this client, this method and these arguments only. A call that
nobody comes back for expires, and never attracts another question: clients may abandon calls, and say nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.eras.modern.envelope import ASKING
from mcpbridge.core.events import Envelope, Event, ExchangeId, InputRequest
from mcpbridge.core.jsonrpc import RequestId

#: How a handle of ours begins: so that one which is no longer good is told from the state of a server.
HANDLE_PREFIX: Final = "mcpbridge-"

#: Calls of one client that wait for its answers. The oldest expires first.
MAX_PARKED: Final = 64

#: Questions of one call, in rounds. A server that asks and asks is stopped here.
MAX_ROUNDS: Final = 16

#: Notifications kept for a parked call until its next carrier comes.
MAX_BUFFERED: Final = 64

_EMPTY = Raw(b"{}")


@attrs.define(eq=False)
class Call:
    """
    One exchange, as its client sees it.

    @ivar carriers: ids of the client's requests that want the answer; none while it is parked.
    @ivar level: the least severe log messages that the client wants with it; L{None} for none at all.
    @ivar pending: the server's questions that are not answered, by key.
    @ivar asked: those of them that the client has been given.
    @ivar handle: of its last parking; L{None} if it never was.
    @ivar buffered: what happened while it was parked.
    @ivar final: its outcome, once there is one.
    @ivar urls: it is over, and is to be sent again if the client visits what C{pending} says (-32042).
    """

    xid: ExchangeId
    method: str
    params: Raw | None
    carriers: list[RequestId]
    token: Raw | None
    level: str | None
    pending: dict[str, InputRequest] = attrs.Factory(dict)
    asked: set[str] = attrs.Factory(set)
    handle: str | None = None
    handles: list[str] = attrs.Factory(list)
    rounds: int = 0
    buffered: list[Event] = attrs.Factory(list)
    final: Event | None = None
    urls: bool = False
    envelope: Envelope | None = None

    @property
    def may_ask(self) -> bool:
        """Whether it may be answered with questions."""
        return self.method in ASKING

    @property
    def is_parked(self) -> bool:
        """Whether it waits for its client to come back."""
        return not self.carriers

    def digest(self) -> bytes:
        """What a request must be the same in to be the retry of this call."""
        return digest(self.method, self.params)


def digest(method: str, params: Raw | None) -> bytes:
    """
    A digest of what a retry must repeat: the method, the name or uri, the arguments.

    Compared by value, since a client may write the same JSON in another way the second time.
    """
    found = jsonrpc.members(params or _EMPTY)
    same = {name: jsonrpc.read(value) for name, value in found.items() if name in ("name", "uri", "arguments")}
    return hashlib.sha256(jsonrpc.canonical([method, same])).digest()


@attrs.define(eq=False)
class Calls:
    """The open calls of one client."""

    by_xid: dict[ExchangeId, Call] = attrs.Factory(dict)
    _carriers: dict[RequestId, ExchangeId] = attrs.Factory(dict)
    _handles: dict[str, ExchangeId] = attrs.Factory(dict)

    def open(self, call: Call) -> None:
        """A new one."""
        self.by_xid[call.xid] = call
        for carrier in call.carriers:
            self._carriers[carrier] = call.xid

    def carried(self, request_id: RequestId) -> Call | None:
        """The call that this request of the client wants the answer of."""
        xid = self._carriers.get(request_id)
        return None if xid is None else self.by_xid[xid]

    def attach(self, call: Call, request_id: RequestId) -> None:
        """Another request wants the answer of this call."""
        call.carriers.append(request_id)
        self._carriers[request_id] = call.xid

    def detach(self, call: Call, request_id: RequestId) -> None:
        """A request wants it no more, or has got it."""
        call.carriers.remove(request_id)
        del self._carriers[request_id]

    def park(self, call: Call, handle: str) -> list[RequestId]:
        """
        Nobody waits for it from now on; whoever comes with this handle goes on with it. Handles of earlier rounds stay
        good: the client may never have seen the last one.

        @return: whom to answer with the questions.
        """
        carriers, call.carriers = call.carriers, []
        for carrier in carriers:
            del self._carriers[carrier]
        call.handle = handle
        call.handles.append(handle)
        call.asked |= set(call.pending)
        call.rounds += 1
        self._handles[handle] = call.xid
        return carriers

    def of_handle(self, handle: str) -> Call | None:
        """The parked call of this handle."""
        xid = self._handles.get(handle)
        return None if xid is None else self.by_xid[xid]

    def close(self, call: Call) -> list[RequestId]:
        """
        It is over, and nothing is kept of it.

        @return: whom to answer.
        """
        del self.by_xid[call.xid]
        for handle in call.handles:
            del self._handles[handle]
        for carrier in call.carriers:
            del self._carriers[carrier]
        return call.carriers

    def bearer(self, xid: ExchangeId | None) -> Call | None:
        """
        The call to put a question to: the one that it belongs to, where that is known; else the oldest that is open
        now; else the oldest that is parked, at whose next round it is asked. Parked ones never win over open ones.
        """
        if xid is not None:
            call = self.by_xid.get(xid)
            return call if call is not None and call.may_ask and call.final is None else None
        asking = [call for call in self.by_xid.values() if call.may_ask and call.final is None]
        attached = (call for call in asking if not call.is_parked)
        return next(attached, None) or next(iter(asking), None)

    def parked(self) -> list[Call]:
        """Those that wait for their client, oldest first."""
        return [call for call in self.by_xid.values() if call.is_parked]


def input_requests(questions: Mapping[str, InputRequest]) -> Raw:
    """Questions as the member C{inputRequests}."""
    entries: dict[str, Raw] = {}
    for key, question in questions.items():
        entry = {"method": jsonrpc.value(question.method)}
        if question.params is not None:
            entry["params"] = question.params
        entries[key] = jsonrpc.assemble(entry)
    return jsonrpc.assemble(entries)
