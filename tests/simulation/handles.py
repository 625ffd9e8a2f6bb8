"""
What a client of L{tests.simulation.clients} does with the handles of tasks, in either dialect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs

from tests.simulation.tasks import TERMINAL

if TYPE_CHECKING:
    from tests.simulation.clients import Client

#: Between two looks at a task, in seconds at most.
PAUSE: Final = 3.0


@attrs.define(eq=False)
class Held:
    """
    A task that the client has a handle of.

    @ivar token: of the call.
    @ivar at: when it was called.
    @ivar end: what is to become of it.
    @ivar is_doubtful: it may never end, or be asked what is never answered.
    @ivar looks: how often the client still looks.
    @ivar status: as it was seen last.
    @ivar answered: questions that the client has answered, or never will.
    """

    task_id: str
    token: str
    at: float
    end: str
    is_doubtful: bool
    looks: int
    status: str = "working"
    is_cancelled: bool = False
    answered: set[str] = attrs.Factory(set)


@attrs.define(eq=False)
class Handles:
    """
    All of one client.

    @ivar offered: the server has said that it has tasks of this dialect.
    @ivar followed: those that the client still looks at, by handle.
    """

    _client: Client
    offered: bool = False
    followed: dict[str, Held] = attrs.Factory(dict)

    # What the client does.

    def begun(self, token: str, at: float, end: str, doubtful: bool, result: dict[str, Any]) -> None:
        """A call has become a task."""
        task = self._created(result)
        if task is None:
            self._client.world.wrong(f"{self._client.name} asked for a task and was given {result}")
            return
        self._check_own(task["taskId"], token)
        if self._client.machine.ledger[token] != 1:
            self._client.world.wrong(f"{token} became a task and was run {self._client.machine.ledger[token]} times")
        looks = self._client.world.tasks.randrange(1, 12)
        held = self.followed[task["taskId"]] = Held(task["taskId"], token, at, end, doubtful, looks)
        self._later(self._step, held)

    def _created(self, result: dict[str, Any]) -> dict[str, Any] | None:
        raise NotImplementedError

    def _later(self, what: Callable[[Held], None], held: Held) -> None:
        def act() -> None:
            if not self._client.done and held.task_id in self.followed:
                what(held)

        self._client.world.clock.callLater(self._client.world.tasks.uniform(0.0, PAUSE), act)

    def _step(self, held: Held) -> None:
        raise NotImplementedError

    def _pry(self) -> None:
        """Ask for a task of somebody else, on a conversation that both use."""
        client = self._client
        assert client.machine.tasks is not None
        others = [
            task.task_id
            for task in client.machine.tasks.ever.values()
            if task.owner is not None and not task.token.startswith(f"{client.name}/")
        ]
        if others and not client.exclusive:
            task_id = client.world.tasks.choice(others)
            client.ask_about(Held(task_id, "", 0.0, "", is_doubtful=True, looks=0), "tasks/get", {"taskId": task_id})

    def _ask(self, held: Held, method: str, **params: Any) -> None:
        self._client.ask_about(held, method, {"taskId": held.task_id, **params})

    def drop(self, held: Held | None) -> None:
        """Look at it no more."""
        if held is not None:
            self.followed.pop(held.task_id, None)

    # What it is told.

    def opened(self, result: dict[str, Any]) -> None:
        """The server says what it is."""

    def answered(self, held: Held, method: str, result: dict[str, Any]) -> None:
        """A request about a task was answered."""
        raise NotImplementedError

    def failed(self, held: Held, method: str) -> None:
        """A request about a task was answered with an error."""
        self.drop(held)

    def is_over(self, held: Held) -> bool:
        """Whether it cannot be cancelled any more."""
        tasks = self._client.machine.tasks
        task = None if tasks is None else tasks.ever.get(held.task_id)
        return held.is_cancelled or task is None or task.is_over

    def listed(self, result: dict[str, Any]) -> None:
        """The server says which tasks there are."""
        for task in result["tasks"]:
            if self._is_handed_down(task["taskId"]):
                continue
            self._check_own(task["taskId"])

    def _is_handed_down(self, task_id: str) -> bool:
        """Whether it is of a client that is gone, whose session this one has now."""
        tasks = self._client.machine.tasks
        task = None if tasks is None else tasks.ever.get(task_id)
        return task is not None and self._client.exclusive and task.token.split("/")[0] in self._client.world.gone

    def told(self, params: dict[str, Any]) -> None:
        """A task has changed."""
        self._check_own(params["taskId"])

    def _check_own(self, task_id: str, token: str = "") -> None:
        client = self._client
        assert client.machine.tasks is not None
        task = client.machine.tasks.ever.get(task_id)
        if task is None:
            if not task_id.startswith("mcpbridge-"):
                client.world.wrong(f"{client.name} was told of the task {task_id}, which there is not")
        elif not task.token.startswith(f"{client.name}/") or (token and task.token != token):
            client.world.wrong(f"{client.name} was told of {task} instead of {token or 'its own'}")

    def _saw(self, held: Held, task: dict[str, Any]) -> None:
        if task["taskId"] != held.task_id:
            self._client.world.wrong(f"{self._client.name} asked for {held} and was given {task}")
        held.status = task["status"]

    def _check_cancelled(self, held: Held) -> None:
        held.is_cancelled = True
        tasks = self._client.machine.tasks
        task = None if tasks is None else tasks.ever.get(held.task_id)
        if task is None or task.status not in TERMINAL:
            self._client.world.wrong(f"{self._client.name} cancelled {held}, which goes on: {task}")

    def _check_result(self, held: Held, result: dict[str, Any]) -> None:
        wanted: dict[str, Any] = {"for": held.token, "big": 2**80}
        if held.end == "isError" and result.get("isError"):
            wanted["isError"] = True
        if result != wanted:
            self._client.world.wrong(f"{self._client.name} was given {result} as the result of {held}")
