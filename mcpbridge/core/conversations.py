"""
The conversations with a server: the one that there is now, and those that are I{retired}.

A conversation is opened when somebody wants it, and opened anew when it is lost. When the server forgets our session,
the old one is retired: what is under way there may still be answered, while a new one opens. What is said in them, and
what it means that one is lost, is for others to know.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Final

import attrs

from mcpbridge.core.effects import (
    Abandon,
    BridgeEffect,
    Connect,
    ConversationId,
    Deliver,
    Drop,
    Emit,
    Hangup,
    Note,
    PeerEffect,
    Send,
    StartTimer,
    StopTimer,
)
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.events import Event, ExchangeId, Opened
from mcpbridge.core.interfaces import IClientPeer
from mcpbridge.core.jsonrpc import InvalidMessage, Message, RequestId
from mcpbridge.core.outage import Outage
from mcpbridge.core.policy import Policy

#: How long what is under way in a conversation that the server has forgotten may still be answered, in seconds.
_RETIREMENT: Final = 5.0

#: A conversation that has lasted so long, in seconds, is no crash loop.
_STABLE: Final = 10.0


class Phase(enum.Enum):
    """How far the current conversation has come."""

    IDLE = "idle"
    CONNECTING = "connecting"
    OPENING = "opening"
    READY = "ready"
    WAITING = "waiting"
    CLOSED = "closed"


@attrs.define(eq=False, repr=False)
class _Conversation:
    """
    Our peer in it, and its timers.

    @ivar opening: the exchange in which we introduce ourselves.
    """

    peer: IClientPeer
    opening: ExchangeId | None = None
    timers: set[Hashable] = attrs.Factory(set)


@attrs.define(eq=False, repr=False)
class Conversations:
    """
    See the top of this module.

    @ivar opening: how we introduce ourselves to the server from the next conversation on.
    @ivar current: the one in which things are said now, or soon; L{None} if there is none.
    @ivar _noted: why the last one was lost, since the server opened or somebody wanted it; it is noted once.
    """

    opening: Opened
    _policy: Policy
    _client_peer: Callable[[], IClientPeer]
    _exchange_ids: Iterator[ExchangeId]
    _outage: Outage
    _do: Callable[[BridgeEffect], None]
    #: The server has said this, there.
    _said: Callable[[ConversationId, Event], None]
    #: That one is over.
    _over: Callable[[ConversationId], None]
    #: The current one is, and the server had opened it or not.
    _cut_off: Callable[[Loss, bool], None]
    phase: Phase = Phase.IDLE
    current: ConversationId | None = None
    _noted: str | None = None
    _by_number: dict[ConversationId, _Conversation] = attrs.Factory(dict)
    _numbers: Iterator[ConversationId] = attrs.Factory(lambda: itertools.count(1))

    def __len__(self) -> int:
        return len(self._by_number)

    # From none to one that is open.

    def want(self) -> None:
        """Somebody needs the server."""
        if self.phase is Phase.IDLE:
            self.connect()
        elif self.phase is Phase.WAITING and self._outage.is_long:
            # It has been away for long, so nobody waits long for it; but each who asks has it looked up again.
            self._do(StartTimer("reconnect", self._outage.glance()))

    def connect(self) -> None:
        """Begin a new one, which is the current one."""
        self.current = next(self._numbers)
        self._by_number[self.current] = _Conversation(self._client_peer())
        self.phase = Phase.CONNECTING
        self._do(StopTimer("reconnect"))
        self._do(Connect(self.current))

    def connected(self, conversation: ConversationId) -> None:
        """Its transport can send."""
        if conversation != self.current or self.phase is not Phase.CONNECTING:
            self._do(Hangup(conversation))
            return
        self.phase = Phase.OPENING
        self._do(StartTimer("opening", self._policy.opening_deadline))
        of = self._by_number[conversation]
        of.opening = next(self._exchange_ids)
        self.say(conversation, attrs.evolve(self.opening, xid=of.opening))

    def is_opened_by(self, conversation: ConversationId, xid: ExchangeId) -> bool:
        """Whether it is our introduction that was answered."""
        of = self._by_number.get(conversation)
        return of is not None and of.opening == xid

    def opened(self, conversation: ConversationId) -> None:
        """The server has answered our introduction as it should."""
        self._by_number[conversation].opening = None
        self.phase = Phase.READY
        self._noted = None
        self._outage.ended()
        self._do(StopTimer("opening"))
        self._do(StartTimer("stable", _STABLE))

    # What is said.

    def say(self, conversation: ConversationId | None, event: Event) -> None:
        """Say something there, if it is not over."""
        of = self._by_number.get(conversation) if conversation is not None else None
        if of is not None and conversation is not None:
            self._heard(conversation, of.peer.send(event))

    def received(self, conversation: ConversationId, message: Message, within: RequestId | None) -> None:
        """The server says something."""
        of = self._by_number.get(conversation)
        if of is not None:
            self._heard(conversation, of.peer.receive(message, within))

    def received_garbage(self, conversation: ConversationId, invalid: InvalidMessage) -> None:
        """The server sent bytes that are no message."""
        of = self._by_number.get(conversation)
        if of is not None:
            self._do(Note(f"sent what is no message: {invalid}"))
            self._heard(conversation, of.peer.receive_garbage(invalid))

    def request_lost(self, conversation: ConversationId, request_id: RequestId, loss: Loss) -> None:
        """A request that we sent will get no answer."""
        of = self._by_number.get(conversation)
        if of is not None:
            self._heard(conversation, of.peer.lost(request_id, loss))

    def _heard(self, conversation: ConversationId, effects: Sequence[PeerEffect]) -> None:
        for effect in effects:
            match effect:
                case Emit(message, within):
                    self._do(Send(conversation, message, within))
                case Abandon(request_id):
                    self._do(Drop(conversation, request_id))
                case Deliver(event):
                    self._said(conversation, event)
                case StartTimer(key, seconds) if conversation in self._by_number:
                    self._by_number[conversation].timers.add(("peer", conversation, key))
                    self._do(StartTimer(("peer", conversation, key), seconds))
                case StopTimer(key):
                    self._do(StopTimer(("peer", conversation, key)))

    def fired(self, key: Hashable) -> None:
        """A timer has run out."""
        match key:
            case "reconnect" if self.phase is Phase.WAITING:
                self.connect()
            case "opening" if self.phase is Phase.OPENING and self.current is not None:
                text = f"it did not answer initialize within {self._policy.opening_deadline:g} s"
                self.end(self.current, Loss(Fate.NEVER_SENT, Reason.UPSTREAM_TIMEOUT, text))
            case "stable":
                self._outage.settled()
            case ("retire", int(conversation)) if conversation in self._by_number:
                self.end(conversation, Loss(Fate.UNKNOWN, Reason.SESSION_LOST, "its session was lost"))
            case ("peer", int(conversation), peers) if conversation in self._by_number:
                of = self._by_number[conversation]
                of.timers.discard(key)
                self._heard(conversation, of.peer.fired(peers))

    # From one to none.

    def end(self, conversation: ConversationId, loss: Loss) -> None:
        """Hang up; what was under way there is lost."""
        self._do(Hangup(conversation))
        self.gone(conversation, loss)

    def gone(self, conversation: ConversationId, loss: Loss) -> None:
        """There is no transport for it any more, or never was."""
        of = self._by_number.pop(conversation, None)
        if of is None:
            return
        self._do(StopTimer(("retire", conversation)))
        for key in of.timers:
            self._do(StopTimer(key))
        is_current = conversation == self.current
        established = is_current and self.phase is Phase.READY
        if is_current:
            self.current = None
            self._do(StopTimer("opening"))
            self._do(StopTimer("stable"))
            if self.phase is not Phase.CLOSED:
                # Until all is lost that was under way, nothing may be opened for a part of it.
                self.phase = Phase.WAITING
                self._note(loss)
            self._outage.last_loss = loss
        # That the session is not known any more says nothing of what was under way when it was.
        fate = Fate.UNKNOWN if loss.fate is Fate.SESSION_LOST else loss.fate
        self._heard(conversation, of.peer.close(attrs.evolve(loss, fate=fate)))
        self._over(conversation)
        if is_current and self.phase is not Phase.CLOSED:
            self._cut_off(loss, established)

    def _note(self, loss: Loss) -> None:
        if loss.text != self._noted:
            self._do(Note(loss.text, loss))
        self._noted = loss.text

    def forgotten(self, conversation: ConversationId) -> None:
        """The server does not know our session any more, but may still be answering what it had begun."""
        if conversation != self.current:
            return
        self._do(Note("the server has forgotten our session; opening a new one"))
        self._do(StartTimer(("retire", conversation), _RETIREMENT))
        self._do(StopTimer("stable"))
        if self._outage.flapped():
            self.connect()
        else:
            self.current = None
            self.wait(self._outage.pause())

    def retire_if_done(self, conversation: ConversationId | None) -> None:
        """One that is not the current one is there only for what is under way in it."""
        if conversation is None or conversation == self.current:
            return
        of = self._by_number.get(conversation)
        if of is not None and not of.peer.busy():
            self.end(conversation, Loss(Fate.UNKNOWN, Reason.SESSION_LOST, "its session was lost"))

    def wait(self, seconds: float) -> None:
        """Begin a new one in so many seconds."""
        self.phase = Phase.WAITING
        self._do(StartTimer("reconnect", seconds))

    def rest(self) -> None:
        """Begin a new one when it is wanted."""
        self.phase = Phase.IDLE
        self._noted = None
        self._do(StopTimer("reconnect"))

    def close(self, loss: Loss) -> None:
        """Hang up all of them, and begin none again."""
        self.phase = Phase.CLOSED
        for conversation in list(self._by_number):
            self.end(conversation, loss)
        for key in ("reconnect", "opening", "stable"):
            self._do(StopTimer(key))
