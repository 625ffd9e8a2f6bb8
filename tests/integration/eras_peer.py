"""
A script: an MCP server made with the official Python SDK, of the eras that it is told, on a port of its own choice,
which it prints.

Run as C{python -m tests.integration.eras_peer dual | modern | legacy [json] [PORT]}. What a server of one era is asked
in the other, it answers as the SDK does that knows no other.
"""

import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import anyio
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from pydantic import Field

MODERN = b"2026-07-28"
_VERSION = b"mcp-protocol-version"

Scope = dict[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]

server = MCPServer("peer", log_level="CRITICAL")
cancelled: list[str] = []


@server.tool()
def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool()
def where(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
    ctx: Context[Any, Any],
    count: Annotated[int, Field(json_schema_extra={"x-mcp-header": "Count"})] = 0,
) -> str:
    """What the headers of the call say."""
    headers = ctx.headers or {}
    names = ("mcp-name", "mcp-param-region", "mcp-param-count", "mcp-session-id")
    return " ".join(f"{name}={headers[name]}" for name in names if name in headers)


@server.tool()
async def flood(count: int, ctx: Context[Any, Any]) -> str:
    """Many progress notifications before the answer."""
    for n in range(count):
        await ctx.report_progress(n, count)
    return "done"


@server.tool()
async def hang(name: str, ctx: Context[Any, Any]) -> str:
    """Never answer; note if nobody wants that any more."""
    try:
        await ctx.report_progress(0, 1)
        await anyio.sleep_forever()
    finally:
        cancelled.append(name)
    return "never"


@server.tool()
def hung() -> str:
    """What was given up."""
    return " ".join(cancelled)


@server.tool()
async def change(ctx: Context[Any, Any]) -> str:
    """Say that the tools are others now."""
    if (ctx.protocol_version or "") < MODERN.decode("ascii"):
        # To sessions the other says nothing.
        await ctx.session.send_tool_list_changed()
    else:
        await ctx.notify_tools_changed()
    return "changed"


@server.tool()
def wrong(text: str) -> str:
    """A tool that clients are to leave out."""
    return text


# The SDK does not let one declare that.
_schema: Any = server._tool_manager._tools["wrong"].parameters
_schema["properties"]["text"]["x-mcp-header"] = "not a token"


def of_era(app: App, era: str) -> App:
    """The same server as if the SDK knew only one era."""

    async def serve(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [(name, text) for name, text in scope["headers"] if name != _VERSION or text != MODERN]
            if era == "modern":
                headers = [(name, text) for name, text in headers if name != _VERSION] + [(_VERSION, MODERN)]
            scope = {**scope, "headers": headers}
        await app(scope, receive, send)

    return app if era == "dual" else serve


def main(era: str, *options: str) -> None:
    """Serve until killed."""
    listening = socket.create_server(("127.0.0.1", next((int(each) for each in options if each.isdigit()), 0)))
    app: Any = of_era(server.streamable_http_app(json_response="json" in options), era)
    config = uvicorn.Config(app, log_level="critical")
    print(listening.getsockname()[1], flush=True)  # noqa: T201  # The test waits for it.
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(*sys.argv[1:])
