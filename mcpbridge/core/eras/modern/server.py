"""
We are the server; clients of the stateless era that can do the same things are on the other side.

Theory of operation. Each request is an exchange of its own. The first one opens the conversation toward the bridge, in
the name of what the client says of itself; requests that need to know the server's own opening wait for it. What a
server of the session era asks meanwhile parks the call that it belongs to (L{mcpbridge.core.eras.modern.parking}); a
server of this era asks by itself, and its results pass as they are. Changes are told to those who listen
(L{mcpbridge.core.eras.modern.listening}).

Whoever is in front of this peer has checked the C{_meta} of each request.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Final

import attrs
from msgspec import Raw
from zope.interface import implementer

from mcpbridge.core import jsonrpc
from mcpbridge.core.capabilities import (
    TASKS_EXTENSION,
    client_capabilities_for,
    declared,
    has_extension,
    server_opening_for,
)
from mcpbridge.core.conversion.shapes import opened
from mcpbridge.core.effects import Deliver, Emit, Forget, PeerEffect
from mcpbridge.core.eras.modern.calls import Asked, Call, Calls, level_of
from mcpbridge.core.eras.modern.envelope import INPUT_REQUIRED, VERSIONS, Facts, close_params, open_params
from mcpbridge.core.eras.modern.listening import Listens
from mcpbridge.core.eras.modern.parking import Parking
from mcpbridge.core.eras.modern.visits import completed
from mcpbridge.core.eras.modern.wording import Wording, refuse, refuse_for
from mcpbridge.core.error_mapping import URL_ELICITATION_REQUIRED
from mcpbridge.core.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_CLIENT_CAPABILITY,
    ErrorObject,
)
from mcpbridge.core.events import (
    Changed,
    Completed,
    Event,
    ExchangeId,
    Failed,
    InputRequired,
    InputWithdrawn,
    Introduced,
    LevelSet,
    Logged,
    Notified,
    Opened,
    Progressed,
    Ready,
)
from mcpbridge.core.interfaces import IServerPeer
from mcpbridge.core.jsonrpc import InvalidMessage, Message, Notification, Request, RequestId
from mcpbridge.core.levels import LEVELS, least

#: Requests of the session era, which a client of this one does not send.
REMOVED: Final = frozenset(
    (
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
        "tasks/result",
    )
)

#: Notifications of the session era, which a server of the session era must not get from a client of this one.
_REMOVED_NOTIFICATIONS: Final = frozenset(
    ("notifications/initialized", "notifications/progress", "notifications/roots/list_changed")
)

#: Requests of the extension.
_OF_TASKS: Final = frozenset(("tasks/get", "tasks/update", "tasks/cancel"))

#: Requests that mean something else to a server of another era: a call may have to become a task there.
_DEPENDS: Final = frozenset((*_OF_TASKS, "tools/call"))

#: What has no words in this era: a place that the user was sent to has been visited.
_VISITED: Final = "notifications/elicitation/complete"

#: Requests that wait for the server's opening.
MAX_WAITING: Final = 256

_EMPTY = Raw(b"{}")


@implementer(IServerPeer)
@attrs.define(eq=False)
class ServerPeer:
    """
    See the top of this module.

    @ivar facts: what the clients say of themselves.
    @ivar supported: the revisions that mcpbridge serves, of all eras, newest first.
    @ivar _handles: gives texts that cannot be guessed.
    @ivar _opening: what the server said of itself, in neutral form; L{None} until that is known.
    @ivar _is_native: the server is of this era.
    @ivar _is_deaf: the client says nothing more.
    """

    _exchanges: Iterator[ExchangeId]
    facts: Facts
    supported: Sequence[str]
    _handles: Callable[[], str]
    version: str | None = None
    _opening_xid: ExchangeId | None = None
    _opening: Mapping[str, Raw] | None = None
    _is_native: bool = False
    _is_deaf: bool = False
    _waiting: dict[RequestId, Request] = attrs.Factory(dict)
    _level: str | None = None
    _calls: Calls = attrs.Factory(Calls)
    _wording: Wording = attrs.field(init=False)
    _listens: Listens = attrs.field(init=False)
    _parking: Parking = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.version = self.facts.version
        self._wording = Wording(self.facts.version)
        self._listens = Listens(self._exchanges, self._wording)
        self._parking = Parking(self._calls, self._wording, self.facts, self._exchanges, self._handles)

    # What the client asks.

    def receive(self, message: Message, within: RequestId | None) -> Sequence[PeerEffect]:
        """Take one message from a client. See L{mcpbridge.core.interfaces.IPeer}."""
        match message:
            case Request():
                return (*self._open(), *self._request(message))
            case Notification(method="notifications/cancelled"):
                return self._cancelled(message)
            case Notification() if message.method not in _REMOVED_NOTIFICATIONS:
                return (*self._open(), *self._notify(message))
        # Transports: a client of this era sends no responses.
        return ()

    def receive_garbage(self, invalid: InvalidMessage) -> Sequence[PeerEffect]:
        """Answer what can be answered."""
        return (Emit(invalid.answer, invalid.request_id),)

    def _open(self) -> Sequence[PeerEffect]:
        if self._opening_xid is not None:
            return ()
        self._opening_xid = next(self._exchanges)
        params = {
            "protocolVersion": jsonrpc.value(self.facts.version),
            "capabilities": client_capabilities_for(self.facts.version, self.facts.capabilities),
        }
        if self.facts.info is not None:
            params["clientInfo"] = self.facts.info
        return (Deliver(Opened(self._opening_xid, self.facts.version, params)), Deliver(Ready()))

    def _request(self, request: Request) -> Sequence[PeerEffect]:
        if self._is_open(request.id):
            return (refuse_for(request, INVALID_REQUEST, "Invalid request: this id is in use by a request still open"),)
        if request.method in REMOVED:
            known = ", ".join(self.supported)
            text = f"Method not found: {request.method} is not in protocol version {self.version} (supported: {known})"
            return (refuse_for(request, METHOD_NOT_FOUND, text),)
        if self._is_of_tasks(request) and not has_extension(self.facts.capabilities, TASKS_EXTENSION):
            needed = jsonrpc.value({"requiredCapabilities": {"extensions": {TASKS_EXTENSION: {}}}})
            text = f"{request.method} is for clients that declare the extension {TASKS_EXTENSION}"
            return (refuse(request.id, ErrorObject(MISSING_CLIENT_CAPABILITY, text, needed)),)
        return self._take(request)

    def _is_of_tasks(self, request: Request) -> bool:
        if request.method == "subscriptions/listen":
            return "taskIds" in opened(opened(request.params).get("notifications"))
        return request.method in _OF_TASKS

    def _is_open(self, request_id: RequestId) -> bool:
        carried = self._calls.carried(request_id) is not None
        return carried or request_id in self._listens or request_id in self._waiting

    def _take(self, request: Request) -> Sequence[PeerEffect]:
        try:
            match request.method:
                case "server/discover":
                    return self._wait(request) if self._opening is None else self._discover(request)
                case "subscriptions/listen":
                    return self._wait(request) if self._opening is None else self._listen(request)
            asked = Asked.read(request)
            # What these mean depends on the server's era.
            depends = asked.is_retry or asked.level is not None or request.method in _DEPENDS
            if depends and self._opening is None:
                return self._wait(request)
            if request.method in _OF_TASKS and not self._is_native and not self._has_tasks():
                raise InvalidMessage(INVALID_PARAMS, "Invalid params: there is no such task")
            return self._call(asked)
        except InvalidMessage as invalid:
            return (refuse_for(request, invalid.code, str(invalid)),)

    def _has_tasks(self) -> bool:
        assert self._opening is not None
        return has_extension(self._opening.get("capabilities", _EMPTY), TASKS_EXTENSION)

    def _wait(self, request: Request) -> Sequence[PeerEffect]:
        if len(self._waiting) >= MAX_WAITING:
            text = f"Over {MAX_WAITING} requests wait for the server already; try again when it is there"
            raise InvalidMessage(INTERNAL_ERROR, text)
        self._waiting[request.id] = request
        return ()

    def _discover(self, request: Request) -> Sequence[PeerEffect]:
        assert self._opening is not None
        found = {
            "supportedVersions": jsonrpc.value(list(self.supported)),
            **{name: value for name, value in self._opening.items() if name not in ("protocolVersion", "serverInfo")},
        }
        return (self._wording.result(request.id, request.method, jsonrpc.assemble(found)),)

    def _listen(self, request: Request) -> Sequence[PeerEffect]:
        assert self._opening is not None
        if self._is_deaf:
            return (self._listens.ended(request.id),)
        return self._listens.open(request, self._opening.get("capabilities", _EMPTY))

    def _call(self, asked: Asked) -> Sequence[PeerEffect]:
        state = jsonrpc.decode_string(asked.state)
        parked = self._calls.of_handle(state) if state is not None else None
        if parked is not None:
            return (*self._parking.resume(parked, asked), *self._set_level())
        if asked.state is not None and not self._is_native:
            data = jsonrpc.value({"mcpbridge": {"reason": "parked_expired", "retryable": True}})
            text = "Invalid params: this requestState has expired, or was never given; call again without it"
            return (refuse(asked.id, ErrorObject(INVALID_PARAMS, text, data)),)
        found = asked.verbatim() if self._is_native else asked.params
        if asked.method == "tools/call" and not self._is_native:
            # A task of the session era, which no client of this one can have meant.
            found.pop("task", None)
        call = Call(next(self._exchanges), asked.method, found, [asked.id], asked.token, asked.level)
        self._calls.open(call)
        return (*self._set_level(), *self._parking.begin(call))

    def _set_level(self) -> Sequence[PeerEffect]:
        """A server of the session era has one level for all: the least severe that any open call wants."""
        if self._is_native or self._opening is None or "logging" not in declared(self._opening):
            return ()
        level = least(call.level for call in self._calls.attached())
        if level is None or (self._level is not None and LEVELS.index(self._level) <= LEVELS.index(level)):
            return ()
        self._level = level
        return (Deliver(LevelSet(next(self._exchanges), level)),)

    def _notify(self, notification: Notification) -> Sequence[PeerEffect]:
        try:
            params = close_params(open_params(notification.params)[0])
        except InvalidMessage:
            return ()
        return (Deliver(Notified(None, notification.method, params)),)

    def _cancelled(self, notification: Notification) -> Sequence[PeerEffect]:
        params = opened(notification.params)
        request_id = jsonrpc.decode_id(params.get("requestId", _EMPTY))
        if request_id is None:
            return ()
        if request_id in self._listens:
            return self._listens.cancel(request_id)
        if self._waiting.pop(request_id, None) is not None:
            return (Forget(request_id),)
        call = self._calls.carried(request_id)
        if call is None:
            return ()
        self._calls.detach(call, request_id)
        gone = self._parking.give_up(call, jsonrpc.decode_string(params.get("reason"))) if call.is_parked else ()
        return (Forget(request_id), *gone)

    # What the bridge has for the client.

    def send(self, event: Event) -> Sequence[PeerEffect]:
        """Say a neutral event to the client. See L{mcpbridge.core.interfaces.IPeer}."""
        match event:
            case Completed() if event.xid == self._opening_xid:
                return self._opened(event.result)
            case Failed() if event.xid == self._opening_xid:
                return self._not_opened(event.error)
            case Introduced():
                return self._opened(event.opening)
            case Completed() | Failed() if self._listens.waits_for(event.xid):
                return self._listens.subscribed(event.xid, isinstance(event, Completed))
            case Completed() | Failed():
                return self._finished(event)
            case Progressed() | Logged() | Notified():
                return self._noted(event)
            case Changed():
                return self._listens.changed(event)
            case InputRequired():
                return self._parking.ask(event)
            case InputWithdrawn():
                return self._parking.withdraw(event)
        return ()

    def _opened(self, opening: Raw) -> Sequence[PeerEffect]:
        assert self.version is not None
        self._opening = jsonrpc.members(server_opening_for(self.version, opening))
        self._wording.server = self._opening.get("serverInfo")
        self._is_native = jsonrpc.decode_string(self._opening.get("protocolVersion")) in VERSIONS
        waiting, self._waiting = self._waiting, {}
        effects: list[PeerEffect] = []
        for request in waiting.values():
            effects += self._take(request)
        return effects

    def _not_opened(self, error: ErrorObject) -> Sequence[PeerEffect]:
        # The next request tries again.
        self._opening_xid = None
        waiting, self._waiting = self._waiting, {}
        return [refuse(request_id, error) for request_id in waiting]

    def _finished(self, event: Completed | Failed) -> Sequence[PeerEffect]:
        call = self._calls.by_xid.get(event.xid)
        if call is None or call.final is not None:
            return ()
        if isinstance(event, Completed) and event.envelope is not None and event.envelope.kind == INPUT_REQUIRED:
            # An envelope alone says nothing: what is said of tasks may be put in one of ours.
            self._is_native = True
        if isinstance(event, Failed) and event.error.code == URL_ELICITATION_REQUIRED:
            effects = self._parking.visit_first(call, event.error)
            if effects is not None:
                return effects
        call.final = event
        return self._parking.tell(call)

    def _noted(self, event: Progressed | Logged | Notified) -> Sequence[PeerEffect]:
        """
        What happens meanwhile goes with the request that it belongs to, and only if that wants it.

        @return: nothing for what belongs to none: there is no stream that it could be told on.
        """
        if isinstance(event, Notified) and event.method == "notifications/tasks":
            return self._listens.task(event.params)
        if isinstance(event, Notified) and event.method == _VISITED:
            return self._parking.completed(completed(event.params))
        call = self._wanting(event)
        if call is None:
            return ()
        if not call.is_parked:
            return self._wording.noted(call, event)
        call.buffer(event)
        return ()

    def _wanting(self, event: Progressed | Logged | Notified) -> Call | None:
        found = self._calls.by_xid.get(event.xid) if event.xid is not None else None
        match event:
            case Progressed():
                return found if found is not None and found.token is not None else None
            case Logged(xid=None):
                # A channel shared by all: one that is open is better than one whose client may never come back.
                concerned = sorted(self._calls.by_xid.values(), key=lambda call: call.is_parked)
            case Logged():
                concerned = [] if found is None else [found]
            case Notified():
                return found
        level = level_of(event.params)
        return next((call for call in concerned if call.final is None and call.wants(level)), None)

    # Time, and the end.

    def fired(self, key: Hashable) -> Sequence[PeerEffect]:
        """A timer has run out. See L{mcpbridge.core.interfaces.IPeer}."""
        match key:
            case ("acknowledge", int(request_id) | str(request_id)):
                return self._listens.fired(request_id)
        return self._parking.fired(key)

    def no_more(self) -> Sequence[PeerEffect]:
        """
        Streams of changes end with their result (Subscriptions), and no call waits for what the client might still say.
        See L{mcpbridge.core.interfaces.IServerPeer}.
        """
        self._is_deaf = True
        return (*self._listens.end(), *self._parking.let_go())

    def close(self, error: str) -> Sequence[PeerEffect]:
        """Every open exchange ends with an error. See L{mcpbridge.core.interfaces.IServerPeer}."""
        failed = ErrorObject(INTERNAL_ERROR, error)
        effects = [refuse(request_id, failed) for request_id in self._waiting]
        self._waiting.clear()
        self._opening_xid = self._opening = self._level = None
        self._is_native = False
        return (*effects, *self._listens.close(), *self._parking.close(failed))

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
        request_id = jsonrpc.decode_id(opened(notification.params).get("requestId", _EMPTY))
        return request_id is not None and self._is_open(request_id)

    def idle(self) -> bool:
        """Whether nothing of it would be missed."""
        return self._parking.is_empty and not (self._waiting or len(self._listens) or self._calls.by_xid)
