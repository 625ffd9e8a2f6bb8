"""
We are the server; clients of the stateless era that can do the same things are on the other side.

Theory of operation. Each request is an exchange of its own. The first one opens the conversation toward the bridge, in
the name of what the client says of itself; requests that need to know the server's own opening (C{server/discover},
C{subscriptions/listen}) wait for it. What a server of the session era asks meanwhile parks the call that it belongs to
(L{mcpbridge.core.eras.modern.calls}); a server of this era asks by itself, and its results pass as they are.

Whoever is in front of this peer has checked the C{_meta} of each request.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Final

import attrs
from msgspec import Raw
from zope.interface import implementer

from mcpbridge.core import jsonrpc
from mcpbridge.core.effects import Deliver, Emit, Forget, PeerEffect, StartTimer, StopTimer
from mcpbridge.core.eras.modern.calls import (
    HANDLE_PREFIX,
    MAX_BUFFERED,
    MAX_PARKED,
    MAX_ROUNDS,
    Call,
    Calls,
    digest,
    input_requests,
)
from mcpbridge.core.eras.modern.envelope import (
    INPUT_REQUIRED,
    LOG_LEVEL,
    Facts,
    close_result,
    meta_of,
    tagged,
    without_meta,
)
from mcpbridge.core.eras.modern.listening import Listen
from mcpbridge.core.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_CLIENT_CAPABILITY,
    ErrorObject,
    Reason,
)
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Changed,
    Completed,
    Envelope,
    Event,
    ExchangeId,
    Failed,
    InputRequest,
    InputRequired,
    InputSupplied,
    InputWithdrawn,
    LevelSet,
    Logged,
    Native,
    Notified,
    Opened,
    Progressed,
    Ready,
    Subscribed,
    Unsubscribed,
)
from mcpbridge.core.interfaces import IServerPeer
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result
from mcpbridge.core.levels import LEVELS, least
from mcpbridge.core.progress import progress_token

#: Seconds for which a server's questions are gathered, so that several arrive together.
COALESCE: Final = 0.03

#: Seconds that a parked call waits for its client. People are asked, and may be at lunch.
PATIENCE: Final = 900.0

#: Seconds for which the outcome of a parked call is kept once it was told, in case that answer was lost.
LINGER: Final = 60.0

#: Seconds for which a server's C{roots/list} waits for a call that it can be put to.
ROOTS_DEFERRED: Final = 30.0

#: Seconds for which resources are waited for before a C{subscriptions/listen} is acknowledged without them.
ACKNOWLEDGE: Final = 10.0

#: Requests of the session era, which a client of this one does not send.
REMOVED: Final = frozenset(("initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"))

#: URLElicitationRequired (2025-11-25, client/elicitation).
_URL_REQUIRED: Final = -32042

_EMPTY = Raw(b"{}")
_ACCEPT = "accept"

#: Which capability of the client a question needs.
_NEEDS: Final = {
    "roots/list": "roots",
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
}


@implementer(IServerPeer)
@attrs.define(eq=False, repr=False)
class ServerPeer:
    """
    See the top of this module.

    @ivar facts: what the clients say of themselves.
    @ivar supported: the revisions that mcpbridge serves, of all eras, newest first.
    @ivar _handles: gives texts that cannot be guessed.
    """

    _exchanges: Iterator[ExchangeId]
    facts: Facts
    supported: Sequence[str]
    _handles: Callable[[], str]
    version: str | None = None
    _opening_xid: ExchangeId | None = None
    _opening: dict[str, Raw] | None = None
    _server: Raw | None = None
    _waiting: list[Request] = attrs.Factory(list)
    _calls: Calls = attrs.Factory(Calls)
    _level: str | None = None
    _listens: dict[RequestId, Listen] = attrs.Factory(dict)
    _subscribing: dict[ExchangeId, str] = attrs.Factory(dict)
    _roots: Raw | None = None
    _deferred: dict[str, InputRequest] = attrs.Factory(dict)

    def __attrs_post_init__(self) -> None:
        self.version = self.facts.version

    # What the client asks.

    def receive(self, message: Message, within: RequestId | None) -> Sequence[PeerEffect]:
        """Take one message from a client. See L{mcpbridge.core.interfaces.IPeer}."""
        match message:
            case Request():
                return (*self._open(), *self._request(message))
            case Notification(method="notifications/cancelled"):
                return self._cancelled(message)
            case Notification():
                return (*self._open(), Deliver(Notified(None, message.method, without_meta(message.params))))
        # Transports: a client of this era sends no responses.
        return ()

    def receive_garbage(self, invalid: InvalidMessage) -> Sequence[PeerEffect]:
        """Answer what can be answered."""
        return (Emit(invalid.answer, invalid.request_id),)

    def _open(self) -> Sequence[PeerEffect]:
        if self._opening_xid is not None:
            return ()
        self._opening_xid = next(self._exchanges)
        info = self.facts.info or jsonrpc.value({"name": "mcpbridge", "version": "1"})
        params = {
            "protocolVersion": jsonrpc.value(self.facts.version),
            "capabilities": self.facts.capabilities,
            "clientInfo": info,
        }
        return (Deliver(Opened(self._opening_xid, self.facts.version, params)), Deliver(Ready()))

    def _request(self, request: Request) -> Sequence[PeerEffect]:
        if self._calls.carried(request.id) is not None or request.id in self._listens:
            return (_refuse(request, INVALID_REQUEST, "Invalid request: this id is in use by a request still open"),)
        if request.method in REMOVED:
            known = ", ".join(self.supported)
            text = f"Method not found: {request.method} is not in protocol version {self.version} (supported: {known})"
            return (_refuse(request, METHOD_NOT_FOUND, text),)
        try:
            if request.method in ("server/discover", "subscriptions/listen"):
                if self._opening is None:
                    self._waiting.append(request)
                    return ()
                return self._informed(request)
            return self._call(request)
        except InvalidMessage as invalid:
            return (_refuse(request, INVALID_PARAMS, str(invalid)),)

    def _informed(self, request: Request) -> Sequence[PeerEffect]:
        return self._discover(request) if request.method == "server/discover" else self._listen(request)

    def _discover(self, request: Request) -> Sequence[PeerEffect]:
        assert self._opening is not None
        found = {
            "supportedVersions": jsonrpc.value(list(self.supported)),
            **{name: value for name, value in self._opening.items() if name not in ("protocolVersion", "serverInfo")},
        }
        result = close_result(request.method, jsonrpc.assemble(found), None, self._server)
        return (Emit(Result(request.id, result), request.id),)

    def _call(self, request: Request) -> Sequence[PeerEffect]:
        meta = meta_of(request.params)
        level = jsonrpc.decode_string(meta.get(LOG_LEVEL))
        if level is not None and level not in LEVELS:
            raise InvalidMessage(INVALID_PARAMS, f"Invalid params: a log level is one of {', '.join(LEVELS)}")
        token = progress_token(request.params)
        state = jsonrpc.decode_string(jsonrpc.members(request.params or _EMPTY).get("requestState"))
        if state is not None and state.startswith(HANDLE_PREFIX):
            return self._resume(request, state, token, level)
        call = Call(next(self._exchanges), request.method, without_meta(request.params), [request.id], token, level)
        self._calls.open(call)
        return (*self._set_level(), *self._forward(call), *self._put_deferred(call))

    def _forward(self, call: Call) -> Sequence[PeerEffect]:
        return (Deliver(Called(call.xid, call.method, call.params, call.token is not None, Native(call.level))),)

    def _set_level(self) -> Sequence[PeerEffect]:
        """A server of the session era has one level for all: the least severe that any open call wants."""
        if self._opening is not None and b"logging" not in bytes(self._opening.get("capabilities", _EMPTY)):
            return ()
        level = least(call.level for call in self._calls.by_xid.values())
        if level is None or (self._level is not None and LEVELS.index(self._level) <= LEVELS.index(level)):
            return ()
        self._level = level
        return (Deliver(LevelSet(next(self._exchanges), level)),)

    def _cancelled(self, notification: Notification) -> Sequence[PeerEffect]:
        try:
            params = jsonrpc.members(notification.params or _EMPTY)
        except InvalidMessage:
            return ()
        request_id = jsonrpc.decode_id(params.get("requestId", _EMPTY))
        if request_id is None:
            return ()
        if request_id in self._listens:
            return (Forget(request_id), *self._end_listen(self._listens.pop(request_id)))
        waiting = [request for request in self._waiting if request.id == request_id]
        if waiting:
            self._waiting.remove(waiting[0])
            return (Forget(request_id),)
        call = self._calls.carried(request_id)
        if call is None:
            return ()
        self._calls.detach(call, request_id)
        effects: list[PeerEffect] = [Forget(request_id)]
        if not call.carriers:
            effects += self._give_up(call, jsonrpc.decode_string(params.get("reason")))
        return effects

    # What the bridge has for the client.

    def send(self, event: Event) -> Sequence[PeerEffect]:
        """Say a neutral event to the client. See L{mcpbridge.core.interfaces.IPeer}."""
        match event:
            case Completed() if event.xid == self._opening_xid:
                return self._opened(event.result)
            case Failed() if event.xid == self._opening_xid:
                return self._not_opened(event.error)
            case Completed() | Failed() if event.xid in self._subscribing:
                return self._subscribed(self._subscribing.pop(event.xid), isinstance(event, Completed))
            case Completed() | Failed():
                return self._finished(event)
            case Progressed() | Logged():
                return self._noted(event)
            case Notified():
                return self._say_notified(event)
            case Changed():
                return self._changed(event)
            case InputRequired():
                return self._asked(event)
            case InputWithdrawn():
                return self._withdrawn(event)
        return ()

    def _opened(self, opening: Raw) -> Sequence[PeerEffect]:
        self._opening = jsonrpc.members(opening)
        self._server = self._opening.get("serverInfo")
        waiting, self._waiting = self._waiting, []
        effects: list[PeerEffect] = []
        for request in waiting:
            try:
                effects += self._informed(request)
            except InvalidMessage as invalid:
                effects.append(_refuse(request, INVALID_PARAMS, str(invalid)))
        return effects

    def _not_opened(self, error: ErrorObject) -> Sequence[PeerEffect]:
        # The next request tries again.
        self._opening_xid = None
        waiting, self._waiting = self._waiting, []
        return [Emit(Error(request.id, error), request.id) for request in waiting]

    def _finished(self, event: Completed | Failed) -> Sequence[PeerEffect]:
        call = self._calls.by_xid.get(event.xid)
        if call is None or call.final is not None:
            return ()
        if isinstance(event, Failed) and event.error.code == _URL_REQUIRED:
            return self._visit_first(call, event.error)
        effects: list[PeerEffect] = [StopTimer(("coalesce", call.xid))] if call.pending else []
        call.pending.clear()
        if call.handle is None:
            return effects + [self._answer(call, event, request_id) for request_id in self._calls.close(call)]
        # It was parked once: its client may not have seen the last answer, and ask again.
        call.final = event
        effects.append(StartTimer(("forget", call.xid), LINGER if call.carriers else PATIENCE))
        for request_id in list(call.carriers):
            self._calls.detach(call, request_id)
            effects.append(self._answer(call, event, request_id))
        return effects

    def _answer(self, call: Call, event: Event, request_id: RequestId) -> Emit:
        if isinstance(event, Failed):
            return Emit(Error(request_id, event.error), request_id)
        assert isinstance(event, Completed)
        result = close_result(call.method, event.result, event.envelope, self._server)
        return Emit(Result(request_id, result), request_id)

    def _noted(self, event: Progressed | Logged) -> Sequence[PeerEffect]:
        """Progress and log messages go with the requests that they belong to, and only to those that want them."""
        if isinstance(event, Progressed):
            call = self._calls.by_xid.get(event.xid)
            wanting = [call] if call is not None and call.token is not None else []
        else:
            level = _level_of(event.params)
            concerned = [self._calls.by_xid.get(event.xid)] if event.xid is not None else self._calls.by_xid.values()
            wanting = [call for call in concerned if call is not None and _wants(call, level)][:1]
        effects: list[PeerEffect] = []
        for call in wanting:
            if call.is_parked:
                if len(call.buffered) < MAX_BUFFERED:
                    call.buffered.append(event)
            else:
                effects += self._say_noted(call, event)
        return effects

    def _say_noted(self, call: Call, event: Event) -> Sequence[PeerEffect]:
        within = call.carriers[-1]
        if isinstance(event, Logged):
            return (Emit(Notification("notifications/message", event.params), within),)
        if not isinstance(event, Progressed) or call.token is None:
            return ()
        params = jsonrpc.assemble({"progressToken": call.token, **event.params})
        return (Emit(Notification("notifications/progress", params), within),)

    def _say_notified(self, event: Notified) -> Sequence[PeerEffect]:
        call = self._calls.by_xid.get(event.xid) if event.xid is not None else None
        if call is None or call.is_parked:
            # There is no stream that it could be told on.
            return ()
        return (Emit(Notification(event.method, event.params), call.carriers[-1]),)

    # Subscriptions.

    def _listen(self, request: Request) -> Sequence[PeerEffect]:
        assert self._opening is not None
        listen = Listen.read(request.id, request.params)
        capabilities = jsonrpc.members(self._opening.get("capabilities", _EMPTY))
        listen.lists = frozenset(subject for subject in listen.lists if _has(capabilities, subject, "listChanged"))
        if not _has(capabilities, "resources", "subscribe"):
            listen.uris = []
        effects: list[PeerEffect] = []
        already = {uri for other in self._listens.values() if other.missing is None for uri in other.uris}
        listen.missing = {uri for uri in listen.uris if uri not in already}
        self._listens[request.id] = listen
        for uri in listen.uris:
            if uri in listen.missing:
                xid = next(self._exchanges)
                self._subscribing[xid] = uri
                effects.append(Deliver(Subscribed(xid, uri, None)))
        if listen.missing:
            effects.append(StartTimer(("acknowledge", request.id), ACKNOWLEDGE))
        else:
            effects += self._acknowledge(listen)
        return effects

    def _subscribed(self, uri: str, agreed: bool) -> Sequence[PeerEffect]:
        effects: list[PeerEffect] = []
        for listen in self._listens.values():
            if listen.missing is None or uri not in listen.missing:
                continue
            listen.missing.discard(uri)
            if not agreed:
                listen.uris.remove(uri)
            if not listen.missing:
                effects += (StopTimer(("acknowledge", listen.id)), *self._acknowledge(listen))
        return effects

    def _acknowledge(self, listen: Listen) -> Sequence[PeerEffect]:
        listen.uris = [uri for uri in listen.uris if uri not in (listen.missing or ())]
        listen.missing = None
        params = tagged(jsonrpc.assemble({"notifications": listen.honoured()}), listen.id)
        return (Emit(Notification("notifications/subscriptions/acknowledged", params), listen.id),)

    def _end_listen(self, listen: Listen) -> Sequence[PeerEffect]:
        effects: list[PeerEffect] = [] if listen.missing is None else [StopTimer(("acknowledge", listen.id))]
        wanted = {uri for other in self._listens.values() for uri in other.uris}
        unwanted = [uri for uri in listen.uris if uri not in wanted]
        return effects + [Deliver(Unsubscribed(next(self._exchanges), uri, None)) for uri in unwanted]

    def _changed(self, event: Changed) -> Sequence[PeerEffect]:
        method = f"notifications/{event.what}/list_changed"
        params = event.params
        if event.uri is not None:
            method = "notifications/resources/updated"
            params = params or jsonrpc.value({"uri": event.uri})
        return [
            Emit(Notification(method, tagged(params, listen.id)), listen.id)
            for listen in self._listens.values()
            if listen.hears(event.what, event.uri)
        ]

    # Questions of a server of the session era.

    def _asked(self, event: InputRequired) -> Sequence[PeerEffect]:
        effects: list[PeerEffect] = []
        for key, question in event.requests.items():
            effects += self._put(event.xid, key, question)
        return effects

    def _put(self, xid: ExchangeId | None, key: str, question: InputRequest) -> Sequence[PeerEffect]:
        if not self._can(question):
            text = f"The client does not support {question.method}"
            return (Deliver(InputSupplied(xid, {key: ErrorObject(METHOD_NOT_FOUND, text)})),)
        call = self._calls.bearer(xid)
        if call is not None and call.rounds < MAX_ROUNDS:
            call.pending[key] = question
            if call.is_parked:
                return ()
            return (StartTimer(("coalesce", call.xid), COALESCE),)
        if question.method == "roots/list" and self._roots is not None:
            return (Deliver(InputSupplied(None, {key: self._roots})),)
        if question.method == "roots/list" and len(self._deferred) < MAX_PARKED:
            self._deferred[key] = question
            return (StartTimer(("deferred", key), ROOTS_DEFERRED),)
        return (Deliver(InputSupplied(None, {key: _nobody(question)})),)

    def _can(self, question: InputRequest) -> bool:
        needed = _NEEDS.get(question.method)
        if needed is None:
            return False
        declared = jsonrpc.members(self.facts.capabilities).get(needed)
        if declared is None or needed != "elicitation":
            return declared is not None
        mode = jsonrpc.decode_string(jsonrpc.members(question.params or _EMPTY).get("mode")) or "form"
        modes = jsonrpc.members(declared)
        # An empty object means forms (client/elicitation, Capabilities).
        return mode in modes or (mode == "form" and not modes)

    def _put_deferred(self, call: Call) -> Sequence[PeerEffect]:
        """A new call can be asked what waited for one."""
        if not self._deferred or not call.may_ask:
            return ()
        deferred, self._deferred = self._deferred, {}
        call.pending.update(deferred)
        stopped = [StopTimer(("deferred", key)) for key in deferred]
        return (*stopped, StartTimer(("coalesce", call.xid), COALESCE))

    def _withdrawn(self, event: InputWithdrawn) -> Sequence[PeerEffect]:
        if self._deferred.pop(event.key, None) is not None:
            return (StopTimer(("deferred", event.key)),)
        for call in self._calls.by_xid.values():
            call.pending.pop(event.key, None)
            call.asked.discard(event.key)
        return ()

    def _park(self, call: Call) -> Sequence[PeerEffect]:
        """End the client's requests with what is asked; the call stays open toward the server."""
        if not call.pending or call.is_parked:
            return ()
        handle = HANDLE_PREFIX + self._handles()
        result = jsonrpc.assemble(
            {"inputRequests": input_requests(call.pending), "requestState": jsonrpc.value(handle)}
        )
        closed = close_result(call.method, result, Envelope(INPUT_REQUIRED), self._server)
        effects: list[PeerEffect] = [
            Emit(Result(request_id, closed), request_id) for request_id in self._calls.park(call, handle)
        ]
        effects.append(StartTimer(("expire", call.xid), PATIENCE))
        parked = [other for other in self._calls.parked() if other.final is None]
        if len(parked) > MAX_PARKED:
            effects += self._give_up(parked[0], "too many calls wait for the client")
        return effects

    def _resume(self, request: Request, handle: str, token: Raw | None, level: str | None) -> Sequence[PeerEffect]:
        """The client has come back for a parked call."""
        call = self._calls.of_handle(handle)
        if call is None:
            text = "Invalid params: this requestState has expired; call again without it"
            data = jsonrpc.value({"mcpbridge": {"reason": "parked_expired", "retryable": True}})
            return (Emit(Error(request.id, ErrorObject(INVALID_PARAMS, text, data)), request.id),)
        if digest(request.method, request.params) != call.digest():
            raise InvalidMessage(INVALID_PARAMS, "Invalid params: this requestState belongs to another request")
        if call.final is not None:
            return (
                self._answer(call, call.final, request.id),
                StartTimer(("forget", call.xid), LINGER),
            )
        responses = jsonrpc.members(jsonrpc.members(request.params or _EMPTY).get("inputResponses", _EMPTY))
        self._calls.attach(call, request.id)
        call.token, call.level = token, level
        effects: list[PeerEffect] = [StopTimer(("expire", call.xid)), *self._set_level()]
        buffered, call.buffered = call.buffered, []
        for event in buffered:
            effects += self._say_noted(call, event)
        if call.urls:
            return (*effects, *self._visited(call, responses))
        for key, response in responses.items():
            question = call.pending.pop(key, None) if key in call.asked else None
            if question is not None:
                call.asked.discard(key)
                if question.method == "roots/list":
                    self._roots = Raw(bytes(response))
                    effects.append(StartTimer("roots", 600.0))
                effects.append(Deliver(InputSupplied(call.xid, {key: response})))
        if call.pending:
            effects.append(StartTimer(("coalesce", call.xid), COALESCE))
        return effects

    def _give_up(self, call: Call, reason: str | None) -> Sequence[PeerEffect]:
        """Nobody wants this call any more: the server gets answers to what it asked, and the call is cancelled."""
        effects: list[PeerEffect] = [
            Deliver(InputSupplied(call.xid, {key: _nobody(question)}))
            for key, question in call.pending.items()
            if not call.urls
        ]
        self._calls.close(call)
        effects += (StopTimer((name, call.xid)) for name in ("coalesce", "expire", "forget"))
        if call.final is None and not call.urls:
            effects.append(Deliver(Cancelled(call.xid, reason)))
        return effects

    # A server of the session era that wants URLs visited first, and has done nothing yet (-32042).

    def _visit_first(self, call: Call, error: ErrorObject) -> Sequence[PeerEffect]:
        questions = _visits(error)
        if not questions or call.rounds >= MAX_ROUNDS or not all(map(self._can, questions.values())):
            needed = jsonrpc.value({"requiredCapabilities": {"elicitation": {"url": {}}}})
            text = f"The client cannot show URLs, which the server needs: {error.message}"
            refused = ErrorObject(MISSING_CLIENT_CAPABILITY, text, needed)
            return [Emit(Error(request_id, refused), request_id) for request_id in self._calls.close(call)]
        call.urls = True
        call.pending = questions
        return self._park(call)

    def _visited(self, call: Call, responses: Mapping[str, Raw]) -> Sequence[PeerEffect]:
        refused = [key for key in call.pending if key not in responses or not _accepted(responses[key])]
        carriers = self._calls.close(call)
        call.urls = False
        call.pending.clear()
        call.asked.clear()
        if not refused:
            # The server said that it did nothing, so it is asked for the first time.
            again = attrs.evolve(call, xid=next(self._exchanges), carriers=carriers, handles=[], handle=None)
            self._calls.open(again)
            return self._forward(again)
        text = "The client did not visit a URL that the server needs to be visited first"
        if call.method == "tools/call":
            event: Event = Completed(
                call.xid, jsonrpc.value({"content": [{"type": "text", "text": text}], "isError": True})
            )
        else:
            event = Failed(call.xid, ErrorObject(INTERNAL_ERROR, text))
        return [self._answer(call, event, request_id) for request_id in carriers]

    # Time, and the end.

    def fired(self, key: Hashable) -> Sequence[PeerEffect]:
        """A timer has run out. See L{mcpbridge.core.interfaces.IServerPeer}."""
        match key:
            case "roots":
                self._roots = None
            case ("coalesce", int(xid)) if xid in self._calls.by_xid:
                return self._park(self._calls.by_xid[xid])
            case ("expire", int(xid)) if xid in self._calls.by_xid:
                return self._give_up(self._calls.by_xid[xid], "the client did not come back")
            case ("forget", int(xid)) if xid in self._calls.by_xid:
                self._calls.close(self._calls.by_xid[xid])
            case ("acknowledge", request_id) if request_id in self._listens:
                return self._acknowledge(self._listens[request_id])
            case ("deferred", str(name)) if name in self._deferred:
                return (Deliver(InputSupplied(None, {name: _nobody(self._deferred.pop(name))})),)
        return ()

    def no_more(self) -> Sequence[PeerEffect]:
        """Streams of changes end with their result (Subscriptions). See L{mcpbridge.core.interfaces.IServerPeer}."""
        effects: list[PeerEffect] = []
        for listen in self._listens.values():
            result = close_result("subscriptions/listen", tagged(None, listen.id), None, None)
            effects += (Emit(Result(listen.id, result), listen.id), StopTimer(("acknowledge", listen.id)))
        self._listens.clear()
        return effects

    def close(self, error: str) -> Sequence[PeerEffect]:
        """Every open exchange ends with an error. See L{mcpbridge.core.interfaces.IServerPeer}."""
        failed = ErrorObject(INTERNAL_ERROR, error)
        effects: list[PeerEffect] = [Emit(Error(request.id, failed), request.id) for request in self._waiting]
        effects += self.no_more()
        for call in list(self._calls.by_xid.values()):
            effects += (Emit(Error(request_id, failed), request_id) for request_id in self._calls.close(call))
            effects += (StopTimer((name, call.xid)) for name in ("coalesce", "expire", "forget"))
        effects += (StopTimer(("deferred", key)) for key in self._deferred)
        effects.append(StopTimer("roots"))
        self._waiting.clear()
        self._subscribing.clear()
        self._deferred.clear()
        self._opening_xid = self._opening = self._level = None
        return effects

    def memento(self) -> bytes:
        """Nothing outlives the daemon: there is no handshake to restore. See L{IServerPeer}."""
        return b""

    def restore(self, memento: bytes) -> Sequence[PeerEffect]:
        """See L{IServerPeer}."""
        raise ValueError("a client of the stateless era leaves nothing to restore")

    def concerns(self, notification: Notification) -> bool:
        """Whether this cancels a request that is open here."""
        if notification.method != "notifications/cancelled":
            return False
        try:
            request_id = jsonrpc.decode_id(jsonrpc.members(notification.params or _EMPTY).get("requestId", _EMPTY))
        except InvalidMessage:
            return False
        if request_id is None:
            return False
        waiting = any(request.id == request_id for request in self._waiting)
        return waiting or request_id in self._listens or self._calls.carried(request_id) is not None

    def idle(self) -> bool:
        """Whether nothing of it would be missed."""
        return not (self._waiting or self._listens or self._calls.by_xid or self._deferred)


def _refuse(request: Request, code: int, text: str) -> Emit:
    return Emit(Error(request.id, ErrorObject(code, text)), request.id)


def _has(capabilities: Mapping[str, Raw], subject: str, ability: str) -> bool:
    offered = capabilities.get(subject)
    return offered is not None and jsonrpc.members(offered).get(ability) == Raw(b"true")


def _level_of(params: Raw | None) -> str | None:
    try:
        return jsonrpc.decode_string(jsonrpc.members(params or _EMPTY).get("level"))
    except InvalidMessage:
        return None


def _wants(call: Call, level: str | None) -> bool:
    # Logging: none for a request that did not ask for any.
    if call.level is None or level not in LEVELS:
        return False
    return LEVELS.index(level) >= LEVELS.index(call.level)


def _nobody(question: InputRequest) -> Raw | ErrorObject:
    """What a server is told that asks when nobody can be asked."""
    if question.method == "elicitation/create":
        # True: nobody chose anything.
        return Raw(b'{"action":"cancel"}')
    data = jsonrpc.value({"mcpbridge": {"reason": Reason.INPUT_UNAVAILABLE.value, "retryable": False}})
    return ErrorObject(INTERNAL_ERROR, "No call of the client is open that this could be asked in", data)


def _visits(error: ErrorObject) -> dict[str, InputRequest]:
    """The URLs of a -32042, as questions of this era."""
    try:
        elicitations = jsonrpc.elements(jsonrpc.members(error.data or _EMPTY)["elicitations"])
        questions = {}
        for number, elicitation in enumerate(elicitations, 1):
            params = jsonrpc.members(elicitation)
            params.pop("elicitationId", None)
            params["mode"] = Raw(b'"url"')
            questions[f"url{number}"] = InputRequest("elicitation/create", jsonrpc.assemble(params))
        return questions
    except (InvalidMessage, KeyError):
        return {}


def _accepted(response: Raw) -> bool:
    try:
        return jsonrpc.decode_string(jsonrpc.members(response).get("action")) == _ACCEPT
    except InvalidMessage:
        return False
