"""
A script: the reference server of the conformance runs and of the matrix, on the official Python SDK.

    python -m tests.conformance.reference TRANSPORT SPOKEN [PORT]

C{TRANSPORT} is C{http}, C{sse} or C{stdio}. C{SPOKEN} is C{dual} (both eras), C{legacy} (the session era, whatever
revision the client asks for) or one revision, which is then the only one: a server of an older revision answers
C{initialize} with that, whatever was asked, and knows nothing of C{_meta}.
"""

import contextlib
import json
import logging
import sys
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp import MCPError
from mcp.server._streamable_http_modern import handle_modern_request
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.runner import _serve_modern_stream, serve_loop
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.subscriptions import ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.message import SessionMessage
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.conformance.interview import Context, Interview, Unanswered
from tests.conformance.replay import Kept
from tests.conformance.resources import (
    COMPLETIONS,
    PROMPTS,
    RESOURCES,
    TEMPLATES,
    contents,
    prompt_messages,
)
from tests.conformance.tools import BUS, OUTPUT_SCHEMAS, SCHEMAS, TOOLS, subscriptions

RETRY = 100
"""Milliseconds that a client waits before it comes back to a stream that was closed on it."""

_CHANGES = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)


# What it answers


async def list_tools(_: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    return types.ListToolsResult(
        tools=[
            types.Tool(
                name=name,
                description=function.__doc__,
                input_schema=SCHEMAS[name],
                output_schema=OUTPUT_SCHEMAS.get(name),
            )
            for name, function in TOOLS.items()
        ]
    )


async def call_tool(
    context: Context, params: types.CallToolRequestParams
) -> types.CallToolResult | types.InputRequiredResult:
    function = TOOLS.get(params.name)
    if function is None:
        raise MCPError(code=-32602, message=f"Unknown tool: {params.name}")
    try:
        return await function(Interview(context, params), params.arguments or {})
    except Unanswered as question:
        return question.result


async def list_resources(_: Context, __: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
    return types.ListResourcesResult(resources=RESOURCES)


async def list_templates(_: Context, params: types.PaginatedRequestParams | None) -> types.ListResourceTemplatesResult:
    """One a page, so that there are pages."""
    at = int(params.cursor) if params is not None and params.cursor else 0
    following = str(at + 1) if at + 1 < len(TEMPLATES) else None
    return types.ListResourceTemplatesResult(resource_templates=TEMPLATES[at : at + 1], next_cursor=following)


async def read_resource(context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    uri = str(params.uri)
    found = contents(uri)
    if found is None:
        code = -32602 if context.protocol_version in MODERN_PROTOCOL_VERSIONS else -32002
        raise MCPError(code=code, message="Resource not found", data={"uri": uri})
    return types.ReadResourceResult(contents=[found])


async def subscribe(context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
    subscriptions(context).add(str(params.uri))
    return types.EmptyResult()


async def unsubscribe(context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
    subscriptions(context).discard(str(params.uri))
    return types.EmptyResult()


async def list_prompts(_: Context, __: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=PROMPTS)


async def get_prompt(
    context: Context, params: types.GetPromptRequestParams
) -> types.GetPromptResult | types.InputRequiredResult:
    try:
        messages = await prompt_messages(Interview(context, params), params.name, params.arguments or {})
    except Unanswered as question:
        return question.result
    return types.GetPromptResult(messages=messages)


async def complete(_: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    values = [value for value in COMPLETIONS if value.startswith(params.argument.value)]
    return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))


async def set_level(_: Context, __: types.SetLevelRequestParams) -> types.EmptyResult:
    return types.EmptyResult()


class OwnParams(types.RequestParams):
    """Of a method that no specification names."""

    question: str


async def own_method(_: Context, params: OwnParams) -> dict[str, Any]:
    return {"answer": params.question[::-1], "deep": {"list": [1, None, {"big": 12345678901234567890123}]}}


def make() -> Server[Any]:
    """The server."""
    server: Server[Any] = Server(
        "reference",
        version="1.0.0",
        instructions="Made for tests.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=unsubscribe,
        on_subscriptions_listen=ListenHandler(BUS),
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_completion=complete,
        on_set_logging_level=set_level,
    )
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="reference"))
    server.add_request_handler("test.example/own", OwnParams, own_method)
    options = server.create_initialization_options
    server.create_initialization_options = lambda *_: options(_CHANGES)  # type: ignore[method-assign]  # no other way to it
    return server


# Which revisions it speaks


def answering(message: Any, spoken: str) -> Any:
    """
    What the SDK is shown of a message: it answers C{initialize} with the revision that is asked for, so a server of one
    revision is asked for that.
    """
    if spoken in ("dual", "legacy") or not isinstance(message, dict) or message.get("method") != "initialize":
        return message
    return {**message, "params": {**(message.get("params") or {}), "protocolVersion": spoken}}


def asked_for(app: ASGIApp, spoken: str) -> ASGIApp:
    """The same application, C{initialize} changed as L{answering} says."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await app(scope, receive, send)
            return
        body = b""
        more = True
        while more:
            part = await receive()
            body += part.get("body", b"")
            more = part.get("more_body", False)
        with contextlib.suppress(ValueError):  # Not JSON: that is for the SDK to say.
            body = json.dumps(answering(json.loads(body), spoken)).encode()
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await app({**scope, "headers": headers}, again, send)

    return wrapped


class OneEra(StreamableHTTPSessionManager):
    """The SDK's server of both eras, one of them left out."""

    spoken = "dual"

    async def _handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.spoken in MODERN_PROTOCOL_VERSIONS:
            await handle_modern_request(
                self.app, self.security_settings, self.json_response, self._lifespan_state, scope, receive, send
            )
        elif self.spoken == "dual":
            await super()._handle_request(scope, receive, send)
        else:
            await self._handle_stateful_request(scope, receive, send)


# Transports


def http_app(server: Server[Any], spoken: str) -> ASGIApp:
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=["127.0.0.1:*", "localhost:*"],
        allowed_origins=["http://127.0.0.1:*", "http://localhost:*"],
    )
    manager = OneEra(app=server, event_store=Kept(), retry_interval=RETRY, security_settings=security)
    manager.spoken = spoken

    class Endpoint:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await manager.handle_request(scope, receive, send)

    return asked_for(Starlette(routes=[Route("/mcp", endpoint=Endpoint())], lifespan=lambda _: manager.run()), spoken)


def sse_app(server: Server[Any], spoken: str) -> ASGIApp:
    transport = SseServerTransport("/messages/")

    async def connect(request: HTTPRequest) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as (reading, writing):
            await serve_loop(server, reading, writing, lifespan_state={})
        return Response()

    routes = [Route("/sse", connect), Mount("/messages/", app=transport.handle_post_message)]
    return asked_for(Starlette(routes=routes), spoken)


@asynccontextmanager
async def _asked_for(reading: Any, spoken: str) -> AsyncIterator[Any]:
    """The same stream of messages, C{initialize} changed as L{answering} says."""
    send, receive = anyio.create_memory_object_stream[SessionMessage | Exception](0)

    async def pump() -> None:
        async with send:
            async for item in reading:
                passed = item
                if isinstance(item, SessionMessage) and isinstance(item.message, types.JSONRPCRequest):
                    shown = answering(item.message.model_dump(by_alias=True, exclude_none=True), spoken)
                    passed = replace(item, message=types.JSONRPCRequest.model_validate(shown))
                await send.send(passed)

    async with anyio.create_task_group() as group:
        group.start_soon(pump)
        yield receive
        group.cancel_scope.cancel()


async def serve_stdio(server: Server[Any], spoken: str) -> None:
    async with stdio_server() as (reading, writing), _asked_for(reading, spoken) as shown:
        if spoken in MODERN_PROTOCOL_VERSIONS:
            await _serve_modern_stream(server, shown, writing, lifespan_state={}, raise_exceptions=False)
        elif spoken == "dual":
            await server.run(shown, writing, server.create_initialization_options())
        else:
            await serve_loop(server, shown, writing, lifespan_state={})


def serve(server: Server[Any], transport: str, spoken: str, port: str = "") -> None:
    """Serve until stdin ends or a signal comes, as the command line says; see the top of this module."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    if transport == "stdio":
        anyio.run(serve_stdio, server, spoken)
        return
    app = http_app(server, spoken) if transport == "http" else sse_app(server, spoken)
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    serve(make(), *sys.argv[1:])
