"""
A script: an MCP server made with the official Python SDK, on a port of its own choice, which it prints.

Run as C{python -m tests.integration.http_peer stream | json | polling | sse}.
"""

import asyncio
import socket
import sys
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore

#: Milliseconds that the polling server asks its clients to wait.
RETRY = 100

server = MCPServer("peer", log_level="ERROR")


@server.tool()
def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool()
def large(size: int) -> str:
    """A large answer."""
    return "x" * size


@server.tool()
async def flood(count: int, ctx: Context[Any, Any]) -> str:
    """Many progress notifications before the answer."""
    for n in range(count):
        await ctx.report_progress(n, count)
    return "done"


@server.tool()
async def poll(ctx: Context[Any, Any]) -> str:
    """Hang up in the middle, so that the client has to come back for the answer."""
    await ctx.close_sse_stream()
    await asyncio.sleep(0.2)
    await ctx.report_progress(1, 2)
    return "polled"


class Events(EventStore):
    """Keeps everything."""

    def __init__(self) -> None:
        self._events: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        """Keep one."""
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send those of the same stream that came later."""
        stream_id = self._events[int(last_event_id) - 1][0]
        for number, (stream, message) in enumerate(self._events[int(last_event_id) :], int(last_event_id) + 1):
            if stream == stream_id and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream_id


def app(mode: str) -> Any:
    """The server on one of its transports."""
    if mode == "sse":
        return server.sse_app()
    if mode == "polling":
        return server.streamable_http_app(event_store=Events(), retry_interval=RETRY)
    return server.streamable_http_app(json_response=mode == "json")


def main(mode: str) -> None:
    """Serve until killed."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app(mode), log_level="warning")
    print(listening.getsockname()[1], flush=True)  # noqa: T201  # The test waits for it.
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(sys.argv[1])
