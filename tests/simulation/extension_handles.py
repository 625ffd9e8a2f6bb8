"""
What a client of the stateless era does with its tasks (the extension C{io.modelcontextprotocol/tasks}).
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from tests.simulation.handles import Handles, Held
from tests.simulation.roots import roots_of
from tests.simulation.tasks import TERMINAL

_TAG: Final = "io.modelcontextprotocol/subscriptionId"

#: What a result may have besides what the server said.
_ADDED: Final = ("_meta", "content", "ttlMs", "cacheScope")


@attrs.define(eq=False)
class ExtensionHandles(Handles):
    """
    Those of one client.

    @ivar _told: what it was told last of a task, by the stream that it came on.
    """

    _told: dict[tuple[object, str], dict[str, Any]] = attrs.Factory(dict)

    def _created(self, result: dict[str, Any]) -> dict[str, Any] | None:
        return result if "taskId" in result else None

    def _step(self, held: Held) -> None:
        held.looks -= 1
        if self._client.world.tasks.random() < 0.2:
            self._pry()
        chance = self._client.world.tasks.random()
        if held.looks < -20:
            # Enough of it; what is left is kept by the server for as long as that likes.
            self.drop(held)
        elif chance < 0.1 or (held.looks <= 0 and chance < 0.6):
            self._ask(held, "tasks/cancel")
        else:
            if chance < 0.2:
                self._client.ask_about_all()
            self._ask(held, "tasks/get")

    def answered(self, held: Held, method: str, result: dict[str, Any]) -> None:
        """A request about a task was answered."""
        match method:
            case "tasks/get":
                self._saw(held, result)
                self._consider(held, result)
            case "tasks/cancel":
                self._check_cancelled(held)
                self.drop(held)
            case _:
                self._later(self._step, held)

    def told(self, params: dict[str, Any]) -> None:
        """A task has changed."""
        Handles.told(self, params)
        tag = params.get("_meta", {}).get(_TAG), params["taskId"]
        # A server that tells by itself does so on each stream, and one is opened before another is closed.
        if self._client.machine.eras == "session" and tag[0] is not None and self._told.get(tag) == params:
            self._client.world.wrong(f"{self._client.name} was told {params} twice")
        self._told[tag] = params
        held = self.followed.get(params["taskId"])
        if held is not None and params["status"] in TERMINAL:
            self._consider(held, params)

    def _consider(self, held: Held, task: dict[str, Any]) -> None:
        match task["status"]:
            case "completed":
                result = dict(task["result"])
                if result.pop("resultType", None) != "complete":
                    self._client.world.wrong(f"{self._client.name} was given the result {task} of {held}")
                self._check_result(held, {name: each for name, each in result.items() if name not in _ADDED})
            case "failed":
                error = task["error"]
                # That it is there no more cannot be told from what became of it.
                is_lost = error["code"] == -32602 and held.at < self._client.machine.troubled
                if not is_lost and (error["code"] != -1 or error["message"] != held.token):
                    self._client.world.wrong(f"{self._client.name} was given the error {error} of {held}")
            case "input_required":
                self._answer(held, task["inputRequests"])
                return
            case "working":
                self._later(self._step, held)
                return
        self.drop(held)

    def _answer(self, held: Held, questions: dict[str, dict[str, Any]]) -> None:
        chance = self._client.world.tasks
        answers: dict[str, Any] = {}
        for key, question in questions.items():
            token = question.get("params", {}).get("message", held.token)
            if token != held.token:
                self._client.world.wrong(f"{self._client.name} was asked {question} for {held}")
            if key not in held.answered and chance.random() < 0.8:
                held.answered.add(key)
                answers[key] = roots_of(self._client.name) if question["method"] == "roots/list" else {"for": token}
        if chance.random() < 0.1:
            answers["unheard-of"] = {}
        if answers:
            self._ask(held, "tasks/update", inputResponses=answers)
        else:
            self._later(self._step, held)
