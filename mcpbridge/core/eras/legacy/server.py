"""
We are the server; a client of the session era is on the other side.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Final

import attrs
from msgspec import Raw
from zope.interface import implementer

from mcpbridge.core import jsonrpc
from mcpbridge.core.capabilities import server_opening_for
from mcpbridge.core.conversion import result_for, wrapped_tools
from mcpbridge.core.conversion.shapes import opened
from mcpbridge.core.effects import Deliver, Emit, Forget, PeerEffect
from mcpbridge.core.eras.legacy.asking import asked_by
from mcpbridge.core.eras.legacy.dialect import MAX_TASKS, VERSIONS, refuse
from mcpbridge.core.eras.legacy.memento import Memento
from mcpbridge.core.eras.legacy.questions import Questions
from mcpbridge.core.error_mapping import error_for
from mcpbridge.core.errors import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    ErrorObject,
)
from mcpbridge.core.events import (
    Cancelled,
    Changed,
    Completed,
    Event,
    ExchangeId,
    Failed,
    InputRequired,
    InputWithdrawn,
    LevelSet,
    Logged,
    Notified,
    Opened,
    Progressed,
    Ready,
    RootsChanged,
    Subscribed,
    Unsubscribed,
)
from mcpbridge.core.interfaces import IServerPeer
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result
from mcpbridge.core.progress import progress_token
from mcpbridge.core.tasks.shapes import is_created

_EMPTY = Raw(b"{}")

#: Tools of one server whose results its clients get inside of an object. Whatever comes after these is told as it is.
_MAX_WRAPPED: Final = 10_000

#: Standing wishes of one client, in bytes. They have to fit into what its relay remembers, with its handshake.
_MAX_SUBSCRIPTIONS: Final = 64 * 1024


@attrs.define
class _Call:
    """
    An exchange as the server peer sees it.

    @ivar subject: what it wants: the uri of C{resources/read}, the name of C{tools/call}, the cursor of C{tools/list}.
    """

    id: RequestId
    token: Raw | None
    method: str
    subject: str | None = None

    @property
    def opening(self) -> bool:
        """Whether it opens the conversation."""
        return self.method == "initialize"


@implementer(IServerPeer)
@attrs.define(eq=False, repr=False)
class ServerPeer:
    """
    We are the server; a client of the session era is on the other side.

    @ivar _tasks: the progress tokens of calls that became tasks.
    """

    _exchanges: Iterator[ExchangeId]
    version: str | None = None
    _params: dict[str, Raw] | None = None
    _ready: bool = False
    _level: str | None = None
    _subscriptions: dict[str, Raw | None] = attrs.Factory(dict)
    _source: str | None = None
    _wrapped: set[str] = attrs.Factory(set)
    _calls: dict[ExchangeId, _Call] = attrs.Factory(dict)
    _tasks: dict[ExchangeId, Raw] = attrs.Factory(dict)
    _xids: dict[RequestId, ExchangeId] = attrs.Factory(dict)
    _questions: Questions = attrs.Factory(Questions)

    def receive(self, message: Message, within: RequestId | None) -> Sequence[PeerEffect]:
        """Take one message from the client. See L{mcpbridge.core.interfaces.IPeer}."""
        match message:
            case Request():
                return self._request(message)
            case Notification():
                return self._notification(message)
            case Result():
                return self._questions.answered(message.id, message.result)
            case Error(id=None):
                return ()
            case Error():
                assert message.id is not None
                return self._questions.answered(message.id, message.error)

    def receive_garbage(self, invalid: InvalidMessage) -> Sequence[PeerEffect]:
        """Answer what can be answered; a broken response counts as the client's failure to answer."""
        if invalid.response_id is not None and invalid.response_id in self._questions:
            return self._questions.answered(invalid.response_id, ErrorObject(invalid.code, str(invalid)))
        return (Emit(invalid.answer),)

    # What the client asks of us.

    def _request(self, request: Request) -> Sequence[PeerEffect]:
        if request.id in self._xids:
            return (refuse(request, INVALID_REQUEST, "Invalid request: this id is in use by a request still open"),)
        if request.method == "ping":
            return (Emit(Result(request.id, _EMPTY), request.id),)
        if request.method == "initialize":
            return self._initialize(request)
        if request.method in _NOT_OF_THIS_ERA:
            return (refuse(request, METHOD_NOT_FOUND, f"Method not found: {request.method}"),)
        if self._params is None:
            return (refuse(request, INVALID_REQUEST, f"Not initialized: send initialize before {request.method}"),)
        try:
            token = progress_token(request.params)
            event = asked_by(request, next(self._exchanges), token is not None)
            if isinstance(event, Subscribed):
                self._bound_subscriptions(event)
        except InvalidMessage as invalid:
            return (refuse(request, invalid.code, str(invalid)),)
        self._open(event.xid, _Call(request.id, token, request.method, self._subject(request)))
        match event:
            case LevelSet():
                self._level = event.level
            case Subscribed():
                self._subscriptions[event.uri] = event.params
            case Unsubscribed():
                self._subscriptions.pop(event.uri, None)
        return (Deliver(event),)

    def _bound_subscriptions(self, event: Subscribed) -> None:
        wished = {**self._subscriptions, event.uri: event.params}
        if sum(len(uri) + len(memoryview(of or _EMPTY)) for uri, of in wished.items()) > _MAX_SUBSCRIPTIONS:
            text = f"Over {_MAX_SUBSCRIPTIONS} bytes of subscriptions; unsubscribe from some"
            raise InvalidMessage(INVALID_REQUEST, text)

    def _subject(self, request: Request) -> str | None:
        name = _SUBJECTS.get(request.method)
        if name is None or (name == "name" and not self._wrapped):
            return None
        return jsonrpc.decode_string(opened(request.params).get(name))

    def _open(self, xid: ExchangeId, call: _Call) -> None:
        self._calls[xid] = call
        self._xids[call.id] = xid

    def _initialize(self, request: Request) -> Sequence[PeerEffect]:
        try:
            params = jsonrpc.members(request.params or _EMPTY)
            asked = jsonrpc.decode_string(params.get("protocolVersion"))
        except InvalidMessage as invalid:
            return (refuse(request, invalid.code, str(invalid)),)
        if asked is None:
            return (refuse(request, INVALID_PARAMS, "Invalid params: initialize needs a protocolVersion"),)
        before = self.close("The client began anew with another initialize") if self._params is not None else ()
        xid = next(self._exchanges)
        self._begin(asked, params)
        self._open(xid, _Call(request.id, None, request.method))
        assert self.version is not None
        return (*before, Deliver(Opened(xid, self.version, params)))

    def _begin(self, asked: str, params: dict[str, Raw]) -> None:
        # Lifecycle, Version Negotiation: the version asked for if we know it, else the latest we do.
        self.version = asked if asked in VERSIONS else VERSIONS[0]
        self._params = params
        self._ready = False
        self._level = None
        self._subscriptions.clear()
        self._source = None
        self._wrapped.clear()

    def _notification(self, notification: Notification) -> Sequence[PeerEffect]:
        if self._params is None:
            return ()
        try:
            match notification.method:
                case "notifications/initialized":
                    self._ready = True
                    return (Deliver(Ready()),)
                case "notifications/cancelled":
                    return self._cancelled(notification)
                case "notifications/progress":
                    return self._progressed(notification)
                case "notifications/roots/list_changed":
                    return (Deliver(RootsChanged(notification.params)),)
        except InvalidMessage:
            # Lifecycle, Error Handling: a malformed notification is ignored, there is nobody to answer.
            return ()
        return (Deliver(Notified(None, notification.method, notification.params)),)

    def _cancelled(self, notification: Notification) -> Sequence[PeerEffect]:
        params = jsonrpc.members(notification.params or _EMPTY)
        request_id = jsonrpc.decode_id(params.get("requestId", _EMPTY))
        xid = self._xids.get(request_id) if request_id is not None else None
        if xid is None or self._calls[xid].opening:
            # Cancellation, Behavior Requirements: unknown or finished is ignored, initialize is never cancelled.
            return ()
        call = self._close_call(xid)
        assert call is not None
        return (Forget(call.id), Deliver(Cancelled(xid, jsonrpc.decode_string(params.get("reason")))))

    def _progressed(self, notification: Notification) -> Sequence[PeerEffect]:
        params = jsonrpc.members(notification.params or _EMPTY)
        token = jsonrpc.decode_id(params.pop("progressToken", _EMPTY))
        return self._questions.progressed(token, params)

    # What the bridge has for the client.

    def send(self, event: Event) -> Sequence[PeerEffect]:
        """Say a neutral event to the client. See L{mcpbridge.core.interfaces.IPeer}."""
        match event:
            case Completed():
                return self._completed(event)
            case Failed():
                return self._failed(event)
            case Progressed():
                return self._say_progress(event)
            case Logged():
                return (self._emit(event.xid, "notifications/message", event.params),)
            case Notified():
                return (self._emit(event.xid, event.method, event.params),)
            case Changed(uri=None):
                return (self._emit(None, f"notifications/{event.what}/list_changed", event.params),)
            case Changed():
                params = event.params or jsonrpc.value({"uri": event.uri})
                return (self._emit(None, "notifications/resources/updated", params),)
            case InputRequired():
                return self._questions.ask(event, self.version, self._params, self._within(event.xid))
            case InputWithdrawn():
                return self._questions.withdraw(event)
        return ()

    def _emit(self, xid: ExchangeId | None, method: str, params: Raw | None) -> Emit:
        return Emit(Notification(method, params), self._within(xid))

    def _within(self, xid: ExchangeId | None) -> RequestId | None:
        """The request of the client that this belongs to, if it is open."""
        call = self._calls.get(xid) if xid is not None else None
        return call.id if call is not None else None

    def _close_call(self, xid: ExchangeId) -> _Call | None:
        call = self._calls.pop(xid, None)
        if call is not None:
            self._xids.pop(call.id, None)
        return call

    def _completed(self, event: Completed) -> Sequence[PeerEffect]:
        call = self._close_call(event.xid)
        if call is None:
            return ()
        assert self.version is not None
        if call.opening:
            found = jsonrpc.members(server_opening_for(self.version, event.result))
            self._source = jsonrpc.decode_string(found.get("protocolVersion"))
            found["protocolVersion"] = jsonrpc.value(self.version)
            return (Emit(Result(call.id, jsonrpc.assemble(found)), call.id),)
        if call.method == "tools/list":
            self._listed(call, event.result)
        if call.token is not None and call.method == "tools/call" and is_created(event.result):
            # Task Progress (2025-11-25): the token stays good for as long as the task goes on.
            self._tasks[event.xid] = Raw(bytes(call.token))
            while len(self._tasks) > MAX_TASKS:
                del self._tasks[next(iter(self._tasks))]
        result = result_for(
            self.version,
            call.method,
            event.result,
            modern=event.envelope is not None,
            earlier=self._source is not None and self._source < self.version,
            wrapped=call.subject in self._wrapped,
        )
        return (Emit(Result(call.id, result), call.id),)

    def _listed(self, call: _Call, result: Raw) -> None:
        """The client sees another page of the tools, and which of them answer with objects only."""
        if call.subject is None:
            self._wrapped.clear()
        wrapped = wrapped_tools(result)
        if len(self._wrapped) + len(wrapped) <= _MAX_WRAPPED:
            self._wrapped |= wrapped

    def _failed(self, event: Failed) -> Sequence[PeerEffect]:
        call = self._close_call(event.xid)
        if call is None:
            return ()
        if call.opening:
            self._params = None
        assert self.version is not None
        error = error_for(self.version, call.method, call.subject, event.error)
        return (Emit(Error(call.id, error), call.id),)

    def _say_progress(self, event: Progressed) -> Sequence[PeerEffect]:
        call = self._calls.get(event.xid)
        token = self._tasks.get(event.xid) if call is None else call.token
        if token is None:
            return ()
        params = jsonrpc.assemble({"progressToken": token, **event.params})
        return (Emit(Notification("notifications/progress", params), None if call is None else call.id),)

    # The end, and life after death.

    def close(self, error: str) -> Sequence[PeerEffect]:
        """Every open exchange ends with an error. See L{mcpbridge.core.interfaces.IServerPeer}."""
        effects: list[PeerEffect] = [
            Emit(Error(call.id, ErrorObject(INVALID_REQUEST, error)), call.id) for call in self._calls.values()
        ]
        self._calls.clear()
        self._tasks.clear()
        self._xids.clear()
        self._questions.clear()
        self._params = None
        return effects

    def fired(self, key: Hashable) -> Sequence[PeerEffect]:
        """Nothing here waits. See L{mcpbridge.core.interfaces.IServerPeer}."""
        return ()

    def no_more(self) -> Sequence[PeerEffect]:
        """Nothing here is without an end. See L{mcpbridge.core.interfaces.IServerPeer}."""
        return ()

    def memento(self) -> bytes:
        """The client's handshake and standing wishes. See L{mcpbridge.core.interfaces.IServerPeer}."""
        if self._params is None:
            return b""
        known = Memento(self._params, self._ready, self._level, self._subscriptions, self._questions.life)
        return known.to_bytes()

    def restore(self, memento: bytes) -> Sequence[PeerEffect]:
        """Go on after a death. See L{mcpbridge.core.interfaces.IServerPeer}."""
        known = Memento.from_bytes(memento)
        assert known.asked is not None
        self._begin(known.asked, known.params)
        self._questions.begin_life(known.life + 1)
        assert self.version is not None
        # Exchanges that the client knows nothing of: their answers find no call and are dropped.
        events: list[Event] = [Opened(next(self._exchanges), self.version, known.params)]
        if known.ready:
            self._ready = True
            events.append(Ready())
        if known.level is not None:
            self._level = known.level
            events.append(LevelSet(next(self._exchanges), known.level, standing=True))
        for uri, of in known.subscriptions.items():
            self._subscriptions[uri] = of
            events.append(Subscribed(next(self._exchanges), uri, of, standing=True))
        return tuple(map(Deliver, events))


#: Requests of other eras, which a conversation of this one must refuse rather than pass on.
_NOT_OF_THIS_ERA: Final = frozenset(("server/discover", "subscriptions/listen"))

#: What a request wants, where its answer depends on that.
_SUBJECTS: Final = {"resources/read": "uri", "tools/call": "name", "tools/list": "cursor"}
