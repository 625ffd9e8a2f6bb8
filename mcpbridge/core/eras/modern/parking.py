"""
What a server of the session era asks while a call of a client of the stateless era runs.

Such a server sends its question and waits, with the call still open. Such a client can only be asked by ending its
request: with C{input_required}, the questions, and a state. So the call is I{parked}: it stays open toward the
server while the client has no request for it. When the client asks again, with the answers and that state, its new
request becomes the carrier of the very same call; nothing runs twice.

The state is a handle that cannot be guessed, good for this client, this method and these arguments only. A call that
nobody comes back for expires, and never attracts another question: clients may abandon calls, and say nothing.

Roots are asked for in no call, mostly before there is any, and without them a server goes by none, or by those of the
client before. So the client is asked for them in its first call, and the server gets that call when it has them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.capabilities import can_answer
from mcpbridge.core.conversion import question_for
from mcpbridge.core.conversion.shapes import is_object
from mcpbridge.core.effects import Deliver, PeerEffect, StartTimer, StopTimer
from mcpbridge.core.eras.modern.calls import MAX_PARKED, Asked, Call, Calls
from mcpbridge.core.eras.modern.envelope import Facts
from mcpbridge.core.eras.modern.visits import MAX_VISITS, Visits, declined, is_accepted, stay, unavailable
from mcpbridge.core.eras.modern.wording import Wording, nobody
from mcpbridge.core.errors import INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, ErrorObject
from mcpbridge.core.events import (
    Cancelled,
    ExchangeId,
    Failed,
    InputRequest,
    InputRequired,
    InputSupplied,
    InputWithdrawn,
    RootsChanged,
)
from mcpbridge.core.jsonrpc import InvalidMessage

_ROOTS: Final = "roots/list"

#: How a handle of ours begins, so that people see whose it is.
HANDLE_PREFIX: Final = "mcpbridge-"

#: Rounds of one call. A server that asks and asks, or a client that never answers, is stopped here.
MAX_ROUNDS: Final = 16

#: Seconds for which a server's questions are gathered, so that several arrive together.
COALESCE: Final = 0.03

#: Seconds that a parked call waits for its client. People are asked, and may be at lunch.
PATIENCE: Final = 900.0

#: Seconds for which the outcome of a parked call is kept once it was told, in case that answer was lost.
LINGER: Final = 60.0

#: Seconds for which a server's C{roots/list} waits for a call that it can be put to.
ROOTS_DEFERRED: Final = 30.0

#: Seconds that a call waits for the server to ask for roots, once it was told that there are others.
ROOTS_AWAITED: Final = 0.25

#: Seconds that it is given to make the roots its own before it gets the call: some look at the folders first.
ROOTS_SETTLE: Final = 0.1

#: Seconds for which a client's roots are taken to be what they were.
ROOTS_GOOD: Final = 600.0

_EMPTY = Raw(b"{}")
_TIMERS: Final = ("await", "coalesce", "expire", "forget", "visit")


@attrs.define(eq=False)
class Parking:
    """
    See the top of this module.

    @ivar _handles: gives texts that cannot be guessed.
    @ivar _roots: the client's, as it last answered.
    @ivar _deferred: questions that wait for a call that they can be put to.
    @ivar _owes_roots: the server has asked for roots, and was not told any.
    """

    _calls: Calls
    _wording: Wording
    _facts: Facts
    _exchanges: Iterator[ExchangeId]
    _handles: Callable[[], str]
    _roots: Raw | None = None
    _deferred: dict[str, InputRequest] = attrs.Factory(dict)
    _owes_roots: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether no question waits for a call."""
        return not self._deferred

    # The server asks.

    def ask(self, event: InputRequired) -> Sequence[PeerEffect]:
        """Put questions to calls."""
        effects: list[PeerEffect] = []
        for key, question in event.requests.items():
            asked = self._sayable(question)
            if isinstance(asked, ErrorObject):
                effects.append(Deliver(InputSupplied(event.xid, {key: asked})))
            else:
                effects += self._put(event.xid, key, asked)
        return effects

    def _sayable(self, question: InputRequest) -> InputRequest | ErrorObject:
        """A question in the client's words, or what to take for its answer."""
        if not self._can(question):
            return ErrorObject(METHOD_NOT_FOUND, f"The client does not support {question.method}")
        return question_for(self._wording.version, question)

    def _can(self, question: InputRequest) -> bool:
        return can_answer(self._facts.capabilities, question.method, question.params)

    def _put(self, xid: ExchangeId | None, key: str, question: InputRequest) -> Sequence[PeerEffect]:
        if question.method == _ROOTS and self._roots is None and self._calls.withheld():
            return self._put_first(key, question)
        call = self._bearer(xid)
        if call is not None and call.rounds < MAX_ROUNDS:
            call.pending[key] = question
            return () if call.is_parked else (StartTimer(("coalesce", call.xid), COALESCE),)
        is_roots = question.method == _ROOTS
        if is_roots and self._roots is not None:
            return (Deliver(InputSupplied(xid, {key: self._roots})),)
        waits = xid is None and bool(self._calls.parked())
        if (is_roots or waits) and len(self._deferred) < MAX_PARKED:
            self._deferred[key] = question
            return (StartTimer(("deferred", key), PATIENCE if waits else ROOTS_DEFERRED),)
        return (Deliver(InputSupplied(xid, {key: nobody(question)})),)

    def _put_first(self, key: str, question: InputRequest) -> Sequence[PeerEffect]:
        effects: list[PeerEffect] = []
        for call in self._calls.withheld():
            call.pending[key] = question
            effects += (StopTimer(("await", call.xid)), StartTimer(("coalesce", call.xid), COALESCE))
        return effects

    def _bearer(self, xid: ExchangeId | None) -> Call | None:
        """
        The call to put a question to: the one that it belongs to, where that is known; else the oldest that is open
        now. A parked one never attracts what may not be its own: its client may never come back.
        """
        if xid is not None:
            call = self._calls.by_xid.get(xid)
            return call if call is not None and call.may_ask else None
        attached = self._calls.attached()
        return next((call for call in attached if call.may_ask and call.visits is None), None)

    def begin(self, call: Call) -> Sequence[PeerEffect]:
        """Hand a new call on, or ask its client for the roots first that the server has asked for in no call."""
        withheld = self._calls.withheld()
        wanted = any(question.method == _ROOTS for question in self._deferred.values())
        if not call.may_ask or not (withheld or wanted or self._owes_roots):
            return (Deliver(call.called()), *self.put_deferred(call))
        call.withheld = True
        if withheld:
            # Whoever answers first answers for all.
            call.pending.update({key: asked for key, asked in withheld[0].pending.items() if asked.method == _ROOTS})
        stopped = self._take_deferred(call)
        if call.pending:
            return (*stopped, StartTimer(("coalesce", call.xid), COALESCE))
        self._owes_roots = False
        waits = StartTimer(("await", call.xid), ROOTS_AWAITED)
        return (waits,) if withheld else (Deliver(RootsChanged()), waits)

    def _release(self, call: Call) -> Sequence[PeerEffect]:
        """The server gets a call that was withheld, if nothing is to be asked first any more."""
        if not call.withheld or call.is_parked or call.pending:
            return ()
        call.withheld = False
        return (StopTimer(("await", call.xid)), Deliver(call.called()), *self.put_deferred(call))

    def let_go(self) -> Sequence[PeerEffect]:
        """The client will answer nothing any more: the server gets what was withheld, without an answer."""
        effects: list[PeerEffect] = []
        for call in self._calls.withheld():
            if not call.is_parked:
                effects += (*self._refuse_pending(call), *self._release(call))
        return effects

    def _take_deferred(self, call: Call) -> Sequence[PeerEffect]:
        deferred, self._deferred = self._deferred, {}
        call.pending.update(deferred)
        return [StopTimer(("deferred", key)) for key in deferred]

    def put_deferred(self, call: Call) -> Sequence[PeerEffect]:
        """The client has a request open for this call, so it can be asked what waited for one."""
        if not self._deferred or not call.may_ask or call.visits is not None:
            return ()
        return (*self._take_deferred(call), StartTimer(("coalesce", call.xid), COALESCE))

    def withdraw(self, event: InputWithdrawn) -> Sequence[PeerEffect]:
        """The server does not want to know any more; an answer that comes all the same is ignored."""
        if (deferred := self._deferred.pop(event.key, None)) is not None:
            self._owe(deferred)
            return (StopTimer(("deferred", event.key)),)
        effects: list[PeerEffect] = []
        for call in list(self._calls.by_xid.values()):
            call.asked.discard(event.key)
            if (pending := call.pending.pop(event.key, None)) is not None:
                self._owe(pending)
                effects += self._release(call)
        return effects

    def _park(self, call: Call) -> Sequence[PeerEffect]:
        """End the client's requests with what is asked; the call stays open toward the server."""
        if not call.pending or call.is_parked:
            return ()
        if call.rounds >= MAX_ROUNDS:
            text = f"This call was interrupted for input {MAX_ROUNDS} times; it was cancelled"
            failed = Failed(call.xid, ErrorObject(INTERNAL_ERROR, text))
            answers = [self._wording.outcome(call, failed, request_id) for request_id in call.carriers]
            return (*answers, *self.give_up(call, text))
        handle = HANDLE_PREFIX + self._handles()
        effects: list[PeerEffect] = [
            self._wording.questions(request_id, call, handle) for request_id in self._calls.park(call, handle)
        ]
        effects.append(StartTimer(("expire", call.xid), PATIENCE))
        parked = self._calls.parked()
        if len(parked) > MAX_PARKED:
            effects += self.give_up(parked[0], "too many calls wait for the client")
        return effects

    # The client comes back.

    def resume(self, call: Call, asked: Asked) -> Sequence[PeerEffect]:
        """
        The client has come back for a call.

        @raise InvalidMessage: with something else, or with answers that are none. Nothing has been done then.
        """
        if not call.is_meant_by(asked):
            raise InvalidMessage(INVALID_PARAMS, "Invalid params: this requestState belongs to another request")
        responses = jsonrpc.members(asked.responses or _EMPTY)
        if not all(map(is_object, responses.values())):
            raise InvalidMessage(INVALID_PARAMS, "Invalid params: each of the inputResponses is an object")
        self._calls.attach(call, asked.id)
        call.token, call.level = asked.token, asked.level
        effects: list[PeerEffect] = [StopTimer(("expire", call.xid))]
        buffered, call.buffered = call.buffered, []
        for event in buffered:
            effects += self._wording.noted(call, event)
        if call.final is not None:
            return effects + self.tell(call)
        if call.visits is not None:
            return effects + self._visited(call, responses)
        effects += self._supply(call, responses)
        if call.withheld and not call.pending:
            return [*effects, StartTimer(("await", call.xid), ROOTS_SETTLE)]
        effects += self.put_deferred(call)
        if call.pending:
            effects.append(StartTimer(("coalesce", call.xid), COALESCE))
        return effects

    def _supply(self, call: Call, responses: Mapping[str, Raw]) -> Sequence[PeerEffect]:
        effects: list[PeerEffect] = []
        for key, response in responses.items():
            question = call.pending.pop(key, None) if key in call.asked else None
            call.asked.discard(key)
            if question is None:
                # Multi Round-Trip Requests, Error Handling: what was not asked is ignored.
                continue
            if question.method == _ROOTS:
                self._roots, self._owes_roots = Raw(bytes(response)), False
                effects.append(StartTimer("roots", ROOTS_GOOD))
            effects.append(Deliver(InputSupplied(call.xid, {key: response})))
            for other in self._calls.withheld():
                other.pending.pop(key, None)
                effects.append(StartTimer(("await", other.xid), ROOTS_SETTLE))
        return effects

    def tell(self, call: Call) -> list[PeerEffect]:
        """
        Answer those who wait for a call that is over. If it was parked once, its outcome is kept for a while: the
        client may not have seen that answer, and ask again.
        """
        assert call.final is not None
        told = bool(call.carriers)
        effects = self._refuse_pending(call)
        for request_id in list(call.carriers):
            self._calls.detach(call, request_id)
            effects.append(self._wording.outcome(call, call.final, request_id))
        if not call.handles:
            self._calls.close(call)
            return effects
        effects += (
            StopTimer(("expire", call.xid)),
            StartTimer(("forget", call.xid), LINGER if told else PATIENCE),
        )
        for surplus in self._calls.surplus():
            effects += self._drop(surplus)
        return effects

    def _drop(self, call: Call) -> Sequence[PeerEffect]:
        self._calls.close(call)
        return [StopTimer((name, call.xid)) for name in _TIMERS]

    def _refuse(self, xid: ExchangeId | None, key: str, question: InputRequest) -> PeerEffect:
        self._owe(question)
        return Deliver(InputSupplied(xid, {key: nobody(question)}))

    def _refuse_pending(self, call: Call) -> list[PeerEffect]:
        """It is over for the server; but what was asked in it may be for another one, which waits for the answer."""
        pending, call.pending = call.pending, {}
        stopped = [StopTimer(("coalesce", call.xid))] if pending else []
        return [*stopped, *(self._refuse(call.xid, *asked) for asked in pending.items())]

    def _owe(self, question: InputRequest) -> None:
        self._owes_roots |= question.method == _ROOTS

    def give_up(self, call: Call, reason: str | None) -> Sequence[PeerEffect]:
        """Nobody wants this call any more: the server gets answers to what it asked, and the call is cancelled."""
        effects: list[PeerEffect] = []
        is_open = call.final is None and call.visits is None
        if is_open:
            others = {key for other in self._calls.withheld() if other is not call for key in other.pending}
            for key, question in call.pending.items():
                if key not in others:
                    effects.append(self._refuse(call.xid, key, question))
        effects += self._drop(call)
        if is_open and not call.withheld:
            effects.append(Deliver(Cancelled(call.xid, reason)))
        return effects

    # The call is over, and may begin anew: the server wants places on the web to be visited first.

    def visit_first(self, call: Call, error: ErrorObject) -> Sequence[PeerEffect] | None:
        """
        Ask the user to.

        @return: L{None} if the error is to be told as it is.
        """
        visits = Visits.read(error)
        if not visits.questions or call.rounds >= MAX_VISITS:
            return None
        effects = self._refuse_pending(call)
        if not all(map(self._can, visits.questions.values())):
            call.final = Failed(call.xid, unavailable(error))
            return effects + self.tell(call)
        call.visits = visits.names
        call.pending = dict(visits.questions)
        call.asked.clear()
        return (*effects, *self._park(call))

    def _visited(self, call: Call, responses: Mapping[str, Raw]) -> list[PeerEffect]:
        answered = [key for key in call.pending if key in responses and key in call.asked]
        if not all(is_accepted(responses[key]) for key in answered):
            call.final = declined(call.xid, call.method)
            call.visits = None
            call.pending.clear()
            return self.tell(call)
        if not call.pending:
            # Another request of the client has said so before.
            return []
        for key in answered:
            del call.pending[key]
        if call.pending:
            return [StartTimer(("coalesce", call.xid), COALESCE)]
        return [StartTimer(("visit", call.xid), stay(call.rounds))]

    def completed(self, name: str | None) -> Sequence[PeerEffect]:
        """The server says that the user is done at the place of this name."""
        effects: list[PeerEffect] = []
        for call in list(self._calls.by_xid.values()):
            if call.visits is not None and name in call.visits and not call.pending:
                effects += self._send_again(call)
        return effects

    def _send_again(self, call: Call) -> Sequence[PeerEffect]:
        # The server said that it did nothing, so it is asked for the first time.
        stopped = [StopTimer((name, call.xid)) for name in _TIMERS]
        call.visits = None
        self._calls.renumber(call, next(self._exchanges))
        return (*stopped, Deliver(call.called()), *self.put_deferred(call))

    # Time, and the end.

    def fired(self, key: Hashable) -> Sequence[PeerEffect]:
        """A timer has run out."""
        match key:
            case "roots":
                self._roots = None
            case ("deferred", str(name)) if name in self._deferred:
                return (self._refuse(None, name, self._deferred.pop(name)),)
            case (str(what), int(xid)) if xid in self._calls.by_xid:
                return self._call_fired(what, self._calls.by_xid[xid])
        return ()

    def _call_fired(self, what: str, call: Call) -> Sequence[PeerEffect]:
        match what:
            case "await":
                return self._release(call)
            case "coalesce":
                return self._park(call)
            case "expire":
                return self.give_up(call, "the client did not come back")
            case "forget":
                self._calls.close(call)
            case "visit" if call.visits is not None and not call.pending:
                return self._send_again(call)
        return ()

    def close(self, error: ErrorObject) -> Sequence[PeerEffect]:
        """Every call ends with this error; nothing is told to the server, which is somebody else's from now on."""
        effects: list[PeerEffect] = [StopTimer(("deferred", key)) for key in self._deferred]
        self._deferred.clear()
        self._roots, self._owes_roots = None, False
        for call in list(self._calls.by_xid.values()):
            failed = Failed(call.xid, error)
            effects += (self._wording.outcome(call, failed, request_id) for request_id in call.carriers)
            effects += self._drop(call)
        return (*effects, StopTimer("roots"))
