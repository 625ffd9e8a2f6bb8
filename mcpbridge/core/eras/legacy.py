"""
The session era: 2024-11-05 to 2025-11-25.

Theory of operation. A conversation opens with C{initialize} and C{notifications/initialized}; from then on both
sides send requests. Each of the two peers below stands at one end of such a conversation. The server peer faces a
client: it turns requests into exchanges and events of the bridge back into answers. The client peer faces a server:
it sends exchanges as requests under ids of its own. Envelopes end here, on both sides: ids and progress tokens are
never copied from one conversation to the other, because every client counts them from 0.

An exchange is open from its request to its answer or its cancellation; a question is an exchange in the other
direction. Whatever refers to one that is not open is ignored: that is what the specification asks of late answers,
late cancellations and progress after the end.

Differences between the revisions:

============================ ========== ========== ========== ==========
what                         2024-11-05 2025-03-26 2025-06-18 2025-11-25
============================ ========== ========== ========== ==========
arrays of messages (batches) no         yes        no         no
============================ ========== ========== ========== ==========

All else that differs between them is payload, which L{mcpbridge.core.conversion} puts into the words of whoever
receives it.
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
from mcpbridge.core.capabilities import client_capabilities_for, server_opening_for
from mcpbridge.core.conversion import answer_for, question_for, request_for, result_for, wrapped_tools
from mcpbridge.core.conversion.shapes import opened
from mcpbridge.core.effects import Abandon, Deliver, Emit, Forget, PeerEffect
from mcpbridge.core.error_mapping import error_for
from mcpbridge.core.errors import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    ErrorObject,
    Fate,
    Loss,
    Reason,
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
    Lost,
    Notified,
    Opened,
    Progressed,
    Ready,
    RootsChanged,
    Subscribed,
    Unsubscribed,
)
from mcpbridge.core.interfaces import IClientPeer, IServerPeer
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result
from mcpbridge.core.levels import LEVELS
from mcpbridge.core.progress import progress_token, with_progress_token
from mcpbridge.core.revisions import STATELESS

VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")

#: Revisions in which a client may send an array of messages.
BATCHES: Final = frozenset(("2025-03-26",))

#: A client that never answers what it is asked must not cost memory without end.
_MAX_QUESTIONS = 256

_EMPTY = Raw(b"{}")

#: Tools of one server whose results its clients get inside of an object. Whatever comes after these is told as it is.
_MAX_WRAPPED: Final = 10_000

#: Bytes of what a server says that we have to look inside of. Real ones are below 100 KiB.
_MAX_OPENED: Final = 1024 * 1024

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
            return (_refuse(request, INVALID_REQUEST, "Invalid request: this id is in use by a request still open"),)
        if request.method == "ping":
            return (Emit(Result(request.id, _EMPTY), request.id),)
        if request.method == "initialize":
            return self._initialize(request)
        if request.method in _NOT_OF_THIS_ERA:
            return (_refuse(request, METHOD_NOT_FOUND, f"Method not found: {request.method}"),)
        if self._params is None:
            return (_refuse(request, INVALID_REQUEST, f"Not initialized: send initialize before {request.method}"),)
        try:
            token = progress_token(request.params)
            read = _REQUESTS.get(request.method, _read_call)
            event = read(next(self._exchanges), request, token is not None)
            if isinstance(event, Subscribed):
                self._bound_subscriptions(event)
        except InvalidMessage as invalid:
            return (_refuse(request, invalid.code, str(invalid)),)
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
            return (_refuse(request, invalid.code, str(invalid)),)
        if asked is None:
            return (_refuse(request, INVALID_PARAMS, "Invalid params: initialize needs a protocolVersion"),)
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
        elif len(self._questions) + len(event.requests) > _MAX_QUESTIONS:
            why = ErrorObject(INVALID_REQUEST, f"Over {_MAX_QUESTIONS} questions to this client are open")
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


@attrs.define
class _Asked:
    """A question as the client peer sees it."""

    id: RequestId
    token: Raw | None
    method: str


@implementer(IClientPeer)
@attrs.define(eq=False, repr=False)
class ClientPeer:
    """We are the client; a server of the session era is on the other side."""

    version: str | None = None
    _ids: Iterator[int] = attrs.Factory(lambda: itertools.count(1))
    _open: dict[RequestId, tuple[ExchangeId, str]] = attrs.Factory(dict)
    _by_xid: dict[ExchangeId, RequestId] = attrs.Factory(dict)
    _asked: dict[str, _Asked] = attrs.Factory(dict)
    _asked_ids: dict[RequestId, str] = attrs.Factory(dict)
    _keys: Iterator[int] = attrs.Factory(lambda: itertools.count(1))

    # What the bridge has for the server.

    def send(self, event: Event) -> Sequence[PeerEffect]:
        """Say a neutral event to the server. See L{mcpbridge.core.interfaces.IPeer}."""
        match event:
            case Called():
                return self._call(event.xid, event.method, event.params, event.wants_progress)
            case Cancelled():
                return self._cancel(event)
            case InputSupplied():
                return self._answer(event)
            case Notified():
                return (Emit(Notification(event.method, event.params)),)
            case InputProgressed():
                return self._say_progress(event)
            case RootsChanged():
                return (Emit(Notification("notifications/roots/list_changed", event.params)),)
            case LevelSet():
                return self._call(event.xid, "logging/setLevel", jsonrpc.value({"level": event.level}))
            case Subscribed():
                params = event.params or jsonrpc.value({"uri": event.uri})
                return self._call(event.xid, "resources/subscribe", params)
            case Unsubscribed():
                params = event.params or jsonrpc.value({"uri": event.uri})
                return self._call(event.xid, "resources/unsubscribe", params)
            case Opened():
                return self._call(event.xid, "initialize", _introduction(event))
        return ()

    def _call(
        self, xid: ExchangeId, method: str, params: Raw | None, wants_progress: bool = False
    ) -> Sequence[PeerEffect]:
        request_id = next(self._ids)
        self._open[request_id] = (xid, method)
        self._by_xid[xid] = request_id
        if self.version is not None:
            params = request_for(self.version, method, params)
        if wants_progress:
            params = with_progress_token(params, request_id)
        return (Emit(Request(request_id, method, params)),)

    def _cancel(self, event: Cancelled) -> Sequence[PeerEffect]:
        request_id = self._by_xid.get(event.xid)
        if request_id is None or self._open[request_id][1] == "initialize":
            return ()
        self.forget(event.xid)
        params: dict[str, object] = {"requestId": request_id}
        if event.reason is not None:
            params["reason"] = event.reason
        return (Emit(Notification("notifications/cancelled", jsonrpc.value(params))), Abandon(request_id))

    def _answer(self, event: InputSupplied) -> Sequence[PeerEffect]:
        effects: list[PeerEffect] = []
        for key, answer in event.responses.items():
            asked = self._asked.pop(key, None)
            if asked is None:
                continue
            del self._asked_ids[asked.id]
            effects.append(Emit(self._say_answer(asked, answer), asked.id))
        return effects

    def _say_answer(self, asked: _Asked, answer: Raw | ErrorObject) -> Message:
        if self.version is not None and not isinstance(answer, ErrorObject):
            answer = answer_for(self.version, asked.method, answer)
        return Error(asked.id, answer) if isinstance(answer, ErrorObject) else Result(asked.id, answer)

    def _say_progress(self, event: InputProgressed) -> Sequence[PeerEffect]:
        asked = self._asked.get(event.key)
        if asked is None or asked.token is None:
            return ()
        params = jsonrpc.assemble({"progressToken": asked.token, **event.params})
        return (Emit(Notification("notifications/progress", params), asked.id),)

    # What the server says.

    def receive(self, message: Message, within: RequestId | None) -> Sequence[PeerEffect]:
        """Take one message from the server. See L{mcpbridge.core.interfaces.IPeer}."""
        match message:
            case Result():
                return self._completed(message)
            case Error():
                # A null id answers nothing, but on the stream of one request of ours there is only one it can mean.
                xid = self._close(message.id if message.id is not None else within)
                return () if xid is None else (Deliver(Failed(xid[0], message.error)),)
            case Notification():
                try:
                    return self._notification(message, within)
                except InvalidMessage:
                    return ()
            case Request():
                return self._question(message, within)

    def receive_garbage(self, invalid: InvalidMessage) -> Sequence[PeerEffect]:
        """End the exchange that it meant to answer; answer it, if it meant to ask."""
        if invalid.response_id is not None and invalid.response_id in self._open:
            return self._malformed(invalid.response_id, str(invalid))
        if invalid.request_id is not None:
            return (Emit(invalid.answer),)
        return ()

    def _close(self, request_id: RequestId | None) -> tuple[ExchangeId, str] | None:
        found = self._open.pop(request_id, None) if request_id is not None else None
        if found is not None:
            del self._by_xid[found[0]]
        return found

    def _malformed(self, request_id: RequestId, why: str) -> Sequence[PeerEffect]:
        found = self._close(request_id)
        if found is None:
            return ()
        return (Deliver(Lost(found[0], Loss(Fate.FAILED, Reason.MALFORMED, f"it sent a broken answer: {why}"))),)

    def _completed(self, message: Result) -> Sequence[PeerEffect]:
        if bytes(memoryview(message.result)[:1]) != b"{":
            return self._malformed(message.id, "a result must be an object")
        found = self._open.get(message.id)
        if found is None:
            return ()
        if found[1] != "initialize":
            self._close(message.id)
            return (Deliver(Completed(found[0], message.result)),)
        try:
            version = jsonrpc.decode_string(jsonrpc.members(message.result, _MAX_OPENED).get("protocolVersion"))
        except InvalidMessage as invalid:
            return self._malformed(message.id, str(invalid))
        if version not in VERSIONS:
            return self._malformed(message.id, f"it speaks protocol version {version!r}, which mcpbridge does not")
        self._close(message.id)
        self.version = version
        return (Emit(Notification("notifications/initialized")), Deliver(Completed(found[0], message.result)))

    def _notification(self, message: Notification, within: RequestId | None) -> Sequence[PeerEffect]:
        found = self._open.get(within) if within is not None else None
        xid = found[0] if found is not None else None
        match message.method:
            case "notifications/progress":
                params = jsonrpc.members(message.params or _EMPTY, _MAX_OPENED)
                token = jsonrpc.decode_id(params.pop("progressToken", _EMPTY))
                call = self._open.get(token) if token is not None else None
                return () if call is None else (Deliver(Progressed(call[0], params)),)
            case "notifications/message":
                return (Deliver(Logged(xid, message.params)),)
            case "notifications/cancelled":
                return self._withdrawn(message)
            case "notifications/resources/updated":
                uri = jsonrpc.decode_string(jsonrpc.members(message.params or _EMPTY, _MAX_OPENED).get("uri"))
                return () if uri is None else (Deliver(Changed("resources", uri, message.params)),)
            case "notifications/tools/list_changed":
                return (Deliver(Changed("tools", None, message.params)),)
            case "notifications/prompts/list_changed":
                return (Deliver(Changed("prompts", None, message.params)),)
            case "notifications/resources/list_changed":
                return (Deliver(Changed("resources", None, message.params)),)
        return (Deliver(Notified(xid, message.method, message.params)),)

    def _withdrawn(self, message: Notification) -> Sequence[PeerEffect]:
        params = jsonrpc.members(message.params or _EMPTY, _MAX_OPENED)
        request_id = jsonrpc.decode_id(params.get("requestId", _EMPTY))
        key = self._asked_ids.pop(request_id, None) if request_id is not None else None
        if key is None:
            return ()
        del self._asked[key]
        return (Deliver(InputWithdrawn(key, jsonrpc.decode_string(params.get("reason")))),)

    def _question(self, request: Request, within: RequestId | None) -> Sequence[PeerEffect]:
        if request.method == "ping":
            return (Emit(Result(request.id, _EMPTY), request.id),)
        if request.id in self._asked_ids:
            return (_refuse(request, INVALID_REQUEST, "Invalid request: this id is in use by a request still open"),)
        if within is not None and within not in self._open:
            # Whoever it was meant for has gone; the next client must not be asked in its place.
            return (_refuse(request, INVALID_REQUEST, "Nobody waits any more for the request that this belongs to"),)
        if len(self._asked) >= _MAX_QUESTIONS:
            return (_refuse(request, INVALID_REQUEST, f"Over {_MAX_QUESTIONS} questions to the client are open"),)
        try:
            token = progress_token(request.params)
        except InvalidMessage as invalid:
            return (_refuse(request, invalid.code, str(invalid)),)
        key = f"q{next(self._keys)}"
        self._asked[key] = _Asked(request.id, token, request.method)
        self._asked_ids[request.id] = key
        found = self._open.get(within) if within is not None else None
        question = InputRequest(request.method, request.params, token is not None)
        return (Deliver(InputRequired(found[0] if found is not None else None, {key: question})),)

    # The end.

    def lost(self, request_id: RequestId, loss: Loss) -> Sequence[PeerEffect]:
        """The stream of a request of ours broke. See L{mcpbridge.core.interfaces.IClientPeer}."""
        found = self._close(request_id)
        return () if found is None else (Deliver(Lost(found[0], loss)),)

    def close(self, loss: Loss) -> Sequence[PeerEffect]:
        """The channel is gone. See L{mcpbridge.core.interfaces.IClientPeer}."""
        effects: list[PeerEffect] = [Deliver(Lost(xid, loss)) for xid, _ in self._open.values()]
        effects += [Deliver(InputWithdrawn(key, "the connection to the server was lost")) for key in self._asked]
        self._open.clear()
        self._by_xid.clear()
        self._asked.clear()
        self._asked_ids.clear()
        return effects

    def forget(self, xid: ExchangeId) -> None:
        """Whatever comes for this exchange is not wanted. See L{mcpbridge.core.interfaces.IClientPeer}."""
        request_id = self._by_xid.pop(xid, None)
        if request_id is not None:
            del self._open[request_id]

    def busy(self) -> bool:
        """Whether an exchange is open. See L{mcpbridge.core.interfaces.IClientPeer}."""
        return bool(self._open)

    def fired(self, key: Hashable) -> Sequence[PeerEffect]:
        """Nothing here waits. See L{mcpbridge.core.interfaces.IPeer}."""
        return ()


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


def _introduction(event: Opened) -> Raw:
    """The params of C{initialize}."""
    params = {**event.params, "protocolVersion": jsonrpc.value(event.version)}
    if "capabilities" in params:
        capabilities = params["capabilities"]
        asked = jsonrpc.decode_string(event.params.get("protocolVersion"))
        if asked is not None and asked >= STATELESS:
            # Such a client says nothing unasked, not even that its roots have changed.
            capabilities = client_capabilities_for(asked, capabilities)
        params["capabilities"] = client_capabilities_for(event.version, capabilities)
    return jsonrpc.assemble(params)


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


def _refuse(request: Request, code: int, text: str) -> Emit:
    return Emit(Error(request.id, ErrorObject(code, text)), request.id)


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
