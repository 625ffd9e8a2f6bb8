"""
A script: the official Python SDK uses L{tests.integration.eras_peer} over several ways at once, and prints what it saw.

Run as C{python -m tests.integration.eras_client WAYS}, where WAYS is JSON: C{{"NAME": {"command": [...], "env": {...},
"cwd": ..., "mode": "legacy" | "auto" | "2026-07-28"}, ...}}, or C{"url"} in place of a command. It knows nothing of
mcpbridge.
"""

import asyncio
import json
import sys
import warnings
from typing import Any

import anyio
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from tests.integration.sdk_session import innermost

#: Seconds for everything that one client does.
DEADLINE = 60.0


def text(result: Any) -> str:
    """The text of a tool's result."""
    return str(result.content[0].text)


class Traveller:
    """One client, and what it saw."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.seen: dict[str, Any] = {}
        self.told: list[str] = []

    async def on_message(self, message: Any) -> None:
        """Write it down."""
        if not isinstance(message, Exception):
            self.told.append(message.method)

    async def travel(self, transport: Any) -> None:
        """Use everything once."""
        client = Client(
            transport,
            mode=self.mode,
            cache=None,
            message_handler=self.on_message,
            read_timeout_seconds=DEADLINE,
        )
        async with client:
            self.seen["version"] = client.protocol_version
            self.seen["tools"] = [tool.name for tool in (await client.list_tools()).tools]
            self.seen["echo"] = text(await client.call_tool("echo", {"text": "h\u00e9llo"}))
            self.seen["where"] = text(await client.call_tool("where", {"region": " \u00e9\n", "count": 3}))
            self.seen["many"] = await self.many(client)
            self.seen["progress"] = await self.progress(client)
            self.seen["unknown"] = await self.unknown(client)
            self.seen["change"] = await self.change(client)

    async def many(self, client: Client) -> bool:
        """Calls at the same time, none of which gets the answer of another."""
        found = await asyncio.gather(*(client.call_tool("echo", {"text": str(n)}) for n in range(30)))
        return [text(result) for result in found] == [str(n) for n in range(30)]

    async def progress(self, client: Client) -> list[float]:
        """What is told while a call runs."""
        heard: list[float] = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            heard.append(progress)

        await client.call_tool("flood", {"count": 5}, progress_callback=on_progress)
        return heard

    async def unknown(self, client: Client) -> Any:
        """A tool that is not there."""
        try:
            result = await client.call_tool("nothing", {"text": "x"})
        except MCPError as error:
            return error.error.code
        return [result.is_error, text(result)]

    async def change(self, client: Client) -> str:
        """A change that was asked to be told."""
        with anyio.fail_after(DEADLINE / 4):
            if client.protocol_version < "2026-07-28":
                while not any("list_changed" in method for method in self.told):
                    # The bridge may still be asking for it.
                    await client.call_tool("change")
                    await anyio.sleep(0.05)
                return "told"
            async with client.listen(tools_list_changed=True) as subscription:
                await client.call_tool("change")
                async for event in subscription:
                    return "told" if type(event).__name__ == "ToolsListChanged" else repr(event)
        return "not told"


async def go(way: dict[str, Any]) -> dict[str, Any]:
    """Everything that is seen on one way."""
    if "url" in way:
        transport: Any = streamable_http_client(way["url"])
    else:
        command, *arguments = way["command"]
        transport = stdio_client(StdioServerParameters(command=command, args=arguments, env=way["env"], cwd=way["cwd"]))
    traveller = Traveller(way["mode"])
    try:
        with anyio.fail_after(DEADLINE):
            await traveller.travel(transport)
    except Exception as error:  # noqa: BLE001 - any error is an outcome, and compared
        traveller.seen["error"] = repr(innermost(error))
    return traveller.seen


async def main() -> None:
    """Do what the command line asks."""
    ways = json.loads(sys.argv[1])
    results = await asyncio.gather(*(go(way) for way in ways.values()))
    sys.stdout.write(json.dumps(dict(zip(ways, results, strict=True))))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main())
