"""
The tools that the official conformance suite wants of a server, by the names it calls them.

Each takes the L{Interview <tests.conformance.interview.Interview>} of its call and its arguments. Tools from C{CHANGES}
on
are ours: they show what the suite has no scenario for.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import mcp_types as types
from mcp import MCPError
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ToolsListChanged,
)

from tests.conformance.interview import Interview, form, is_modern, sample

Arguments = dict[str, Any]
Tool = Callable[[Interview, Arguments], Awaitable[types.CallToolResult]]

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""A picture of one pixel."""

WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
"""A sound of no length."""

BUS = InMemorySubscriptionBus()
"""Where changes are told to C{subscriptions/listen}."""

STEP = 0.05
"""Seconds between two steps of a tool that tells of its progress."""

WAIT_LIMIT = 20.0
"""Seconds that a tool waits to be cancelled before it gives up."""

CANCELLED: list[str] = []
"""The keys of calls of C{wait} that were cancelled."""

UNLOCKED: set[str] = set()
"""The keys that C{locked} was called with."""

STRING = {"type": "string"}
TOOLS: dict[str, Tool] = {}
SCHEMAS: dict[str, dict[str, Any]] = {}
OUTPUT_SCHEMAS: dict[str, dict[str, Any]] = {}


def tool(schema: dict[str, Any] | None = None, output: dict[str, Any] | None = None) -> Callable[[Tool], Tool]:
    """Decorator: a tool of the name of its function."""

    def register(function: Tool) -> Tool:
        name = function.__name__
        TOOLS[name] = function
        SCHEMAS[name] = schema or {"type": "object", "properties": {}}
        if output is not None:
            OUTPUT_SCHEMAS[name] = output
        return function

    return register


def text(words: str) -> types.CallToolResult:
    """A result of one text."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=words)])


def taking(**properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of arguments that are all required."""
    return {"type": "object", "properties": properties, "required": list(properties)}


# Contents


@tool()
async def test_simple_text(_: Interview, __: Arguments) -> types.CallToolResult:
    """One text."""
    return text("This is a simple text response for testing.")


@tool()
async def test_image_content(_: Interview, __: Arguments) -> types.CallToolResult:
    """One picture."""
    return types.CallToolResult(content=[types.ImageContent(type="image", data=PNG, mime_type="image/png")])


@tool()
async def test_audio_content(_: Interview, __: Arguments) -> types.CallToolResult:
    """One sound."""
    return types.CallToolResult(content=[types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")])


def embedded(uri: str, mime_type: str, words: str) -> types.EmbeddedResource:
    """A resource inside of something else."""
    contents = types.TextResourceContents(uri=uri, mime_type=mime_type, text=words)
    return types.EmbeddedResource(type="resource", resource=contents)


@tool()
async def test_embedded_resource(_: Interview, __: Arguments) -> types.CallToolResult:
    """One resource."""
    words = "This is an embedded resource content."
    return types.CallToolResult(content=[embedded("test://embedded-resource", "text/plain", words)])


@tool()
async def test_multiple_content_types(_: Interview, __: Arguments) -> types.CallToolResult:
    """A text, a picture and a resource."""
    return types.CallToolResult(
        content=[
            types.TextContent(type="text", text="Multiple content types test:"),
            types.ImageContent(type="image", data=PNG, mime_type="image/png"),
            embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
        ]
    )


@tool()
async def test_error_handling(_: Interview, __: Arguments) -> types.CallToolResult:
    """It goes wrong, always."""
    return types.CallToolResult(
        content=[types.TextContent(type="text", text="This tool intentionally returns an error for testing")],
        is_error=True,
    )


@tool(
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": STRING, "city": STRING},
            }
        },
        "properties": {
            "name": STRING,
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": STRING,
            "email": STRING,
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    }
)
async def json_schema_2020_12_tool(_: Interview, __: Arguments) -> types.CallToolResult:
    """Its schema uses what JSON Schema 2020-12 has."""
    return text("json_schema_2020_12_tool")


@tool(
    {
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "count": {"type": "integer", "x-mcp-header": "Count"},
            "urgent": {"type": "boolean", "x-mcp-header": "Urgent"},
        },
    }
)
async def test_header_parameters(_: Interview, arguments: Arguments) -> types.CallToolResult:
    """Its arguments are repeated in headers."""
    return text(json.dumps(arguments, sort_keys=True))


# While a tool runs


@tool()
async def test_tool_with_logging(interview: Interview, _: Arguments) -> types.CallToolResult:
    """Three lines of log."""
    session, request = interview.context.session, interview.context.request_id
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await session.send_log_message("info", line, "reference", related_request_id=request)
        await anyio.sleep(STEP)
    return text("Tool with logging executed successfully")


@tool()
async def test_logging_tool(interview: Interview, arguments: Arguments) -> types.CallToolResult:
    """The same; the scenario of the stateless era calls it without a level."""
    return await test_tool_with_logging(interview, arguments)


@tool()
async def test_tool_with_progress(interview: Interview, _: Arguments) -> types.CallToolResult:
    """Three steps of progress."""
    for done in (0, 50, 100):
        await interview.context.session.report_progress(done, 100, f"{done} of 100")
        await anyio.sleep(STEP)
    return text("Tool with progress executed successfully")


@tool()
async def test_reconnection(interview: Interview, _: Arguments) -> types.CallToolResult:
    """Hang up on the client in the middle, as a server that has no room for open streams."""
    if interview.context.close_sse_stream is not None:
        await interview.context.close_sse_stream()
        await anyio.sleep(4 * STEP)
    return text("Reconnection test completed")


# Questions of the session era's scenarios


@tool(taking(prompt=STRING))
async def test_sampling(interview: Interview, arguments: Arguments) -> types.CallToolResult:
    """One question to the client's model."""
    answers = await interview.ask(answer=sample(arguments["prompt"]))
    return text(f"LLM response: {answers['answer']['content']['text']}")


@tool(taking(message=STRING))
async def test_elicitation(interview: Interview, arguments: Arguments) -> types.CallToolResult:
    """One question to the user."""
    fields = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    answers = await interview.ask(user=form(arguments["message"], **fields))
    return text(f"User response: {json.dumps(answers['user'])}")


@tool()
async def test_elicitation_sep1034_defaults(interview: Interview, _: Arguments) -> types.CallToolResult:
    """A form of which every field has a default."""
    question = form(
        "Please provide user information",
        name={"type": "string", "default": "John Doe"},
        age={"type": "integer", "default": 30},
        score={"type": "number", "default": 95.5},
        status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        verified={"type": "boolean", "default": True},
    )
    answers = await interview.ask(user=question)
    return text(f"Elicitation completed: {json.dumps(answers['user'])}")


@tool()
async def test_elicitation_sep1330_enums(interview: Interview, _: Arguments) -> types.CallToolResult:
    """A form with every kind of choice."""
    options = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": f"Choice {n}"} for n in (1, 2, 3)]
    question = form(
        "Please select",
        untitledSingle={"type": "string", "enum": options},
        titledSingle={"type": "string", "oneOf": titled},
        legacyEnum={"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
        untitledMulti={"type": "array", "items": {"type": "string", "enum": options}},
        titledMulti={"type": "array", "items": {"anyOf": titled}},
    )
    answers = await interview.ask(user=question)
    return text(f"Elicitation completed: {json.dumps(answers['user'])}")


# Questions of the stateless era's scenarios


@tool()
async def test_streaming_elicitation(interview: Interview, _: Arguments) -> types.CallToolResult:
    """One question to the user, by a client that reads the stream."""
    return await test_input_required_result_elicitation(interview, {})


@tool()
async def test_missing_capability(interview: Interview, _: Arguments) -> types.CallToolResult:
    """Nothing for a client that cannot sample."""
    interview.demand(sampling={})
    return text("The client can sample")


@tool()
async def test_input_required_result_elicitation(interview: Interview, _: Arguments) -> types.CallToolResult:
    """The user's name."""
    answers = await interview.ask(user_name=form("What is your name?", name=STRING))
    return text(f"Hello, {answers['user_name'].get('content', {}).get('name')}!")


@tool()
async def test_input_required_result_sampling(interview: Interview, _: Arguments) -> types.CallToolResult:
    """A question to the client's model."""
    answers = await interview.ask(capital_question=sample("What is the capital of France?"))
    return text(answers["capital_question"]["content"]["text"])


@tool()
async def test_input_required_result_list_roots(interview: Interview, _: Arguments) -> types.CallToolResult:
    """The client's roots."""
    answers = await interview.ask(client_roots=types.ListRootsRequest())
    return text(json.dumps([root["uri"] for root in answers["client_roots"]["roots"]]))


@tool()
async def test_input_required_result_request_state(interview: Interview, _: Arguments) -> types.CallToolResult:
    """A question with a state beside it."""
    await interview.ask(stateful=True, confirm=form("Please confirm", ok={"type": "boolean"}))
    return text("state-ok")


@tool()
async def test_input_required_result_tampered_state(interview: Interview, _: Arguments) -> types.CallToolResult:
    """The same; the client will falsify the state."""
    return await test_input_required_result_request_state(interview, {})


@tool()
async def test_input_required_result_multiple_inputs(interview: Interview, _: Arguments) -> types.CallToolResult:
    """Three questions of three kinds at once."""
    answers = await interview.ask(
        stateful=True,
        user_name=form("What is your name?", name=STRING),
        greeting=sample("Generate a greeting", 50),
        client_roots=types.ListRootsRequest(),
    )
    return text(f"{len(answers)} answers")


@tool()
async def test_input_required_result_multi_round(interview: Interview, _: Arguments) -> types.CallToolResult:
    """Two questions, the second after the first."""
    first = await interview.ask(stateful=True, step1=form("Step 1: What is your name?", name=STRING))
    second = await interview.ask(stateful=True, step2=form("Step 2: What is your favorite color?", color=STRING))
    return text(f"{first['step1'].get('content', {}).get('name')}: {second['step2'].get('content', {}).get('color')}")


@tool()
async def test_input_required_result_capabilities(interview: Interview, _: Arguments) -> types.CallToolResult:
    """Only questions that the client can answer."""
    can = interview.capabilities
    questions: dict[str, Any] = {}
    if can.sampling is not None:
        questions["greeting"] = sample("Generate a greeting")
    if can.elicitation is not None:
        questions["user_name"] = form("What is your name?", name=STRING)
    return text(f"{len(await interview.ask(stateful=True, **questions))} answers")


# Changes


async def _changed(interview: Interview, event: Any, method: str) -> types.CallToolResult:
    if is_modern(interview.context):
        await BUS.publish(event)
    else:
        await getattr(interview.context.session, method)()
    return text("changed")


@tool()
async def test_trigger_tool_change(interview: Interview, _: Arguments) -> types.CallToolResult:
    """The list of tools has changed."""
    return await _changed(interview, ToolsListChanged(), "send_tool_list_changed")


@tool()
async def test_trigger_prompt_change(interview: Interview, _: Arguments) -> types.CallToolResult:
    """The list of prompts has changed."""
    return await _changed(interview, PromptsListChanged(), "send_prompt_list_changed")


@tool()
async def trigger_resource_change(interview: Interview, _: Arguments) -> types.CallToolResult:
    """The list of resources has changed."""
    return await _changed(interview, ResourcesListChanged(), "send_resource_list_changed")


@tool(taking(uri=STRING))
async def touch(interview: Interview, arguments: Arguments) -> types.CallToolResult:
    """A resource has changed: subscribers hear of it."""
    uri = arguments["uri"]
    if is_modern(interview.context):
        await BUS.publish(ResourceUpdated(uri=uri))
    elif uri in subscriptions(interview.context):
        await interview.context.session.send_resource_updated(uri)
    return text("touched")


def subscriptions(context: Any) -> set[str]:
    """The resources that this session has subscribed to."""
    # The SDK has no public name for the connection.
    found: set[str] = context.session._connection.state.setdefault("subscriptions", set())
    return found


@tool(output=taking(degrees={"type": "number"}))
async def measure(_: Interview, __: Arguments) -> types.CallToolResult:
    """A result with structure."""
    return types.CallToolResult(
        content=[types.TextContent(type="text", text='{"degrees": 21.5}')], structured_content={"degrees": 21.5}
    )


@tool()
async def link(_: Interview, __: Arguments) -> types.CallToolResult:
    """A link to a resource."""
    return types.CallToolResult(
        content=[types.ResourceLink(type="resource_link", uri="test://static-text", name="static text")]
    )


@tool(taking(key=STRING))
async def wait(interview: Interview, arguments: Arguments) -> types.CallToolResult:
    """Wait to be cancelled."""
    try:
        await interview.context.session.report_progress(1, None, "waiting")
        await anyio.sleep(WAIT_LIMIT)
    except anyio.get_cancelled_exc_class():
        CANCELLED.append(arguments["key"])
        raise
    return text("nobody cancelled")


@tool()
async def cancelled(_: Interview, __: Arguments) -> types.CallToolResult:
    """The calls that were cancelled."""
    return text(",".join(CANCELLED))


@tool()
async def who(interview: Interview, _: Arguments) -> types.CallToolResult:
    """The client, as the server was told of it."""
    params = interview.context.session.client_params
    name = params.client_info.name if params is not None and params.client_info is not None else "unknown"
    return text(name)


@tool()
async def spoken(interview: Interview, _: Arguments) -> types.CallToolResult:
    """The revision of this conversation, as the server sees it."""
    return text(interview.context.protocol_version)


@tool()
async def meta(interview: Interview, _: Arguments) -> types.CallToolResult:
    """What came in C{_meta} that is nobody's but the client's, and the same in the result's."""
    sent = {key: value for key, value in dict(interview.context.meta or {}).items() if key.startswith("test.example/")}
    return types.CallToolResult(content=[types.TextContent(type="text", text=json.dumps(sent))], _meta=sent)


@tool()
async def visit(interview: Interview, _: Arguments) -> types.CallToolResult:
    """Send the user somewhere."""
    # The session era wants an id, and the stateless era has none.
    name = None if is_modern(interview.context) else "e-1"
    params = types.ElicitRequestURLParams(message="Please look", url="https://test.example/x", elicitation_id=name)
    answers = await interview.ask(place=types.ElicitRequest(params=params))
    return text(answers["place"]["action"])


@tool(taking(key=STRING))
async def locked(interview: Interview, arguments: Arguments) -> types.CallToolResult:
    """Refused the first time, by the way of 2025-11-25: the user has to go somewhere before."""
    key = arguments["key"]
    if key not in UNLOCKED:
        UNLOCKED.add(key)
        place = {"mode": "url", "message": "Log in", "url": "https://test.example/login", "elicitationId": key}
        raise MCPError(-32042, "This needs a visit", {"elicitations": [place]})
    return text("unlocked")
