"""
Rows of the matrix: what a client and a server do with each other where the server's tools are tasks.

A client of 2025-11-25 that has tasks asks for one with the call, and fetches what came of it; one of 2026-07-28 is
given one, and finds what came of it there. Any other calls tools.
"""

import asyncio
from typing import Any

from tests.conformance.checks import call, refusal, said, same
from tests.conformance.client import DEADLINE, Client, Refused, capabilities_of
from tests.conformance.task_shapes import EXTENSION
from tests.conformance.wires import MODERN

RELATED = "io.modelcontextprotocol/related-task"

_LOOK = 0.1
"""Seconds between two looks at a task: what the servers wish for."""

_KEPT = 60_000
"""Milliseconds that a task is asked to be kept."""

_BROKEN = (-32603, "The job broke down", {"job": 7})
"""What a job ends with that fails as requests do."""


def knowing(version: str) -> dict[str, Any]:
    """The capabilities of a client that has tasks. In 2025-11-25 there is nothing to say of that."""
    found = capabilities_of(version)
    return {**found, "extensions": {EXTENSION: {}}} if version == MODERN else found


# Without


async def task_called(client: Client) -> None:
    """Whether it fails, how it fails: all as if it were no task."""
    same("Computed it in 0.1 s", await said(client, "slow_compute", seconds=0.1))
    if await _is_refused(client, "failing_job"):
        return
    result = await call(client, "failing_job")
    same((True, "The job failed"), (result["isError"], result["content"][0]["text"]))
    same([], [name for name in (RELATED,) if name in result.get("_meta", {})])
    same(_BROKEN, _told(await refusal(client, "tools/call", name="protocol_error_job", arguments={})))


async def task_asking(client: Client) -> None:
    """The question comes within the call."""
    if await _is_refused(client, "confirm_delete", filename="it"):
        return
    same("Deleted it", await said(client, "confirm_delete", filename="it"))
    same("elicitation/create", client.asked[-1])


async def task_abandoned(client: Client) -> None:
    """The words of its status are the progress of the call; once the call is cancelled, so is it."""
    key = f"{client.version}-{id(client)}-call"
    if await _is_refused(client, "wait", key=key):
        return
    method = "notifications/progress"
    before = client.count(method)
    number, _ = await client.ask(
        "tools/call", {"name": "wait", "arguments": {"key": key}}, {"progressToken": "waiting"}
    )
    await client.until(lambda: client.count(method) > before, "progress of the task")
    await client.cancel(number)
    await _until_cancelled(client, key)


async def _is_refused(client: Client, tool: str, **arguments: Any) -> bool:
    """
    Whether there is nothing to translate between these two: the server itself refuses a client of its own revision
    that does not say that it has tasks.

    @raise AssertionError: and it did not.
    """
    if not client.modern or client.counterpart != MODERN:
        return False
    refused = await refusal(client, "tools/call", name=tool, arguments=arguments)
    same((-32021, {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}), (refused.code, refused.data))
    return True


async def _until_cancelled(client: Client, key: str) -> None:
    """
    Wait until the server has heard that a task is cancelled.

    @raise AssertionError: it never did.
    """
    for _ in range(_LOOKS):
        if key in await said(client, "cancelled"):
            return
        await asyncio.sleep(_LOOK)
    raise AssertionError("the server never heard of it")


_LOOKS = 40


# With


async def handle(client: Client) -> None:
    """Created, looked at, fetched; one that fails; one that is not there."""
    task_id = await _begin(client, "slow_compute", seconds=0.3)
    task = await _until(client, task_id, "completed")
    same("Computed it in 0.3 s", (await _fetched(client, task_id, task))["content"][0]["text"])
    failing_id = await _begin(client, "protocol_error_job")
    failed = await _until(client, failing_id, "failed")
    if client.modern:
        same(_BROKEN, (failed["error"]["code"], failed["error"]["message"], failed["error"]["data"]))
    else:
        same(_BROKEN, _told(await refusal(client, "tasks/result", taskId=failing_id)))
        listed = (await client.once("tasks/list"))["tasks"]
        same({task_id: "completed", failing_id: "failed"}, {each["taskId"]: each["status"] for each in listed})
    if not client.modern and client.counterpart == MODERN:
        # That server decides by itself, and answers this at once: for the client it has been a task nevertheless.
        brief_id = await _begin(client, "greet", name="Ada")
        brief = await _until(client, brief_id, "completed")
        same("Hello, Ada!", (await _fetched(client, brief_id, brief))["content"][0]["text"])
    same(-32602, (await refusal(client, "tasks/get", taskId="nothing")).code)


async def handle_asking(client: Client) -> None:
    """The question is within the task, or comes to who waits for its result."""
    task_id = await _begin(client, "confirm_delete", filename="it")
    task = await _until(client, task_id, "input_required")
    if client.modern:
        [(key, question)] = task["inputRequests"].items()
        same(("elicitation/create", "Delete it?"), (question["method"], question["params"]["message"]))
        responses = {key: {"action": "accept", "content": {"confirm": True}}}
        await client.once("tasks/update", {"taskId": task_id, "inputResponses": responses})
        task = await _until(client, task_id, "completed")
    before = len(client.asked)
    same("Deleted it", (await _fetched(client, task_id, task))["content"][0]["text"])
    same([] if client.modern else ["elicitation/create"], client.asked[before:])
    same([] if client.modern else [{"taskId": task_id}], [_relation(each) for each in client.questions[-1:]])
    await _until(client, task_id, "completed")


async def handle_cancelled(client: Client) -> None:
    """It is over at once, and stays so; the server has heard of it."""
    key = f"{client.version}-{id(client)}-task"
    task_id = await _begin(client, "wait", key=key)
    await _until(client, task_id, "working")
    found = await client.once("tasks/cancel", {"taskId": task_id})
    if not client.modern:
        same((task_id, "cancelled"), (found["taskId"], found["status"]))
    await _until(client, task_id, "cancelled")
    await _until_cancelled(client, key)


async def _begin(client: Client, tool: str, **arguments: Any) -> str:
    """
    Have a tool run as a task.

    @return: the id of the task.
    """
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    if client.modern:
        found = await client.once("tools/call", params)
        same("task", found["resultType"])
    else:
        found = (await client.once("tools/call", {**params, "task": {"ttl": _KEPT}}))["task"]
    task_id: str = found["taskId"]
    return task_id


async def _until(client: Client, task_id: str, status: str) -> Any:
    """
    Look at a task until it has this status.

    @raise AssertionError: it never has.
    """
    seen: list[str] = []
    try:
        async with asyncio.timeout(DEADLINE):
            while True:
                task = await client.once("tasks/get", {"taskId": task_id})
                same(task_id, task["taskId"])
                if task["status"] == status:
                    return task
                seen.append(task["status"])
                await asyncio.sleep(_LOOK)
    except TimeoutError:
        raise AssertionError(f"never {status}, but {sorted(set(seen))}") from None


async def _fetched(client: Client, task_id: str, task: Any) -> Any:
    """What came of a task."""
    if client.modern:
        return task["result"]
    result = await client.once("tasks/result", {"taskId": task_id})
    same({"taskId": task_id}, result["_meta"][RELATED])
    return result


def _relation(question: Any) -> Any:
    """Which task a question belongs to."""
    return question["params"].get("_meta", {}).get(RELATED)


def _told(refused: Refused) -> tuple[Any, str, Any]:
    return refused.code, str(refused).partition(": ")[2], refused.data
