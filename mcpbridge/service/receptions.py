"""
A reception: one client, from its first message to its last, with whatever it says in whichever era.

It owns the transport to the client and what the client's relay remembers, and shares the messages out to sessions: one
of the session era, and one of the stateless era for each set of capabilities that the client claims.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mcpbridge.core.effects import SessionId
from mcpbridge.core.eras import legacy, modern
from mcpbridge.core.errors import (
    INVALID_REQUEST,
    ErrorObject,
    Fate,
    LimitExceeded,
    Loss,
    Reason,
    bridge_error,
)
from mcpbridge.core.events import ExchangeId
from mcpbridge.core.front import Modern, classify
from mcpbridge.core.interfaces import IServerPeer
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result
from mcpbridge.core.negotiation import VERSIONS
from mcpbridge.core.printable import printable
from mcpbridge.downstream.half_close import IHalfCloseableLink
from mcpbridge.interfaces import IClientTransport, IMessageLink
from mcpbridge.service.sessions import FAILED, Mouth, Server, Session

#: Sets of capabilities that one client may claim at the same time. Real ones claim one.
MAX_BUCKETS: Final = 16

#: After these the client's relay has something new to keep for the next daemon.
_MEMORABLE: Final = frozenset(
    (
        "initialize",
        "notifications/initialized",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
    )
)

#: Bytes of randomness in a handle: nobody guesses it (Multi Round-Trip Requests, Security).
_HANDLE: Final = 16


@implementer(IMessageLink, IHalfCloseableLink)
@attrs.define(eq=False, repr=False)
class Reception:
    """
    See the top of this module.

    @ivar server: the server that the client wants; L{None} if it is no longer configured.
    @ivar _cwd: the client's working directory.
    @ivar _ended: called once, when the client is gone.
    @ivar _numbers: gives numbers of sessions, unique in the daemon; C{_exchanges} likewise.
    """

    server: Server | None
    _cwd: str
    _transport: IClientTransport
    _clock: IReactorTime
    _numbers: Iterator[SessionId]
    _exchanges: Iterator[ExchangeId]
    _ended: Callable[[Reception], None]
    _legacy: Session | None = None
    _modern: dict[str, Session] = attrs.Factory(dict)
    _batches: dict[RequestId, _Batch] = attrs.Factory(dict)
    _memento: bytes = b""
    _missing: str = "This server is not configured any more"
    _held: bool = False
    _over: bool = False
    _log = Logger()

    def start(self) -> None:
        """Begin, or go on with a client that an earlier daemon served."""
        memento = self._transport.remembered()
        name = self.server.name if self.server is not None else "mcpbridge"
        text = (
            f"{name}: mcpbridge was restarted while this request was under way. Whether it took effect is not known; "
            "it was not sent again. Check before you repeat it"
        )
        for request_id in self._transport.unanswered():
            self._transport.send(Error(request_id, bridge_error(Reason.RESTARTED, name, text)), request_id)
        if memento:
            session = self._session_era()
            try:
                session.perform(session.peer.restore(memento))
                self._remember()
            except ValueError as error:
                self._log.warn("A client's state could not be restored: {error}", error=printable(str(error)))
            except Exception:  # noqa: BLE001  # Bugs have any type; it is logged with its traceback.
                self._log.failure("{name}: a client's state could not be restored", name=printable(name))
        self._transport.connect(self).addErrback(self._cannot_connect)

    def move(self, server: Server | None, missing: str) -> None:
        """
        Use another server of the same name from now on, after the configuration has changed.

        @param missing: what requests are told if there is none.
        """
        self.server = server
        self._missing = missing
        for session in self._sessions():
            session.move(server, missing)

    def stop(self, text: str) -> None:
        """The daemon ends: from now on requests get an error of this text."""
        self.server = None
        self._missing = text
        for session in self._sessions():
            session.stop(text)

    # What the client says.

    def received(self, message: Message, within: RequestId | None) -> None:
        """See L{IMessageLink}."""
        try:
            self._received(message, within)
        except Exception:  # noqa: BLE001  # Bugs have any type; it is logged with its traceback.
            # A bug of ours, whatever it is, must cost its client this one request and nothing else.
            self._log.failure("A message of a client could not be dealt with")
            if isinstance(message, Request):
                self._send(Error(message.id, FAILED), message.id)

    def _received(self, message: Message, within: RequestId | None) -> None:
        found = classify(message)
        if found is None:
            session = self._addressed(message)
            session.received(message, within)
            if isinstance(message, Request | Notification) and message.method in _MEMORABLE:
                self._remember()
        elif isinstance(found, Modern):
            modern_session = self._bucket(found)
            if modern_session is not None:
                modern_session.received(message, within)
            elif isinstance(message, Request):
                error = ErrorObject(INVALID_REQUEST, f"This client claims over {MAX_BUCKETS} sets of capabilities")
                self._send(Error(message.id, error), message.id)
        else:
            self._send(found, found.id)

    def received_batch(self, messages: Sequence[Message | InvalidMessage]) -> None:
        """See L{IMessageLink}."""
        session = self._session_era()
        if session.peer.version not in legacy.BATCHES:
            self._refuse_batch(messages)
            return
        asked = [message.id for message in messages if isinstance(message, Request)]
        batch = _Batch(len(asked) + sum(isinstance(message, InvalidMessage) for message in messages))
        self._batches.update(dict.fromkeys(asked, batch))
        for message in messages:
            if isinstance(message, InvalidMessage):
                self._answer_in(batch, message.answer)
            elif isinstance(message, Request) and (message.method == "initialize" or classify(message) is not None):
                error = ErrorObject(INVALID_REQUEST, f"Invalid request: {message.method} must not be part of a batch")
                self._send(Error(message.id, error), message.id)
            else:
                self.received(message, None)

    def _refuse_batch(self, messages: Sequence[Message | InvalidMessage]) -> None:
        error = ErrorObject(INVALID_REQUEST, "Invalid request: only protocol version 2025-03-26 has batches")
        asked = [request_id for request_id in map(_meant, messages) if request_id is not None]
        answered: Sequence[RequestId | None] = asked or [None]
        for request_id in answered:
            self._transport.send(Error(request_id, error), request_id)

    def received_garbage(self, invalid: InvalidMessage) -> None:
        """See L{IMessageLink}."""
        self._session_era().received_garbage(invalid)

    def no_more(self) -> None:
        """See L{IHalfCloseableLink}."""
        for session in self._sessions():
            session.no_more()

    def request_lost(self, request_id: RequestId, loss: Loss) -> None:
        """See L{IMessageLink}. A pipe loses no single request."""

    def disconnected(self, loss: Loss) -> None:
        """See L{IMessageLink}."""
        if self._over:
            return
        self._over = True
        for session in self._sessions():
            session.end()
        self._ended(self)

    def congested(self) -> None:
        """See L{IMessageLink}."""
        for session in self._sessions():
            session.congested()

    def relieved(self) -> None:
        """See L{IMessageLink}."""
        for session in self._sessions():
            session.relieved()

    # Sessions.

    def _sessions(self) -> list[Session]:
        return [*self._modern.values()] if self._legacy is None else [self._legacy, *self._modern.values()]

    def _session_era(self) -> Session:
        if self._legacy is None:
            self._legacy = self._make(legacy.ServerPeer(self._exchanges))
        return self._legacy

    def _bucket(self, found: Modern) -> Session | None:
        session = self._modern.get(found.bucket)
        if session is None:
            if len(self._modern) >= MAX_BUCKETS:
                idle = next((bucket for bucket, of in self._modern.items() if _is_idle(of.peer)), None)
                if idle is None:
                    return None
                self._modern.pop(idle).end()
            peer = modern.ServerPeer(self._exchanges, found.facts, VERSIONS, _handle)
            session = self._modern[found.bucket] = self._make(peer)
        return session

    def _addressed(self, message: Message) -> Session:
        """Whose is a message that does not say? A cancellation is for the session that has the request it names."""
        if isinstance(message, Notification) and self._modern:
            for session in self._modern.values():
                if _concerns(session.peer, message):
                    return session
        return self._session_era()

    def _make(self, peer: IServerPeer) -> Session:
        mouth = Mouth(self._send, self._forget, self._transport.abandon, self._hold)
        return Session(next(self._numbers), self._cwd, peer, self.server, mouth, self._clock, self._missing)

    # What the sessions say.

    def _send(self, message: Message, within: RequestId | None) -> None:
        batch = None
        if self._batches and isinstance(message, Result | Error) and message.id is not None:
            batch = self._batches.pop(message.id, None)
        if batch is None:
            self._transport.send(message, within)
        else:
            self._answer_in(batch, message)

    def _forget(self, request_id: RequestId) -> None:
        self._transport.forget(request_id)
        self._answer_in(self._batches.pop(request_id, None), None)

    def _answer_in(self, batch: _Batch | None, answer: Message | None) -> None:
        if batch is not None and batch.complete(answer) and batch.answers:
            self._transport.send_batch(batch.answers)

    def _hold(self, hold: bool) -> None:
        if hold:
            self._transport.pause()
        else:
            self._transport.resume()

    def _remember(self) -> None:
        if self._legacy is None:
            return
        memento = self._legacy.memento()
        if memento is None or memento == self._memento:
            return
        self._memento = memento
        try:
            self._transport.remember(memento)
        except LimitExceeded as limit:
            self._log.warn("A client's state is too large to outlive a restart: {limit}", limit=str(limit))

    def _cannot_connect(self, failure: Failure) -> None:
        self._log.failure("A client was gone before it was served", failure)
        self.disconnected(Loss(Fate.FAILED, Reason.UPSTREAM_UNREACHABLE, "the client is gone"))


@attrs.define(eq=False, repr=False)
class _Batch:
    """The answers of one array of requests, which go out as one array (JSON-RPC 2.0, section 6)."""

    missing: int
    answers: list[Message] = attrs.Factory(list)

    def complete(self, answer: Message | None) -> bool:
        """One more is settled; whether all are."""
        self.missing -= 1
        if answer is not None:
            self.answers.append(answer)
        return self.missing == 0


def _meant(message: Message | InvalidMessage) -> RequestId | None:
    """The id that an answer to this would carry, if it wants one."""
    if isinstance(message, InvalidMessage):
        return message.request_id
    return message.id if isinstance(message, Request) else None


def _handle() -> str:
    return secrets.token_urlsafe(_HANDLE)


def _is_idle(peer: IServerPeer) -> bool:
    return isinstance(peer, modern.ServerPeer) and peer.idle()


def _concerns(peer: IServerPeer, notification: Notification) -> bool:
    return isinstance(peer, modern.ServerPeer) and peer.concerns(notification)
