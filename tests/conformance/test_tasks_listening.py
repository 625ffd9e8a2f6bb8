"""
Changes of tasks, told to a client of the tasks extension that listens for them: what the official suite leaves out.

All that such a client hears of tasks is held against the official schemas of the extension.
"""

import asyncio
import json
import subprocess
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.conformance.client import DEADLINE, Client, Refused
from tests.conformance.tasks_runs import TaskServer
from tests.conformance.wires import MODERN, HTTPWire, RelayWire, Wire
from tests.integration.packages import ROOT, package

_EXTENSION = "io.modelcontextprotocol/tasks"
_KNOWS_TASKS: dict[str, Any] = {"elicitation": {"form": {}}, "extensions": {_EXTENSION: {}}}
_NOTIFICATION = "notifications/tasks"
_LOOK = 0.1


def judged(said: list[tuple[str, Any]]) -> list[str]:
    """
    What is wrong with messages.

    @param said: each with the name of its schema.
    """
    script = f"{ROOT}/tests/conformance/task_shapes.mjs"
    done = subprocess.run(
        ["node", script, package("@modelcontextprotocol/ext-tasks")],
        input=json.dumps(said),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    wrong: list[str] = json.loads(done.stdout)
    return wrong


class Listener:
    """
    A client that listens for two tasks, answers what one of them asks, and waits until both are over.

    @ivar said: all that was said of tasks, each with the name of its schema.
    """

    def __init__(self, wire: Wire) -> None:
        self._client = Client(wire, MODERN, _KNOWS_TASKS)
        self.said: list[tuple[str, Any]] = []

    async def run(self) -> dict[str, Any]:
        """What came of it."""
        async with self._client as client:
            slow = await self._ask("CreateTaskResult", "tools/call", name="slow_compute", arguments={"seconds": 0.6})
            asking = await self._ask(
                "CreateTaskResult", "tools/call", name="confirm_delete", arguments={"filename": "a"}
            )
            ids = [slow["taskId"], asking["taskId"]]
            await client.ask("subscriptions/listen", {"notifications": {"taskIds": ids}})
            await client.until(lambda: bool(client.heard), "acknowledgement")
            key = await self._question(asking["taskId"])
            answer = {key: {"action": "accept", "content": {"confirm": True}}}
            await self._ask("UpdateTaskResult", "tasks/update", taskId=asking["taskId"], inputResponses=answer)
            await client.until(lambda: len(self._ends()) == len(ids), "end of both tasks")
            ends = self._ends()
            self.said += (
                ("TaskStatusNotificationV2Schema", each) for each in client.heard if each["method"] == _NOTIFICATION
            )
            acknowledged = client.heard[0]["params"]["notifications"]
        return {"acknowledged": set(acknowledged["taskIds"]) == set(ids), "ends": [ends[each] for each in ids]}

    async def _ask(self, schema: str, method: str, **params: Any) -> Any:
        result = await self._client.once(method, params)
        self.said.append((f"{schema}V2Schema", result))
        return result

    async def _question(self, task_id: str) -> str:
        async with asyncio.timeout(DEADLINE):
            while True:
                task = await self._ask("GetTaskResult", "tasks/get", taskId=task_id)
                if "inputRequests" in task:
                    key: str = next(iter(task["inputRequests"]))
                    return key
                await asyncio.sleep(_LOOK)

    def _ends(self) -> dict[str, str]:
        told = [each["params"] for each in self._client.heard if each["method"] == _NOTIFICATION]
        return {each["taskId"]: each["result"]["content"][0]["text"] for each in told if each["status"] == "completed"}


async def refused(wire: Wire) -> Any:
    """What a client hears that listens for tasks and does not know them."""
    async with Client(wire, MODERN, {}) as client:
        try:
            return await client.once("subscriptions/listen", {"notifications": {"taskIds": ["x"]}})
        except Refused as refusal:
            return refusal.code, refusal.data


class _Listening(SynchronousTestCase):
    server: ClassVar[TaskServer]

    def test_changes(self) -> None:
        """By HTTP and by relay, each end is told, with what came of the task."""
        with self.server.bridged() as (daemon, url):
            listeners = [
                Listener(HTTPWire(url)),
                Listener(RelayWire(daemon.relay(url.rpartition("/")[2]), daemon.environment, daemon.folder)),
            ]

            async def both() -> list[Any]:
                return await asyncio.gather(*(listener.run() for listener in listeners), refused(HTTPWire(url)))

            found = asyncio.run(both())

        seen = {"acknowledged": True, "ends": ["Computed it in 0.6 s", "Deleted a"]}
        refusal: tuple[int, Any] = -32021, {"requiredCapabilities": {"extensions": {_EXTENSION: {}}}}
        self.assertEqual([seen, seen, refusal], found)
        self.assertEqual([], judged([each for listener in listeners for each in listener.said]))


class ExtensionTests(_Listening):
    """At a server of the extension."""

    server = TaskServer("http", "extension")


class SessionTests(_Listening):
    """At a server that has tasks as of 2025-11-25, and tells of them in its own way."""

    server = TaskServer("http", "session")


del _Listening
