"""
What the official Python SDK does with a server: one coroutine for each feature, and what came of it as plain data.

L{TABLES} holds one table for each kind of server. The scenarios of a table run one after another over one connection;
none needs another to have run, but later ones see what earlier ones left in a stateful server, the same on every way.
"""

import json
import uuid
from typing import Any

import anyio

from tests.integration.sdk_generation import MCPError, types
from tests.integration.sdk_peer import Outcome, Peer, RawNotification, Scenario, plain

QUIET = 0.3
"""Seconds to give what must not come, before it counts as not having come."""


# What every server is asked


async def initialize(peer: Peer) -> Outcome:
    client = peer.client
    return {
        "revision": client.protocol_version,
        "server": plain(client.server_info),
        "capabilities": plain(client.server_capabilities),
        "instructions": client.instructions,
    }


async def ping(peer: Peer) -> Outcome:
    return await peer.raw("ping")


async def unknown_method(peer: Peer) -> Outcome:
    return await peer.raw("no/such_method", {"x": 1})


async def unknown_notification(peer: Peer) -> Outcome:
    await peer.client.session.send_notification(
        RawNotification(method="notifications/own", params={"x": 1})  # type: ignore[arg-type]  # any, on purpose
    )
    return await peer.raw("ping")


async def tools(peer: Peer) -> Outcome:
    return await peer.all_pages("tools")


async def resources(peer: Peer) -> Outcome:
    return await peer.all_pages("resources")


async def resource_templates(peer: Peer) -> Outcome:
    return await peer.all_pages("resource_templates")


async def prompts(peer: Peer) -> Outcome:
    return await peer.all_pages("prompts")


async def unknown_tool(peer: Peer) -> Outcome:
    return await peer.call("no_such_tool")


async def unknown_prompt(peer: Peer) -> Outcome:
    return plain(await peer.client.get_prompt("no_such_prompt"))


def call(tool: str, **arguments: Any) -> Scenario:
    """A scenario that calls a tool once."""

    async def scenario(peer: Peer) -> Outcome:
        return await peer.call(tool, **arguments)

    return scenario


def read(uri: str) -> Scenario:
    """A scenario that reads a resource."""

    async def scenario(peer: Peer) -> Outcome:
        return plain(await peer.client.read_resource(uri))

    return scenario


def prompt(name: str, **arguments: str) -> Scenario:
    """A scenario that gets a prompt."""

    async def scenario(peer: Peer) -> Outcome:
        return plain(await peer.client.get_prompt(name, arguments or None))

    return scenario


def complete(reference: Any, name: str, value: str, **before: str) -> Scenario:
    """A scenario that completes an argument."""

    async def scenario(peer: Peer) -> Outcome:
        return plain(await peer.client.complete(reference, {"name": name, "value": value}, before or None))

    return scenario


def asked_by(tool: str, method: str, action: str = "accept", **arguments: Any) -> Scenario:
    """A scenario in which a tool asks the client something: the question and the result."""

    async def scenario(peer: Peer) -> Outcome:
        before = len(peer.asked)
        peer.action = action
        result = await peer.call(tool, **arguments)
        return {"result": result, "asked": [each for each in peer.asked[before:] if each[0] == method]}

    return scenario


def progress(tool: str, **arguments: Any) -> Scenario:
    """A scenario that counts a tool's progress."""

    async def scenario(peer: Peer) -> Outcome:
        seen: list[Any] = []

        async def note(progress: float, total: float | None, message: str | None) -> None:
            seen.append([progress, total, message])

        result = await peer.client.call_tool(tool, arguments, progress_callback=note)
        return {"result": plain(result), "seen": seen}

    return scenario


# @modelcontextprotocol/server-everything


async def everything_environment(peer: Peer) -> Outcome:
    """The server's environment is not the same on two ways; that it has the one variable it was given is."""
    environment = json.loads((await peer.call("get-env"))["content"][0]["text"])
    return environment.get("GIVEN")


async def everything_logging(peer: Peer) -> Outcome:
    before = len(peer.told)
    await peer.client.set_logging_level("debug")
    await peer.call("toggle-simulated-logging")
    message = (await peer.until(lambda: peer.heard("log", before)))[0]
    await peer.call("toggle-simulated-logging")
    return sorted(message)


async def everything_level(peer: Peer) -> Outcome:
    """Below the level that the client wants, nothing comes."""
    await peer.client.set_logging_level("emergency")
    before = len(peer.told)
    await peer.client.subscribe_resource("demo://resource/dynamic/text/9")
    await anyio.sleep(QUIET)
    quiet = len(peer.heard("log", before))
    await peer.client.set_logging_level("info")
    await peer.client.unsubscribe_resource("demo://resource/dynamic/text/9")
    loud = await peer.until(lambda: peer.heard("log", before))
    return [quiet, loud[:1]]


async def everything_subscription(peer: Peer) -> Outcome:
    uri = "demo://resource/dynamic/text/1"
    await peer.client.subscribe_resource(uri)
    before = len(peer.told)
    await peer.call("toggle-subscriber-updates")
    updated = (await peer.until(lambda: peer.heard("notifications/resources/updated", before)))[0]
    await peer.call("toggle-subscriber-updates")
    await peer.client.unsubscribe_resource(uri)
    before = len(peer.told)
    await peer.call("toggle-subscriber-updates")
    await anyio.sleep(QUIET)
    after = peer.heard("notifications/resources/updated", before)
    await peer.call("toggle-subscriber-updates")
    return {"updated": updated, "after": after}


async def everything_session_resource(peer: Peer) -> Outcome:
    """A resource that a tool makes: the list changes, says so, and has it."""
    before = len(peer.told)
    name = f"{uuid.uuid4()}.gz"  # all sessions with this server share these names
    link = await peer.call("gzip-file-as-resource", name=name, data="data:text/plain;base64,aGk=")
    await peer.until(lambda: peer.heard("notifications/resources/list_changed", before))
    listed = [each for each in await peer.all_pages("resources") if each["name"] == name]
    content = plain(await peer.client.read_resource(f"demo://resource/session/{name}"))
    return {"link": link, "listed": listed, "content": content}


async def everything_roots(peer: Peer) -> Outcome:
    return await peer.call("get-roots-list")


async def everything_roots_changed(peer: Peer) -> Outcome:
    before = len(peer.told)
    peer.roots = [*peer.roots, "file:///three"]
    await peer.client.send_roots_list_changed()
    wanted = f"Roots updated: {len(peer.roots)}"
    return await peer.until(lambda: [each for each in peer.heard("log", before) if wanted in str(each["data"])])


async def everything_cancellation(peer: Peer) -> Outcome:
    with anyio.move_on_after(0.4):
        await peer.call("trigger-long-running-operation", duration=30, steps=3)
    return await peer.call("echo", message="still here")


async def everything_task(peer: Peer) -> Outcome:
    """Tasks of 2025-11-25: a call that returns at once, asked about later, its result fetched when it is done."""
    arguments = {"topic": "python", "ambiguous": True}
    peer.action, kept = "accept", peer.content
    peer.content = {"interpretation": "snake"}
    call = {"name": "simulate-research-query", "arguments": arguments, "task": {"ttl": 60000}}
    created = await peer.raw("tools/call", call)
    task = created["task"]["taskId"]
    working = await peer.raw("tasks/get", {"taskId": task})
    listed = [each["taskId"] == task for each in (await peer.raw("tasks/list", {}))["tasks"]]
    before = len(peer.asked)
    result = await peer.raw("tasks/result", {"taskId": task})
    done = await peer.raw("tasks/get", {"taskId": task})
    peer.content = kept
    return {
        "created": created["task"]["status"],
        "working": working["status"],
        "listed": listed,
        "asked": [params["message"] for _, params in peer.asked[before:]],
        "result": result["content"],
        "done": done["status"],
    }


def reference(name: str) -> types.PromptReference:
    return types.PromptReference(type="ref/prompt", name=name)


EVERYTHING: dict[str, Scenario] = {
    "initialize": initialize,
    "ping": ping,
    "unknown_method": unknown_method,
    "unknown_notification": unknown_notification,
    "tools": tools,
    "resources": resources,
    "resource_templates": resource_templates,
    "prompts": prompts,
    "echo": call("echo", message="à la carte ☕ 𝄞\n\t\u2028"),
    "unknown_tool": unknown_tool,
    "wrong_arguments": call("echo", wrong=1),
    "sum": call("get-sum", a=2, b=40),
    "environment": everything_environment,
    "image": call("get-tiny-image"),
    "annotations_error": call("get-annotated-message", messageType="error", includeImage=True),
    "annotations_success": call("get-annotated-message", messageType="success", includeImage=False),
    "structured_content": call("get-structured-content", location="Chicago"),
    "resource_links": call("get-resource-links", count=4),
    "resource_reference": call("get-resource-reference", resourceType="Blob", resourceId=3),
    "progress": progress("trigger-long-running-operation", duration=0.5, steps=5),
    "cancellation": everything_cancellation,
    "logging": everything_logging,
    "logging_level": everything_level,
    "read_static": read("demo://resource/static/document/features.md"),
    "read_text": read("demo://resource/dynamic/text/5"),
    "read_blob": read("demo://resource/dynamic/blob/6"),
    "read_unknown": read("demo://no/such/resource"),
    "subscription": everything_subscription,
    "session_resource": everything_session_resource,
    "prompt_simple": prompt("simple-prompt"),
    "prompt_arguments": prompt("args-prompt", city="Oslo", state="none"),
    "prompt_missing_argument": prompt("args-prompt"),
    "prompt_resource": prompt("resource-prompt", resourceType="Text", resourceId="2"),
    "unknown_prompt": unknown_prompt,
    "complete_prompt": complete(reference("completable-prompt"), "department", "S"),
    "complete_in_context": complete(reference("completable-prompt"), "name", "", department="Sales"),
    "complete_template": complete(
        types.ResourceTemplateReference(type="ref/resource", uri="demo://resource/dynamic/text/{resourceId}"),
        "resourceId",
        "7",
    ),
    "roots": everything_roots,
    "roots_changed": everything_roots_changed,
    "sampling": asked_by("trigger-sampling-request", "sampling/createMessage", prompt="Hello?", maxTokens=12),
    "elicitation_accepted": asked_by("trigger-elicitation-request", "elicitation/create", "accept"),
    "elicitation_declined": asked_by("trigger-elicitation-request", "elicitation/create", "decline"),
    "elicitation_cancelled": asked_by("trigger-elicitation-request", "elicitation/create", "cancel"),
    "elicitation_url": asked_by(
        "trigger-url-elicitation", "elicitation/create", url="https://example.org/a?b=c", elicitationId="e-1"
    ),
    "elicitation_url_required": call(
        "trigger-url-elicitation", url="https://example.org/z", elicitationId="e-2", errorPath=True
    ),
    "task": everything_task,
}


# tests.integration.sdk_server


async def own_method(peer: Peer) -> Outcome:
    return await peer.raw("own/method", {"question": "why"})


async def own_method_wrong(peer: Peer) -> Outcome:
    return await peer.raw("own/method", {})


async def own_logging(peer: Peer) -> Outcome:
    """All levels from the wanted one on, in order."""
    heard = []
    for level in ("error", "debug"):
        await peer.client.set_logging_level(level)
        before = len(peer.told)
        await peer.call("logs")
        await anyio.sleep(QUIET)
        heard.append(peer.heard("log", before))
    return heard


async def own_state(peer: Peer) -> Outcome:
    await peer.call("remember", key="k", value="v")
    return await peer.call("recall", key="k")


async def own_subscription(peer: Peer) -> Outcome:
    await peer.client.subscribe_resource("note://1")
    before = len(peer.told)
    await peer.call("touch", uri="note://1")
    await peer.call("touch", uri="note://2")
    await peer.until(lambda: peer.heard("notifications/resources/updated", before))
    await peer.client.unsubscribe_resource("note://1")
    counted = await peer.call("touch", uri="note://1")
    await anyio.sleep(QUIET)
    return {"updated": peer.heard("notifications/resources/updated", before), "counted": counted}


async def own_growth(peer: Peer) -> Outcome:
    """The lists change, say so, and are longer."""
    before = len(peer.told)
    await peer.call("grow")
    kinds = ("tools", "prompts", "resources")
    for kind in kinds:
        await peer.until(lambda kind=kind: peer.heard(f"notifications/{kind}/list_changed", before))  # type: ignore[misc]  # a default of a lambda
    lengths = {kind: len(await peer.all_pages(kind)) for kind in kinds}
    return {"lengths": lengths, "called": await peer.call("grown_0", text="new")}


async def own_cancellation(peer: Peer) -> Outcome:
    """The server sees which call was cancelled, and no other."""
    with anyio.move_on_after(0.3):
        await peer.call("wait", key="first")
    while not (heard := await peer.call("cancelled"))["content"][0]["text"]:
        await anyio.sleep(0.05)
    return heard


async def own_roots_changed(peer: Peer) -> Outcome:
    peer.roots = ["file:///changed"]
    await peer.client.send_roots_list_changed()
    await anyio.sleep(QUIET)
    return await peer.call("roots")


async def own_meta(peer: Peer) -> Outcome:
    sent = {"vendor/one": {"deep": [1, "x"]}, "claudecode/toolUseId": "u-1"}
    return plain(await peer.client.call_tool("meta", {}, meta=sent))  # type: ignore[arg-type]  # any keys may be sent


async def own_crowd(peer: Peer) -> Outcome:
    """Many calls at once, each with its own answer."""
    answers: list[Any] = [None] * 30

    async def one(index: int) -> None:
        answers[index] = (await peer.call("echo", text=f"call {index}"))["content"][0]["text"]

    async with anyio.create_task_group() as group:
        for index in range(len(answers)):
            group.start_soon(one, index)
    return answers


async def own_large(peer: Peer) -> Outcome:
    result = await peer.call("large", size=900_000)  # the SDK's own HTTP client refuses events above 1 MiB
    return len(result["content"][0]["text"])


async def own_list_page(peer: Peer) -> Outcome:
    """A wrong cursor is the server's to refuse, or the bridge's."""
    try:
        await peer.client.list_tools(cursor="no such cursor")
    except MCPError:
        return "refused"
    return "accepted"


SDK: dict[str, Scenario] = {
    "initialize": initialize,
    "ping": ping,
    "unknown_method": unknown_method,
    "unknown_notification": unknown_notification,
    "own_method": own_method,
    "own_method_wrong": own_method_wrong,
    "client_says": call("client_says"),
    "tools": tools,
    "wrong_cursor": own_list_page,
    "resources": resources,
    "resource_templates": resource_templates,
    "prompts": prompts,
    "echo": call("echo", text="à la carte ☕ 𝄞\n\t\u2028\x00"),
    "crowd": own_crowd,
    "large": own_large,
    "big_number": call("big_number"),
    "unknown_tool": unknown_tool,
    "many_kinds": call("many_kinds"),
    "structured_content": call("measured", place="here"),
    "failing": call("failing"),
    "raising": call("raising"),
    "meta": own_meta,
    "state": own_state,
    "progress": progress("count", upto=20),
    "cancellation": own_cancellation,
    "logging": own_logging,
    "read_text": read("note://3"),
    "read_blob": read("note://blob"),
    "read_unknown": read("note://nothing/here"),
    "subscription": own_subscription,
    "growth": own_growth,
    "prompt": prompt("prompt_2", topic="bees"),
    "prompt_missing_argument": prompt("prompt_2"),
    "complete_prompt": complete(reference("prompt_1"), "topic", "be"),
    "complete_in_context": complete(
        types.ResourceTemplateReference(type="ref/resource", uri="t1://{name}"), "name", "x", other="given"
    ),
    "roots": call("roots"),
    "roots_changed": own_roots_changed,
    "ping_client": call("ping_client"),
    "sampling": asked_by("sample", "sampling/createMessage", prompt="Hello?"),
    "elicitation_accepted": asked_by("elicit", "elicitation/create", "accept", message="who?"),
    "elicitation_declined": asked_by("elicit", "elicitation/create", "decline", message="who?"),
    "elicitation_url": asked_by("elicit_url", "elicitation/create"),
}

SESSION_ERA = frozenset(
    {
        "ping",
        "unknown_notification",
        "logging",
        "logging_level",
        "subscription",
        "session_resource",
        "growth",
        "roots_changed",
        "cancellation",
        "state",
        "ping_client",
        "elicitation_url_required",
        "task",
    }
)
"""Scenarios that need what only a session has; the modern era has other means, with tests of their own."""

TABLES = {"everything": EVERYTHING, "sdk": SDK}
