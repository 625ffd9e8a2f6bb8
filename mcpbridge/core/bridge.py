"""
One server, as mcpbridge knows it, and the clients that use it now.

Theory of operation. A bridge joins the sessions of its clients to one I{upstream conversation} at a time. Clients'
sessions speak to it in neutral events (L{deliver}); toward the server it has a client peer of the server's era, and
whoever drives it gives that peer's messages a transport. Nothing here waits, sends or looks at a clock: it is told
what happened and returns what is to be done (L{mcpbridge.core.effects}).

  - An I{exchange} is one request on its way to the server and back. It is remembered until it is answered, so that it
    can be sent again in another conversation where that is safe (L{mcpbridge.core.retry}); else it ends with an error.
    Each has a deadline, counted in ticks of a second.
  - The I{conversation} is opened when it is first needed and opened anew when it is lost. When the server forgets our
    session, the old conversation is I{retired}: what is under way there may still be answered, while a new one opens.
  - What the server said of itself (its opening answer and its lists) is kept in a L{Catalog} and answered from
    there at once, also while the server is away; it is fetched again behind the client's back, and clients are told
    when it turns out to be different.
  - A I{question} is a request of the server to a client. It goes to the session whose exchange caused it, or to the
    only session there is; else it is refused.

An exclusive bridge has one session at most, and outlives it: the next client of the same profile takes it over.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.capabilities import announces_changes, declared, with_list_changed
from mcpbridge.core.catalog import LISTINGS, Catalog, Snapshot
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
    Save,
    Send,
    SessionId,
    StartTimer,
    StopTimer,
    Tell,
)
from mcpbridge.core.errors import INVALID_PARAMS, ErrorObject, Fate, Loss, Reason, bridge_error
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Changed,
    Completed,
    Envelope,
    Event,
    ExchangeId,
    Failed,
    InputProgressed,
    InputRequired,
    InputSupplied,
    InputWithdrawn,
    Introduced,
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
from mcpbridge.core.interfaces import IClientPeer
from mcpbridge.core.jsonrpc import InvalidMessage, Message, RequestId
from mcpbridge.core.levels import LEVELS, least
from mcpbridge.core.retry import (
    IDEMPOTENT,
    LONGEST_WAIT,
    MAX_REJECTIONS,
    backoff,
    failure,
    unknown_outcome,
    wait_before_retry,
)

_EMPTY = Raw(b"{}")
_NULL = Raw(b"null")

#: Notifications that wait for a server to come up, and questions that wait for a client to be ready.
_MAX_HELD: Final = 64

#: How long what is under way in a conversation that the server has forgotten may still be answered, in seconds.
_RETIREMENT: Final = 5.0

#: A conversation that has lasted so long, in seconds, is no crash loop.
_STABLE: Final = 10.0

#: A list served from memory is looked up again this much later, in seconds: off the path of a client's start.
_REVALIDATE: Final = 1.0

#: Between two attempts to reach a server that a client is waiting for, in seconds.
_LONGEST_BACKOFF: Final = 30.0

#: Bytes of a log message that several clients may or may not want. Larger ones nobody gets.
_MAX_LOG: Final = 1024 * 1024

_TICK: Final = 1.0

#: What a server may turn out to offer once somebody has logged in.
_LOCKED: Final = {subject: {"listChanged": True} for subject in ("tools", "prompts", "resources")}


@attrs.frozen
class Policy:
    """
    The settings of one server that the bridge obeys. Times in seconds.

    @ivar exclusive: at most one client at a time.
    @ivar snapshot: answer openings and lists from memory.
    @ivar call_timeout: for requests that act.
    @ivar read_timeout: for requests that only read.
    @ivar opening_deadline: how long a client's opening may wait for the server.
    @ivar unreachable_deadline: how long a request waits for a server that cannot be reached.
    @ivar max_open: exchanges under way at once.
    """

    exclusive: bool = True
    snapshot: bool = True
    call_timeout: float = 3600.0
    read_timeout: float = 60.0
    opening_deadline: float = 25.0
    unreachable_deadline: float = 5.0
    max_open: int = 1024


class Phase(enum.Enum):
    """How far the current conversation has come."""

    IDLE = "idle"
    CONNECTING = "connecting"
    OPENING = "opening"
    READY = "ready"
    WAITING = "waiting"
    CLOSED = "closed"


_Asking: TypeAlias = Opened | Called | LevelSet | Subscribed | Unsubscribed


@attrs.define(eq=False, repr=False)
class _Exchange:
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

    event: _Asking
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
        """Whether it is for the server to come up that it waits."""
        return self.conversation is None and not self.held


@attrs.define(eq=False, repr=False)
class _Session:
    """
    What the bridge remembers of one client.

    @ivar served: the lists that it has been given.
    @ivar current: the lists that it must not be given from memory untrusted, since it has reason to expect news.
    """

    ready: bool = False
    level: str | None = None
    uris: dict[str, Raw | None] = attrs.Factory(dict)
    served: set[str] = attrs.Factory(set)
    current: set[str] = attrs.Factory(set)
    held: list[InputRequired] = attrs.Factory(list)


@attrs.define(eq=False, repr=False)
class _Conversation:
    """One upstream conversation: our peer in it, and the questions that the server asked there."""

    peer: IClientPeer
    opening: ExchangeId | None = None
    asked_for_roots: bool = False
    timers: set[Hashable] = attrs.Factory(set)


@attrs.define(eq=False, repr=False)
class Bridge:
    """
    See the top of this module.

    @ivar name: the server's name, for texts.
    @ivar opening: how we introduce ourselves to the server: revision and C{initialize} params.
    """

    name: str
    opening: Opened
    policy: Policy
    _client_peer: Callable[[], IClientPeer]
    _exchange_ids: Iterator[ExchangeId]
    _entropy: Callable[[], float]
    phase: Phase = Phase.IDLE
    last_loss: Loss | None = None
    catalog: Catalog = attrs.Factory(Catalog)
    _known_opening: Raw | None = None
    _unannounced: Sequence[str] = ()
    _sessions: dict[SessionId, _Session] = attrs.Factory(dict)
    _exchanges: dict[ExchangeId, _Exchange] = attrs.Factory(dict)
    _conversations: dict[ConversationId, _Conversation] = attrs.Factory(dict)
    _conversation_ids: Iterator[ConversationId] = attrs.Factory(lambda: itertools.count(1))
    _current: ConversationId | None = None
    _questions: dict[str, tuple[ConversationId, str, SessionId]] = attrs.Factory(dict)
    _held: list[tuple[SessionId, Event]] = attrs.Factory(list)
    _failures: int = 0
    _flaps: int = 0
    _rejections: int = 0
    _failing_since: int | None = None
    _now: int = 0
    _ticking: bool = False
    _closed: tuple[Reason, str] | None = None
    _effects: list[BridgeEffect] = attrs.Factory(list)

    # What others may ask.

    def remember(self, snapshot: Snapshot) -> None:
        """Start from what was known of the server before."""
        self._know(snapshot.opening)
        self.catalog.fill(snapshot.lists)

    def _know(self, opening: Raw) -> None:
        self._known_opening = opening
        capabilities = declared(jsonrpc.members(opening))
        subjects = {listing.subject for listing in LISTINGS.values()}
        self._unannounced = sorted(subject for subject in subjects if not announces_changes(capabilities, subject))

    def snapshot(self) -> Snapshot | None:
        """What is worth knowing the next time."""
        if self._known_opening is None:
            return None
        return Snapshot(self._known_opening, self.catalog.all())

    @property
    def sessions(self) -> int:
        """How many clients use it now."""
        return len(self._sessions)

    def busy(self) -> bool:
        """Whether a client waits for an answer."""
        return any(exchange.session is not None for exchange in self._exchanges.values())

    def counts(self) -> Mapping[str, int]:
        """The sizes of all tables, for operators and for tests that want them empty."""
        return {
            "sessions": len(self._sessions),
            "exchanges": len(self._exchanges),
            "conversations": len(self._conversations),
            "questions": len(self._questions),
            "held": len(self._held),
        }

    # Clients come, speak and go.

    def attach(self, session: SessionId) -> None:
        """A client's session is served by this bridge from now on; its C{Opened} follows."""
        self._sessions[session] = _Session()

    def detach(self, session: SessionId) -> Sequence[BridgeEffect]:
        """
        The client is gone: what it wanted is cancelled, what it was asked is answered, what it wished for is undone.
        """
        gone = self._sessions.pop(session, None)
        if gone is None:
            return ()
        for xid, exchange in list(self._exchanges.items()):
            if exchange.session == session:
                self._cancel(Cancelled(xid, "the client is gone"))
                # A wish that is cancelled may have come true all the same.
                match exchange.event:
                    case LevelSet(level=level):
                        gone.level = level
                    case Subscribed(uri=uri, params=params):
                        gone.uris[uri] = params
        self._held = [held for held in self._held if held[0] != session]
        for question in gone.held:
            self._refuse(question, "The client is gone")
        for key, (conversation, inner, asked) in list(self._questions.items()):
            if asked == session:
                del self._questions[key]
                self._answer(conversation, None, {inner: self._unavailable("The client is gone")})
        if self.phase is Phase.READY:
            self._undo_wishes(gone)
            self._fetch_doubtful()
        if not self._sessions:
            self._effects.append(StopTimer("revalidate"))
            if self.phase is Phase.WAITING:
                self._rest()
        return self._take()

    def deliver(self, session: SessionId, event: Event) -> Sequence[BridgeEffect]:
        """A client says something."""
        of = self._sessions[session]
        if self.phase is Phase.CLOSED:
            self._turn_away(session, event)
            return self._take()
        match event:
            case Opened():
                self._client_opened(session, event)
            case Ready():
                self._client_ready(session, of)
            case Called() if event.method in LISTINGS and self.policy.snapshot:
                self._client_ready(session, of)
                self._list(session, of, event)
            case Called():
                self._client_ready(session, of)
                self._submit(session, event, event.method)
            case LevelSet(standing=True):
                of.level = event.level
                self._renew_level()
            case LevelSet():
                self._submit(session, event, "logging/setLevel")
            case Subscribed(standing=True):
                of.uris[event.uri] = event.params
                self._renew_subscription(event.uri, event.params)
            case Subscribed() if self._subscribers(event.uri, session):
                of.uris[event.uri] = event.params
                self._effects.append(Tell(session, Completed(event.xid, _EMPTY)))
            case Subscribed():
                self._submit(session, event, "resources/subscribe")
            case Unsubscribed():
                # At once: whoever subscribes from now on must ask the server again.
                of.uris.pop(event.uri, None)
                if self._wanted(event.uri, session):
                    self._effects.append(Tell(session, Completed(event.xid, _EMPTY)))
                else:
                    self._submit(session, event, "resources/unsubscribe")
            case Cancelled():
                self._cancel(event)
            case InputSupplied():
                self._supplied(event)
            case InputProgressed():
                asked = self._questions.get(event.key)
                if asked is not None:
                    self._say(asked[0], InputProgressed(asked[1], event.params))
            case RootsChanged() | Notified():
                self._notify(session, event)
        return self._take()

    def _client_opened(self, session: SessionId, event: Opened) -> None:
        if self.policy.exclusive:
            # The next conversation is opened in the name of the client that uses it.
            self.opening = event
        if self._known_opening is not None and (self.policy.snapshot or self.phase is Phase.READY):
            self._effects.append(Tell(session, Completed(event.xid, self._for_clients(self._known_opening))))
        else:
            deadline = self._now + self._ticks(self.policy.opening_deadline)
            self._exchanges[event.xid] = _Exchange(event, "initialize", session, deadline, deadline)
            self._start_ticking()
        self._want()

    def _client_ready(self, session: SessionId, of: _Session) -> None:
        if of.ready:
            return
        of.ready = True
        held, of.held = of.held, []
        for question in held:
            self._effects.append(Tell(session, question))
        current = self._conversations.get(self._current) if self._current is not None else None
        if current is not None and current.asked_for_roots and not held and self.phase is Phase.READY:
            # The server knows the roots of the client before.
            self._say(self._current, RootsChanged())

    def _undo_wishes(self, gone: _Session) -> None:
        for uri, params in gone.uris.items():
            if not self._wanted(uri):
                self._submit(None, Unsubscribed(next(self._exchange_ids), uri, params), "resources/unsubscribe")
        if gone.level is not None:
            level = least(of.level for of in self._sessions.values()) or "info"
            self._submit(None, LevelSet(next(self._exchange_ids), level), "logging/setLevel")

    def _subscribers(self, uri: str, but: SessionId | None = None) -> bool:
        """Whether another client has subscribed to it."""
        return any(uri in of.uris for session, of in self._sessions.items() if session != but)

    def _wanted(self, uri: str, but: SessionId | None = None) -> bool:
        """Whether another client has, or is about to."""
        asked = (exchange for exchange in self._exchanges.values() if exchange.session not in (None, but))
        return self._subscribers(uri, but) or any(
            isinstance(exchange.event, Subscribed) and exchange.event.uri == uri for exchange in asked
        )

    def _notify(self, session: SessionId, event: Event) -> None:
        if self.phase is Phase.READY:
            self._say(self._current, event)
        elif isinstance(event, Notified) and len(self._held) < _MAX_HELD:
            self._held.append((session, event))
        elif isinstance(event, Notified):
            self._effects.append(Note(f"{event.method} was dropped: {_MAX_HELD} notifications wait for the server"))

    # Exchanges.

    def _submit(self, session: SessionId | None, event: _Asking, method: str, listing: str | None = None) -> None:
        if session is not None and len(self._exchanges) >= self.policy.max_open:
            text = f"{self.name}: {self.policy.max_open} requests are under way already; try again when some are done"
            error = bridge_error(Reason.OVERLOADED, self.name, text, retryable=True)
            self._effects.append(Tell(session, Failed(event.xid, error)))
            return
        seconds = self.policy.read_timeout if method in IDEMPOTENT else self.policy.call_timeout
        exchange = _Exchange(
            event,
            method,
            session,
            self._now + self._ticks(seconds),
            self._patience(),
            listing=listing,
        )
        self._exchanges[event.xid] = exchange
        self._start_ticking()
        if listing is None or session is None:
            self._dispatch(exchange)

    def _dispatch(self, exchange: _Exchange) -> None:
        if self.phase is not Phase.READY:
            self._want()
            return
        exchange.conversation = self._current
        event = exchange.event
        if isinstance(event, LevelSet) and not self.policy.exclusive:
            event = attrs.evolve(event, level=least((event.level, *self._levels(exchange))) or event.level)
        self._say(self._current, event)

    def _levels(self, exchange: _Exchange) -> list[str | None]:
        """What the clients other than that of this exchange want, or are about to."""
        wanted = [of.level for session, of in self._sessions.items() if session != exchange.session]
        asked = (other for other in self._exchanges.values() if other.session != exchange.session)
        return wanted + [other.event.level for other in asked if isinstance(other.event, LevelSet)]

    def _cancel(self, event: Cancelled) -> None:
        exchange = self._exchanges.pop(event.xid, None)
        if exchange is None:
            return
        if exchange.held:
            self._effects.append(StopTimer(("retry", event.xid)))
        if exchange.conversation is not None:
            self._say(exchange.conversation, event)
            self._retire_if_done(exchange.conversation)

    def _fail(self, xid: ExchangeId, error: ErrorObject) -> None:
        exchange = self._exchanges.pop(xid)
        if exchange.held:
            self._effects.append(StopTimer(("retry", xid)))
        if exchange.session is None:
            if exchange.listing is not None:
                self._list_failed(exchange.listing, error)
            return
        known = self.catalog.known(exchange.listing) if exchange.listing is not None else None
        if known is not None:
            # Stale is better than nothing; the client is told as soon as the truth is known.
            self._effects.append(Tell(exchange.session, Completed(xid, known)))
        else:
            self._effects.append(Tell(exchange.session, Failed(xid, error)))

    def _lost(self, xid: ExchangeId, loss: Loss) -> None:
        exchange = self._exchanges.get(xid)
        if exchange is None:
            return
        conversation, exchange.conversation = exchange.conversation, None
        self.last_loss = loss
        if loss.fate is Fate.SESSION_LOST and conversation is not None and conversation == self._current:
            self._renew(conversation)
        times = exchange.losses[loss.fate] = exchange.losses.get(loss.fate, 0) + 1
        wait = wait_before_retry(exchange.method, times, loss, self._entropy)
        too_late = loss.fate is Fate.NEVER_SENT and self._now >= exchange.patience
        if loss.fate is not Fate.NEVER_SENT:
            # It was there, so it may be waited for anew; one that is not is waited for but once.
            exchange.patience = self._patience() + self._ticks(wait or 0.0)
        if wait is None or too_late:
            self._fail(xid, failure(self.name, exchange.method, loss))
        elif wait > 0:
            exchange.held = True
            self._effects.append(StartTimer(("retry", xid), wait))
        else:
            self._dispatch(exchange)
        if conversation is not None:
            self._retire_if_done(conversation)

    def _flush(self) -> None:
        held, self._held = self._held, []
        for _, event in held:
            self._say(self._current, event)
        for exchange in list(self._exchanges.values()):
            # A client's opening is answered by ours; its list by a fetch of our own.
            listed = exchange.listing is not None and exchange.session is not None
            if exchange.waits and not listed and not isinstance(exchange.event, Opened):
                self._dispatch(exchange)

    # Lists.

    def _list(self, session: SessionId, of: _Session, event: Called) -> None:
        try:
            cursor = jsonrpc.members(event.params or _EMPTY).get("cursor")
        except InvalidMessage as invalid:
            self._effects.append(Tell(session, Failed(event.xid, ErrorObject(invalid.code, str(invalid)))))
            return
        if cursor is not None and cursor != _NULL:
            error = ErrorObject(INVALID_PARAMS, "Invalid params: this list is given whole, there is no such cursor")
            self._effects.append(Tell(session, Failed(event.xid, error)))
            return
        known = self.catalog.known(event.method)
        of.served.add(event.method)
        if known is not None and (self.catalog.trusted(event.method) or event.method not in of.current):
            self._effects.append(Tell(session, Completed(event.xid, known)))
            if not self.catalog.trusted(event.method):
                self._effects.append(StartTimer("revalidate", _REVALIDATE))
                self._want()
            return
        self._submit(session, event, event.method, listing=event.method)
        if event.xid in self._exchanges:
            self._fetch(event.method)

    def _fetch(self, method: str, cursor: Raw | None = None) -> None:
        if cursor is None and not self.catalog.begin(method):
            return
        params = None if cursor is None else jsonrpc.assemble({"cursor": cursor})
        self._submit(None, Called(next(self._exchange_ids), method, params), method, listing=method)

    def _fetch_doubtful(self) -> None:
        for method in self.catalog.doubtful():
            self._fetch(method)

    def _page(self, method: str, page: Raw, envelope: Envelope | None) -> None:
        known = self.catalog.known(method)
        # What a server says of how long it is good is said of one page.
        is_whole = not self.catalog.has_pages(method)
        try:
            taken = self.catalog.take(method, page)
        except InvalidMessage as invalid:
            loss = Loss(Fate.FAILED, Reason.MALFORMED, f"it sent a broken list: {invalid}")
            self._list_failed(method, failure(self.name, method, loss))
            return
        if isinstance(taken, Raw):
            self._fetch(method, taken)
            return
        merged = self.catalog.known(method)
        assert merged is not None
        waiting: Mapping[ExchangeId, _Exchange] = {
            xid: exchange
            for xid, exchange in self._exchanges.items()
            if exchange.listing == method and exchange.session is not None
        }
        if not self.catalog.trusted(method):
            waiting = self._fetch_again(method, waiting)
        for xid, exchange in waiting.items():
            del self._exchanges[xid]
            assert exchange.session is not None
            if exchange.session in self._sessions and self.catalog.trusted(method):
                self._sessions[exchange.session].current.discard(method)
            self._effects.append(Tell(exchange.session, Completed(xid, merged, envelope if is_whole else None)))
        if taken:
            self._effects.append(Save())
        if taken and known is not None:
            told = {exchange.session for exchange in waiting.values()}
            for session, of in self._sessions.items():
                if method in of.served and session not in told:
                    self._effects.append(Tell(session, Changed(LISTINGS[method].subject)))

    def _fetch_again(self, method: str, waiting: Mapping[ExchangeId, _Exchange]) -> Mapping[ExchangeId, _Exchange]:
        """
        It changed while it was being fetched. Whoever waits shall have the new one, but does not wait for a third.

        @return: those who are given what there is.
        """
        patient = [exchange for exchange in waiting.values() if not exchange.rounds]
        for exchange in patient:
            exchange.rounds += 1
        if patient:
            self._fetch(method)
        else:
            self._effects.append(StartTimer("revalidate", _REVALIDATE))
        return {xid: exchange for xid, exchange in waiting.items() if exchange not in patient}

    def _list_failed(self, method: str, error: ErrorObject) -> None:
        self.catalog.abort(method)
        for xid, exchange in list(self._exchanges.items()):
            if exchange.listing == method and exchange.session is not None:
                self._fail(xid, error)

    def _list_changed(self, event: Changed) -> None:
        self.catalog.doubt(event.what)
        if event.suspected and self.policy.snapshot:
            # Clients are told if it turns out to be so.
            self._effects.append(StartTimer("revalidate", _REVALIDATE))
            return
        stale = {method for method, listing in LISTINGS.items() if listing.subject == event.what}
        for session, of in self._sessions.items():
            of.current |= stale
            if of.ready:
                self._effects.append(Tell(session, event))
        if not self._sessions:
            self._effects.append(StartTimer("revalidate", _REVALIDATE))

    def _acted(self, session: SessionId) -> None:
        """A client did something that may have changed what the server offers, and the server would not tell."""
        for subject in self._unannounced:
            self.catalog.doubt(subject)
        of = self._sessions.get(session)
        if of is not None:
            of.current |= {method for method, listing in LISTINGS.items() if listing.subject in self._unannounced}

    # The conversation with the server.

    def _want(self) -> None:
        """Somebody needs the server."""
        if self.phase is Phase.IDLE:
            self._connect()
        elif self.phase is Phase.WAITING and self._failing_for() >= self.policy.unreachable_deadline:
            # It has been away for long, so nobody waits long for it; but each who asks has it looked up again.
            self._effects.append(StartTimer("reconnect", backoff(1, self._entropy)))

    def _connect(self) -> None:
        self._current = next(self._conversation_ids)
        self._conversations[self._current] = _Conversation(self._client_peer())
        self.phase = Phase.CONNECTING
        self._effects.append(StopTimer("reconnect"))
        self._effects.append(Connect(self._current))

    def connected(self, conversation: ConversationId) -> Sequence[BridgeEffect]:
        """The transport asked for with C{Connect} can send."""
        if conversation != self._current or self.phase is not Phase.CONNECTING:
            self._effects.append(Hangup(conversation))
            return self._take()
        self.phase = Phase.OPENING
        self._effects.append(StartTimer("opening", self.policy.opening_deadline))
        of = self._conversations[conversation]
        of.opening = next(self._exchange_ids)
        self._say(conversation, attrs.evolve(self.opening, xid=of.opening))
        return self._take()

    def connect_failed(self, conversation: ConversationId, loss: Loss) -> Sequence[BridgeEffect]:
        """The transport asked for with C{Connect} could not be had."""
        if conversation in self._conversations:
            self._gone(conversation, loss)
        return self._take()

    def disconnected(self, conversation: ConversationId, loss: Loss) -> Sequence[BridgeEffect]:
        """The transport is gone, by itself."""
        return self.connect_failed(conversation, loss)

    def received(
        self, conversation: ConversationId, message: Message, within: RequestId | None
    ) -> Sequence[BridgeEffect]:
        """The server says something."""
        of = self._conversations.get(conversation)
        if of is not None:
            self._heard(conversation, of.peer.receive(message, within))
        return self._take()

    def received_garbage(self, conversation: ConversationId, invalid: InvalidMessage) -> Sequence[BridgeEffect]:
        """The server sent bytes that are no message."""
        of = self._conversations.get(conversation)
        if of is not None:
            self._effects.append(Note(f"sent what is no message: {invalid}"))
            self._heard(conversation, of.peer.receive_garbage(invalid))
        return self._take()

    def request_lost(self, conversation: ConversationId, request_id: RequestId, loss: Loss) -> Sequence[BridgeEffect]:
        """A request that we sent will get no answer."""
        of = self._conversations.get(conversation)
        if of is not None:
            self._heard(conversation, of.peer.lost(request_id, loss))
        return self._take()

    def fired(self, key: Hashable) -> Sequence[BridgeEffect]:
        """A timer has run out."""
        match key:
            case "tick":
                self._tick()
            case "reconnect" if self.phase is Phase.WAITING:
                self._connect()
            case "opening" if self.phase is Phase.OPENING and self._current is not None:
                seconds = f"{self.policy.opening_deadline:g}"
                text = f"it did not answer initialize within {seconds} s"
                self._end(self._current, Loss(Fate.NEVER_SENT, Reason.UPSTREAM_TIMEOUT, text))
            case "stable":
                self._flaps = 0
            case "revalidate" if self.phase is Phase.READY:
                self._fetch_doubtful()
            case ("retire", int(conversation)) if conversation in self._conversations:
                text = "its session was lost"
                self._end(conversation, Loss(Fate.UNKNOWN, Reason.SESSION_LOST, text))
            case ("peer", int(conversation), peers) if conversation in self._conversations:
                of = self._conversations[conversation]
                of.timers.discard(key)
                self._heard(conversation, of.peer.fired(peers))
            case ("retry", int(xid)) if xid in self._exchanges:
                self._exchanges[xid].held = False
                self._dispatch(self._exchanges[xid])
        return self._take()

    def close(self, reason: Reason, text: str) -> Sequence[BridgeEffect]:
        """
        Never again: every exchange ends with an error, every conversation is hung up.

        @param text: why, as a sentence without its full stop.
        """
        self.phase = Phase.CLOSED
        self._closed = reason, text
        self._held.clear()
        for xid in list(self._exchanges):
            if xid in self._exchanges:
                exchange = self._exchanges[xid]
                exchange.listing = None
                if exchange.conversation is not None and exchange.method not in IDEMPOTENT:
                    said = f"{text}. {unknown_outcome(exchange.method)}"
                    self._fail(xid, bridge_error(reason, self.name, said))
                else:
                    self._fail(xid, bridge_error(reason, self.name, f"{text}; ask again", retryable=True))
        for conversation in list(self._conversations):
            self._end(conversation, Loss(Fate.UNKNOWN, reason, text))
        self._effects += (StopTimer(key) for key in ("tick", "reconnect", "opening", "stable", "revalidate"))
        self._ticking = False
        return self._take()

    def _turn_away(self, session: SessionId, event: Event) -> None:
        if self._closed is not None and isinstance(event, _Asking):
            reason, text = self._closed
            error = bridge_error(reason, self.name, f"{text}; ask again", retryable=True)
            self._effects.append(Tell(session, Failed(event.xid, error)))

    def _say(self, conversation: ConversationId | None, event: Event) -> None:
        of = self._conversations.get(conversation) if conversation is not None else None
        if of is not None and conversation is not None:
            self._heard(conversation, of.peer.send(event))

    def _heard(self, conversation: ConversationId, effects: Sequence[PeerEffect]) -> None:
        for effect in effects:
            match effect:
                case Emit(message, within):
                    self._effects.append(Send(conversation, message, within))
                case Abandon(request_id):
                    self._effects.append(Drop(conversation, request_id))
                case Deliver(event):
                    self._said(conversation, event)
                case StartTimer(key, seconds) if conversation in self._conversations:
                    self._conversations[conversation].timers.add(("peer", conversation, key))
                    self._effects.append(StartTimer(("peer", conversation, key), seconds))
                case StopTimer(key):
                    self._effects.append(StopTimer(("peer", conversation, key)))

    def _said(self, conversation: ConversationId, event: Event) -> None:
        of = self._conversations.get(conversation)
        match event:
            case Completed(xid) if of is not None and xid == of.opening:
                self._opened(conversation, of, event.result)
            case Failed(xid) if of is not None and xid == of.opening:
                self._refused(conversation, event.error)
            case Lost(xid) if of is not None and xid == of.opening:
                self._end(conversation, event.loss)
            case Completed():
                self._completed(event)
            case Failed():
                self._failed(event)
            case Lost():
                self._lost(event.xid, event.loss)
            case Progressed():
                self._pass_on(event.xid, event)
            case Logged():
                self._logged(event)
            case Changed(uri=None):
                self._list_changed(event)
            case Changed(uri=str(uri)):
                for session, session_of in self._sessions.items():
                    if self.policy.exclusive or _concerns(uri, session_of.uris):
                        self._effects.append(Tell(session, event))
            case Notified():
                self._pass_on(event.xid, event)
            case InputRequired():
                self._asked(conversation, event)
            case InputWithdrawn():
                self._withdrawn(conversation, event)

    def _completed(self, event: Completed) -> None:
        exchange = self._exchanges.pop(event.xid, None)
        if exchange is None:
            return
        if exchange.session is None:
            if exchange.listing is not None:
                self._page(exchange.listing, event.result, event.envelope)
        else:
            of = self._sessions[exchange.session]
            match exchange.event:
                case LevelSet(level=level):
                    of.level = level
                case Subscribed(uri=uri, params=params):
                    of.uris[uri] = params
                case Unsubscribed(uri=uri):
                    # It may have been subscribed to when this was asked, and the answer have come after.
                    of.uris.pop(uri, None)
            self._effects.append(Tell(exchange.session, event))
            if exchange.method not in IDEMPOTENT:
                self._acted(exchange.session)
        if exchange.conversation is not None:
            self._retire_if_done(exchange.conversation)

    def _failed(self, event: Failed) -> None:
        exchange = self._exchanges.get(event.xid)
        if exchange is not None:
            self._fail(event.xid, event.error)
            if exchange.conversation is not None:
                self._retire_if_done(exchange.conversation)

    def _pass_on(self, xid: ExchangeId | None, event: Event) -> None:
        exchange = self._exchanges.get(xid) if xid is not None else None
        if exchange is not None and exchange.session is not None:
            self._effects.append(Tell(exchange.session, event))
        elif xid is None:
            for session in self._sessions:
                self._effects.append(Tell(session, event))

    def _logged(self, event: Logged) -> None:
        if self.policy.exclusive or event.xid is not None:
            self._pass_on(event.xid if not self.policy.exclusive else None, event)
            return
        try:
            level = jsonrpc.decode_string(jsonrpc.members(event.params or _EMPTY, _MAX_LOG).get("level"))
        except InvalidMessage:
            return
        for session, of in self._sessions.items():
            if of.level is None or level not in LEVELS or LEVELS.index(level) >= LEVELS.index(of.level):
                self._effects.append(Tell(session, event))

    # Opening, losing and renewing the conversation.

    def _opened(self, conversation: ConversationId, of: _Conversation, result: Raw) -> None:
        of.opening = None
        # A copy of its own, without the message that it came in.
        result = Raw(bytes(result))
        changed = result != self._known_opening
        self._know(result)
        self.phase = Phase.READY
        self.last_loss = None
        self._failing_since = None
        self._failures = self._rejections = 0
        self._effects += (StopTimer("opening"), StartTimer("stable", _STABLE))
        if changed:
            self._effects.append(Save())
        waiting = {
            xid: exchange.session
            for xid, exchange in self._exchanges.items()
            if isinstance(exchange.event, Opened) and exchange.session is not None
        }
        for xid, session in waiting.items():
            del self._exchanges[xid]
            self._effects.append(Tell(session, Completed(xid, self._for_clients(result))))
        if changed:
            told = set(waiting.values())
            others = (session for session in self._sessions if session not in told)
            self._effects += (Tell(session, Introduced(self._for_clients(result))) for session in others)
        self._restore_wishes()
        self.catalog.doubt()
        self._fetch_doubtful()
        self._flush()

    def _restore_wishes(self) -> None:
        self._renew_level()
        for uri, params in {uri: params for of in self._sessions.values() for uri, params in of.uris.items()}.items():
            self._renew_subscription(uri, params)
        for session, of in self._sessions.items():
            for uri in of.uris:
                # It may have been updated while nobody listened.
                self._effects.append(Tell(session, Changed("resources", uri)))

    def _renew_level(self) -> None:
        level = least(of.level for of in self._sessions.values())
        if level is not None and self.phase is Phase.READY:
            self._submit(None, LevelSet(next(self._exchange_ids), level), "logging/setLevel")

    def _renew_subscription(self, uri: str, params: Raw | None) -> None:
        if self.phase is Phase.READY:
            self._submit(None, Subscribed(next(self._exchange_ids), uri, params), "resources/subscribe")

    def _refused(self, conversation: ConversationId, error: ErrorObject) -> None:
        """The server answered our opening with an error: its clients get that very error."""
        for xid, exchange in list(self._exchanges.items()):
            if exchange.conversation is None and exchange.session is not None:
                self._fail(xid, error)
        self._end(conversation, Loss(Fate.FAILED, Reason.UPSTREAM_UNREACHABLE, f"it refused to open: {error.message}"))

    def _end(self, conversation: ConversationId, loss: Loss) -> None:
        self._effects.append(Hangup(conversation))
        self._gone(conversation, loss)

    def _gone(self, conversation: ConversationId, loss: Loss) -> None:
        """A conversation is over: what was under way there is lost."""
        of = self._conversations.pop(conversation)
        self._effects.append(StopTimer(("retire", conversation)))
        self._effects += (StopTimer(key) for key in of.timers)
        was_current = conversation == self._current
        established = was_current and self.phase is Phase.READY
        if was_current:
            self._current = None
            self._effects += (StopTimer("opening"), StopTimer("stable"))
            if self.phase is not Phase.CLOSED:
                # Until all is lost that was under way, nothing may be opened for a part of it.
                self.phase = Phase.WAITING
                self._effects.append(Note(loss.text, loss))
            self.last_loss = loss
        of.opening = None
        # That the session is not known any more says nothing of what was under way when it was.
        fate = Fate.UNKNOWN if loss.fate is Fate.SESSION_LOST else loss.fate
        self._heard(conversation, of.peer.close(attrs.evolve(loss, fate=fate)))
        for key, (asked_in, _, session) in list(self._questions.items()):
            if asked_in == conversation:
                del self._questions[key]
                self._effects.append(Tell(session, InputWithdrawn(key, "the connection to the server was lost")))
        if was_current and self.phase is not Phase.CLOSED:
            self._after_loss(loss, established)

    def _after_loss(self, loss: Loss, established: bool) -> None:
        if self._failing_since is None:
            self._failing_since = self._now
        if established:
            self._flaps += 1
        else:
            self._failures += 1
        if loss.retry_after is not None and loss.retry_after <= LONGEST_WAIT and self._rejections < MAX_REJECTIONS:
            # It is there, and has said when it will serve us: until then nobody need lose patience.
            self._rejections += 1
            self._failing_since = self._now + self._ticks(loss.retry_after)
            for exchange in self._exchanges.values():
                exchange.patience = max(exchange.patience, self._patience())
        hopeless = loss.fate in (Fate.FAILED, Fate.SESSION_LOST) or (
            loss.fate is Fate.REJECTED and loss.reason is not Reason.UPSTREAM_UNREACHABLE
        )
        if not established and (hopeless or self._failing_for() >= self.policy.unreachable_deadline):
            self._give_up_waiting(loss)
        if not self._sessions and not self._exchanges:
            self._rest()
        elif hopeless and not established:
            # Trying again by ourselves would not help; the next request tries.
            self._rest()
        else:
            self._wait(max(self._pause(), loss.retry_after or 0.0))

    def _rest(self) -> None:
        self.phase = Phase.IDLE
        self._effects.append(StopTimer("reconnect"))

    def _give_up_waiting(self, loss: Loss) -> None:
        if loss.reason is Reason.AUTH_REQUIRED and self.policy.snapshot:
            self._let_in()
        for xid, exchange in list(self._exchanges.items()):
            if exchange.conversation is None and xid in self._exchanges:
                self._fail(xid, failure(self.name, exchange.method, attrs.evolve(loss, fate=_not_sent(loss.fate))))

    def _let_in(self) -> None:
        """
        The server wants a login first, which is a state and no failure: clients that wait for it to open are let in
        with empty lists, so that after the login they find what it offers without having to start again.
        """
        for method, listing in LISTINGS.items():
            if self.catalog.known(method) is None:
                self.catalog.fill({method: jsonrpc.value({listing.member: []})})
        opening = jsonrpc.value(
            {"capabilities": _LOCKED, "serverInfo": {"name": self.name, "version": "unknown"}, "protocolVersion": ""}
        )
        for xid, exchange in list(self._exchanges.items()):
            if isinstance(exchange.event, Opened) and exchange.session is not None:
                del self._exchanges[xid]
                self._effects.append(Tell(exchange.session, Completed(xid, opening)))

    def wake(self) -> Sequence[BridgeEffect]:
        """What kept the server from letting us in is gone: look again, if a client waits for it."""
        if self.phase is Phase.IDLE and self._sessions:
            self._connect()
        return self._take()

    def _patience(self) -> int:
        """Until when what is asked now waits for a server that cannot be reached."""
        return max(self._now, self._failing_since or 0) + self._ticks(self.policy.unreachable_deadline)

    def _failing_for(self) -> float:
        return 0.0 if self._failing_since is None else (self._now - self._failing_since) * _TICK

    def _renew(self, conversation: ConversationId) -> None:
        """The server has forgotten our session, but may still be answering what it had begun."""
        self._effects.append(Note("the server has forgotten our session; opening a new one"))
        self._effects.append(StartTimer(("retire", conversation), _RETIREMENT))
        self._effects.append(StopTimer("stable"))
        self._flaps += 1
        if self._flaps == 1:
            self._connect()
        else:
            # One that forgets every session at once must not be asked for one after the other.
            self._current = None
            self._wait(self._pause())

    def _pause(self) -> float:
        """Seconds until it is tried again; a conversation that had lasted is opened anew at once."""
        attempt = self._failures + max(self._flaps - 1, 0)
        return backoff(attempt, self._entropy, longest=_LONGEST_BACKOFF) if attempt else 0.0

    def _wait(self, seconds: float) -> None:
        self.phase = Phase.WAITING
        self._effects.append(StartTimer("reconnect", seconds))

    def _retire_if_done(self, conversation: ConversationId) -> None:
        of = self._conversations.get(conversation)
        if of is not None and conversation != self._current and not of.peer.busy():
            self._end(conversation, Loss(Fate.UNKNOWN, Reason.SESSION_LOST, "its session was lost"))

    # Questions of the server to a client.

    def _asked(self, conversation: ConversationId, event: InputRequired) -> None:
        of = self._conversations[conversation]
        exchange = self._exchanges.get(event.xid) if event.xid is not None else None
        session = exchange.session if exchange is not None else None
        if session is None and self.policy.exclusive:
            session = next(iter(self._sessions), None)
        keys = {f"{conversation}.{key}": key for key in event.requests}
        asked = attrs.evolve(event, requests={outer: event.requests[inner] for outer, inner in keys.items()})
        if any(request.method == "roots/list" for request in event.requests.values()):
            of.asked_for_roots = True
        if session is None:
            why = "No client is connected" if self.policy.exclusive else "This server is shared: no client can be asked"
            self._answer(conversation, event.xid, dict.fromkeys(event.requests, self._unavailable(why)))
            return
        for outer, inner in keys.items():
            self._questions[outer] = (conversation, inner, session)
        self._be_patient(session)
        client = self._sessions[session]
        if client.ready:
            self._effects.append(Tell(session, asked))
        elif len(client.held) < _MAX_HELD:
            client.held.append(asked)
        else:
            self._refuse(asked, f"{_MAX_HELD} questions wait for the client already")

    def _be_patient(self, session: SessionId) -> None:
        """A human is asked: whatever the client waits for may take as long as if it had just been asked for."""
        deadline = self._now + self._ticks(self.policy.call_timeout)
        for exchange in self._exchanges.values():
            if exchange.session == session:
                exchange.deadline = max(exchange.deadline, deadline)

    def _refuse(self, asked: InputRequired, why: str) -> None:
        for key in asked.requests:
            found = self._questions.pop(key, None)
            if found is not None:
                self._answer(found[0], asked.xid, {found[1]: self._unavailable(why)})

    def _unavailable(self, why: str) -> ErrorObject:
        return bridge_error(Reason.INPUT_UNAVAILABLE, self.name, why)

    def _answer(
        self, conversation: ConversationId, xid: ExchangeId | None, responses: Mapping[str, Raw | ErrorObject]
    ) -> None:
        self._say(conversation, InputSupplied(xid, responses))

    def _supplied(self, event: InputSupplied) -> None:
        """What was asked together is answered together."""
        responses: dict[ConversationId, dict[str, Raw | ErrorObject]] = {}
        for key, response in event.responses.items():
            found = self._questions.pop(key, None)
            if found is not None:
                conversation, inner, _ = found
                responses.setdefault(conversation, {})[inner] = response
        for conversation, answers in responses.items():
            self._say(conversation, InputSupplied(event.xid, answers, event.state))

    def _withdrawn(self, conversation: ConversationId, event: InputWithdrawn) -> None:
        key = f"{conversation}.{event.key}"
        found = self._questions.pop(key, None)
        if found is None:
            return
        client = self._sessions.get(found[2])
        if client is not None:
            client.held = [question for question in client.held if key not in question.requests]
        self._effects.append(Tell(found[2], InputWithdrawn(key, event.reason)))

    # Time, and what is left to do.

    def _ticks(self, seconds: float) -> int:
        # One more than needed: a tick may be about to fire.
        return int(seconds / _TICK) + 1

    def _start_ticking(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._effects.append(StartTimer("tick", _TICK))

    def _tick(self) -> None:
        self._ticking = False
        self._now += 1
        for xid, exchange in list(self._exchanges.items()):
            if xid in self._exchanges and self._now >= exchange.deadline:
                self._expire(xid, exchange)
            elif xid in self._exchanges and exchange.waits and self._now >= exchange.patience:
                if self.last_loss is not None and exchange.listing is None:
                    loss = attrs.evolve(self.last_loss, fate=_not_sent(self.last_loss.fate))
                    self._fail(xid, failure(self.name, exchange.method, loss))
        if self._exchanges or self._failing_since is not None:
            self._start_ticking()

    def _expire(self, xid: ExchangeId, exchange: _Exchange) -> None:
        if exchange.conversation is not None:
            self._say(exchange.conversation, Cancelled(xid, "timed out"))
            text = f"it did not answer {exchange.method} in time"
            loss = Loss(Fate.UNKNOWN, Reason.UPSTREAM_TIMEOUT, text)
        elif self.last_loss is not None:
            loss = attrs.evolve(self.last_loss, fate=Fate.NEVER_SENT)
        else:
            loss = Loss(Fate.NEVER_SENT, Reason.UPSTREAM_TIMEOUT, "it did not become ready in time")
        error = failure(self.name, exchange.method, loss)
        if loss.fate is Fate.UNKNOWN:
            # It is known that nobody will answer, which is more than that the connection broke.
            error = bridge_error(Reason.UPSTREAM_TIMEOUT, self.name, error.message)
        self._fail(xid, error)
        if exchange.conversation is not None:
            self._retire_if_done(exchange.conversation)

    def _for_clients(self, opening: Raw) -> Raw:
        return with_list_changed(opening) if self.policy.snapshot else opening

    def _take(self) -> Sequence[BridgeEffect]:
        effects, self._effects = self._effects, []
        return effects


def _concerns(updated: str, subscribed: Iterable[str]) -> bool:
    """Resources, Subscriptions: what was updated may be a part of what was subscribed to."""
    return any(updated == uri or updated.startswith(uri.rstrip("/") + "/") for uri in subscribed)


def _not_sent(fate: Fate) -> Fate:
    """What waits to be sent has not run, whatever became of others."""
    return Fate.NEVER_SENT if fate is Fate.UNKNOWN else fate
