"""
We are the server; a client of the session era is on the other side.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
from msgspec import Raw
from zope.interface import implementer

from mcpbridge.core import jsonrpc
from mcpbridge.core.capabilities import server_opening_for
from mcpbridge.core.conversion import question_for, result_for, wrapped_tools
from mcpbridge.core.conversion.shapes import opened
from mcpbridge.core.effects import Abandon, Deliver, Emit, Forget, PeerEffect
from mcpbridge.core.eras.legacy.dialect import MAX_QUESTIONS, VERSIONS, refuse
from mcpbridge.core.error_mapping import error_for
from mcpbridge.core.errors import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    ErrorObject,
)
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Changed,
    Completed,
    Event,
    ExchangeId,
    Failed,
    InputProgressed,
    InputRequest,
    InputRequired,
    InputSupplied,
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
from mcpbridge.core.levels import LEVELS
from mcpbridge.core.progress import progress_token, with_progress_token

_EMPTY = Raw(b"{}")

#: Tools of one server whose results its clients get inside of an object. Whatever comes after these is told as it is.
_MAX_WRAPPED: Final = 10_000

#: A client may answer late what it was asked by a daemon that has died since. The next one counts from further up, or
#: it would take that for the answer to a question of its own.
_QUESTIONS_IN_A_LIFE: Final = 1_000_000

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


@attrs.define
class _Questions:
    """What a client was asked together, and what it has said so far."""

    xid: ExchangeId | None
    state: str | None
    pending: dict[RequestId, str]
    responses: dict[str, Raw | ErrorObject] = attrs.Factory(dict)


@implementer(IServerPeer)
@attrs.define(eq=False, repr=False)
class ServerPeer:
    """We are the server; a client of the session era is on the other side."""

    _exchanges: Iterator[ExchangeId]
    version: str | None = None
    _params: dict[str, Raw] | None = None
    _ready: bool = False
    _level: str | None = None
    _subscriptions: dict[str, Raw | None] = attrs.Factory(dict)
    _source: str | None = None
    _wrapped: set[str] = attrs.Factory(set)
    _calls: dict[ExchangeId, _Call] = attrs.Factory(dict)
    _xids: dict[RequestId, ExchangeId] = attrs.Factory(dict)
    _questions: dict[RequestId, _Questions] = attrs.Factory(dict)
    _life: int = 0
    _question_ids: Iterator[int] = attrs.Factory(lambda: itertools.count(1))
    _question_keys: dict[str, RequestId] = attrs.Factory(dict)

    def receive(self, message: Message, within: RequestId | None) -> Sequence[PeerEffect]:
        """Take one message from the client. See L{mcpbridge.core.interfaces.IPeer}."""
        match message:
            case Request():
                return self._request(message)
            case Notification():
                return self._notification(message)
            case Result():
                return self._answered(message.id, message.result)
            case Error(id=None):
                return ()
            case Error():
                assert message.id is not None
                return self._answered(message.id, message.error)

    def receive_garbage(self, invalid: InvalidMessage) -> Sequence[PeerEffect]:
        """Answer what can be answered; a broken response counts as the client's failure to answer."""
        if invalid.response_id is not None and invalid.response_id in self._questions:
            return self._answered(invalid.response_id, ErrorObject(invalid.code, str(invalid)))
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
            read = _REQUESTS.get(request.method, _read_call)
            event = read(next(self._exchanges), request, token is not None)
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
        questions = self._questions.get(token) if token is not None else None
        if questions is None or token is None:
            return ()
        return (Deliver(InputProgressed(questions.pending[token], params)),)

    def _answered(self, question_id: RequestId, answer: Raw | ErrorObject) -> Sequence[PeerEffect]:
        questions = self._questions.pop(question_id, None)
        if questions is None:
            return ()
        key = questions.pending.pop(question_id)
        self._question_keys.pop(key, None)
        questions.responses[key] = answer
        return _supplied(questions)

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
                return self._ask(event)
            case InputWithdrawn():
                return self._withdraw(event)
        return ()

    def _emit(self, xid: ExchangeId | None, method: str, params: Raw | None) -> Emit:
        call = self._calls.get(xid) if xid is not None else None
        return Emit(Notification(method, params), call.id if call is not None else None)

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
        if call is None or call.token is None:
            return ()
        params = jsonrpc.assemble({"progressToken": call.token, **event.params})
        return (Emit(Notification("notifications/progress", params), call.id),)

    def _ask(self, event: InputRequired) -> Sequence[PeerEffect]:
        call = self._calls.get(event.xid) if event.xid is not None else None
        refused = self._refusals(event)
        if refused is not None:
            return (Deliver(InputSupplied(event.xid, refused, event.state)),)
        assert self.version is not None
        questions = _Questions(event.xid, event.state, {})
        effects: list[PeerEffect] = []
        for key, request in event.requests.items():
            question_id = next(self._question_ids)
            question = question_for(self.version, request, _name_of(question_id, request))
            if isinstance(question, ErrorObject):
                questions.responses[key] = question
                continue
            questions.pending[question_id] = key
            self._questions[question_id] = questions
            self._question_keys[key] = question_id
            params = question.params
            if question.wants_progress:
                params = with_progress_token(params, question_id)
            effects.append(Emit(Request(question_id, question.method, params), call.id if call is not None else None))
        return effects or _supplied(questions)

    def _refusals(self, event: InputRequired) -> dict[str, Raw | ErrorObject] | None:
        """Why none of it is asked, by key; L{None} if all of it can be."""
        if self._params is None:
            why = ErrorObject(METHOD_NOT_FOUND, "The client is gone")
        elif len(self._questions) + len(event.requests) > MAX_QUESTIONS:
            why = ErrorObject(INVALID_REQUEST, f"Over {MAX_QUESTIONS} questions to this client are open")
        else:
            declared = _declared(self._params)
            missing = sorted(
                request.method
                for request in event.requests.values()
                if _NEEDS.get(request.method, "") not in ("", *declared)
            )
            if not missing:
                return None
            why = ErrorObject(METHOD_NOT_FOUND, f"The client does not support {', '.join(missing)}")
        return dict.fromkeys(event.requests, why)

    def _withdraw(self, event: InputWithdrawn) -> Sequence[PeerEffect]:
        question_id = self._question_keys.pop(event.key, None)
        if question_id is None:
            return ()
        questions = self._questions.pop(question_id)
        del questions.pending[question_id]
        params: dict[str, object] = {"requestId": question_id}
        if event.reason is not None:
            params["reason"] = event.reason
        told = (Abandon(question_id), Emit(Notification("notifications/cancelled", jsonrpc.value(params))))
        return (*told, *_supplied(questions))

    # The end, and life after death.

    def close(self, error: str) -> Sequence[PeerEffect]:
        """Every open exchange ends with an error. See L{mcpbridge.core.interfaces.IServerPeer}."""
        effects: list[PeerEffect] = [
            Emit(Error(call.id, ErrorObject(INVALID_REQUEST, error)), call.id) for call in self._calls.values()
        ]
        self._calls.clear()
        self._xids.clear()
        self._questions.clear()
        self._question_keys.clear()
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
        known = {
            "era": Raw(b'"legacy"'),
            "initialize": jsonrpc.assemble(self._params),
            "ready": jsonrpc.value(self._ready),
            "level": jsonrpc.value(self._level),
            "subscriptions": jsonrpc.assemble({uri: params or _EMPTY for uri, params in self._subscriptions.items()}),
            "life": jsonrpc.value(self._life),
        }
        return bytes(jsonrpc.assemble(known))

    def restore(self, memento: bytes) -> Sequence[PeerEffect]:
        """Go on after a death. See L{mcpbridge.core.interfaces.IServerPeer}."""
        try:
            known = jsonrpc.members(memento)
            params = jsonrpc.members(known["initialize"])
            asked = jsonrpc.decode_string(params.get("protocolVersion"))
            level = json.loads(bytes(known["level"]))
            subscriptions = jsonrpc.members(known["subscriptions"])
            life = jsonrpc.decode_id(known["life"])
        except (KeyError, InvalidMessage) as error:
            raise ValueError(f"no memento of the session era: {error}") from error
        if asked is None or level not in (None, *LEVELS) or not isinstance(life, int):
            raise ValueError("no memento of the session era")
        self._begin(asked, params)
        self._life = life + 1
        self._question_ids = itertools.count(self._life * _QUESTIONS_IN_A_LIFE + 1)
        assert self.version is not None
        # Exchanges that the client knows nothing of: their answers find no call and are dropped.
        events: list[Event] = [Opened(next(self._exchanges), self.version, params)]
        if bytes(known["ready"]) == b"true":
            self._ready = True
            events.append(Ready())
        if level is not None:
            self._level = level
            events.append(LevelSet(next(self._exchanges), level, standing=True))
        for uri, of in subscriptions.items():
            self._subscriptions[uri] = of
            events.append(Subscribed(next(self._exchanges), uri, of, standing=True))
        return tuple(map(Deliver, events))


#: Requests of other eras, which a conversation of this one must refuse rather than pass on.
_NOT_OF_THIS_ERA: Final = frozenset(("server/discover", "subscriptions/listen"))

#: Which capability of the client a question needs (MCP client/roots, client/sampling, client/elicitation).
_NEEDS: Final = {
    "roots/list": "roots",
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
}

#: What a request wants, where its answer depends on that.
_SUBJECTS: Final = {"resources/read": "uri", "tools/call": "name", "tools/list": "cursor"}


def _name_of(question_id: RequestId, question: InputRequest) -> str:
    """What a question is called if it has to have a name: equal to no other, also not of a daemon that has died."""
    digest = hashlib.sha256(jsonrpc.encode_id(question_id) + bytes(question.params or _EMPTY))
    return f"mcpbridge-{digest.hexdigest()[:32]}"


def _supplied(questions: _Questions) -> Sequence[PeerEffect]:
    """What was asked together is answered together, once nothing of it is open any more."""
    if questions.pending or not questions.responses:
        return ()
    return (Deliver(InputSupplied(questions.xid, questions.responses, questions.state)),)


def _declared(params: Mapping[str, Raw]) -> Iterable[str]:
    try:
        return jsonrpc.members(params.get("capabilities", _EMPTY))
    except InvalidMessage:
        return ()


def _read_call(xid: ExchangeId, request: Request, wants_progress: bool) -> Called:
    return Called(xid, request.method, request.params, wants_progress)


def _read_level(xid: ExchangeId, request: Request, wants_progress: bool) -> LevelSet:
    level = jsonrpc.decode_string(jsonrpc.members(request.params or _EMPTY).get("level"))
    if level not in LEVELS:
        raise InvalidMessage(INVALID_PARAMS, f"Invalid params: level is one of {', '.join(LEVELS)}")
    return LevelSet(xid, level)


def _uri(request: Request) -> str:
    uri = jsonrpc.decode_string(jsonrpc.members(request.params or _EMPTY).get("uri"))
    if uri is None:
        raise InvalidMessage(INVALID_PARAMS, f"Invalid params: {request.method} needs a uri")
    return uri


def _read_subscribe(xid: ExchangeId, request: Request, wants_progress: bool) -> Subscribed:
    return Subscribed(xid, _uri(request), Raw(bytes(request.params or _EMPTY)))


def _read_unsubscribe(xid: ExchangeId, request: Request, wants_progress: bool) -> Unsubscribed:
    return Unsubscribed(xid, _uri(request), request.params)


_REQUESTS: Final[Mapping[str, Callable[[ExchangeId, Request, bool], Any]]] = {
    "logging/setLevel": _read_level,
    "resources/subscribe": _read_subscribe,
    "resources/unsubscribe": _read_unsubscribe,
}
