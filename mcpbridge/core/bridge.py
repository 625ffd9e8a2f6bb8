"""
One server, as mcpbridge knows it, and the clients that use it now.

Theory of operation. A bridge joins the sessions of its clients to one I{upstream conversation} at a time. Clients'
sessions speak to it in neutral events (L{Bridge.deliver}); toward the server it has a client peer of the server's era,
and whoever drives it gives that peer's messages a transport. Nothing here waits, sends or looks at a clock: it is told
what happened and returns what is to be done (L{mcpbridge.core.effects}).

  - An I{exchange} is one request on its way to the server and back. It is remembered until it is answered, so that it
    can be sent again in another conversation where that is safe; else it ends with an error. Each has a deadline
    (L{mcpbridge.core.exchanges}).
  - The I{conversation} is opened when it is first needed and opened anew when it is lost
    (L{mcpbridge.core.conversations}), sooner or later as the server deserves (L{mcpbridge.core.outage}). A server
    that hangs is one that is lost (L{mcpbridge.core.pulse}).
  - What the server said of itself, its opening answer (L{mcpbridge.core.openings}) and its lists
    (L{mcpbridge.core.lists}), is kept and answered from memory at once, also while the server is away; it is fetched
    again behind the client's back, and clients are told when it turns out to be different.
  - A I{wish} of a client outlives its request, and the conversation that it was said in (L{mcpbridge.core.wishes}).
  - A I{task} is a call that goes on behind a handle; who knows no such thing, or another kind of it, is served as if
    it did (L{mcpbridge.core.tasks.desk}).
  - A I{question} is a request of the server to a client. It goes to the session whose exchange caused it, or to the
    only session there is; else it is refused (L{mcpbridge.core.questions}). Roots are asked for anew when another
    client takes over (L{mcpbridge.core.handovers}).

Each of these keeps its own tables and knows only those before it. Here they are joined: what a client says
(L{Bridge.deliver}) and what the server says (C{_said}) is shown to whom it concerns, and nobody else decides whom that
is. All that is said to clients is said in one place (C{_tell}).

An exclusive bridge has one session at most, and outlives it: the next client of the same profile takes it over.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

from msgspec import Raw

from mcpbridge.core.catalog import LISTINGS, Snapshot
from mcpbridge.core.conversations import Conversations, Phase
from mcpbridge.core.effects import BridgeEffect, ConversationId, Save, SessionId, StartTimer, StopTimer, Tell
from mcpbridge.core.errors import ErrorObject, Fate, Loss, Reason, bridge_error
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Changed,
    Completed,
    Event,
    ExchangeId,
    Failed,
    InputProgressed,
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
    TasksWatched,
    Unsubscribed,
)
from mcpbridge.core.exchanges import Asking, Exchange, Exchanges
from mcpbridge.core.handovers import Handovers
from mcpbridge.core.interfaces import IClientPeer
from mcpbridge.core.jsonrpc import InvalidMessage, Message, RequestId
from mcpbridge.core.lists import Lists
from mcpbridge.core.news import News
from mcpbridge.core.notices import Notices
from mcpbridge.core.openings import Openings
from mcpbridge.core.outage import Outage, is_hopeless
from mcpbridge.core.policy import Policy
from mcpbridge.core.pulse import Pulse
from mcpbridge.core.questions import Questions
from mcpbridge.core.retry import IDEMPOTENT
from mcpbridge.core.tasks.desks import Desks
from mcpbridge.core.tasks.steps import Down, Post, Step, Up
from mcpbridge.core.ticks import Ticks
from mcpbridge.core.wishes import Wishes

__all__ = ["Bridge", "Phase", "Policy"]


class Bridge:
    """
    See the top of this module.

    @ivar name: the server's name, for texts.
    """

    def __init__(
        self,
        name: str,
        opening: Opened,
        policy: Policy,
        client_peer: Callable[[], IClientPeer],
        exchange_ids: Iterator[ExchangeId],
        entropy: Callable[[], float],
        desks: Desks,
    ) -> None:
        """
        @param opening: how we introduce ourselves to the server: revision and C{initialize} params.
        @param exchange_ids: those of no other bridge.
        @param entropy: numbers in [0, 1).
        @param desks: for the tasks of its clients.
        """
        self.name = name
        self.policy = policy
        self._closed: ErrorObject | None = None
        self._desks = desks
        #: The clients, and whether each has said that it is ready.
        self._sessions: dict[SessionId, bool] = {}
        self._overdue = bridge_error(
            Reason.UPSTREAM_TIMEOUT, name, f"{name}: its task did not end within {policy.call_timeout:g} s"
        )
        self._effects: list[BridgeEffect] = []
        do = self._effects.append
        self._ticks = Ticks(do)
        self._outage = Outage(policy.unreachable_deadline, self._ticks, entropy)
        self._conversations = Conversations(
            opening, policy, client_peer, exchange_ids, self._outage, do, self._said, self._over, self._cut_off
        )
        conversations, tell = self._conversations, self._tell
        self._exchanges = Exchanges(
            name,
            policy,
            self._ticks,
            self._outage,
            conversations,
            do,
            tell,
            self._shared_level,
            self._is_wanted,
            self._list_failed,
            self._given_up,
        )
        self._pulse = Pulse(policy, self._exchanges, conversations, exchange_ids, do)
        self._openings = Openings(name, policy.snapshot, self._exchanges, tell)
        self._lists = Lists(name, self._exchanges, exchange_ids, conversations.want, do, tell)
        self._wishes = Wishes(self._exchanges, conversations, exchange_ids, tell)
        self._handovers = Handovers(self._exchanges, conversations, do)
        self._questions = Questions(
            name, policy, self._sessions, self._exchanges, conversations, self._handovers, tell, desks.owner_of
        )
        self._notices = Notices(conversations, do)
        self._news = News(policy, self._sessions, self._exchanges, self._wishes, self._lists, tell, desks.bearer_of)

    # What others may ask.

    def remember(self, snapshot: Snapshot) -> None:
        """Start from what was known of the server before."""
        self._openings.learn(snapshot.opening)
        self._lists.learn(snapshot.opening)
        self._desks.learn(snapshot.opening)
        self._lists.catalog.fill(snapshot.lists)

    def snapshot(self) -> Snapshot | None:
        """What is worth knowing the next time."""
        if self._openings.known is None:
            return None
        return Snapshot(self._openings.known, self._lists.catalog.all())

    @property
    def phase(self) -> Phase:
        """How far the current conversation has come."""
        return self._conversations.phase

    @property
    def last_loss(self) -> Loss | None:
        """Why the server cannot be had, or why something got lost since it opened."""
        return self._outage.last_loss

    @property
    def sessions(self) -> int:
        """How many clients use it now."""
        return len(self._sessions)

    def busy(self) -> bool:
        """Whether a client waits for an answer."""
        return bool(self._desks) or any(exchange.session is not None for exchange in self._exchanges)

    def counts(self) -> Mapping[str, int]:
        """The sizes of all tables, for operators and for tests that want them empty."""
        return {
            "sessions": len(self._sessions),
            "exchanges": len(self._exchanges),
            "conversations": len(self._conversations),
            "questions": len(self._questions),
            "held": len(self._notices),
            "tasks": len(self._desks),
        }

    # Clients come, speak and go.

    def attach(self, session: SessionId) -> None:
        """A client's session is served by this bridge from now on; its C{Opened} follows."""
        self._sessions[session] = False
        self._pulse.taken_over()
        self._wishes.attach(session)
        self._lists.attach(session)
        self._desks.attach(session)

    def detach(self, session: SessionId) -> Sequence[BridgeEffect]:
        """
        The client is gone: what it wanted is cancelled, what it was asked is answered, what it wished for is undone.
        """
        if session not in self._sessions:
            return ()
        self._walk(session, self._desks.detach(session))
        del self._sessions[session]
        self._lists.detach(session)
        wishes = self._wishes.detach(session)
        for xid, exchange in self._exchanges.asked_by(session).items():
            self._exchanges.cancel(Cancelled(xid, "the client is gone"))
            # A wish that is cancelled may have come true all the same.
            if not isinstance(exchange.event, Unsubscribed):
                wishes.granted(exchange.event)
        self._notices.detach(session)
        self._questions.detach(session)
        if self.phase is Phase.READY:
            self._wishes.undo(wishes)
            self._lists.fetch_doubtful()
        if not self._sessions:
            self._lists.rest()
            if self.phase is Phase.WAITING:
                self._conversations.rest()
        return self._take()

    def deliver(self, session: SessionId, event: Event) -> Sequence[BridgeEffect]:
        """A client says something."""
        if self._closed is not None or self._desks.passes(session, event):
            self._enter(session, event)
        else:
            self._walk(session, self._desks.up(session, event))
        return self._take()

    def _walk(self, session: SessionId, steps: Sequence[Step]) -> None:
        """What the tasks of a client make of what was said."""
        for step in steps:
            match step:
                case Up(event):
                    self._enter(session, event)
                case Down(event):
                    self._effects.append(Tell(session, event))
                case Post(event) if self._closed is None:
                    self._exchanges.submit(None, event, event.method)
                case StartTimer(key, seconds):
                    self._effects.append(StartTimer(("tasks", session, key), seconds))
                case StopTimer(key):
                    self._effects.append(StopTimer(("tasks", session, key)))

    def _enter(self, session: SessionId, event: Event) -> None:
        is_ready = self._sessions[session]
        if self._closed is not None:
            if isinstance(event, Asking):
                self._tell(session, Failed(event.xid, self._closed))
            return
        match event:
            case Called():
                if not is_ready:
                    self._client_ready(session)
                if event.method in LISTINGS and self.policy.snapshot:
                    self._lists.ask(session, event)
                else:
                    self._exchanges.submit(session, event, event.method)
            case Opened():
                self._client_opened(session, event)
            case Ready():
                if not is_ready:
                    self._client_ready(session)
            case LevelSet() | Subscribed() | Unsubscribed():
                self._wishes.ask(session, event)
            case TasksWatched():
                self._wishes.watch(session, event)
            case Cancelled():
                self._exchanges.cancel(event)
            case InputSupplied():
                self._questions.supplied(event)
            case InputProgressed():
                self._questions.progressed(event)
            case RootsChanged() | Notified():
                self._notices.notify(session, event)

    def _client_opened(self, session: SessionId, event: Opened) -> None:
        if self.policy.exclusive:
            # The next conversation is opened in the name of the client that uses it.
            self._conversations.opening = event
        self._openings.ask(session, event, self.phase is Phase.READY)
        self._conversations.want()

    def _client_ready(self, session: SessionId) -> None:
        self._sessions[session] = True
        self._questions.ready(session)

    # The server comes, speaks and goes.

    def connected(self, conversation: ConversationId) -> Sequence[BridgeEffect]:
        """The transport asked for with C{Connect} can send."""
        self._conversations.connected(conversation)
        return self._take()

    def connect_failed(self, conversation: ConversationId, loss: Loss) -> Sequence[BridgeEffect]:
        """The transport asked for with C{Connect} could not be had."""
        self._conversations.gone(conversation, loss)
        return self._take()

    def disconnected(self, conversation: ConversationId, loss: Loss) -> Sequence[BridgeEffect]:
        """The transport is gone, by itself."""
        self._conversations.gone(conversation, loss)
        return self._take()

    def received(
        self, conversation: ConversationId, message: Message, within: RequestId | None
    ) -> Sequence[BridgeEffect]:
        """The server says something."""
        self._pulse.trust(conversation)
        self._conversations.received(conversation, message, within)
        return self._take()

    def received_garbage(self, conversation: ConversationId, invalid: InvalidMessage) -> Sequence[BridgeEffect]:
        """The server sent bytes that are no message."""
        self._conversations.received_garbage(conversation, invalid)
        return self._take()

    def request_lost(self, conversation: ConversationId, request_id: RequestId, loss: Loss) -> Sequence[BridgeEffect]:
        """A request that we sent will get no answer."""
        self._conversations.request_lost(conversation, request_id, loss)
        return self._take()

    def wake(self) -> Sequence[BridgeEffect]:
        """What kept the server from letting us in is gone: look again, if a client waits for it."""
        if self.phase is Phase.IDLE and self._sessions:
            self._conversations.connect()
        return self._take()

    def fired(self, key: Hashable) -> Sequence[BridgeEffect]:
        """A timer has run out."""
        match key:
            case "tick":
                self._ticks.fired()
                self._exchanges.ticked()
            case "revalidate":
                if self.phase is Phase.READY:
                    self._lists.fetch_doubtful()
            case ("retry", int(xid)):
                self._exchanges.retry(xid)
            case "pulse":
                self._pulse.fired()
            case ("roots", int(session)):
                self._handovers.fired(session)
            case ("tasks", int(session), key) if session in self._sessions:
                self._walk(session, self._desks.fired(session, key, self._overdue))
            case _:
                self._conversations.fired(key)
        return self._take()

    def close(self, reason: Reason, text: str) -> Sequence[BridgeEffect]:
        """
        Never again: every exchange ends with an error, every conversation is hung up.

        @param text: why, as a sentence without its full stop.
        """
        self._closed = bridge_error(reason, self.name, f"{text}; ask again", retryable=True)
        self._notices.clear()
        self._exchanges.close(reason, text)
        self._conversations.close(Loss(Fate.UNKNOWN, reason, text))
        self._lists.rest()
        self._ticks.stop()
        for session in self._sessions:
            self._walk(session, self._desks.end(session, self._closed))
        return self._take()

    def _said(self, conversation: ConversationId, event: Event) -> None:
        match event:
            case Completed(xid):
                if self._conversations.is_opened_by(conversation, xid):
                    self._opened(conversation, event.result)
                else:
                    self._completed(event)
            case Failed(xid):
                if self._conversations.is_opened_by(conversation, xid):
                    self._refused(conversation, event.error)
                else:
                    self._exchanges.answered_with_error(event)
            case Lost(xid):
                if self._conversations.is_opened_by(conversation, xid):
                    self._conversations.end(conversation, event.loss)
                else:
                    self._exchanges.lost(xid, event.loss)
            case Progressed() | Notified() | Logged() | Changed():
                self._news.came(event)
            case InputRequired():
                self._questions.ask(conversation, event)
            case InputWithdrawn():
                self._questions.withdrawn(conversation, event)

    def _completed(self, event: Completed) -> None:
        exchange = self._exchanges.pop(event.xid)
        if exchange is None:
            return
        if exchange.session is not None:
            self._wishes.granted(exchange.session, exchange.event)
            self._tell(exchange.session, event)
            if exchange.method not in IDEMPOTENT:
                self._lists.acted(exchange.session)
        elif exchange.listing is not None:
            self._lists.came(exchange.listing, event.result, event.envelope)
        self._conversations.retire_if_done(exchange.conversation)

    # What follows for others.

    def _opened(self, conversation: ConversationId, result: Raw) -> None:
        # A copy of its own, without the message that it came in.
        result = Raw(bytes(result))
        changed = self._openings.learn(result)
        self._lists.learn(result)
        self._desks.learn(result)
        self._pulse.learn(result)
        self._conversations.opened(conversation)
        if changed:
            self._effects.append(Save())
        self._openings.opened(self._sessions, changed)
        self._wishes.restore()
        self._lists.opened()
        self._notices.flush(conversation)
        for session in self._sessions:
            for event in self._desks.early(session):
                if self._exchanges.pop(event.xid) is not None:
                    self._walk(session, self._desks.up(session, event))
        self._exchanges.flush()

    def _refused(self, conversation: ConversationId, error: ErrorObject) -> None:
        self._exchanges.refuse(error)
        loss = Loss(Fate.FAILED, Reason.UPSTREAM_UNREACHABLE, f"it refused to open: {error.message}")
        self._conversations.end(conversation, loss)

    def _over(self, conversation: ConversationId) -> None:
        self._questions.over(conversation)
        self._pulse.trust(conversation)

    def _cut_off(self, loss: Loss, established: bool) -> None:
        if self._outage.began(loss, established):
            self._exchanges.postpone()
        hopeless = not established and is_hopeless(loss)
        if hopeless or (not established and self._outage.is_long):
            if loss.reason is Reason.AUTH_REQUIRED and self.policy.snapshot:
                self._lists.assume_empty()
                self._openings.let_in()
            self._exchanges.give_up(loss)
        if hopeless or not (self._sessions or self._exchanges):
            # Trying again by ourselves would not help, or nobody needs it; the next request tries.
            self._conversations.rest()
        else:
            self._conversations.wait(max(self._outage.pause(), loss.retry_after or 0.0))

    def _shared_level(self, exchange: Exchange, event: LevelSet) -> LevelSet:
        return self._wishes.shared_level(exchange, event)

    def _is_wanted(self, uri: str) -> bool:
        return self._wishes.is_wanted(uri)

    def _given_up(self, conversation: ConversationId, xid: ExchangeId) -> None:
        self._pulse.doubt(conversation, xid)

    def _list_failed(self, xid: ExchangeId, exchange: Exchange, error: ErrorObject) -> None:
        self._lists.failed(xid, exchange, error)

    def _tell(self, session: SessionId, event: Event) -> None:
        if self._desks.passes(session, event):
            self._effects.append(Tell(session, event))
        else:
            self._walk(session, self._desks.down(session, event))

    def _take(self) -> Sequence[BridgeEffect]:
        effects = self._effects.copy()
        self._effects.clear()
        return effects
