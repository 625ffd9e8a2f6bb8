"""
A script: a stateful server made with the official Python SDK that uses every feature of the session era.

Run as C{python -m tests.integration.sdk_server stdio}, or C{http | http-json | sse PORT}. It prints C{ready} on stderr.
Its tools tell what it saw of its client, so that what a bridge loses on the way shows at the client.
"""

import sys
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Mount, Route

Context = ServerRequestContext[Any]
Tool = Callable[[Context, dict[str, Any]], Awaitable[Any]]

_LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
_PAGE = 5
"""Items of a page: few, so that every list here has several."""


class Notes:
    """What the server remembers of one session."""

    def __init__(self) -> None:
        self.level = "debug"
        self.subscribed: set[str] = set()
        self.kept: dict[str, str] = {}
        self.cancelled: list[str] = []
        self.roots_changed = 0
        self.client_progress: list[float] = []
        self.grown = 0


def notes(context: Context) -> Notes:
    """The notes of the session that a message belongs to."""
    # The SDK has no public name for the connection.
    kept: Notes = context.session._connection.state.setdefault("notes", Notes())
    return kept


def text(words: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=words)])


# Tools


async def echo(_: Context, arguments: dict[str, Any]) -> Any:
    return text(str(arguments.get("text")))


async def remember(context: Context, arguments: dict[str, Any]) -> Any:
    notes(context).kept[arguments["key"]] = arguments["value"]
    return text("kept")


async def recall(context: Context, arguments: dict[str, Any]) -> Any:
    return text(notes(context).kept.get(arguments["key"], "nothing"))


async def many_kinds(_: Context, __: dict[str, Any]) -> Any:
    """Every kind of content, with annotations, metadata and structured content."""
    annotations = types.Annotations(audience=["user", "assistant"], priority=0.25)
    return types.CallToolResult(
        content=[
            types.TextContent(
                type="text", text="à la carte ☕ 𝄞", annotations=annotations, _meta={"own/key": [1, None]}
            ),
            types.ImageContent(type="image", data=_PNG, mime_type="image/png"),
            types.AudioContent(type="audio", data=_WAV, mime_type="audio/wav"),
            types.ResourceLink(type="resource_link", uri="note://1", name="note 1", mime_type="text/plain"),
            types.EmbeddedResource(
                type="resource",
                resource=types.TextResourceContents(uri="note://2", mime_type="text/plain", text="two"),
            ),
            types.EmbeddedResource(
                type="resource",
                resource=types.BlobResourceContents(uri="note://3", mime_type="application/x", blob="AAEC"),
            ),
        ],
        structured_content={"nested": {"list": [1, 2.5, True, None, "x"]}},
        _meta={"vendor/trace": {"id": "t-1"}},
    )


async def measured(_: Context, arguments: dict[str, Any]) -> Any:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text="21 degrees")],
        structured_content={"degrees": 21.0, "place": arguments["place"]},
    )


async def failing(_: Context, __: dict[str, Any]) -> Any:
    return types.CallToolResult(content=[types.TextContent(type="text", text="it went wrong")], is_error=True)


async def raising(_: Context, __: dict[str, Any]) -> Any:
    raise MCPError(code=-32077, message="a code of our own", data={"why": ["because", 1]})


async def count(context: Context, arguments: dict[str, Any]) -> Any:
    """Progress, then the result."""
    upto = int(arguments["upto"])
    for step in range(1, upto + 1):
        await context.session.report_progress(step, upto, f"step {step}")
    return text(f"counted to {upto}")


async def logs(context: Context, _: dict[str, Any]) -> Any:
    """One message of each level that the client wants to hear."""
    wanted = _LEVELS[_LEVELS.index(notes(context).level) :]
    for level in wanted:
        await context.session.send_log_message(level, {"said": level}, "sdk-server")  # type: ignore[arg-type]  # one of eight words
    return text(f"{len(wanted)} messages")


async def touch(context: Context, arguments: dict[str, Any]) -> Any:
    """Change a resource: subscribers hear of it."""
    if arguments["uri"] in notes(context).subscribed:
        await context.session.send_resource_updated(arguments["uri"])
    return text(f"{len(notes(context).subscribed)} subscribed")


async def grow(context: Context, _: dict[str, Any]) -> Any:
    """One more tool, prompt and resource; all three lists have changed."""
    notes(context).grown += 1
    await context.session.send_tool_list_changed()
    await context.session.send_prompt_list_changed()
    await context.session.send_resource_list_changed()
    return text(f"grown by {notes(context).grown}")


async def sample(context: Context, arguments: dict[str, Any]) -> Any:
    result = await context.session.create_message(
        [types.SamplingMessage(role="user", content=types.TextContent(type="text", text=arguments["prompt"]))],
        max_tokens=17,
        system_prompt="be brief",
        temperature=0.5,
        stop_sequences=["\n"],
        model_preferences=types.ModelPreferences(hints=[types.ModelHint(name="small")], cost_priority=1.0),
        metadata={"own": 1},
        related_request_id=context.request_id,
    )
    return text(result.model_dump_json(by_alias=True, exclude_none=True))


async def elicit(context: Context, arguments: dict[str, Any]) -> Any:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "check": {"type": "boolean"}},
        "required": ["name"],
    }
    result = await context.session.elicit_form(arguments["message"], schema, context.request_id)
    return text(result.model_dump_json(by_alias=True, exclude_none=True))


async def elicit_url(context: Context, _: dict[str, Any]) -> Any:
    result = await context.session.elicit_url("open it", "https://example.org/x?y=1", "e-1", context.request_id)
    await context.session.send_elicit_complete("e-1", context.request_id)
    return text(result.model_dump_json(by_alias=True, exclude_none=True))


async def roots(context: Context, _: dict[str, Any]) -> Any:
    result = await context.session.list_roots()
    return text(f"{notes(context).roots_changed} changes; {[str(root.uri) for root in result.roots]}")


async def ping_client(context: Context, _: dict[str, Any]) -> Any:
    await context.session.send_ping()
    return text("the client answers")


async def wait(context: Context, arguments: dict[str, Any]) -> Any:
    """Wait to be cancelled."""
    try:
        await anyio.sleep(60)
    except anyio.get_cancelled_exc_class():
        notes(context).cancelled.append(arguments["key"])
        raise
    return text("nobody cancelled")


async def cancelled(context: Context, _: dict[str, Any]) -> Any:
    return text(",".join(notes(context).cancelled))


async def meta(context: Context, _: dict[str, Any]) -> Any:
    """The metadata that came with this very request, without what every hop sets anew."""
    sent = {
        key: value for key, value in dict(context.meta or {}).items() if key not in ("progressToken", "progress_token")
    }
    return types.CallToolResult(content=[], structured_content=sent)


async def client_says(context: Context, _: dict[str, Any]) -> Any:
    """Who the client is and what it can do, as the server was told."""
    params = context.session.client_params
    said = params.model_dump(by_alias=True, mode="json", exclude_none=True) if params else {}
    return types.CallToolResult(content=[], structured_content=said)


async def progress_heard(context: Context, _: dict[str, Any]) -> Any:
    return text(str(notes(context).client_progress))


async def large(_: Context, arguments: dict[str, Any]) -> Any:
    return text("x" * int(arguments["size"]))


async def big_number(_: Context, __: dict[str, Any]) -> Any:
    return types.CallToolResult(content=[], structured_content={"n": 12345678901234567890123, "f": 1e300})


TOOLS: dict[str, Tool] = {
    each.__name__: each
    for each in (
        echo,
        remember,
        recall,
        many_kinds,
        measured,
        failing,
        raising,
        count,
        logs,
        touch,
        grow,
        sample,
        elicit,
        elicit_url,
        roots,
        ping_client,
        wait,
        cancelled,
        meta,
        client_says,
        progress_heard,
        large,
        big_number,
    )
}


def _described(name: str, tool: Tool) -> types.Tool:
    output = None
    if name == "measured":
        output = {"type": "object", "properties": {"degrees": {"type": "number"}}, "required": ["degrees"]}
    return types.Tool(
        name=name,
        title=name.title(),
        description=tool.__doc__,
        input_schema={"type": "object", "properties": {}},
        output_schema=output,
        annotations=types.ToolAnnotations(read_only_hint=name == "echo", title="annotated"),
        icons=[types.Icon(src="https://example.org/i.png", mime_type="image/png", sizes=["48x48"])]
        if name == "echo"
        else None,
        _meta={"own/order": len(name)},
    )


def page(items: list[Any], params: types.PaginatedRequestParams | None) -> tuple[list[Any], str | None]:
    """One page and the cursor of the next."""
    cursor = params.cursor if params and params.cursor else "0"
    if not cursor.isdigit():
        raise MCPError(code=-32602, message=f"Not one of our cursors: {cursor}")
    start = int(cursor)
    end = start + _PAGE
    return items[start:end], str(end) if end < len(items) else None


async def list_tools(context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    everything = [_described(name, tool) for name, tool in TOOLS.items()]
    everything += [_described(f"grown_{index}", echo) for index in range(notes(context).grown)]
    tools, cursor = page(everything, params)
    return types.ListToolsResult(tools=tools, next_cursor=cursor)


async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
    tool = TOOLS.get(params.name) or (echo if params.name.startswith("grown_") else None)
    if tool is None:
        raise MCPError(code=-32602, message=f"Unknown tool: {params.name}")
    result: types.CallToolResult = await tool(context, params.arguments or {})
    return result


# Resources, prompts, completion


async def list_resources(context: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
    everything = [types.Resource(uri=f"note://{n}", name=f"note {n}", size=n) for n in range(12 + notes(context).grown)]
    resources, cursor = page(everything, params)
    return types.ListResourcesResult(resources=resources, next_cursor=cursor)


async def list_templates(_: Context, params: types.PaginatedRequestParams | None) -> types.ListResourceTemplatesResult:
    everything = [types.ResourceTemplate(uri_template=f"t{n}://{{name}}", name=f"template {n}") for n in range(7)]
    templates, cursor = page(everything, params)
    return types.ListResourceTemplatesResult(resource_templates=templates, next_cursor=cursor)


async def read_resource(_: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    uri = str(params.uri)
    if uri == "note://blob":
        return types.ReadResourceResult(
            contents=[types.BlobResourceContents(uri=uri, blob="AAECAw==", mime_type="a/b")]
        )
    if uri.startswith("note://nothing"):
        raise MCPError(code=-32002, message="Resource not found", data={"uri": uri})
    return types.ReadResourceResult(contents=[types.TextResourceContents(uri=uri, text=f"contents of {uri}")])


async def subscribe(context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
    notes(context).subscribed.add(str(params.uri))
    return types.EmptyResult()


async def unsubscribe(context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
    notes(context).subscribed.discard(str(params.uri))
    return types.EmptyResult()


async def list_prompts(context: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    argument = types.PromptArgument(name="topic", description="about what", required=True)
    everything = [types.Prompt(name=f"prompt_{n}", arguments=[argument]) for n in range(6 + notes(context).grown)]
    prompts, cursor = page(everything, params)
    return types.ListPromptsResult(prompts=prompts, next_cursor=cursor)


async def get_prompt(_: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    topic = (params.arguments or {}).get("topic")
    if topic is None:
        raise MCPError(code=-32602, message="topic is missing")
    content = types.TextContent(type="text", text=f"{params.name} about {topic}")
    return types.GetPromptResult(
        description="made to measure", messages=[types.PromptMessage(role="user", content=content)]
    )


async def complete(_: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    kind = params.ref.type
    before = (params.context.arguments or {}) if params.context else {}
    values = [f"{kind}:{params.argument.name}:{params.argument.value}", *map(str, sorted(before.items()))]
    return types.CompleteResult(completion=types.Completion(values=values, total=100, has_more=True))


async def set_level(context: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
    notes(context).level = params.level
    return types.EmptyResult()


async def roots_changed(context: Context, _: Any) -> None:
    notes(context).roots_changed += 1


async def progress_from_client(context: Context, params: types.ProgressNotificationParams) -> None:
    notes(context).client_progress.append(params.progress)


class OwnParams(types.RequestParams):
    """Of a method that no specification names."""

    question: str


async def own_method(_: Context, params: OwnParams) -> dict[str, Any]:
    return {"answer": params.question[::-1], "own": {"deep": [1, {"x": None}]}}


def make() -> Server[Any]:
    """The server."""
    server: Server[Any] = Server(
        "sdk-server",
        version="1.2.3",
        title="The SDK's",
        instructions="Use it\nwisely.",
        website_url="https://example.org/",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=unsubscribe,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_completion=complete,
        on_set_logging_level=set_level,
        on_roots_list_changed=roots_changed,
        on_progress=progress_from_client,
    )
    server.add_request_handler("own/method", OwnParams, own_method)
    return server


def options(server: Server[Any]) -> Any:
    """What it declares: all its lists change."""
    changes = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
    return server.create_initialization_options(changes, {"own": {"feature": True}})


async def serve_stdio() -> None:
    server = make()
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, options(server))


def sse_app() -> Starlette:
    server = make()
    transport = SseServerTransport("/messages/")

    async def connect(request: HTTPRequest) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as (reading, writing):
            await server.run(reading, writing, options(server))
        return Response()

    return Starlette(routes=[Route("/sse", connect), Mount("/messages/", app=transport.handle_post_message)])


def main() -> None:
    """Serve as the command line says."""
    warnings.simplefilter("ignore")
    kind = sys.argv[1]
    if kind == "stdio":
        anyio.run(serve_stdio)
        return
    server = make()
    server.create_initialization_options = lambda *_: Server.create_initialization_options(  # type: ignore[method-assign]  # no other way to it
        server,
        NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True),
        {"own": {"feature": True}},
    )
    app = sse_app() if kind == "sse" else server.streamable_http_app(json_response=kind == "http-json")
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
