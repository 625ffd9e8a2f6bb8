"""
We are the client; a server of the session era is on the other side.
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
from mcpbridge.core.conversion import answer_for, request_for
from mcpbridge.core.effects import Abandon, Deliver, Emit, PeerEffect
from mcpbridge.core.eras.legacy.dialect import MAX_QUESTIONS, MAX_TASKS, VERSIONS, refuse
from mcpbridge.core.errors import (
    INVALID_REQUEST,
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
    RootsChanged,
    Subscribed,
    Unsubscribed,
)
from mcpbridge.core.interfaces import IClientPeer
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result
from mcpbridge.core.progress import progress_token, with_progress_token
from mcpbridge.core.revisions import STATELESS
from mcpbridge.core.tasks.shapes import is_created

_EMPTY = Raw(b"{}")

#: Bytes of what a server says that we have to look inside of. Real ones are below 100 KiB.
_MAX_OPENED: Final = 1024 * 1024


@attrs.define
class _Asked:
    """A question as the client peer sees it."""

    id: RequestId
    token: Raw | None
    method: str


@implementer(IClientPeer)
@attrs.define(eq=False, repr=False)
class ClientPeer:
    """
    We are the client; a server of the session era is on the other side.

    @ivar _progressing: requests that are open, and whose progress is wanted.
    @ivar _tasks: those that became tasks: it goes on being told under their token (2025-11-25, Task Progress).
    """

    version: str | None = None
    _ids: Iterator[int] = attrs.Factory(lambda: itertools.count(1))
    _open: dict[RequestId, tuple[ExchangeId, str]] = attrs.Factory(dict)
    _by_xid: dict[ExchangeId, RequestId] = attrs.Factory(dict)
    _progressing: set[RequestId] = attrs.Factory(set)
    _tasks: dict[RequestId, ExchangeId] = attrs.Factory(dict)
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
            self._progressing.add(request_id)
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
        if request_id is None:
            return None
        found = self._open.pop(request_id, None)
        if found is not None:
            del self._by_xid[found[0]]
            self._progressing.discard(request_id)
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
            if message.id in self._progressing and is_created(message.result):
                self._tasks[message.id] = found[0]
                while len(self._tasks) > MAX_TASKS:
                    del self._tasks[next(iter(self._tasks))]
            self._close(message.id)
            return (Deliver(Completed(found[0], message.result)),)
        try:
            version = jsonrpc.decode_string(jsonrpc.members(message.result, _MAX_OPENED).get("protocolVersion"))
        except InvalidMessage as invalid:
            return self._malformed(message.id, str(invalid))
        if version not in VERSIONS:
            self._close(message.id)
            text = f"it answered initialize with protocol version {version!r}, which has no such conversations"
            return (Deliver(Lost(found[0], Loss(Fate.FAILED, Reason.VERSION_REFUSED, text))),)
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
                if token is None:
                    return ()
                progressing = self._open[token][0] if token in self._open else self._tasks.get(token)
                return () if progressing is None else (Deliver(Progressed(progressing, params)),)
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
            return (refuse(request, INVALID_REQUEST, "Invalid request: this id is in use by a request still open"),)
        if within is not None and within not in self._open:
            # Whoever it was meant for has gone; the next client must not be asked in its place.
            return (refuse(request, INVALID_REQUEST, "Nobody waits any more for the request that this belongs to"),)
        if len(self._asked) >= MAX_QUESTIONS:
            return (refuse(request, INVALID_REQUEST, f"Over {MAX_QUESTIONS} questions to the client are open"),)
        try:
            token = progress_token(request.params)
        except InvalidMessage as invalid:
            return (refuse(request, invalid.code, str(invalid)),)
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
        self._progressing.clear()
        self._tasks.clear()
        self._asked.clear()
        self._asked_ids.clear()
        return effects

    def forget(self, xid: ExchangeId) -> None:
        """Whatever comes for this exchange is not wanted. See L{mcpbridge.core.interfaces.IClientPeer}."""
        request_id = self._by_xid.pop(xid, None)
        if request_id is not None:
            del self._open[request_id]
            self._progressing.discard(request_id)

    def busy(self) -> bool:
        """Whether an exchange is open. See L{mcpbridge.core.interfaces.IClientPeer}."""
        return bool(self._open)

    def fired(self, key: Hashable) -> Sequence[PeerEffect]:
        """Nothing here waits. See L{mcpbridge.core.interfaces.IPeer}."""
        return ()


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
