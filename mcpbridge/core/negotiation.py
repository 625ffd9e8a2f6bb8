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
from mcpbridge.core.effects import Deliver, PeerEffect, StartTimer
from mcpbridge.core.eras import legacy, modern
from mcpbridge.core.errors import UNSUPPORTED_PROTOCOL_VERSION, ErrorObject, Fate, Loss, Reason
from mcpbridge.core.events import Completed, Event, ExchangeId, Failed, Lost, Opened
from mcpbridge.core.interfaces import IClientPeer
from mcpbridge.core.jsonrpc import InvalidMessage, Message, RequestId

#: Every revision that mcpbridge speaks, newest first.
VERSIONS: Final = (*modern.VERSIONS, *legacy.VERSIONS)

LEGACY: Final = "legacy"
MODERN: Final = "modern"

#: Seconds that a server gets to answer C{server/discover} at all. Some of the session era say nothing to it.
SILENCE: Final = 5.0


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
@attrs.define(eq=False, repr=False)
class Negotiation:
    """A client peer that becomes one of the server's era."""

    _verdict: Verdict
    _ids: Iterator[int] = attrs.Factory(lambda: itertools.count(1))
    _peer: IClientPeer = attrs.field(init=False)
    _opened: Opened | None = None
    _trying: str | None = None
    _first_answer: Failed | Lost | None = None

    def __attrs_post_init__(self) -> None:
        self._peer = legacy.ClientPeer(ids=self._ids)

    def send(self, event: Event) -> Sequence[PeerEffect]:
        """See L{mcpbridge.core.interfaces.IPeer}."""
        if isinstance(event, Opened):
            self._opened = event
            own = MODERN if event.version in modern.VERSIONS else LEGACY
            return self._try(self._verdict.era or own)
        return self._peer.send(event)

    def receive(self, message: Message, within: RequestId | None) -> Sequence[PeerEffect]:
        """See L{mcpbridge.core.interfaces.IPeer}."""
        return self._judged(self._peer.receive(message, within))

    def receive_garbage(self, invalid: InvalidMessage) -> Sequence[PeerEffect]:
        """See L{mcpbridge.core.interfaces.IPeer}."""
        return self._judged(self._peer.receive_garbage(invalid))

    def lost(self, request_id: RequestId, loss: Loss) -> Sequence[PeerEffect]:
        """See L{mcpbridge.core.interfaces.IClientPeer}."""
        return self._judged(self._peer.lost(request_id, loss))

    def close(self, loss: Loss) -> Sequence[PeerEffect]:
        """See L{mcpbridge.core.interfaces.IClientPeer}."""
        if self._trying == MODERN and not self._verdict.fixed and loss.fate is Fate.UNKNOWN:
            # Some end when they are spoken to before initialize.
            self._verdict.era = LEGACY
        self._trying = None
        return self._peer.close(loss)

    def forget(self, xid: ExchangeId) -> None:
        """See L{mcpbridge.core.interfaces.IClientPeer}."""
        self._peer.forget(xid)

    def busy(self) -> bool:
        """See L{mcpbridge.core.interfaces.IClientPeer}."""
        return self._peer.busy()

    def fired(self, key: Hashable) -> Sequence[PeerEffect]:
        """See L{mcpbridge.core.interfaces.IPeer}."""
        if key == "silence":
            return self._fall_back(None) if self._trying == MODERN and self._opened is not None else ()
        return self._peer.fired(key)

    def _try(self, era: str) -> Sequence[PeerEffect]:
        assert self._opened is not None
        self._trying = era
        if era == MODERN:
            self._peer = modern.ClientPeer(ids=self._ids)
            effects = self._peer.send(self._opened)
            may_fall_back = not self._verdict.fixed and self._first_answer is None
            return (*effects, StartTimer("silence", SILENCE)) if may_fall_back else effects
        self._peer = legacy.ClientPeer(ids=self._ids)
        version = self._opened.version if self._opened.version in legacy.VERSIONS else legacy.VERSIONS[0]
        return self._peer.send(attrs.evolve(self._opened, version=version))

    def _judged(self, effects: Sequence[PeerEffect]) -> Sequence[PeerEffect]:
        if self._trying is None or self._opened is None:
            return effects
        for effect in effects:
            if isinstance(effect, Deliver):
                match effect.event:
                    case Completed(xid) if xid == self._opened.xid:
                        self._verdict.era = self._trying
                        self._trying = None
                        return effects
                    case Failed(xid) | Lost(xid) if xid == self._opened.xid:
                        return self._refused(effect.event, effects)
        return effects

    def _refused(self, answer: Failed | Lost, effects: Sequence[PeerEffect]) -> Sequence[PeerEffect]:
        if self._first_answer is not None:
            # Neither will do; the answer in the client's own era says more.
            self._trying = None
            assert self._opened is not None
            return (Deliver(attrs.evolve(self._first_answer, xid=self._opened.xid)),)
        if self._verdict.fixed or not _another_may(self._trying, answer):
            self._trying = None
            return effects
        return self._fall_back(answer)

    def _fall_back(self, answer: Failed | Lost | None) -> Sequence[PeerEffect]:
        assert self._opened is not None
        if answer is None:
            loss = Loss(Fate.FAILED, Reason.UPSTREAM_TIMEOUT, "it answers neither server/discover nor initialize")
            answer = Lost(self._opened.xid, loss)
        self._first_answer = answer
        return self._try(LEGACY if self._trying == MODERN else MODERN)


def _another_may(tried: str | None, answer: Failed | Lost) -> bool:
    """Whether a server that answers so may speak the other era."""
    if isinstance(answer, Lost):
        # Failures of the network are no evidence; a refusal without a word of JSON-RPC is, of the session era.
        unknown_session = answer.loss.fate is Fate.SESSION_LOST
        refused = answer.loss.fate is Fate.FAILED and answer.loss.reason in _NO_EVIDENCE_AGAINST
        return tried == MODERN and (refused or unknown_session)
    if answer.error.code == UNSUPPORTED_PROTOCOL_VERSION:
        supported = _supported(answer.error)
        return not supported or bool(set(supported) & set(legacy.VERSIONS if tried == MODERN else modern.VERSIONS))
    return True


_NO_EVIDENCE_AGAINST: Final = (Reason.MALFORMED, Reason.UPSTREAM_UNREACHABLE)


def _supported(error: ErrorObject) -> list[str]:
    try:
        found = jsonrpc.read(jsonrpc.members(error.data or b"{}").get("supported", b"[]"))
    except InvalidMessage:
        return []
    return [version for version in found if isinstance(version, str)] if isinstance(found, list) else []
