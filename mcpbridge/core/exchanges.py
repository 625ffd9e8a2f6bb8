"""
The requests that are on their way to the server and back.

An I{exchange} is remembered until it is answered, so that it can be sent again in another conversation where that is
safe (L{mcpbridge.core.retry}); else it ends with an error. Each has a deadline, counted in ticks of a second. Who is
told of its end, and in which words, is for others to know, but for errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import attrs
from msgspec import Raw

from mcpbridge.core.conversations import Conversations, Phase
from mcpbridge.core.effects import BridgeEffect, ConversationId, SessionId, StartTimer, StopTimer
from mcpbridge.core.errors import ErrorObject, Fate, Loss, Reason, bridge_error
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Completed,
    Event,
    ExchangeId,
    Failed,
    LevelSet,
    Opened,
    Subscribed,
    Unsubscribed,
)
from mcpbridge.core.outage import Outage
from mcpbridge.core.policy import Policy
from mcpbridge.core.retry import IDEMPOTENT, LASTING, failure, unknown_outcome
from mcpbridge.core.ticks import Ticks, ticks

_EMPTY: Final = Raw(b"{}")

Asking: TypeAlias = Opened | Called | LevelSet | Subscribed | Unsubscribed


@attrs.define(eq=False, repr=False)
class Exchange:
    """
    One request between a client (or ourselves) and the server.

    @ivar session: who asked; L{None} if we did.
    @ivar deadline: the tick at which it is given up.
    @ivar patience: the tick at which it no longer waits for a server that cannot be reached.
    @ivar conversation: where it was sent; L{None} while it waits to be.
    @ivar losses: how often it was lost, by what may have become of it.
    @ivar rounds: how often the list that it waits for was fetched in vain.
    @ivar held: it waits for a timer of its own before it is sent again.
    @ivar listing: it waits for this list, which is fetched by an exchange of our own.
    """

    event: Asking
    method: str
    session: SessionId | None
    deadline: int
    patience: int
    conversation: ConversationId | None = None
    losses: dict[Fate, int] = attrs.Factory(dict)
    rounds: int = 0
    held: bool = False
    listing: str | None = None

    @property
    def waits(self) -> bool:
        """Whether it is for the server to come up that it waits, or for its client to be let through."""
        return self.conversation is None and not self.held

    @property
    def is_brought(self) -> bool:
        """Whether an exchange of our own brings what it asks for, so that it is never sent itself."""
        return self.session is not None and (self.listing is not None or isinstance(self.event, Opened))


@attrs.define(eq=False, repr=False)
class Exchanges:
    """
    See the top of this module.

    @ivar _name: the server's, for texts.
    @ivar _on_hold: clients whose requests wait, though the server is there.
    """

    _name: str
    _policy: Policy
    _ticks: Ticks
    _outage: Outage
    _conversations: Conversations
    _do: Callable[[BridgeEffect], None]
    _tell: Callable[[SessionId, Event], None]
    #: A level as it has to be said to a server that has other clients, too.
    _shared_level: Callable[[Exchange, LevelSet], LevelSet]
    #: Whether a client has subscribed to this resource, or is about to.
    _is_wanted: Callable[[str], bool]
    #: One that waits for a list, or fetches it, ended so.
    _list_failed: Callable[[ExchangeId, Exchange, ErrorObject], None]
    #: Nobody waits any more for one that was sent there.
    _given_up: Callable[[ConversationId, ExchangeId], None]
    _by_number: dict[ExchangeId, Exchange] = attrs.Factory(dict)
    _on_hold: set[SessionId] = attrs.Factory(set)

    # What there is.

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self._by_number.values())

    def get(self, xid: ExchangeId | None) -> Exchange | None:
        """One of them."""
        return self._by_number.get(xid) if xid is not None else None

    def pop(self, xid: ExchangeId) -> Exchange | None:
        """It is over; whoever has it now says so."""
        exchange = self._by_number.pop(xid, None)
        if exchange is not None and exchange.held:
            self._do(StopTimer(("retry", xid)))
        return exchange

    def asked_by(self, session: SessionId) -> dict[ExchangeId, Exchange]:
        """What a client waits for."""
        return {xid: exchange for xid, exchange in self._by_number.items() if exchange.session == session}

    def take_openings(self) -> dict[ExchangeId, SessionId]:
        """The clients that wait for the server to open; they are answered now."""
        found = {
            xid: exchange.session
            for xid, exchange in self._by_number.items()
            if isinstance(exchange.event, Opened) and exchange.session is not None
        }
        for xid in found:
            del self._by_number[xid]
        return found

    def waiting_for(self, listing: str) -> dict[ExchangeId, Exchange]:
        """Those of clients that wait for this list."""
        return {
            xid: exchange
            for xid, exchange in self._by_number.items()
            if exchange.listing == listing and exchange.session is not None
        }

    # One comes, and is sent.

    def submit(self, session: SessionId | None, event: Asking, method: str, listing: str | None = None) -> bool:
        """
        Ask the server, as soon as it is there.

        @param listing: the list that is fetched so, or that this client waits for.
        @return: whether there is room for it; else the client has been told.
        """
        if session is not None and len(self._by_number) >= self._policy.max_open:
            text = f"{self._name}: {self._policy.max_open} requests are under way already; try again when some are done"
            self._tell(session, Failed(event.xid, bridge_error(Reason.OVERLOADED, self._name, text, retryable=True)))
            return False
        reads = method in IDEMPOTENT and method not in LASTING
        seconds = self._policy.read_timeout if reads else self._policy.call_timeout
        exchange = Exchange(
            event, method, session, self._ticks.now + ticks(seconds), self._outage.patience(), listing=listing
        )
        self._by_number[event.xid] = exchange
        self._ticks.start()
        if listing is None or session is None:
            self._dispatch(exchange)
        return True

    def await_opening(self, session: SessionId, event: Opened) -> None:
        """A client waits for the server to open."""
        deadline = self._ticks.now + ticks(self._policy.opening_deadline)
        self._by_number[event.xid] = Exchange(event, "initialize", session, deadline, deadline)
        self._ticks.start()

    def _dispatch(self, exchange: Exchange) -> None:
        if self._conversations.phase is not Phase.READY:
            self._conversations.want()
            return
        if exchange.session in self._on_hold:
            return
        exchange.conversation = self._conversations.current
        event = exchange.event
        if isinstance(event, LevelSet) and not self._policy.exclusive:
            event = self._shared_level(exchange, event)
        self._conversations.say(exchange.conversation, event)

    def flush(self) -> None:
        """The server is there: send what has waited for it."""
        for exchange in list(self._by_number.values()):
            if exchange.waits and not exchange.is_brought:
                self._dispatch(exchange)

    def hold(self, session: SessionId) -> None:
        """Send nothing that this client asks."""
        self._on_hold.add(session)

    def release(self, session: SessionId) -> None:
        """Send what it has asked."""
        self._on_hold.discard(session)
        if self._conversations.phase is Phase.READY:
            self.flush()

    def retry(self, xid: ExchangeId) -> None:
        """The timer that it waited for has run out."""
        exchange = self._by_number.get(xid)
        if exchange is None:
            return
        exchange.held = False
        if isinstance(exchange.event, Unsubscribed) and self._is_wanted(exchange.event.uri):
            # Somebody has subscribed since: this would undo it.
            del self._by_number[xid]
            if exchange.session is not None:
                self._tell(exchange.session, Completed(xid, _EMPTY))
        else:
            self._dispatch(exchange)

    # One goes.

    def cancel(self, event: Cancelled) -> None:
        """Nobody wants its answer."""
        exchange = self.pop(event.xid)
        if exchange is not None and exchange.conversation is not None:
            self._conversations.say(exchange.conversation, event)
            self._given_up(exchange.conversation, event.xid)
            self._conversations.retire_if_done(exchange.conversation)

    def answered_with_error(self, event: Failed) -> None:
        """The server says no."""
        exchange = self._by_number.get(event.xid)
        if exchange is not None:
            self.fail(event.xid, event.error)
            self._conversations.retire_if_done(exchange.conversation)

    def fail(self, xid: ExchangeId, error: ErrorObject) -> None:
        """It ends with this."""
        exchange = self.pop(xid)
        assert exchange is not None
        if exchange.listing is not None:
            self._list_failed(xid, exchange, error)
        elif exchange.session is not None:
            self._tell(exchange.session, Failed(xid, error))

    def lost(self, xid: ExchangeId, loss: Loss) -> None:
        """It gets no answer where it was sent: send it again, now or later, or give it up."""
        exchange = self._by_number.get(xid)
        if exchange is None:
            return
        conversation, exchange.conversation = exchange.conversation, None
        self._outage.last_loss = loss
        if loss.fate is Fate.SESSION_LOST and conversation is not None:
            self._conversations.forgotten(conversation)
        times = exchange.losses[loss.fate] = exchange.losses.get(loss.fate, 0) + 1
        wait = self._outage.wait_before_retry(exchange.method, times, loss)
        too_late = loss.fate is Fate.NEVER_SENT and self._ticks.now >= exchange.patience
        if loss.fate is not Fate.NEVER_SENT:
            # It was there, so it may be waited for anew; one that is not is waited for but once.
            exchange.patience = self._outage.patience() + ticks(wait or 0.0)
        if wait is None or too_late:
            self.fail(xid, failure(self._name, exchange.method, loss))
        elif wait > 0:
            exchange.held = True
            self._do(StartTimer(("retry", xid), wait))
        else:
            self._dispatch(exchange)
        self._conversations.retire_if_done(conversation)

    # All of them wait for the server.

    def postpone(self) -> None:
        """The server has said when it will serve us: nobody loses patience before."""
        for exchange in self._by_number.values():
            exchange.patience = max(exchange.patience, self._outage.patience())

    def postpone_for(self, session: SessionId) -> None:
        """A human is asked: whatever the client waits for may take as long as if it had just been asked for."""
        deadline = self._ticks.now + ticks(self._policy.call_timeout)
        for exchange in self._by_number.values():
            if exchange.session == session:
                exchange.deadline = max(exchange.deadline, deadline)

    def refuse(self, error: ErrorObject) -> None:
        """The server does not want to open: its clients get that very error."""
        for xid, exchange in list(self._by_number.items()):
            if exchange.conversation is None and exchange.session is not None:
                self.fail(xid, error)

    def give_up(self, loss: Loss) -> None:
        """Nobody waits any longer for the server to come up."""
        for xid, exchange in list(self._by_number.items()):
            if exchange.conversation is None and xid in self._by_number:
                self._fail_unsent(xid, exchange, loss)

    def _fail_unsent(self, xid: ExchangeId, exchange: Exchange, loss: Loss) -> None:
        # What waits to be sent has not run, whatever became of others.
        fate = Fate.NEVER_SENT if loss.fate is Fate.UNKNOWN else loss.fate
        self.fail(xid, failure(self._name, exchange.method, attrs.evolve(loss, fate=fate)))

    # Time.

    def ticked(self) -> None:
        """A second has passed."""
        now = self._ticks.now
        why = self._outage.last_loss if self._conversations.phase is not Phase.READY else None
        for xid, exchange in list(self._by_number.items()):
            if xid in self._by_number and now >= exchange.deadline:
                self._expire(xid, exchange)
            elif xid in self._by_number and exchange.waits and now >= exchange.patience:
                if why is not None and exchange.listing is None:
                    self._fail_unsent(xid, exchange, why)
        if self._by_number or self._outage.lasts:
            self._ticks.start()

    def _expire(self, xid: ExchangeId, exchange: Exchange) -> None:
        if exchange.conversation is not None:
            self._conversations.say(exchange.conversation, Cancelled(xid, "timed out"))
            self._given_up(exchange.conversation, xid)
            text = f"it did not answer {exchange.method} in time"
            loss = Loss(Fate.UNKNOWN, Reason.UPSTREAM_TIMEOUT, text)
        elif self._outage.last_loss is not None:
            loss = attrs.evolve(self._outage.last_loss, fate=Fate.NEVER_SENT)
        else:
            loss = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_TIMEOUT, "it did not become ready in time")
        error = failure(self._name, exchange.method, loss)
        if loss.fate is Fate.UNKNOWN:
            # It is known that nobody will answer, which is more than that the connection broke.
            error = bridge_error(Reason.UPSTREAM_TIMEOUT, self._name, error.message)
        self.fail(xid, error)
        self._conversations.retire_if_done(exchange.conversation)

    def close(self, reason: Reason, text: str) -> None:
        """
        All of them end with an error.

        @param text: why, as a sentence without its full stop.
        """
        for xid, exchange in list(self._by_number.items()):
            exchange.listing = None
            if exchange.conversation is not None and exchange.method not in IDEMPOTENT:
                said = f"{text}. {unknown_outcome(exchange.method)}"
                self.fail(xid, bridge_error(reason, self._name, said))
            else:
                self.fail(xid, bridge_error(reason, self._name, f"{text}; ask again", retryable=True))
