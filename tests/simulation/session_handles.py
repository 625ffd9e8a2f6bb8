"""
What a client of the session era does with its tasks (2025-11-25, Tasks).
"""

from __future__ import annotations

from typing import Any

import attrs

from tests.simulation.handles import Handles, Held
from tests.simulation.session_tasks import RELATED
from tests.simulation.tasks import TERMINAL


@attrs.define(eq=False)
class SessionHandles(Handles):
    """Those of one client."""

    def opened(self, result: dict[str, Any]) -> None:
        """The server says what it is."""
        self.offered = "tasks" in result["capabilities"]
        if self.offered and self._client.version < "2025-11-25":
            self._client.world.wrong(f"{self._client.name} was told of tasks")
            self.offered = False

    def _created(self, result: dict[str, Any]) -> dict[str, Any] | None:
        return result.get("task")

    def _step(self, held: Held) -> None:
        held.looks -= 1
        if self._client.world.tasks.random() < 0.2:
            self._pry()
        chance = self._client.world.tasks.random()
        if held.looks <= 0 or held.status in TERMINAL or chance < 0.15:
            self._ask(held, "tasks/result")
        elif chance < 0.3:
            self._ask(held, "tasks/cancel")
        else:
            if chance < 0.4:
                self._client.ask_about_all()
            self._ask(held, "tasks/get")

    def answered(self, held: Held, method: str, result: dict[str, Any]) -> None:
        """A request about a task was answered."""
        match method:
            case "tasks/result":
                relation = result.pop("_meta", {}).get(RELATED)
                if relation != {"taskId": held.task_id}:
                    self._client.world.wrong(f"{self._client.name} was given the result of {relation} for {held}")
                self._check_result(held, result)
                self.drop(held)
            case "tasks/cancel":
                self._saw(held, result)
                self._check_cancelled(held)
                if held.status != "cancelled":
                    self._client.world.wrong(f"{self._client.name} cancelled {held} and was given {result}")
                self.drop(held)
            case _:
                self._saw(held, result)
                self._later(self._step, held)
