"""
We are the client; a server of the stateless era is on the other side.

Theory of operation. What a client said when it opened is put on every request. An exchange may take several requests:
a server that needs something ends the first with C{input_required}, and the same call is sent again, under another
id, with the answers and the server's state untouched. A client of the same era does that by itself; its calls and
those results pass as they are.

Changes are told on one C{subscriptions/listen} at a time, for the lists that the server says may change and for the
resources that are subscribed to. Where the wishes change a larger one is opened before the old one is closed.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Final

import attrs
from msgspec import Raw
from zope.interface import implementer

from mcpbridge.core import jsonrpc
from mcpbridge.core.effects import Abandon, Deliver, Emit, PeerEffect, StartTimer
from mcpbridge.core.eras.modern.envelope import (
    ASKING,
    INPUT_REQUIRED,
    LOG_LEVEL,
    VERSIONS,
    Facts,
    open_result,
    subscription_of,
    untagged,
    with_meta,
)
from mcpbridge.core.errors import (
    INTERNAL_ERROR,
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
    InputRequest,
    InputRequired,
    InputSupplied,
    LevelSet,
    Logged,
    Lost,
    Native,
    Notified,
    Opened,
    Progressed,
    Subscribed,
    Unsubscribed,
)
from mcpbridge.core.interfaces import IClientPeer
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result
from mcpbridge.core.progress import with_progress_token

#: A server that asks and asks is stopped here.
MAX_ROUNDS: Final = 16

#: Seconds before a server that gave a state and no questions is asked again: the first time, and at the most.
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 5.0

#: Seconds before a server that ended the stream of changes is asked for another: the first time, and at the most.
FIRST_SILENCE: Final = 1.0
LONGEST_SILENCE: Final = 60.0

_EMPTY = Raw(b"{}")

#: What each list is called in the filter of a C{subscriptions/listen}.
_FILTERS: Final = {
    "tools": "toolsListChanged",
    "prompts": "promptsListChanged",
    "resources": "resourcesListChanged",
}

#: Questions that a server of this era may ask (Multi Round-Trip Requests, InputRequest).
_QUESTIONS: Final = frozenset(("elicitation/create", "sampling/createMessage", "roots/list"))


@attrs.define(eq=False, repr=False)
class _Exchange:
    """
    One exchange, over all its requests.

    @ivar questions: what the client is being asked, by key; L{None} while the server has the word.
    @ivar state: the server's, while it wants nothing but to be asked again.
    @ivar progress: the highest progress so far: over several requests it must still increase.
    """

    xid: ExchangeId
    method: str
    params: Raw | None
    wants_progress: bool
    native: Native | None
    request_id: RequestId
    rounds: int = 0
    questions: Mapping[str, InputRequest] | None = None
    state: str | None = None
    progress: float | None = None


@attrs.define(eq=False, repr=False)
class _Listening:
    """
    One C{subscriptions/listen}.

    @ivar waiting: the exchanges that end when it is acknowledged, by the resource that each wants.
    @ivar replaces: the one before, which is closed then.
    """

    request_id: RequestId
    uris: frozenset[str]
    waiting: dict[ExchangeId, str]
    replaces: RequestId | None
    acknowledged: bool = False


@implementer(IClientPeer)
@attrs.define(eq=False, repr=False)
class ClientPeer:
    """See the top of this module."""

    version: str = VERSIONS[0]
    _ids: Iterator[int] = attrs.Factory(lambda: itertools.count(1))
    _facts: Facts | None = None
    _level: str | None = None
    _lists: tuple[str, ...] = ()
    _open: dict[RequestId, _Exchange] = attrs.Factory(dict)
    _exchanges: dict[ExchangeId, _Exchange] = attrs.Factory(dict)
    _uris: set[str] = attrs.Factory(set)
    _listenings: dict[RequestId, _Listening] = attrs.Factory(dict)
    _listening: RequestId | None = None
    _silences: int = 0

    # What the bridge has for the server.

    def send(self, event: Event) -> Sequence[PeerEffect]:
        """Say a neutral event to the server. See L{mcpbridge.core.interfaces.IPeer}."""
        match event:
            case Called():
                return self._begin(event.xid, event.method, event.params, event.wants_progress, event.native)
            case InputSupplied():
                return self._continue(event)
            case Cancelled():
                return self._cancel(event)
            case Notified():
                return (Emit(Notification(event.method, event.params)),)
            case LevelSet():
                self._level = event.level
                return (Deliver(Completed(event.xid, _EMPTY)),)
            case Subscribed():
                return self._subscribe(event)
            case Unsubscribed():
                self._uris.discard(event.uri)
                return (Deliver(Completed(event.xid, _EMPTY)), *self._listen())
            case Opened():
                return self._discover(event)
        # Progress on the answer to a question, and changed roots, have no words in this era.
        return ()

    def _discover(self, event: Opened) -> Sequence[PeerEffect]:
        self._facts = Facts(self.version, event.params.get("capabilities", _EMPTY), event.params.get("clientInfo"))
        return self._begin(event.xid, "server/discover", None, False, None)

    def _begin(
        self, xid: ExchangeId, method: str, params: Raw | None, wants_progress: bool, native: Native | None
    ) -> Sequence[PeerEffect]:
        exchange = _Exchange(xid, method, params, wants_progress, native, 0)
        self._exchanges[xid] = exchange
        return (self._ask(exchange, params),)

    def _ask(self, exchange: _Exchange, params: Raw | None) -> Emit:
        exchange.request_id = next(self._ids)
        exchange.questions = None
        self._open[exchange.request_id] = exchange
        assert self._facts is not None
        meta = self._facts.as_meta()
        level = exchange.native.level if exchange.native is not None else self._level
        if level is not None:
            meta[LOG_LEVEL] = jsonrpc.value(level)
        params = with_meta(params, meta)
        if exchange.wants_progress:
            params = with_progress_token(params, exchange.request_id)
        return Emit(Request(exchange.request_id, exchange.method, params))

    def _cancel(self, event: Cancelled) -> Sequence[PeerEffect]:
        exchange = self._exchanges.pop(event.xid, None)
        if exchange is None or exchange.questions is not None:
            # Between two requests of an exchange the server holds nothing that could be cancelled.
            return ()
        del self._open[exchange.request_id]
        return self._close_stream(exchange.request_id, event.reason)

    def _close_stream(self, request_id: RequestId, reason: str | None = None) -> Sequence[PeerEffect]:
        params: dict[str, object] = {"requestId": request_id}
        if reason is not None:
            params["reason"] = reason
        return (Emit(Notification("notifications/cancelled", jsonrpc.value(params))), Abandon(request_id))

    # What the server says.

    def receive(self, message: Message, within: RequestId | None) -> Sequence[PeerEffect]:
        """Take one message from the server. See L{mcpbridge.core.interfaces.IPeer}."""
        try:
            match message:
                case Result():
                    return self._result(message)
                case Error():
                    return self._error(message, within)
                case Notification():
                    return self._notification(message, within)
        except InvalidMessage as invalid:
            answered = message.id if isinstance(message, Result | Error) else None
            return () if answered is None else self._malformed(answered, str(invalid))
        # Transports: a server of this era sends no requests.
        error = ErrorObject(INVALID_REQUEST, "Invalid request: servers send no requests in this protocol version")
        return (Emit(Error(message.id, error), message.id),)

    def receive_garbage(self, invalid: InvalidMessage) -> Sequence[PeerEffect]:
        """End the exchange that it meant to answer. See L{mcpbridge.core.interfaces.IPeer}."""
        return () if invalid.response_id is None else self._malformed(invalid.response_id, str(invalid))

    def _close(self, request_id: RequestId | None) -> _Exchange | None:
        exchange = self._open.pop(request_id, None) if request_id is not None else None
        if exchange is not None:
            del self._exchanges[exchange.xid]
        return exchange

    def _malformed(self, request_id: RequestId, why: str) -> Sequence[PeerEffect]:
        if request_id in self._listenings:
            return self._listening_over(request_id)
        exchange = self._close(request_id)
        if exchange is None:
            return ()
        return (Deliver(Lost(exchange.xid, Loss(Fate.FAILED, Reason.MALFORMED, f"it sent a broken answer: {why}"))),)

    def _result(self, message: Result) -> Sequence[PeerEffect]:
        if message.id in self._listenings:
            return self._listening_over(message.id)
        exchange = self._open.get(message.id)
        if exchange is None:
            return ()
        result, envelope = open_result(message.result)
        if exchange.method == "server/discover":
            return self._discovered(exchange, result, envelope.server)
        if envelope.kind == INPUT_REQUIRED and exchange.native is None:
            return self._asked(exchange, result)
        self._close(message.id)
        return (Deliver(Completed(exchange.xid, result, envelope)),)

    def _discovered(self, exchange: _Exchange, result: Raw, server: Raw | None) -> Sequence[PeerEffect]:
        self._close(exchange.request_id)
        found = jsonrpc.members(result)
        supported = jsonrpc.read(found.pop("supportedVersions", Raw(b"[]")))
        if not isinstance(supported, list) or self.version not in supported:
            text = f"it speaks protocol versions {supported!r}, none of which mcpbridge does"
            return (Deliver(Lost(exchange.xid, Loss(Fate.FAILED, Reason.MALFORMED, text))),)
        capabilities = jsonrpc.members(found.setdefault("capabilities", _EMPTY))
        self._lists = tuple(subject for subject in _FILTERS if _announces(capabilities.get(subject)))
        found["serverInfo"] = server or jsonrpc.value({"name": "unknown", "version": "unknown"})
        found["protocolVersion"] = jsonrpc.value(self.version)
        return (Deliver(Completed(exchange.xid, jsonrpc.assemble(found))), *self._listen())

    def _error(self, message: Error, within: RequestId | None) -> Sequence[PeerEffect]:
        answered = message.id if message.id is not None else within
        if answered in self._listenings:
            return self._listening_over(answered)
        exchange = self._close(answered)
        return () if exchange is None else (Deliver(Failed(exchange.xid, message.error)),)

    # Rounds (Multi Round-Trip Requests).

    def _asked(self, exchange: _Exchange, result: Raw) -> Sequence[PeerEffect]:
        found = jsonrpc.members(result)
        questions = {
            key: _question(key, asked) for key, asked in jsonrpc.members(found.get("inputRequests", _EMPTY)).items()
        }
        state = jsonrpc.decode_string(found.get("requestState"))
        if exchange.method not in ASKING:
            raise InvalidMessage(INVALID_REQUEST, f"{exchange.method} must not be answered with input_required")
        if not questions and state is None:
            raise InvalidMessage(INVALID_REQUEST, "input_required needs inputRequests or a requestState")
        exchange.rounds += 1
        if exchange.rounds > MAX_ROUNDS:
            raise InvalidMessage(INVALID_REQUEST, f"it asked for input more than {MAX_ROUNDS} times")
        del self._open[exchange.request_id]
        exchange.questions = questions
        if not questions:
            # It wants no more than time (Multi Round-Trip Requests, Retrying).
            exchange.state = state
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (exchange.rounds - 1))
            return (StartTimer(("again", exchange.xid), pause),)
        return (Deliver(InputRequired(exchange.xid, questions, state)),)

    def _continue(self, event: InputSupplied) -> Sequence[PeerEffect]:
        exchange = self._exchanges.get(event.xid) if event.xid is not None else None
        if exchange is None or exchange.questions is None:
            return ()
        responses: dict[str, Raw] = {}
        for key, response in event.responses.items():
            method = exchange.questions[key].method if key in exchange.questions else ""
            answer = _substitute(method, response) if isinstance(response, ErrorObject) else response
            if isinstance(answer, ErrorObject):
                del self._exchanges[exchange.xid]
                return (Deliver(_refused(exchange, method, answer)),)
            responses[key] = answer
        found = jsonrpc.members(exchange.params or _EMPTY)
        if responses:
            found["inputResponses"] = jsonrpc.assemble(responses)
        if event.state is not None:
            found["requestState"] = jsonrpc.value(event.state)
        return (self._ask(exchange, jsonrpc.assemble(found)),)

    # Notifications, and who listens to them.

    def _notification(self, message: Notification, within: RequestId | None) -> Sequence[PeerEffect]:
        method = message.method
        if method == "notifications/progress":
            return self._progress(message)
        if method == "notifications/message":
            exchange = self._open.get(within) if within is not None else None
            return (Deliver(Logged(exchange.xid if exchange is not None else None, message.params)),)
        if method == "notifications/subscriptions/acknowledged":
            return self._acknowledged(message, within)
        if method == "notifications/cancelled":
            ended = jsonrpc.decode_id(jsonrpc.members(message.params or _EMPTY).get("requestId", _EMPTY))
            return self._listening_over(ended) if ended in self._listenings else ()
        if method == "notifications/resources/updated":
            params = untagged(message.params)
            uri = jsonrpc.decode_string(jsonrpc.members(params or _EMPTY).get("uri"))
            return () if uri is None else (Deliver(Changed("resources", uri, params)),)
        subject = _CHANGES.get(method)
        if subject is not None:
            return (Deliver(Changed(subject, None, untagged(message.params))),)
        exchange = self._open.get(within) if within is not None else None
        return (Deliver(Notified(exchange.xid if exchange is not None else None, method, untagged(message.params))),)

    def _progress(self, message: Notification) -> Sequence[PeerEffect]:
        params = jsonrpc.members(message.params or _EMPTY)
        token = jsonrpc.decode_id(params.pop("progressToken", _EMPTY))
        exchange = self._open.get(token) if token is not None else None
        if exchange is None:
            return ()
        value = jsonrpc.read(params.get("progress", Raw(b"null")))
        if isinstance(value, int | float):
            if exchange.rounds and exchange.progress is not None and value <= exchange.progress:
                # To the client it is one call, whose progress must increase.
                return ()
            exchange.progress = value
        return (Deliver(Progressed(exchange.xid, params)),)

    def _subscribe(self, event: Subscribed) -> Sequence[PeerEffect]:
        self._uris.add(event.uri)
        current = self._listenings.get(self._listening) if self._listening is not None else None
        if current is not None and event.uri in current.uris and current.acknowledged:
            return (Deliver(Completed(event.xid, _EMPTY)),)
        return self._listen({event.xid: event.uri})

    def _listen(self, waiting: Mapping[ExchangeId, str] | None = None) -> Sequence[PeerEffect]:
        """Ask to be told of what is wanted now, in place of what was wanted before."""
        before = self._listenings.get(self._listening) if self._listening is not None else None
        if not self._lists and not self._uris:
            return () if before is None else self._stop_listening(before.request_id)
        if before is not None and before.uris == self._uris and not waiting:
            return ()
        request_id = next(self._ids)
        everybody = {**(before.waiting if before is not None else {}), **(waiting or {})}
        if before is not None:
            before.waiting = {}
        listening = _Listening(request_id, frozenset(self._uris), everybody, self._listening)
        self._listenings[request_id] = listening
        self._listening = request_id
        wanted: dict[str, object] = {_FILTERS[subject]: True for subject in self._lists}
        if self._uris:
            wanted["resourceSubscriptions"] = sorted(self._uris)
        assert self._facts is not None
        params = with_meta(jsonrpc.value({"notifications": wanted}), self._facts.as_meta())
        return (Emit(Request(request_id, "subscriptions/listen", params)),)

    def _stop_listening(self, request_id: RequestId) -> Sequence[PeerEffect]:
        if self._listenings.pop(request_id, None) is None:
            return ()
        if self._listening == request_id:
            self._listening = None
        return self._close_stream(request_id)

    def _acknowledged(self, message: Notification, within: RequestId | None) -> Sequence[PeerEffect]:
        tag = subscription_of(message.params)
        meant = tag if tag is not None else within
        listening = self._listenings.get(meant) if meant is not None else None
        if listening is None or listening.acknowledged:
            return ()
        listening.acknowledged = True
        honoured = jsonrpc.members(message.params or _EMPTY).get("notifications", _EMPTY)
        uris = jsonrpc.read(jsonrpc.members(honoured).get("resourceSubscriptions", Raw(b"[]")))
        effects: list[PeerEffect] = []
        for xid, uri in listening.waiting.items():
            if isinstance(uris, list) and uri in uris:
                effects.append(Deliver(Completed(xid, _EMPTY)))
            else:
                self._uris.discard(uri)
                error = ErrorObject(INVALID_PARAMS, f"The server does not tell of updates of {uri}")
                effects.append(Deliver(Failed(xid, error)))
        listening.waiting = {}
        if listening.replaces is not None:
            effects += self._stop_listening(listening.replaces)
        if self._silences:
            # Nobody told what changed meanwhile.
            self._silences = 0
            effects += (Deliver(Changed(subject)) for subject in self._lists)
            effects += (Deliver(Changed("resources", uri)) for uri in sorted(self._uris))
        return effects

    def _listening_over(self, request_id: RequestId | None) -> Sequence[PeerEffect]:
        """A stream of changes has ended, by the server's wish or by accident."""
        listening = self._listenings.pop(request_id, None) if request_id is not None else None
        if listening is None or request_id != self._listening:
            return ()
        self._listening = None
        effects: list[PeerEffect] = []
        for xid, uri in listening.waiting.items():
            self._uris.discard(uri)
            error = ErrorObject(INTERNAL_ERROR, f"The server ended the subscription to {uri}")
            effects.append(Deliver(Failed(xid, error)))
        if self._lists or self._uris:
            self._silences += 1
            pause = min(LONGEST_SILENCE, FIRST_SILENCE * 2 ** (self._silences - 1))
            effects.append(StartTimer("listen", pause))
        return effects

    # The end.

    def lost(self, request_id: RequestId, loss: Loss) -> Sequence[PeerEffect]:
        """The stream of a request of ours broke. See L{mcpbridge.core.interfaces.IClientPeer}."""
        if request_id in self._listenings:
            return self._listening_over(request_id)
        exchange = self._close(request_id)
        return () if exchange is None else (Deliver(Lost(exchange.xid, loss)),)

    def fired(self, key: Hashable) -> Sequence[PeerEffect]:
        """A timer has run out. See L{mcpbridge.core.interfaces.IPeer}."""
        match key:
            case "listen" if self._listening is None:
                return self._listen()
            case ("again", int(xid)) if xid in self._exchanges:
                return self._continue(InputSupplied(xid, {}, self._exchanges[xid].state))
        return ()

    def close(self, loss: Loss) -> Sequence[PeerEffect]:
        """The channel is gone. See L{mcpbridge.core.interfaces.IClientPeer}."""
        # What waits for its client's answers is not under way: it goes on in the next conversation.
        effects: list[PeerEffect] = [Deliver(Lost(exchange.xid, loss)) for exchange in self._exchanges.values()]
        waiting = {xid for listening in self._listenings.values() for xid in listening.waiting}
        effects += [Deliver(Lost(xid, loss)) for xid in waiting]
        self._open.clear()
        self._exchanges.clear()
        self._listenings.clear()
        self._listening = None
        return effects

    def forget(self, xid: ExchangeId) -> None:
        """Whatever comes for this exchange is not wanted. See L{mcpbridge.core.interfaces.IClientPeer}."""
        exchange = self._exchanges.pop(xid, None)
        if exchange is not None:
            self._open.pop(exchange.request_id, None)

    def busy(self) -> bool:
        """Whether an exchange is open. See L{mcpbridge.core.interfaces.IClientPeer}."""
        return bool(self._exchanges)


_CHANGES: Final = {
    "notifications/tools/list_changed": "tools",
    "notifications/prompts/list_changed": "prompts",
    "notifications/resources/list_changed": "resources",
}


def _announces(capability: Raw | None) -> bool:
    return capability is not None and jsonrpc.members(capability).get("listChanged") == Raw(b"true")


def _question(key: str, asked: Raw) -> InputRequest:
    found = jsonrpc.members(asked)
    method = jsonrpc.decode_string(found.get("method"))
    if method not in _QUESTIONS:
        raise InvalidMessage(INVALID_REQUEST, f"it asks for {method!r} under {key!r}, which is no input request")
    return InputRequest(method, found.get("params"))


def _substitute(method: str, error: ErrorObject) -> Raw | ErrorObject:
    """What a server is told in place of an error of the client; the error itself if nothing would be true."""
    if method == "elicitation/create":
        return Raw(b'{"action":"cancel"}')
    if method == "roots/list" and error.code == METHOD_NOT_FOUND:
        return Raw(b'{"roots":[]}')
    return error


def _refused(exchange: _Exchange, method: str, error: ErrorObject) -> Event:
    """The end of an exchange whose client would not answer."""
    text = f"The client did not answer {method}: {error.message}"
    if exchange.method == "tools/call":
        # A result, not an error: the model is to see it.
        result = jsonrpc.value({"content": [{"type": "text", "text": text}], "isError": True})
        return Completed(exchange.xid, result)
    data = jsonrpc.value({"mcpbridge": {"reason": Reason.INPUT_REJECTED.value, "retryable": False}})
    return Failed(exchange.xid, ErrorObject(INTERNAL_ERROR, text, data))
