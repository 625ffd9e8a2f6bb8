"""
The tasks of a machine of L{tests.simulation.servers}: calls that go on behind a handle.

Those of the session era belong to the session that they were begun in; those of the stateless era to whoever has the
handle. What either says of them is in L{tests.simulation.session_tasks} and L{tests.simulation.stateless_tasks}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from tests.simulation.world import World

EXTENSION: Final = "io.modelcontextprotocol/tasks"

#: Statuses that are never left.
TERMINAL: Final = frozenset(("completed", "failed", "cancelled"))

#: Tools: one that runs as nothing but a task, and one that may.
REQUIRED: Final = "task"
OPTIONAL: Final = "maybe"

#: Between two things that become of a task, in seconds at most.
_WORK: Final = 4.0

#: Whatever the time is: nobody reads it.
_DATE: Final = "2026-01-01T00:00:00Z"


@attrs.define(eq=False)
class Task:
    """
    One of them.

    @ivar owner: the session that it was begun in; L{None} of the stateless era.
    @ivar wanted: the arguments of the call.
    @ivar poll: milliseconds between two looks, as the server wishes; L{None} if it says nothing.
    @ivar at: when it was begun.
    @ivar rounds: how often it has asked.
    @ivar questions: what it wants to know now, by key.
    @ivar fetched: how often its result was asked for.
    """

    task_id: str
    owner: object | None = attrs.field(repr=False)
    wanted: dict[str, Any]
    poll: int | None
    talks: bool
    at: float
    status: str = "working"
    rounds: int = 0
    questions: dict[str, dict[str, Any]] = attrs.Factory(dict)
    fetched: int = 0

    @property
    def token(self) -> str:
        """Of the call."""
        return str(self.wanted["token"])

    @property
    def is_over(self) -> bool:
        """Whether nothing becomes of it any more."""
        return self.status in TERMINAL

    def shown(self, ttl: str, poll: str) -> dict[str, Any]:
        """
        To whom it concerns.

        @param ttl: what its dialect calls the time that it is kept, C{poll} likewise.
        """
        found: dict[str, Any] = {"taskId": self.task_id, "status": self.status, ttl: None}
        found |= {"createdAt": _DATE, "lastUpdatedAt": _DATE}
        if self.poll is not None:
            found[poll] = self.poll
        if self.talks or self.status == "cancelled":
            found["statusMessage"] = self.token
        return found

    def result(self) -> dict[str, Any]:
        """Of one that is completed."""
        found: dict[str, Any] = {"for": self.token, "big": 2**80}
        if self.wanted.get("end") == "isError":
            found["isError"] = True
        return found


@attrs.define(eq=False)
class Tasks:
    """
    All of one machine.

    @ivar survive: they outlive the sessions that they were begun in, and crashes.
    @ivar telling: it tells when one changes.
    @ivar aside: what they ask is asked on another stream than the one that waits for it.
    @ivar changed: called with each that is in another state than before.
    @ivar ever: all that there were, by handle.
    @ivar orphaned: when the daemon died last.
    """

    world: World
    is_silent: Callable[[], bool]
    changed: Callable[[Task], None]
    survive: bool = attrs.field(init=False)
    telling: bool = attrs.field(init=False)
    aside: bool = attrs.field(init=False)
    ever: dict[str, Task] = attrs.Factory(dict)
    orphaned: float = 0.0
    _lost: set[str] = attrs.Factory(set)

    def __attrs_post_init__(self) -> None:
        chance = self.world.tasks
        self.survive, self.telling, self.aside = (chance.random() < 0.5 for _ in range(3))

    def begin(self, wanted: dict[str, Any], owner: object | None) -> Task:
        """A call becomes one."""
        chance = self.world.tasks
        poll = chance.choice((20_000,) if wanted.get("endless") else (None, 100, 1000, 5000))
        number = f"task{len(self.ever)}"
        task = Task(number, owner, wanted, poll, chance.random() < 0.5, self.world.clock.seconds())
        self.ever[number] = task
        self._work(task)
        return task

    def _work(self, task: Task) -> None:
        if not task.wanted.get("endless"):
            self.world.clock.callLater(self.world.tasks.choice((0.01, 0.5, 1.0)) * _WORK, self._go_on, task)

    def _go_on(self, task: Task) -> None:
        if task.is_over or task.task_id in self._lost:
            return
        if self.is_silent():
            self.world.clock.callLater(1.0, self._go_on, task)
        elif task.wanted["ask"] and task.rounds < 2:
            task.rounds += 1
            question = {"method": "elicitation/create", "params": {"message": task.token}}
            task.questions = {f"q{task.rounds}": question}
            if task.rounds == 2:
                task.questions["roots"] = {"method": "roots/list"}
            self._become(task, "input_required")
        elif task.wanted.get("end") == "drop":
            self._become(task, "cancelled")
        else:
            is_failure = task.wanted["fail"] or (task.owner is not None and task.wanted.get("end") == "isError")
            self._become(task, "failed" if is_failure else "completed")

    def _become(self, task: Task, status: str) -> None:
        task.status = status
        self.changed(task)

    def answer(self, task: Task, key: str, answer: dict[str, Any]) -> None:
        """Somebody answers a question of a task."""
        if task.questions.pop(key, None) is None:
            return
        if (answer.get("for") or task.token) != task.token:
            self.world.wrong(f"{task} was answered by {answer}")
        if not task.questions and not task.is_over:
            self._become(task, "working")
            self._work(task)

    def cancel(self, task: Task) -> None:
        """Its caller does not want it any more."""
        task.questions.clear()
        self._become(task, "cancelled")

    def find(self, task_id: str, asker: object | None) -> Task | None:
        """
        One that this session may know.

        @param asker: L{None} in the stateless era.
        """
        task = self.ever.get(task_id)
        if task is None or task_id in self._lost or (task.owner is None) != (asker is None):
            return None
        return task if self.survive or task.owner is asker else None

    def begun_by(self, owner: object) -> list[Task]:
        """Those of one session."""
        return [task for task in self.ever.values() if task.owner is owner and task.task_id not in self._lost]

    def crash(self) -> None:
        """The machine dies, and they with it."""
        if not self.survive:
            self._lost |= self.ever.keys()
