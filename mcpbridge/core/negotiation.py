"""
Which era does the server speak? Found out by opening the conversation, and remembered.

The client's own era is tried first, since nothing is lost where both ends speak the same; if the server will not have
it, the other one is, in the same conversation. So a server that most clients could talk to directly sees nothing but
what they would have sent.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Sequence
from typing import Final

import attrs
from zope.interface import implementer

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import listed, opened
from mcpbridge.core.effects import Abandon, Deliver, Emit, PeerEffect, StartTimer
from mcpbridge.core.eras import legacy, modern
from mcpbridge.core.eras.modern.envelope import refuses_version
from mcpbridge.core.errors import (
    HEADER_MISMATCH,
    MISSING_CLIENT_CAPABILITY,
    ErrorObject,
    Fate,
    Loss,
    Reason,
)
from mcpbridge.core.events import Completed, Event, ExchangeId, Failed, Lost, Opened
from mcpbridge.core.interfaces import IClientPeer
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Request, RequestId, Result
from mcpbridge.version import VERSION

#: Every revision that mcpbridge speaks, newest first.
VERSIONS: Final = (*modern.VERSIONS, *legacy.VERSIONS)

LEGACY: Final = "legacy"
MODERN: Final = "modern"

#: Seconds that a server gets to answer C{server/discover} at all. Some of the session era say nothing to it.
SILENCE: Final = 5.0

#: Who asks where the client does not say who it is.
_OURSELVES: Final = jsonrpc.value({"name": "mcpbridge", "version": VERSION})


@attrs.define
class Verdict:
    """
    What is known of a server; shared by all conversations with it.

    @ivar era: C{"legacy"}, C{"modern"} or L{None}.
    @ivar fixed: the user said so; nothing else is tried.
    """

    era: str | None = None
    fixed: bool = False


@implementer(IClientPeer)
@attrs.define(eq=False)
class Negotiation:
    """
    A client peer that becomes one of the server's era.

    @ivar _name: what the server is called if it does not say.
    @ivar _trying: the era that is tried; L{None} before, and once it is known.
    @ivar _first_answer: why the era that was tried first will not do.
    @ivar _late: of a server that was silent: it may be slow to start, so that what it was asked first may still be
        answered.
    @ivar _discover: the request that asked it.
    """

    _verdict: Verdict
    _name: str = "unknown"
    _ids: Iterator[int] = attrs.Factory(lambda: itertools.count(1))
    _peer: IClientPeer = attrs.field(init=False)
    _opened: Opened | None = None
    _trying: str | None = None
    _first_answer: Failed | Lost | None = None
    _late: IClientPeer | None = None
    _discover: RequestId | None = None
    _probed_again: bool = False

    def __attrs_post_init__(self) -> None:
        self._peer = legacy.ClientPeer(ids=self._ids)

    def send(self, event: Event) -> Sequence[PeerEffect]:
        """See L{mcpbridge.core.interfaces.IPeer}."""
        if isinstance(event, Opened):
            self._opened = event
            return self._try(self._verdict.era or self._own())
        return self._peer.send(event)

    def receive(self, message: Message, within: RequestId | None) -> Sequence[PeerEffect]:
        """See L{mcpbridge.core.interfaces.IPeer}."""
        if self._late is not None and isinstance(message, Result | Error) and message.id == self._discover:
            return self._answered_late(self._late.receive(message, within))
        return self._judged(self._peer.receive(message, within))

    def receive_garbage(self, invalid: InvalidMessage) -> Sequence[PeerEffect]:
        """See L{mcpbridge.core.interfaces.IPeer}."""
        return self._judged(self._peer.receive_garbage(invalid))

    def lost(self, request_id: RequestId, loss: Loss) -> Sequence[PeerEffect]:
        """See L{mcpbridge.core.interfaces.IClientPeer}."""
        return self._judged(self._peer.lost(request_id, loss))

    def close(self, loss: Loss) -> Sequence[PeerEffect]:
        """See L{mcpbridge.core.interfaces.IClientPeer}."""
        # Asked, and no answer yet: the only question so far, or the one before C{initialize}.
        unanswered = self._late is not None or (self._trying == MODERN and self._first_answer is None)
        if unanswered and not self._verdict.fixed and loss.fate is Fate.UNKNOWN and loss.reason not in _OUR_WISH:
            # Some end when they are spoken to before initialize, or when they are spoken to again after that.
            self._verdict.era = LEGACY
        self._trying = self._late = None
        return self._peer.close(loss)

    def forget(self, xid: ExchangeId) -> None:
        """See L{mcpbridge.core.interfaces.IClientPeer}."""
        self._peer.forget(xid)

    def busy(self) -> bool:
        """See L{mcpbridge.core.interfaces.IClientPeer}."""
        return self._peer.busy()

    def fired(self, key: Hashable) -> Sequence[PeerEffect]:
        """See L{mcpbridge.core.interfaces.IPeer}."""
        if key != "silence":
            return self._peer.fired(key)
        if self._trying != MODERN or self._opened is None:
            return ()
        loss = Loss(Fate.FAILED, Reason.UPSTREAM_TIMEOUT, f"it did not answer server/discover within {SILENCE:g} s")
        silent = Lost(self._opened.xid, loss)
        if self._first_answer is not None:
            return self._refused(silent, ())
        self._first_answer = silent
        self._late = self._peer
        return self._try(LEGACY)

    def _try(self, era: str) -> Sequence[PeerEffect]:
        assert self._opened is not None
        self._trying = era
        if era == MODERN:
            self._peer = modern.ClientPeer(name=self._name, ids=self._ids)
            effects = self._peer.send(self._opened)
            self._discover = _request_id(effects)
            return effects if self._verdict.fixed else (*effects, StartTimer("silence", SILENCE))
        self._peer = legacy.ClientPeer(ids=self._ids)
        version = self._opened.version if self._opened.version in legacy.VERSIONS else legacy.VERSIONS[0]
        # Lifecycle, Initialization: it needs a name, which clients of the other era may leave out.
        params = {"clientInfo": _OURSELVES, **self._opened.params}
        return self._peer.send(attrs.evolve(self._opened, version=version, params=params))

    def _judged(self, effects: Sequence[PeerEffect]) -> Sequence[PeerEffect]:
        if self._opened is None:
            return effects
        if self._trying is None:
            return effects if self._verdict.fixed else list(map(self._heed, effects))
        match _outcome(effects, self._opened.xid):
            case Completed():
                return (*effects, *self._settle(self._trying))
            case Failed() | Lost() as refused:
                return self._refused(refused, effects)
        return effects

    def _own(self) -> str:
        """The era of the client in whose name the conversation is opened."""
        assert self._opened is not None
        return MODERN if self._opened.version in modern.VERSIONS else LEGACY

    def _settle(self, era: str) -> Sequence[PeerEffect]:
        """
        The server speaks this era. Only that it does not speak a client's own is worth remembering: one that speaks
        both must go on with each client in its own.
        """
        if era != self._own() or self._verdict.era != era:
            self._verdict.era = None if era == self._own() else era
        self._trying = None
        late, self._late = self._late, None
        return () if late is None or self._discover is None else (Abandon(self._discover),)

    def _answered_late(self, effects: Sequence[PeerEffect]) -> Sequence[PeerEffect]:
        """A server that was slow to start has got to what it was asked first."""
        assert self._opened is not None
        late, self._late = self._late, None
        match _outcome(effects, self._opened.xid):
            case Completed() if late is not None:
                # What initialize will be answered has nobody who waits for it.
                self._peer = late
                return (*effects, *self._settle(MODERN))
            case Failed() | Lost() as refused:
                self._first_answer = refused
        return ()

    def _refused(self, answer: Failed | Lost, effects: Sequence[PeerEffect]) -> Sequence[PeerEffect]:
        if self._first_answer is not None and _is_evidence(answer):
            # Neither will do; the answer in the client's own era says more.
            self._trying = None
            assert self._opened is not None
            return (Deliver(attrs.evolve(self._first_answer, xid=self._opened.xid)),)
        if self._trying == MODERN and not self._probed_again and _is_modern(answer):
            self._probed_again = True
            return self._try(MODERN)
        if self._verdict.fixed or not _another_may(self._trying, answer):
            self._trying = None
            return effects
        self._first_answer = answer
        return self._try(LEGACY if self._trying == MODERN else MODERN)

    def _heed(self, effect: PeerEffect) -> PeerEffect:
        """A server that refuses the revision in mid-conversation has become another one, and has done nothing."""
        match effect:
            case Deliver(Failed(xid, error)) if isinstance(self._peer, legacy.ClientPeer) and _has_no_sessions(error):
                text = f"it does not speak this protocol version any more: {error.message}"
                effect = Deliver(Lost(xid, Loss(Fate.SESSION_LOST, Reason.VERSION_REFUSED, text)))
                self._verdict.era = None
            case Deliver(Lost(_, Loss(reason=Reason.VERSION_REFUSED))):
                self._verdict.era = None
        return effect


def _request_id(effects: Sequence[PeerEffect]) -> RequestId | None:
    asked = (effect.message for effect in effects if isinstance(effect, Emit))
    return next((message.id for message in asked if isinstance(message, Request)), None)


def _outcome(effects: Sequence[PeerEffect], xid: ExchangeId) -> Completed | Failed | Lost | None:
    """How this exchange ends, if it does."""
    for effect in effects:
        if isinstance(effect, Deliver) and isinstance(effect.event, Completed | Failed | Lost):
            if effect.event.xid == xid:
                return effect.event
    return None


def _is_evidence(answer: Failed | Lost) -> bool:
    """Whether this says anything of the server; failures of the network do not."""
    if isinstance(answer, Failed) or answer.loss.fate is Fate.SESSION_LOST:
        return True
    return answer.loss.fate is Fate.FAILED and answer.loss.reason in _REFUSED


def _is_modern(answer: Failed | Lost) -> bool:
    """Whether only a server of the stateless era refuses like that, and may not do so the next time."""
    if isinstance(answer, Lost):
        return False
    if refuses_version(answer.error):
        return not set(_supported(answer.error)).isdisjoint(modern.VERSIONS)
    return answer.error.code in (HEADER_MISMATCH, MISSING_CLIENT_CAPABILITY)


def _has_no_sessions(error: ErrorObject) -> bool:
    """Whether a server says that it speaks the stateless era only. In a session, the code alone means anything."""
    supported = set(_supported(error)) if refuses_version(error) else set()
    return not supported.isdisjoint(modern.VERSIONS) and supported.isdisjoint(legacy.VERSIONS)


def _another_may(tried: str | None, answer: Failed | Lost) -> bool:
    """Whether a server that answers so may speak the other era."""
    if isinstance(answer, Lost):
        if tried == LEGACY:
            # It took the handshake, but what it named is a revision without one.
            return answer.loss.reason is Reason.VERSION_REFUSED
        # A refusal without a word of JSON-RPC is of the session era.
        return _is_evidence(answer)
    if refuses_version(answer.error):
        supported = _supported(answer.error)
        return not supported or bool(set(supported) & set(legacy.VERSIONS if tried == MODERN else modern.VERSIONS))
    return True


#: Reasons of a refusal of this one request.
_REFUSED: Final = (Reason.MALFORMED, Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_TIMEOUT)

#: Why a conversation ends that says nothing of the server.
_OUR_WISH: Final = (Reason.STOPPING, Reason.REMOVED, Reason.OVERLOADED)


def _supported(error: ErrorObject) -> list[str]:
    found = (jsonrpc.decode_string(version) for version in listed(opened(error.data).get("supported")))
    return [version for version in found if version is not None]
