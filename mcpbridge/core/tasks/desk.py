"""
The tasks of one client, at one server.

Where both ends speak of tasks in the same dialect, all of it passes as it is. Where they do not, this stands between:
the client's calls become tasks or are kept from becoming some, and requests about tasks are answered in its dialect.

  - A client that knows no tasks, or asks for none, gets what comes of a tool that runs as nothing else
    (L{mcpbridge.core.tasks.pursuit}).
  - A client of the session dialect at a server of the extension: L{mcpbridge.core.tasks.asked_for}.
  - A client of the extension at a server of the session dialect: L{mcpbridge.core.tasks.decided}.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.shapes import opened
from mcpbridge.core.effects import StartTimer, StopTimer
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Changed,
    Completed,
    Event,
    ExchangeId,
    Failed,
    InputRequired,
    InputSupplied,
    InputWithdrawn,
    Introduced,
    Notified,
    Opened,
    Progressed,
    TasksWatched,
)
from mcpbridge.core.revisions import STATELESS
from mcpbridge.core.tasks import shapes
from mcpbridge.core.tasks.asked_for import AskedFor
from mcpbridge.core.tasks.decided import Decided
from mcpbridge.core.tasks.owned import Owned
from mcpbridge.core.tasks.pursuit import Pursuit
from mcpbridge.core.tasks.requests import Answer, Requests
from mcpbridge.core.tasks.shapes import Dialect
from mcpbridge.core.tasks.sights import Sights
from mcpbridge.core.tasks.steps import Down, Post, Step, Up
from mcpbridge.core.tasks.terms import Terms
from mcpbridge.core.tasks.undecided import Undecided

_EMPTY = Raw(b"{}")


@attrs.define(eq=False, repr=False)
class Desk:
    """
    See the top of this module.

    @ivar _terms: on which the client and the server speak of tasks.
    @ivar _handles: gives texts that cannot be guessed.
    @ivar _timestamp: the time, as ISO 8601 writes it.
    @ivar _patience: seconds that a client's call may wait for what comes of a task, and for each of its answers.
    @ivar _early: what the client asks before the server has said what it is.
    """

    _terms: Terms
    _exchanges: Iterator[ExchangeId]
    _handles: Callable[[], str]
    _timestamp: Callable[[], str]
    _patience: float
    _opening: ExchangeId | None = None
    _own: Owned = attrs.Factory(Owned)
    _early: dict[ExchangeId, Called] = attrs.Factory(dict)
    _lists: set[ExchangeId] = attrs.Factory(set)
    _augmented: dict[ExchangeId, Called | None] = attrs.Factory(dict)
    _pursuits: dict[ExchangeId, Pursuit] = attrs.Factory(dict)
    _requests: Requests = attrs.field(init=False)
    _undecided: Undecided = attrs.field(init=False)
    _asked_for: AskedFor = attrs.field(init=False)
    _sights: Sights = attrs.field(init=False)
    _decided: Decided = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._requests = Requests(self._exchanges)
        self._undecided = Undecided(self._terms.offer, self._requests, self._decided_on)
        self._asked_for = AskedFor(self._requests, self._handles, self._timestamp)
        self._sights = Sights(self._requests)
        self._decided = Decided(self._requests, self._sights)

    def __len__(self) -> int:
        """How much of it is under way."""
        return len(self._requests) + len(self._augmented) + len(self._pursuits) + len(self._undecided)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do about what either says."""
        if self._opening is not None or not self._terms.are_equal:
            return False
        return not (self._requests or self._augmented or self._pursuits or self._undecided)

    # The client speaks.

    def up(self, event: Event) -> Sequence[Step]:
        """The client says something."""
        match event:
            case Opened():
                return (Up(self._introduced(event)),)
            case Called() if not self._terms.offer.is_known:
                self._early[event.xid] = event
            case Called(method="tools/call") if not self._terms.are_equal:
                return self._called(event)
            case Called(method="tools/list") if self._terms.server_decides:
                self._lists.add(event.xid)
            case Called() if event.method.startswith("tasks/") and not self._terms.are_equal:
                return self._asked(event)
            case Cancelled():
                return self._cancelled(event)
            case TasksWatched() if self._terms.we_decide:
                return self._decided.watch(event.task_ids)
            case InputSupplied() if self._pursuits:
                return self._supplied(event)
        return (Up(event),)

    def _introduced(self, event: Opened) -> Opened:
        self._opening = event.xid
        self._sights.capabilities = event.params.get("capabilities", _EMPTY)
        return self._terms.opened(event)

    def early(self) -> Sequence[Called]:
        """
        The server has said what it is for the first time.

        @return: what was asked before, and would have been asked otherwise.
        """
        early, self._early = self._early, {}
        return () if self._terms.are_equal else list(early.values())

    def _called(self, event: Called) -> Sequence[Step]:
        if self._terms.offer.dialect is Dialect.EXTENSION:
            self._augmented[event.xid] = event
            return (Up(attrs.evolve(event, params=shapes.without_task(event.params))),)
        if self._terms.asks_for_task(event):
            self._augmented[event.xid] = event
            return (Up(event),)
        return self._undecided.decide(event)

    def _decided_on(self, event: Called, tools: Mapping[str, str]) -> Up:
        params = shapes.without_task(event.params)
        name = jsonrpc.decode_string(opened(params).get("name")) or ""
        if tools.get(name) != "required":
            return Up(attrs.evolve(event, params=params))
        self._augmented[event.xid] = event
        return Up(attrs.evolve(event, params=shapes.with_task(params)))

    def owns(self, task_id: str) -> bool:
        """Whether this task is the client's."""
        return self._terms.is_alone or task_id in self._own

    def bears(self, xid: ExchangeId) -> bool:
        """Whether this call of the client became a task."""
        return xid in self._pursuits or self._own.bears(xid)

    def _asked(self, event: Called) -> Sequence[Step]:
        task_id = shapes.id_of(opened(event.params))
        if task_id is not None and self._terms.offer.dialect is Dialect.SESSION and not self.owns(task_id):
            return (Down(Failed(event.xid, shapes.unknown_task())),)
        if task_id is not None:
            self._own.add(task_id, event.xid)
        if self._terms.server_decides:
            return self._result(event) if event.method == "tasks/result" else self._asked_for.asked(event)
        if self._terms.we_decide:
            return self._decided.asked(event)
        if event.method == "tasks/list" and not self._terms.is_alone:
            self._lists.add(event.xid)
        return (Up(event),)

    def _result(self, event: Called) -> Sequence[Step]:
        known = self._asked_for.result(event)
        if known is not None:
            return known
        task_id = shapes.id_of(opened(event.params))
        if task_id is None:
            return (Down(Failed(event.xid, shapes.unknown_task())),)
        pursuit = self._pursue(event, task_id, relates=True)
        return [StartTimer(pursuit.deadline, self._patience), *pursuit.look()]

    def _pursue(self, event: Called, task_id: str, relates: bool) -> Pursuit:
        pursuit = Pursuit(
            event.xid,
            self._terms.offer.dialect,
            task_id,
            event.wants_progress,
            relates,
            requests=self._requests,
            notice=self._asked_for.noticed,
            upstream=self._terms.offer.name,
        )
        self._pursuits[event.xid] = pursuit
        return pursuit

    def _cancelled(self, event: Cancelled) -> Sequence[Step]:
        xid = event.xid
        self._early.pop(xid, None)
        if self._undecided.forget(xid):
            return ()
        pursuit = self._pursuits.pop(xid, None)
        if pursuit is not None:
            # Who waits for the result of a task that it knows does not mean the task.
            return [*(() if pursuit.relates else pursuit.cancel()), *_silent(pursuit.abandon())]
        if xid in self._augmented and self._terms.offer.dialect is Dialect.SESSION:
            # Cancellation (2025-11-25): what is to become a task is cancelled as one, once it has a name.
            self._augmented[xid] = None
            return ()
        self._augmented.pop(xid, None)
        self._lists.discard(xid)
        left = self._sights.leave(xid)
        return left if left is not None else (Up(event),)

    def _supplied(self, event: InputSupplied) -> Sequence[Step]:
        steps: list[Step] = []
        rest = dict(event.responses)
        for pursuit in list(self._pursuits.values()):
            rest = {key: pursuit.related(key, response) for key, response in rest.items()}
            ours = {key: rest.pop(key) for key in event.responses if pursuit.asks(key)}
            if ours:
                steps += self._tidied(pursuit, pursuit.supply(ours))
        if rest or not steps:
            steps.append(Up(attrs.evolve(event, responses=rest)))
        return steps

    # The server speaks.

    def down(self, event: Event) -> Sequence[Step]:
        """The bridge has something for the client."""
        if self._early and isinstance(event, Completed | Failed):
            self._early.pop(event.xid, None)
        match event:
            case Completed() if event.xid == self._opening:
                self._opening = None
                return (Down(attrs.evolve(event, result=self._terms.shown(event.result))),)
            case Failed() if event.xid == self._opening:
                self._opening = None
            case Introduced():
                return (Down(Introduced(self._terms.shown(event.opening))),)
            case Completed() | Failed() if event.xid in self._requests:
                return self._answered(event)
            case Completed() | Failed() if event.xid in self._augmented:
                return self._became(event)
            case Completed() if event.xid in self._lists:
                self._lists.discard(event.xid)
                return (Down(attrs.evolve(event, result=self._listed(event.result))),)
            case Failed() if event.xid in self._lists:
                self._lists.discard(event.xid)
            case Changed(what="tools"):
                self._terms.offer.changed()
            case InputRequired():
                return self._questioned(event)
            case InputWithdrawn() if self._sights.withdrawn(event.key):
                return ()
            case Notified(method="notifications/tasks/status") if self._terms.offer.dialect is Dialect.SESSION:
                return self._changed(event)
            case Notified(method="notifications/tasks") if self._terms.version < STATELESS:
                # Somebody else on this conversation listens.
                return ()
            case Progressed() if event.xid in self._pursuits:
                self._pursuits[event.xid].hears_progress = True
            case Progressed() if (call := self._augmented.get(event.xid)) is not None:
                # It hears of it already, and need not of what the task will say of itself.
                self._augmented[event.xid] = attrs.evolve(call, wants_progress=False)
        return (Down(event),)

    def _changed(self, event: Notified) -> Sequence[Step]:
        """A task is in another state; the server need not say whose it is."""
        if self._terms.we_decide:
            return self._decided.changed(event.params)
        task = opened(event.params)
        task_id = shapes.id_of(task)
        for pursuit in self._pursuits.values():
            if pursuit.task_id == task_id:
                # The client did not ask for a task, so it is told of none.
                return pursuit.hear(shapes.flat(task))
        # One that is alone may have come after another, whose tasks go on.
        is_own = task_id in self._own
        return (Down(event),) if is_own and self._terms.dialect is Dialect.SESSION else ()

    def _listed(self, result: Raw) -> Raw:
        """The tools of a server that decides by itself, or the client's of the tasks of a server that others use."""
        return shapes.with_options(result) if self._terms.server_decides else self._own.only(result)

    def _answered(self, event: Answer) -> Sequence[Step]:
        steps = self._requests.answered(event)
        for pursuit in [pursuit for pursuit in self._pursuits.values() if pursuit.is_over]:
            del self._pursuits[pursuit.xid]
        return steps

    def _tidied(self, pursuit: Pursuit, steps: Sequence[Step]) -> Sequence[Step]:
        if pursuit.is_over:
            self._pursuits.pop(pursuit.xid, None)
        return steps

    def _became(self, event: Answer) -> Sequence[Step]:
        """A call that may have become a task is answered."""
        call = self._augmented.pop(event.xid)
        task = self._terms.task_of(event)
        task_id = shapes.id_of(task)
        if task_id is None:
            decides = self._terms.offer.dialect is Dialect.EXTENSION
            if call is not None and decides and isinstance(event, Completed) and self._terms.asks_for_task(call):
                return self._asked_for.fabricated(call, event)
            return () if call is None else (Down(event),)
        if call is None:
            return (self._requests.post("tasks/cancel", shapes.naming(task_id)),)
        assert isinstance(event, Completed)
        self._own.add(task_id, event.xid)
        if self._terms.asks_for_task(call) and self._terms.offer.dialect is Dialect.SESSION:
            return (Down(event),)
        if self._terms.asks_for_task(call):
            return self._asked_for.created(event, task)
        if self._terms.we_decide:
            return self._decided.created(event, task)
        pursuit = self._pursue(call, task_id, relates=False)
        return [StartTimer(pursuit.deadline, self._patience), *self._tidied(pursuit, pursuit.begin(task))]

    def _questioned(self, event: InputRequired) -> Sequence[Step]:
        """What a task of the session dialect asks, the client is asked where it can be."""
        if self._terms.offer.dialect is not Dialect.SESSION or (
            self._terms.dialect is Dialect.SESSION and not self._pursuits
        ):
            return (Down(event),)
        steps: list[Step] = []
        for key, request in event.requests.items():
            one = attrs.evolve(event, requests={key: request})
            task_id = shapes.relation_of(request.params)
            put = self._sights.asked(event.xid, task_id, key, request)
            if put is not None:
                steps += put
                continue
            bearer = next((each for each in self._pursuits.values() if each.bears(event.xid, task_id)), None)
            if bearer is not None:
                # People are asked: that may take as long as if the call had just been made.
                steps.append(StartTimer(bearer.deadline, self._patience))
                # This client knows no task that it could relate to.
                asked = attrs.evolve(request, params=shapes.unrelated(request.params))
                bearer.borne.add(key)
                one = attrs.evolve(one, xid=bearer.xid, requests={key: asked})
            steps.append(Down(one))
        return steps

    # Time, and the end.

    def fired(self, key: Hashable, overdue: ErrorObject) -> Sequence[Step]:
        """
        A timer has run out.

        @param overdue: what a client is told that has waited too long.
        """
        match key:
            case ("look", int(xid)) if xid in self._pursuits:
                return self._pursuits[xid].look()
            case ("deadline", int(xid)) if xid in self._pursuits:
                pursuit = self._pursuits.pop(xid)
                return [*(() if pursuit.relates else pursuit.cancel()), *pursuit.end(overdue)]
            case ("wait", who):
                return self._sights.fired(who)
            case ("watch", str(task_id)):
                return self._decided.fired(task_id)
        return ()

    def end(self, error: ErrorObject) -> Sequence[Step]:
        """The server is nobody's from now on: whoever waits for something is told so."""
        steps: list[Step] = []
        for pursuit in list(self._pursuits.values()):
            steps += pursuit.end(error)
        self._pursuits.clear()
        steps += (Down(Failed(xid, error)) for xid in self._undecided.clear())
        return [*steps, *self._decided.end(error)]

    def close(self) -> Sequence[Step]:
        """The client is gone."""
        steps: list[Step] = []
        for pursuit in self._pursuits.values():
            steps += (StopTimer(pursuit.timer), StopTimer(pursuit.deadline))
            if not pursuit.relates:
                steps += pursuit.cancel()
        steps += self._decided.close()
        self._pursuits.clear()
        self._augmented.clear()
        self._undecided.clear()
        self._lists.clear()
        self._early.clear()
        self._requests.clear()
        return [step for step in steps if isinstance(step, Post | StopTimer)]


def _silent(steps: Sequence[Step]) -> Sequence[Step]:
    """Without what the client need not know, since it does not wait any more."""
    return [step for step in steps if not (isinstance(step, Down) and isinstance(step.event, Completed | Failed))]
