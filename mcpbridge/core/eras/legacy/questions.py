"""
What a client of the session era is asked: requests in the other direction, under ids of ours.

Questions that come together are answered together, once nothing of them is open any more.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.capabilities import NEEDS
from mcpbridge.core.conversion import question_for
from mcpbridge.core.effects import Abandon, Deliver, Emit, PeerEffect
from mcpbridge.core.eras.legacy.dialect import MAX_QUESTIONS
from mcpbridge.core.errors import INVALID_REQUEST, METHOD_NOT_FOUND, ErrorObject
from mcpbridge.core.events import (
    ExchangeId,
    InputProgressed,
    InputRequest,
    InputRequired,
    InputSupplied,
    InputWithdrawn,
)
from mcpbridge.core.jsonrpc import InvalidMessage, Notification, Request, RequestId
from mcpbridge.core.progress import with_progress_token

_EMPTY = Raw(b"{}")

#: A client may answer late what it was asked by a daemon that has died since. The next one counts from further up, or
#: it would take that for the answer to a question of its own.
_QUESTIONS_IN_A_LIFE: Final = 1_000_000


@attrs.define
class _Group:
    """What a client was asked together, and what it has said so far."""

    xid: ExchangeId | None
    pending: dict[RequestId, str]
    responses: dict[str, Raw | ErrorObject] = attrs.Factory(dict)

    def supplied(self) -> Sequence[PeerEffect]:
        """The answer, if nothing is open any more."""
        if self.pending or not self.responses:
            return ()
        return (Deliver(InputSupplied(self.xid, self.responses)),)


@attrs.define(eq=False, repr=False)
class Questions:
    """
    Those that are open.

    @ivar life: how many daemons have asked this client before.
    """

    life: int = 0
    _groups: dict[RequestId, _Group] = attrs.Factory(dict)
    _ids: Iterator[int] = attrs.Factory(lambda: itertools.count(1))
    _by_key: dict[str, RequestId] = attrs.Factory(dict)

    def __contains__(self, question_id: RequestId) -> bool:
        return question_id in self._groups

    def begin_life(self, life: int) -> None:
        """Go on after the daemon that had the life before."""
        self.life = life
        self._ids = itertools.count(life * _QUESTIONS_IN_A_LIFE + 1)

    def ask(
        self, event: InputRequired, version: str | None, params: Mapping[str, Raw] | None, within: RequestId | None
    ) -> Sequence[PeerEffect]:
        """
        Ask all of it, or answer for the client if something of it cannot be asked.

        @param version: what the client speaks.
        @param params: of its C{initialize}; L{None} if it is not there.
        @param within: its request that this belongs to.
        """
        refused = self._refusals(event, params)
        if refused is not None:
            return (Deliver(InputSupplied(event.xid, refused)),)
        assert version is not None
        group = _Group(event.xid, {})
        effects: list[PeerEffect] = []
        for key, request in event.requests.items():
            question_id = next(self._ids)
            question = question_for(version, request, _name_of(question_id, request))
            if isinstance(question, ErrorObject):
                group.responses[key] = question
                continue
            group.pending[question_id] = key
            self._groups[question_id] = group
            self._by_key[key] = question_id
            asked = question.params
            if question.wants_progress:
                asked = with_progress_token(asked, question_id)
            effects.append(Emit(Request(question_id, question.method, asked), within))
        return effects or group.supplied()

    def _refusals(self, event: InputRequired, params: Mapping[str, Raw] | None) -> dict[str, Raw | ErrorObject] | None:
        """Why none of it is asked, by key; L{None} if all of it can be."""
        if params is None:
            why = ErrorObject(METHOD_NOT_FOUND, "The client is gone")
        elif len(self._groups) + len(event.requests) > MAX_QUESTIONS:
            why = ErrorObject(INVALID_REQUEST, f"Over {MAX_QUESTIONS} questions to this client are open")
        else:
            declared = _declared(params)
            missing = sorted(
                request.method
                for request in event.requests.values()
                if NEEDS.get(request.method, "") not in ("", *declared)
            )
            if not missing:
                return None
            why = ErrorObject(METHOD_NOT_FOUND, f"The client does not support {', '.join(missing)}")
        return dict.fromkeys(event.requests, why)

    def answered(self, question_id: RequestId, answer: Raw | ErrorObject) -> Sequence[PeerEffect]:
        """The client has said this; nothing if it was not asked, or is not any more."""
        group = self._groups.pop(question_id, None)
        if group is None:
            return ()
        key = group.pending.pop(question_id)
        self._by_key.pop(key, None)
        group.responses[key] = answer
        return group.supplied()

    def progressed(self, question_id: RequestId | None, params: Mapping[str, Raw]) -> Sequence[PeerEffect]:
        """The client works on it; its id was the token."""
        group = self._groups.get(question_id) if question_id is not None else None
        if group is None or question_id is None:
            return ()
        return (Deliver(InputProgressed(group.pending[question_id], params)),)

    def withdraw(self, event: InputWithdrawn) -> Sequence[PeerEffect]:
        """The server does not want to know any more: what else it asked then may be answered now."""
        question_id = self._by_key.pop(event.key, None)
        if question_id is None:
            return ()
        group = self._groups.pop(question_id)
        del group.pending[question_id]
        params: dict[str, object] = {"requestId": question_id}
        if event.reason is not None:
            params["reason"] = event.reason
        told = (Abandon(question_id), Emit(Notification("notifications/cancelled", jsonrpc.value(params))))
        return (*told, *group.supplied())

    def clear(self) -> None:
        """The client is not there to answer."""
        self._groups.clear()
        self._by_key.clear()


def _name_of(question_id: RequestId, question: InputRequest) -> str:
    """What a question is called if it has to have a name: equal to no other, also not of a daemon that has died."""
    digest = hashlib.sha256(jsonrpc.encode_id(question_id) + bytes(question.params or _EMPTY))
    return f"mcpbridge-{digest.hexdigest()[:32]}"


def _declared(params: Mapping[str, Raw]) -> Iterable[str]:
    try:
        return jsonrpc.members(params.get("capabilities", _EMPTY))
    except InvalidMessage:
        return ()
