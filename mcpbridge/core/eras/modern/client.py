"""
We are the client; a server of the stateless era is on the other side.

Theory of operation. What a client said when it opened is put on every request. An exchange may take several requests:
a server that needs something ends the first with C{input_required}, and the same call is sent again, with the answers
(L{mcpbridge.core.eras.modern.rounds}). A client of the same era does that by itself; its calls and those results pass
as they are. Changes are told on a stream of their own (L{mcpbridge.core.eras.modern.changes}).
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Sequence
from typing import Final

import attrs
from msgspec import Raw
from zope.interface import implementer

from mcpbridge.core import jsonrpc
from mcpbridge.core.capabilities import client_capabilities_for
from mcpbridge.core.conversion import request_for
from mcpbridge.core.conversion.shapes import is_object
from mcpbridge.core.effects import Deliver, Emit, PeerEffect, StartTimer
from mcpbridge.core.eras.modern.changes import TELLING, Changes, cancel
from mcpbridge.core.eras.modern.envelope import (
    COMPLETE,
    INPUT_REQUIRED,
    LOG_LEVEL,
    TASK,
    VERSIONS,
    Facts,
    open_result,
    refuses_version,
    untagged,
    with_meta,
)
from mcpbridge.core.eras.modern.rounds import Exchange
from mcpbridge.core.errors import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    UNSUPPORTED_PROTOCOL_VERSION,
    ErrorObject,
    Fate,
    Loss,
    Reason,
)
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Completed,
    Event,
    ExchangeId,
    Failed,
    InputRequired,
    InputSupplied,
    InputWithdrawn,
    LevelSet,
    Logged,
    Lost,
    Notified,
    Opened,
    Progressed,
    Subscribed,
    TasksWatched,
    Unsubscribed,
)
from mcpbridge.core.interfaces import IClientPeer
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result
from mcpbridge.core.progress import with_progress_token

_EMPTY = Raw(b"{}")

#: Bytes of what a server says that we have to look inside of. Real ones are below 100 KiB.
_MAX_OPENED: Final = 1024 * 1024

#: Requests that may be answered with a task. The extension's own examples answer C{tasks/get} so.
_OF_TASKS: Final = frozenset(("tools/call", "tasks/get"))

_ENDED: Final = ErrorObject(INTERNAL_ERROR, "The server ended the subscription")


@implementer(IClientPeer)
@attrs.define(eq=False)
class ClientPeer:
    """
    See the top of this module.

    @ivar name: what the server is called if it does not say.
    """

    version: str = VERSIONS[0]
    name: str = "unknown"
    _ids: Iterator[int] = attrs.Factory(lambda: itertools.count(1))
    _facts: Facts | None = None
    _level: str | None = None
    _open: dict[RequestId, Exchange] = attrs.Factory(dict)
    _exchanges: dict[ExchangeId, Exchange] = attrs.Factory(dict)
    _changes: Changes = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._changes = Changes(self._ids)

    # What the bridge has for the server.

    def send(self, event: Event) -> Sequence[PeerEffect]:
        """Say a neutral event to the server. See L{mcpbridge.core.interfaces.IPeer}."""
        match event:
            case Called():
                params = event.params if event.native else request_for(self.version, event.method, event.params)
                return self._begin(Exchange(event.xid, event.method, params, event.wants_progress, event.native))
            case InputSupplied():
                return self._supplied(event)
            case Cancelled():
                return self._cancel(event)
            case Notified():
                return (Emit(Notification(event.method, event.params)),)
            case LevelSet():
                self._level = event.level
                return (Deliver(Completed(event.xid, _EMPTY)),)
            case Subscribed():
                return self._changes.subscribe(event.xid, event.uri)
            case Unsubscribed():
                return self._changes.unsubscribe(event.xid, event.uri)
            case TasksWatched():
                return self._changes.watch(event.task_ids)
            case Opened():
                capabilities = client_capabilities_for(self.version, event.params.get("capabilities", _EMPTY))
                self._facts = Facts(self.version, capabilities, event.params.get("clientInfo"))
                return self._begin(Exchange(event.xid, "server/discover", None))
        # Progress on the answer to a question, and changed roots, have no words in this era.
        return ()

    def _begin(self, exchange: Exchange) -> Sequence[PeerEffect]:
        self._exchanges[exchange.xid] = exchange
        return (self._ask(exchange, exchange.params),)

    def _ask(self, exchange: Exchange, params: Raw | None) -> Emit:
        exchange.request_id = next(self._ids)
        exchange.round = None
        exchange.sent = params
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

    def _supplied(self, event: InputSupplied) -> Sequence[PeerEffect]:
        exchange = self._exchanges.get(event.xid) if event.xid is not None else None
        if exchange is None or exchange.round is None:
            return ()
        for key, response in event.responses.items():
            refused = exchange.round.supply(key, response)
            if refused is not None:
                self.forget(exchange.xid)
                return (Deliver(exchange.refused(refused)), *_withdrawn(exchange, refused.message))
        return () if exchange.round.pending else self._retry(exchange)

    def _retry(self, exchange: Exchange) -> Sequence[PeerEffect]:
        """Send it again: with what is known now, or what was sent if that did not arrive."""
        params = exchange.sent if exchange.round is None else exchange.round.retry(exchange.params)
        return (self._ask(exchange, params),)

    def _cancel(self, event: Cancelled) -> Sequence[PeerEffect]:
        exchange = self._exchanges.get(event.xid)
        if exchange is None:
            return ()
        self.forget(event.xid)
        if exchange.round is not None:
            # Between two requests of an exchange the server holds nothing that could be cancelled.
            return _withdrawn(exchange, event.reason)
        return cancel(exchange.request_id, event.reason)

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
            answered = message.id if isinstance(message, Result) else None
            return () if answered is None else self._malformed(answered, str(invalid))
        # Transports: a server of this era sends no requests.
        error = ErrorObject(INVALID_REQUEST, "Invalid request: servers send no requests in this protocol version")
        return (Emit(Error(message.id, error), message.id),)

    def receive_garbage(self, invalid: InvalidMessage) -> Sequence[PeerEffect]:
        """End the exchange that it meant to answer. See L{mcpbridge.core.interfaces.IPeer}."""
        return () if invalid.response_id is None else self._malformed(invalid.response_id, str(invalid))

    def _close(self, request_id: RequestId | None) -> Exchange | None:
        exchange = self._open.pop(request_id, None) if request_id is not None else None
        if exchange is not None:
            del self._exchanges[exchange.xid]
        return exchange

    def _malformed(self, request_id: RequestId, why: str) -> Sequence[PeerEffect]:
        if request_id in self._changes:
            return self._changes.over(request_id, _ENDED)
        exchange = self._close(request_id)
        if exchange is None:
            return ()
        return (Deliver(Lost(exchange.xid, Loss(Fate.FAILED, Reason.MALFORMED, f"it sent a broken answer: {why}"))),)

    def _result(self, message: Result) -> Sequence[PeerEffect]:
        if message.id in self._changes:
            return self._changes.over(message.id, _ENDED)
        exchange = self._open.get(message.id)
        if exchange is None:
            return ()
        result, envelope = open_result(exchange.method, message.result)
        if exchange.method == "server/discover":
            return self._discovered(exchange, result, envelope.server)
        if exchange.native is None and envelope.kind == INPUT_REQUIRED:
            return self._asked(exchange, result)
        is_task = envelope.kind == TASK and exchange.method in _OF_TASKS
        if exchange.native is None and envelope.kind != COMPLETE and not is_task:
            raise InvalidMessage(INVALID_REQUEST, f"its resultType {jsonrpc.decode_string(envelope.kind)!r} is unknown")
        self._close(message.id)
        return (Deliver(Completed(exchange.xid, result, envelope)),)

    def _discovered(self, exchange: Exchange, result: Raw, server: Raw | None) -> Sequence[PeerEffect]:
        found = jsonrpc.members(result, _MAX_OPENED)
        listed = found.pop("supportedVersions", None)
        supported = None if listed is None else jsonrpc.read(listed)
        capabilities = found.setdefault("capabilities", _EMPTY)
        if not isinstance(supported, list) or not is_object(capabilities):
            raise InvalidMessage(INVALID_REQUEST, "this is no answer to server/discover")
        self._close(exchange.request_id)
        if self.version not in supported:
            data = jsonrpc.value({"supported": supported, "requested": self.version})
            text = f"it speaks protocol versions {supported[:8]!r}, not {self.version}"
            return (Deliver(Failed(exchange.xid, ErrorObject(UNSUPPORTED_PROTOCOL_VERSION, text, data))),)
        assert self._facts is not None
        found["serverInfo"] = server or jsonrpc.value({"name": self.name, "version": "unknown"})
        found["protocolVersion"] = jsonrpc.value(self.version)
        listens = self._changes.start(capabilities, self._facts.as_meta())
        return (Deliver(Completed(exchange.xid, jsonrpc.assemble(found))), *listens)

    def _asked(self, exchange: Exchange, result: Raw) -> Sequence[PeerEffect]:
        asked = exchange.ask(result)
        del self._open[exchange.request_id]
        if not asked.questions:
            # It wants no more than time.
            return (StartTimer(("again", exchange.xid), exchange.pause),)
        return (Deliver(InputRequired(exchange.xid, asked.questions)),)

    def _error(self, message: Error, within: RequestId | None) -> Sequence[PeerEffect]:
        answered = message.id if message.id is not None else within
        if answered in self._changes:
            assert answered is not None
            return self._changes.over(answered, message.error)
        exchange = self._close(answered)
        if exchange is None:
            return ()
        if refuses_version(message.error) and exchange.method != "server/discover":
            # It has become another server, and has done nothing.
            text = f"it does not speak this protocol version any more: {message.error.message}"
            loss = Loss(Fate.SESSION_LOST, Reason.VERSION_REFUSED, text)
            return (Deliver(Lost(exchange.xid, exchange.fate_of(loss))),)
        return (Deliver(Failed(exchange.xid, message.error)),)

    def _notification(self, message: Notification, within: RequestId | None) -> Sequence[PeerEffect]:
        exchange = self._open.get(within) if within is not None else None
        xid = exchange.xid if exchange is not None else None
        match message.method:
            case "notifications/progress":
                return self._progress(message)
            case "notifications/message":
                return (Deliver(Logged(xid, message.params)),)
            case "notifications/subscriptions/acknowledged":
                return self._changes.acknowledged(message.params, within)
            case "notifications/cancelled":
                ended = jsonrpc.members(message.params or _EMPTY, _MAX_OPENED).get("requestId", _EMPTY)
                request_id = jsonrpc.decode_id(ended)
                return () if request_id is None else self._changes.over(request_id, _ENDED)
            case method if method in TELLING:
                changed = self._changes.changed(method, message.params)
                return () if changed is None else (Deliver(changed),)
        return (Deliver(Notified(xid, message.method, untagged(message.params))),)

    def _progress(self, message: Notification) -> Sequence[PeerEffect]:
        params = jsonrpc.members(message.params or _EMPTY, _MAX_OPENED)
        token = jsonrpc.decode_id(params.pop("progressToken", _EMPTY))
        exchange = self._open.get(token) if token is not None else None
        if exchange is None or not exchange.advances(params):
            return ()
        return (Deliver(Progressed(exchange.xid, params)),)

    # Time, and the end.

    def fired(self, key: Hashable) -> Sequence[PeerEffect]:
        """A timer has run out. See L{mcpbridge.core.interfaces.IPeer}."""
        match key:
            case "listen" | "steady" | "unheard":
                return self._changes.fired(key)
            case ("again", int(xid)) if xid in self._exchanges and self._exchanges[xid].request_id not in self._open:
                return self._retry(self._exchanges[xid])
        return ()

    def lost(self, request_id: RequestId, loss: Loss) -> Sequence[PeerEffect]:
        """The stream of a request of ours broke. See L{mcpbridge.core.interfaces.IClientPeer}."""
        if request_id in self._changes:
            return self._changes.over(request_id, loss)
        exchange = self._open.get(request_id)
        if exchange is None:
            return ()
        wait = exchange.wait_after(loss)
        if wait is None:
            self._close(request_id)
            return (Deliver(Lost(exchange.xid, exchange.fate_of(loss))),)
        del self._open[request_id]
        return (StartTimer(("again", exchange.xid), wait),)

    def close(self, loss: Loss) -> Sequence[PeerEffect]:
        """
        The channel is gone. See L{mcpbridge.core.interfaces.IClientPeer}.

        What waits for the client's answers is lost as well: what the server has done by then, it alone knows.
        """
        effects: list[PeerEffect] = []
        for exchange in self._exchanges.values():
            effects += _withdrawn(exchange, "the connection to the server was lost")
            effects.append(Deliver(Lost(exchange.xid, exchange.fate_of(loss))))
        effects += self._changes.close(loss)
        self._open.clear()
        self._exchanges.clear()
        return effects

    def forget(self, xid: ExchangeId) -> None:
        """Whatever comes for this exchange is not wanted. See L{mcpbridge.core.interfaces.IClientPeer}."""
        exchange = self._exchanges.pop(xid, None)
        if exchange is not None:
            self._open.pop(exchange.request_id, None)

    def busy(self) -> bool:
        """Whether an exchange is open. See L{mcpbridge.core.interfaces.IClientPeer}."""
        return bool(self._exchanges)


def _withdrawn(exchange: Exchange, reason: str | None) -> Sequence[PeerEffect]:
    """What the client is still being asked, and need not answer any more."""
    pending = exchange.round.pending if exchange.round is not None else ()
    return [Deliver(InputWithdrawn(key, reason)) for key in pending]
