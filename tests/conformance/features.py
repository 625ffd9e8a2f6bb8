"""
What a client and a server do with each other: one function for each row of the matrix.

Each takes a client whose conversation is open and raises L{AssertionError} (or what the client raises) if something is
not as the client's revision has it. A feature that a revision does not have is not tried.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from tests.conformance import task_features as tasks
from tests.conformance.checks import call, refusal, said, same
from tests.conformance.client import Client
from tests.conformance.tools import SCHEMAS
from tests.conformance.wires import META

Run = Callable[[Client], Awaitable[None]]

OLDEST = "2024-11-05"

REFERENCE, TASKS, HANDLES = "reference", "tasks", "handles"
"""The conversations of a cell: with the reference server; with a server that has tasks, by a client that does without;
with the same server, by a client that has tasks too."""


@attrs.frozen
class Feature:
    """
    A row.

    @ivar client: the oldest revision of a client that has it.
    @ivar server: the oldest revision of a server that has it.
    @ivar only: the only revisions of a client that have it, if that is not all from the oldest on.
    @ivar only_server: the same of a server.
    @ivar within: in which conversation of a cell it is tried.
    """

    title: str
    run: Run
    client: str
    server: str
    only: tuple[str, ...]
    only_server: tuple[str, ...]
    within: str

    def applies(self, client: str, server: str) -> bool:
        """Whether these two have it."""
        if (self.only and client not in self.only) or (self.only_server and server not in self.only_server):
            return False
        return client >= self.client and server >= self.server


FEATURES: dict[str, Feature] = {}


def feature(
    title: str,
    client: str = OLDEST,
    server: str = OLDEST,
    *,
    only: tuple[str, ...] = (),
    only_server: tuple[str, ...] = (),
    within: str = REFERENCE,
) -> Callable[[Run], Run]:
    """Decorator: a row of the matrix."""

    def register(run: Run) -> Run:
        FEATURES[run.__name__] = Feature(title, run, client, server, only, only_server, within)
        return run

    return register


# Opening


@feature("opening: name, instructions, capabilities")
async def opening(client: Client) -> None:
    found = client.opening
    if client.modern:
        info = found["_meta"][f"{META}serverInfo"]
        same(True, client.version in found["supportedVersions"])
    else:
        info = found["serverInfo"]
        same(client.version, found["protocolVersion"])
    same(("reference", "Made for tests."), (info["name"], found["instructions"]))
    same([], [name for name in ("tools", "prompts", "resources", "logging") if name not in found["capabilities"]])


@feature("the client's name reaches the server")
async def client_name(client: Client) -> None:
    same("matrix", await said(client, "who"))


@feature("the server is spoken to in its own revision")
async def revision(client: Client) -> None:
    same(client.counterpart, await said(client, "spoken"))


@feature("ping", only=("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"))
async def ping(client: Client) -> None:
    same({}, await client.request("ping"))


@feature("batches", only=("2025-03-26",))
async def batches(client: Client) -> None:
    answers = await client.batch(("ping", None), ("tools/call", {"name": "test_simple_text", "arguments": {}}))
    same([True, True], ["result" in answer for answer in answers])


# Tools


@feature("tools/list: schemas untouched")
async def tools(client: Client) -> None:
    found = await client.request("tools/list")
    schemas = {each["name"]: each["inputSchema"] for each in found["tools"]}
    same(SCHEMAS, schemas)
    _envelope(client, found, cached=True)


@feature("tools/call: text")
async def text(client: Client) -> None:
    result = await call(client, "test_simple_text")
    same([{"type": "text", "text": "This is a simple text response for testing."}], result["content"])
    _envelope(client, result, cached=False)


def _envelope(client: Client, result: Any, *, cached: bool) -> None:
    """What the stateless era puts around a result is there, and in the session era is not."""
    added = {"resultType"} | ({"ttlMs", "cacheScope"} if cached else set())
    same(sorted(added) if client.modern else [], sorted(added & set(result)))
    same(client.modern, f"{META}serverInfo" in result.get("_meta", {}))


@feature("tools/call: images, embedded resources")
async def contents(client: Client) -> None:
    result = await call(client, "test_multiple_content_types")
    same(["text", "image", "resource"], [block["type"] for block in result["content"]])


@feature("tools/call: audio (a resource to 2024-11-05)", server="2025-03-26")
async def audio(client: Client) -> None:
    result = await call(client, "test_audio_content")
    same(["audio" if client.version > OLDEST else "resource"], [block["type"] for block in result["content"]])


@feature("tools/call: links to resources (text before 2025-06-18)", server="2025-06-18")
async def links(client: Client) -> None:
    [block] = (await call(client, "link"))["content"]
    same("resource_link" if client.version >= "2025-06-18" else "text", block["type"])
    same(True, "test://static-text" in json.dumps(block))


@feature("tools/call: structured content", server="2025-06-18")
async def structure(client: Client) -> None:
    result = await call(client, "measure")
    same({"degrees": 21.5}, result["structuredContent"])
    same({"degrees": 21.5}, json.loads(result["content"][0]["text"]))


@feature("tools/call: errors of tools")
async def tool_errors(client: Client) -> None:
    same(True, (await call(client, "test_error_handling"))["isError"])


@feature("tools/call: arguments in headers")
async def header_arguments(client: Client) -> None:
    arguments = {"region": "Zürich", "count": 3, "urgent": True}
    if client.modern and hasattr(client.wire, "statuses"):
        # Toward the HTTP endpoint the client would have to repeat them; it is the bridge's way upstream that is meant.
        arguments = {}
    same(arguments, json.loads(await said(client, "test_header_parameters", **arguments)))


@feature("error codes: unknown tool, unknown method")
async def errors(client: Client) -> None:
    same(-32602, (await refusal(client, "tools/call", name="nothing", arguments={})).code)
    same(-32601, (await refusal(client, "own/nothing")).code)


@feature("metadata of others, both ways")
async def metadata(client: Client) -> None:
    sent = {"test.example/trace": {"id": [1, None, "ü"]}}
    result = await call(client, "meta", sent)
    same(sent, json.loads(result["content"][0]["text"]))
    same(sent, {key: value for key, value in result["_meta"].items() if key in sent})


@feature("methods that no revision names")
async def own_methods(client: Client) -> None:
    found = await client.request("test.example/own", {"question": "abc"})
    same("cba", found["answer"])
    same({"list": [1, None, {"big": 12345678901234567890123}]}, found["deep"])


# Resources, prompts, completion


@feature("resources: list, text, binary")
async def resources(client: Client) -> None:
    found = await client.request("resources/list")
    same(3, len(found["resources"]))
    [read] = (await client.request("resources/read", {"uri": "test://static-text"}))["contents"]
    same("This is the content of the static text resource.", read["text"])
    [read] = (await client.request("resources/read", {"uri": "test://static-binary"}))["contents"]
    same(True, "blob" in read)


@feature("pages of lists")
async def pages(client: Client) -> None:
    found: list[str] = []
    cursor = None
    while True:
        result = await client.request("resources/templates/list", None if cursor is None else {"cursor": cursor})
        found += [template["name"] for template in result["resourceTemplates"]]
        cursor = result.get("nextCursor")
        if cursor is None:
            break
    same(["data", "other"], found)


@feature("error codes: no such resource")
async def missing_resource(client: Client) -> None:
    refused = await refusal(client, "resources/read", uri="test://nothing")
    same((-32602 if client.modern else -32002, {"uri": "test://nothing"}), (refused.code, refused.data))


@feature("prompts: list, arguments, resources")
async def prompts(client: Client) -> None:
    same(5, len((await client.request("prompts/list"))["prompts"]))
    params = {"name": "test_prompt_with_arguments", "arguments": {"arg1": "a", "arg2": "b"}}
    [message] = (await client.request("prompts/get", params))["messages"]
    same("Prompt with arguments: arg1='a', arg2='b'", message["content"]["text"])


@feature("completion")
async def completion(client: Client) -> None:
    params = {
        "ref": {"type": "ref/prompt", "name": "test_prompt_with_arguments"},
        "argument": {"name": "arg1", "value": "par"},
    }
    found = await client.request("completion/complete", params)
    same(["paris", "park", "party"], found["completion"]["values"])


# While a request is under way


@feature("progress")
async def progress(client: Client) -> None:
    before = client.count("notifications/progress")
    await call(client, "test_tool_with_progress", {"progressToken": "own"})
    await client.until(lambda: client.count("notifications/progress") >= before + 3, "progress")
    heard = [message["params"] for message in client.heard if message["method"] == "notifications/progress"][before:]
    same([("own", 0), ("own", 50), ("own", 100)], [(each["progressToken"], each["progress"]) for each in heard])


@feature("log messages and their level")
async def logging(client: Client) -> None:
    before = client.count("notifications/message")
    if client.modern:
        await call(client, "test_tool_with_logging")
        same(before, client.count("notifications/message"))
        await call(client, "test_tool_with_logging", {f"{META}logLevel": "debug"})
    else:
        await client.request("logging/setLevel", {"level": "debug"})
        await call(client, "test_tool_with_logging")
    await client.until(lambda: client.count("notifications/message") >= before + 3, "log messages")
    same(before + 3, client.count("notifications/message"))


@feature("cancellation")
async def cancellation(client: Client) -> None:
    key = f"{client.version}-{id(client)}"
    before = client.count("notifications/progress")
    params = {"name": "wait", "arguments": {"key": key}}
    number, _ = await client.ask("tools/call", params, {"progressToken": "waiting"})
    await client.until(lambda: client.count("notifications/progress") > before, "progress of the call")
    await client.cancel(number)
    for _ in range(_LOOKS):
        if key in await said(client, "cancelled"):
            return
    raise AssertionError("the server never heard of it")


_LOOKS = 40
"""Calls until a cancellation must have arrived."""


# Changes


@feature("changes of lists")
async def list_changes(client: Client) -> None:
    kinds = {"tools": "test_trigger_tool_change", "prompts": "test_trigger_prompt_change"}
    kinds["resources"] = "trigger_resource_change"
    if client.modern:
        wanted = {f"{kind}ListChanged": True for kind in kinds}
        number, acknowledged = await listen(client, wanted)
        same(wanted, acknowledged)
    for kind, tool in kinds.items():
        method = f"notifications/{kind}/list_changed"
        before = client.count(method)
        await call(client, tool)
        await heard_again(client, method, before)
    if client.modern:
        await client.cancel(number)


async def heard_again(client: Client, method: str, before: int) -> None:
    """Wait for one more notification of this method."""
    await client.until(lambda: client.count(method) > before, method)


@feature("changes of resources")
async def resource_changes(client: Client) -> None:
    uri, method = "test://watched-resource", "notifications/resources/updated"
    if client.modern:
        number, acknowledged = await listen(client, {"resourceSubscriptions": [uri]})
        same({"resourceSubscriptions": [uri]}, acknowledged)
    else:
        same({}, await client.request("resources/subscribe", {"uri": uri}))
    before = client.count(method)
    await call(client, "touch", uri=uri)
    await heard_again(client, method, before)
    heard = next(message for message in client.heard if message["method"] == method)
    same(uri, heard["params"]["uri"])
    if client.modern:
        same(number, heard["params"]["_meta"][f"{META}subscriptionId"])
        await client.cancel(number)
    else:
        same({}, await client.request("resources/unsubscribe", {"uri": uri}))


async def listen(client: Client, wanted: dict[str, Any]) -> tuple[int, Any]:
    """
    Open a stream of changes.

    @return: the id of the request, and what was acknowledged.
    """
    method = "notifications/subscriptions/acknowledged"
    before = client.count(method)
    number, _ = await client.ask("subscriptions/listen", {"notifications": wanted})
    await client.until(lambda: client.count(method) > before, method)
    params = [message["params"] for message in client.heard if message["method"] == method][-1]
    same(number, params["_meta"][f"{META}subscriptionId"])
    return number, params["notifications"]


# Questions


@feature("questions: sampling")
async def sampling(client: Client) -> None:
    same("LLM response: Paris", await said(client, "test_sampling", prompt="What is the capital of France?"))
    same("sampling/createMessage", client.asked[-1])


@feature("questions: roots")
async def roots(client: Client) -> None:
    same(["file:///here"], json.loads(await said(client, "test_input_required_result_list_roots")))
    same("roots/list", client.asked[-1])


@feature("questions: forms", client="2025-06-18", server="2025-06-18")
async def forms(client: Client) -> None:
    answer = json.loads((await said(client, "test_elicitation", message="Who?")).removeprefix("User response: "))
    same(("accept", {"username": "Alice", "email": "Alice"}), (answer["action"], answer["content"]))


@feature("questions: choices", client="2025-11-25", server="2025-11-25")
async def choices(client: Client) -> None:
    same(True, "accept" in await said(client, "test_elicitation_sep1330_enums"))


@feature("questions: three at once", client="2025-06-18", server="2025-06-18")
async def three_questions(client: Client) -> None:
    before = len(client.asked)
    same("3 answers", await said(client, "test_input_required_result_multiple_inputs"))
    same(["elicitation/create", "roots/list", "sampling/createMessage"], sorted(client.asked[before:]))


@feature("questions: in rounds", client="2025-06-18", server="2025-06-18")
async def rounds(client: Client) -> None:
    before = len(client.asked)
    same("Alice: Alice", await said(client, "test_input_required_result_multi_round"))
    same(2, len(client.asked) - before)


@feature("questions: of a prompt", client="2025-06-18", server="2025-06-18")
async def prompt_questions(client: Client) -> None:
    params = {"name": "test_input_required_result_prompt", "arguments": {}}
    [message] = (await client.request("prompts/get", params))["messages"]
    same("The context is: Alice", message["content"]["text"])


@feature("questions: places to visit", client="2025-11-25", server="2025-11-25")
async def places(client: Client) -> None:
    same("accept", await said(client, "visit"))


@feature("error -32042: a place to visit before", only_server=("2025-11-25",))
async def visit_first(client: Client) -> None:
    key = f"{client.version}-{id(client)}"
    if client.modern:
        same("unlocked", await said(client, "locked", key=key))
        return
    refused = await refusal(client, "tools/call", name="locked", arguments={"key": key})
    if client.version >= "2025-11-25":
        urls = [place["url"] for place in (refused.data or {}).get("elicitations", ())]
        same((-32042, ["https://test.example/login"]), (refused.code, urls))
    else:
        same((-32603, True), (refused.code, "https://test.example/login" in str(refused)))


# Tasks


for _title, _run, _client, _within in (
    ("tasks: what runs as nothing else, called as any tool", tasks.task_called, OLDEST, TASKS),
    ("tasks: the same, with a question", tasks.task_asking, "2025-06-18", TASKS),
    ("tasks: the same, cancelled with its call", tasks.task_abandoned, OLDEST, TASKS),
    ("tasks: handles, to the end", tasks.handle, "2025-11-25", HANDLES),
    ("tasks: handles, with a question", tasks.handle_asking, "2025-11-25", HANDLES),
    ("tasks: handles, cancelled", tasks.handle_cancelled, "2025-11-25", HANDLES),
):
    feature(_title, client=_client, server="2025-11-25", within=_within)(_run)


# All of it


@feature("every message as the client's revision has it")
async def valid(client: Client) -> None:
    # The last row: by now everything was said.
    same([], client.invalid[:3])
