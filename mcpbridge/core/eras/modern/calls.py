"""
The open calls of a client of the stateless era.

A call outlives the request that it was made with where a server of the session era asks something meanwhile: it is
I{parked} then, and a later request of the client becomes its carrier (L{mcpbridge.core.eras.modern.parking}).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.eras.modern.envelope import ASKING, LOG_LEVEL, close_params, open_params
from mcpbridge.core.errors import INVALID_PARAMS
from mcpbridge.core.events import (
    Called,
    Completed,
    ExchangeId,
    Failed,
    InputRequest,
    Logged,
    Native,
    Notified,
    Progressed,
)
from mcpbridge.core.jsonrpc import InvalidMessage, Request, RequestId
from mcpbridge.core.levels import LEVELS

#: Calls of one client that wait for its answers, and outcomes that are kept for it. The oldest goes first.
MAX_PARKED: Final = 64

#: Bytes of outcomes that are kept for one client.
MAX_KEPT: Final = 16 * 1024 * 1024

#: Notifications kept for a parked call until its next carrier comes, and bytes of each.
MAX_BUFFERED: Final = 64
MAX_BUFFERED_SIZE: Final = 64 * 1024

#: Bytes of a log message whose level is looked for.
_MAX_LOG: Final = 1024 * 1024

_EMPTY = Raw(b"{}")


@attrs.frozen
class Asked:
    """
    A request, taken apart.

    @ivar params: without the envelope of the era and without what makes it a retry.
    @ivar token: of its progress, as it came.
    @ivar level: the least severe log messages that the client wants with it.
    @ivar state: C{requestState}; it makes the request a retry.
    @ivar responses: C{inputResponses}.
    """

    id: RequestId
    method: str
    params: dict[str, Raw]
    token: Raw | None = None
    level: str | None = None
    state: Raw | None = None
    responses: Raw | None = None

    @classmethod
    def read(cls, request: Request) -> Asked:
        """
        From a request.

        @raise InvalidMessage: there is something in it that the era does not allow.
        """
        found, meta = open_params(request.params)
        level = jsonrpc.decode_string(meta.get(LOG_LEVEL))
        if LOG_LEVEL in meta and level not in LEVELS:
            raise InvalidMessage(INVALID_PARAMS, f"Invalid params: a log level is one of {', '.join(LEVELS)}")
        token = meta.get("progressToken")
        if token is not None:
            # A copy of its own: a slice would keep alive the whole message that it came in.
            token = None if jsonrpc.decode_id(token) is None else Raw(bytes(token))
        state = responses = None
        if request.method in ASKING:
            state, responses = found.pop("requestState", None), found.pop("inputResponses", None)
        return cls(request.id, request.method, found, token, level, state, responses)

    @property
    def is_retry(self) -> bool:
        """Whether it goes on with a call."""
        return self.state is not None or self.responses is not None

    def verbatim(self) -> dict[str, Raw]:
        """Its params with all that makes it a retry, as a server of the same era wants them."""
        retry = {"inputResponses": self.responses, "requestState": self.state}
        return {**self.params, **{name: of for name, of in retry.items() if of is not None}}


@attrs.define(eq=False)
class Call:
    """
    One exchange, as its client sees it.

    @ivar params: of the request that it was made with.
    @ivar carriers: ids of the client's requests that want the answer; none while it is parked.
    @ivar level: the least severe log messages that the client wants with it; L{None} for none at all.
    @ivar pending: the server's questions that are not answered, by key.
    @ivar asked: those of them that the client has been given.
    @ivar handles: under which it may be found again; none if it never was parked.
    @ivar progress: the highest that the client was told of.
    @ivar buffered: what happened while it was parked.
    @ivar final: its outcome, once there is one.
    @ivar withheld: the server has not got it yet: its client is asked something first.
    @ivar visits: it is over, and is to be sent again when the user has been where C{pending} says (-32042): the names
        that the server gave to those places.
    """

    xid: ExchangeId
    method: str
    params: dict[str, Raw]
    carriers: list[RequestId]
    token: Raw | None
    level: str | None
    pending: dict[str, InputRequest] = attrs.Factory(dict)
    asked: set[str] = attrs.Factory(set)
    handles: list[str] = attrs.Factory(list)
    rounds: int = 0
    progress: float | None = None
    buffered: list[Progressed | Logged | Notified] = attrs.Factory(list)
    final: Completed | Failed | None = None
    withheld: bool = False
    visits: frozenset[str] | None = None

    @property
    def may_ask(self) -> bool:
        """Whether its client may be asked something in its answer."""
        return self.method in ASKING and self.final is None

    @property
    def is_parked(self) -> bool:
        """Whether it waits for its client to come back."""
        return not self.carriers

    def called(self) -> Called:
        """What the bridge is told of it."""
        return Called(self.xid, self.method, close_params(self.params), self.token is not None, Native(self.level))

    @property
    def uri(self) -> str | None:
        """What it reads, if it reads a resource."""
        return jsonrpc.decode_string(self.params.get("uri")) if self.method == "resources/read" else None

    def is_meant_by(self, asked: Asked) -> bool:
        """Whether this request is the same call."""
        return digest(self.method, self.params) == digest(asked.method, asked.params)

    def advances(self, params: Mapping[str, Raw]) -> bool:
        """Whether this progress is progress: over several rounds it must still increase (Progress)."""
        value = jsonrpc.read(params.get("progress", Raw(b"null")))
        if not isinstance(value, int | float):
            return True
        if self.rounds and self.progress is not None and value <= self.progress:
            return False
        self.progress = value
        return True

    def wants(self, level: str | None) -> bool:
        """Whether log messages of this level go with it (Logging: none for a request that did not ask for any)."""
        if self.level is None or level not in LEVELS:
            return False
        return LEVELS.index(level) >= LEVELS.index(self.level)

    def buffer(self, event: Progressed | Logged | Notified) -> None:
        """It happened while the call was parked."""
        if isinstance(event, Progressed):
            size = sum(len(memoryview(value)) for value in event.params.values())
        else:
            size = len(memoryview(event.params or _EMPTY))
        if len(self.buffered) < MAX_BUFFERED and size <= MAX_BUFFERED_SIZE:
            self.buffered.append(event)


def level_of(params: Raw | None) -> str | None:
    """Of a log message; L{None} if it has none, or is too large to be looked into."""
    try:
        return jsonrpc.decode_string(jsonrpc.members(params or _EMPTY, _MAX_LOG).get("level"))
    except InvalidMessage:
        return None


def digest(method: str, params: Mapping[str, Raw]) -> bytes:
    """
    A digest of what a retry must repeat: the method, the name or uri, the arguments.

    Compared by value, since a client may write the same JSON in another way the second time.
    """
    same = {name: jsonrpc.read(value) for name, value in params.items() if name in ("name", "uri", "arguments")}
    return hashlib.sha256(jsonrpc.canonical([method, same])).digest()


@attrs.define(eq=False)
class Calls:
    """The table of them."""

    by_xid: dict[ExchangeId, Call] = attrs.Factory(dict)
    _carriers: dict[RequestId, ExchangeId] = attrs.Factory(dict)
    _handles: dict[str, ExchangeId] = attrs.Factory(dict)

    def open(self, call: Call) -> None:
        """A new one."""
        self.by_xid[call.xid] = call
        self._carriers.update(dict.fromkeys(call.carriers, call.xid))
        self._handles.update(dict.fromkeys(call.handles, call.xid))

    def renumber(self, call: Call, xid: ExchangeId) -> None:
        """It goes on as another exchange."""
        self.close(call)
        call.xid = xid
        self.open(call)

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
        call.handles.append(handle)
        call.asked |= set(call.pending)
        call.rounds += 1
        self._handles[handle] = call.xid
        return carriers

    def of_handle(self, handle: str) -> Call | None:
        """The call of this handle."""
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

    def attached(self) -> list[Call]:
        """Those that a request of the client is open for, oldest first."""
        return [call for call in self.by_xid.values() if not call.is_parked]

    def withheld(self) -> list[Call]:
        """Those that the server has not got yet, oldest first."""
        return [call for call in self.by_xid.values() if call.withheld]

    def parked(self) -> list[Call]:
        """Those that wait for their client, oldest first."""
        return [call for call in self.by_xid.values() if call.is_parked and call.final is None]

    def surplus(self) -> list[Call]:
        """Outcomes that are too many to be kept, oldest first."""
        kept = [call for call in self.by_xid.values() if call.is_parked and call.final is not None]
        sizes = [len(memoryview(call.final.result)) if isinstance(call.final, Completed) else 0 for call in kept]
        room, too_many = MAX_KEPT - sum(sizes), len(kept) - MAX_PARKED
        surplus: list[Call] = []
        for call, size in zip(kept, sizes, strict=True):
            if room >= 0 and too_many <= len(surplus):
                break
            surplus.append(call)
            room += size
        return surplus
