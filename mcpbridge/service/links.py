"""
A link performs what one bridge decides: it owns the transports of its upstream conversations and its timers.

It decides nothing about MCP itself. Should the bridge fail, which is a bug of ours, or a transport in a way that none
may, the conversation is ended, so that nobody waits for what will not come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import ParamSpec, Protocol

import attrs
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mcpbridge.core.bridge import Bridge
from mcpbridge.core.catalog import Snapshot
from mcpbridge.core.effects import (
    BridgeEffect,
    Connect,
    ConversationId,
    Drop,
    Hangup,
    Note,
    Save,
    Send,
    SessionId,
    StartTimer,
    StopTimer,
    Tell,
)
from mcpbridge.core.errors import Fate, Loss, McpbridgeError, Reason, UpstreamUnavailable
from mcpbridge.core.events import Event
from mcpbridge.core.jsonrpc import InvalidMessage, Message, RequestId
from mcpbridge.core.printable import printable
from mcpbridge.interfaces import IMessageLink, IMessageTransport

_P = ParamSpec("_P")

_WITH_URL = frozenset((Reason.AUTH_REQUIRED, Reason.INSUFFICIENT_SCOPE))


_GONE = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "the connection to the server is gone")


class Listener(Protocol):
    """The session of a client, as its link sees it."""

    def told(self, event: Event) -> None:
        """The bridge has this for the client."""

    def hold(self) -> None:
        """The server reads slowly: read no more from the client for now."""

    def go_on(self) -> None:
        """There is room again."""

    def failed(self) -> None:
        """What serves it has failed, and may have lost what the client waits for."""


@attrs.define(eq=False, repr=False)
class Link:
    """
    See the top of this module.

    @ivar bridge: what it drives.
    @ivar _make_transport: a new transport to the server.
    @ivar _save: keeps what the bridge knows for the next time.
    """

    bridge: Bridge
    _clock: IReactorTime
    _make_transport: Callable[[], IMessageTransport]
    _save: Callable[[Snapshot], None]
    _listeners: dict[SessionId, Listener] = attrs.Factory(dict)
    _channels: dict[ConversationId, _Channel] = attrs.Factory(dict)
    _closing: set[Deferred[None]] = attrs.Factory(set)
    _timers: dict[Hashable, IDelayedCall] = attrs.Factory(dict)
    _slow: set[SessionId] = attrs.Factory(set)
    _effects: deque[BridgeEffect] = attrs.Factory(deque)
    _performing: bool = False
    _log = Logger()

    def attach(self, session: SessionId, listener: Listener) -> None:
        """A client's session is served from here on."""
        self._listeners[session] = listener
        self.bridge.attach(session)

    def detach(self, session: SessionId) -> None:
        """The client is gone, or goes elsewhere."""
        if self._listeners.pop(session, None) is not None:
            self.relieved(session)
            self._safely(self.bridge.detach, session)

    def deliver(self, session: SessionId, event: Event) -> None:
        """
        A client says something. If that cannot be dealt with, which is a bug of ours, whatever was raised is for the
        session, which knows who waits for it.
        """
        try:
            effects = self.bridge.deliver(session, event)
        except Exception:
            self._safely(self.bridge.fired, None)
            raise
        self._perform(effects)

    def congested(self, session: SessionId) -> None:
        """
        A client reads slowly. Where it is the only one, the server is not read from either until it has caught up;
        where there are others, they must not suffer: the bound of its transport decides over it.
        """
        if self.bridge.policy.exclusive and not self._slow:
            self._slow.add(session)
            for channel in list(self._channels.values()):
                channel.transport.pause()

    def relieved(self, session: SessionId) -> None:
        """It has caught up."""
        if session in self._slow:
            self._slow.discard(session)
            for channel in list(self._channels.values()):
                channel.transport.resume()

    def wake(self) -> None:
        """What kept the server from letting us in is gone."""
        self._safely(self.bridge.wake)

    def stop(self, reason: Reason, text: str) -> Deferred[None]:
        """
        End every conversation. Whoever still waits gets an error of this reason and text.

        @return: fires when no socket and no process is left.
        """
        self._safely(self.bridge.close, reason, text)
        self._listeners.clear()
        for conversation in list(self._channels):
            self._hang_up(conversation)
        done: Deferred[None] = Deferred()
        DeferredList(list(self._closing)).addCallback(lambda _: done.callback(None))
        return done

    def status(self) -> Mapping[str, object]:
        """For an operator, as plain values."""
        return {
            "phase": self.bridge.phase.value,
            "sessions": self.bridge.sessions,
            "open_requests": self.bridge.counts()["exchanges"],
            "last_error": None if self.bridge.last_loss is None else self.bridge.last_loss.text,
        }

    # What the bridge decided.

    def _perform(self, effects: Iterable[BridgeEffect]) -> None:
        # What one effect brings about at once is decided after the others have been performed: in order, always.
        self._effects.extend(effects)
        if self._performing:
            return
        self._performing = True
        try:
            while self._effects:
                effect = self._effects.popleft()
                try:
                    self._do(effect)
                except Exception as error:  # noqa: BLE001  # Bugs have any type; it is logged with its traceback.
                    self._log.failure("{name}: a step could not be performed", name=printable(self.bridge.name))
                    if isinstance(effect, Connect):
                        self._lose(effect.conversation, _not_begun(error))
                    elif isinstance(effect, Send):
                        self._lose(effect.conversation, _broken(error))
        finally:
            self._performing = False

    def _safely(self, ask: Callable[_P, Iterable[BridgeEffect]], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Tell the bridge something, and perform what it decides."""
        try:
            effects = ask(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # as above
            self._log.failure("{name}: the bridge failed", name=printable(self.bridge.name))
            self._start_over(error)
        else:
            self._perform(effects)

    def _start_over(self, error: Exception) -> None:
        """Nobody knows what the bridge was in the middle of: end all conversations, and have all clients begin anew."""
        for conversation in list(self._channels):
            self._lose(conversation, _broken(error))
        for listener in list(self._listeners.values()):
            listener.failed()

    def _lose(self, conversation: ConversationId, loss: Loss) -> None:
        """What is under way there is lost: some is asked again, the rest gets an error."""
        self._hang_up(conversation)
        try:
            self._perform(self.bridge.disconnected(conversation, loss))
        except Exception:  # noqa: BLE001  # as above
            self._log.failure("{name}: a conversation cannot be given up", name=printable(self.bridge.name))

    def _do(self, effect: BridgeEffect) -> None:
        match effect:
            case Tell(session, event):
                listener = self._listeners.get(session)
                if listener is not None:
                    listener.told(event)
            case Send(conversation, message, within):
                channel = self._channels.get(conversation)
                if channel is not None:
                    channel.transport.send(message, within)
                else:
                    # The bridge knows that as a rule; if not, nobody is to wait.
                    self._lose(conversation, _GONE)
            case Drop(conversation, request_id):
                channel = self._channels.get(conversation)
                if channel is not None:
                    channel.transport.abandon(request_id)
            case Connect(conversation):
                self._connect(conversation)
            case Hangup(conversation):
                self._hang_up(conversation)
            case StartTimer(key, seconds):
                self._stop_timer(key)
                self._timers[key] = self._clock.callLater(seconds, self._fired, key)
            case StopTimer(key):
                self._stop_timer(key)
            case Save():
                snapshot = self.bridge.snapshot()
                if snapshot is not None:
                    self._save(snapshot)
            case Note(text, loss):
                if loss is not None and loss.reason in _WITH_URL:
                    # The text holds a URL that begins a login: for the user's eyes, not for a log.
                    text = "it wants a login"
                self._log.info("{name}: {text}", name=printable(self.bridge.name), text=printable(text))

    def _stop_timer(self, key: Hashable) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _fired(self, key: Hashable) -> None:
        del self._timers[key]
        self._safely(self.bridge.fired, key)

    def _connect(self, conversation: ConversationId) -> None:
        channel = _Channel(self, conversation, self._make_transport())
        self._channels[conversation] = channel
        if self._slow:
            channel.transport.pause()
        channel.connecting = channel.transport.connect(channel)
        channel.connecting.addCallbacks(channel.connected, channel.connect_failed)

    def _hang_up(self, conversation: ConversationId) -> None:
        channel = self._channels.pop(conversation, None)
        if channel is None:
            return
        closing = maybeDeferred(channel.hang_up)
        self._closing.add(closing)
        closing.addErrback(self._failed_to_close)
        closing.addCallback(lambda _: self._closing.discard(closing))

    def _failed_to_close(self, failure: Failure) -> None:
        self._log.failure("{name}: while closing a connection", failure, name=printable(self.bridge.name))

    def _gone(self, conversation: ConversationId) -> None:
        """A transport has ended by itself; what it still holds (a group of processes, a pool) is let go."""
        self._hang_up(conversation)


@implementer(IMessageLink)
@attrs.define(eq=False, repr=False)
class _Channel:
    """One transport, and which conversation it carries."""

    _link: Link
    _conversation: ConversationId
    transport: IMessageTransport
    connecting: Deferred[None] | None = None
    _over: bool = False

    def connected(self, _: None) -> None:
        if not self._over:
            self._link._safely(self._link.bridge.connected, self._conversation)

    def connect_failed(self, failure: Failure) -> None:
        if self._over:
            return
        if isinstance(failure.value, UpstreamUnavailable):
            self._end(failure.value.loss)
            return
        self._link._log.failure("{name}: cannot connect", failure, name=printable(self._link.bridge.name))
        self._end(_not_begun(failure.value))

    def hang_up(self) -> Deferred[None]:
        self._over = True
        return self.transport.disconnect()

    def received(self, message: Message, within: RequestId | None) -> None:
        """See L{IMessageLink}."""
        if not self._over:
            self._link._safely(self._link.bridge.received, self._conversation, message, within)

    def received_batch(self, messages: Sequence[Message | InvalidMessage]) -> None:
        """See L{IMessageLink}."""
        # Servers of 2025-03-26 may; of those that must not, we have nothing to gain by refusing.
        for message in messages:
            if isinstance(message, InvalidMessage):
                self.received_garbage(message)
            else:
                self.received(message, None)

    def received_garbage(self, invalid: InvalidMessage) -> None:
        """See L{IMessageLink}."""
        if not self._over:
            self._link._safely(self._link.bridge.received_garbage, self._conversation, invalid)

    def request_lost(self, request_id: RequestId, loss: Loss) -> None:
        """See L{IMessageLink}."""
        if not self._over:
            self._link._safely(self._link.bridge.request_lost, self._conversation, request_id, loss)

    def disconnected(self, loss: Loss) -> None:
        """See L{IMessageLink}."""
        if not self._over:
            self._end(loss)

    def congested(self) -> None:
        """See L{IMessageLink}."""
        for listener in list(self._link._listeners.values()):
            listener.hold()

    def relieved(self) -> None:
        """See L{IMessageLink}."""
        for listener in list(self._link._listeners.values()):
            listener.go_on()

    def _end(self, loss: Loss) -> None:
        self._link._gone(self._conversation)
        self._link._safely(self._link.bridge.disconnected, self._conversation, loss)


def _not_begun(error: BaseException | None) -> Loss:
    # The next time would be the same. What the configuration says may be to blame, and then it is said what.
    text = str(error) if isinstance(error, McpbridgeError) else _ours(error)
    return Loss(Fate.FAILED, Reason.UPSTREAM_UNREACHABLE, text)


def _broken(error: BaseException | None) -> Loss:
    # Whatever was written may have been read.
    return Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, _ours(error))


def _ours(error: BaseException | None) -> str:
    return f"mcpbridge itself failed ({type(error).__name__}); its log says more"
