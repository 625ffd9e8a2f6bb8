"""
A script: the official Python SDK, which knows no tasks, calls tools that are some, on several ways at once.

Run as C{python -m tests.integration.sdk_taskless REQUEST}, where REQUEST is JSON: C{{"ways": {NAME: {"command": [...],
"env": {...}, "cwd": FOLDER, "mode": "legacy", "calls": {TOOL: ARGUMENTS}}}}}. What is printed is
C{{NAME: {TOOL: OUTCOME, ...}}}. It knows nothing of mcpbridge.
"""

import asyncio
import json
import sys
import warnings
from typing import Any

import anyio
import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters, stdio_client

from tests.integration.sdk_session import CONNECT_DEADLINE

CALL_DEADLINE = 15.0
"""Seconds for one call."""

ABANDONED = "abandon"
"""What is called like this is C{slow_compute}, given up before its time; what came of it is asked the server."""

_PATIENCE = 0.5
_LOOK = 0.1
_SAMPLES: dict[str, Any] = {"string": "Ada", "boolean": True}


class Guest:
    """
    A client on one way.

    @ivar asked: what it was asked.
    """

    client: Client

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def on_elicitation(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.asked.append(params.message)
        fields = params.model_dump(by_alias=True, mode="json")["requestedSchema"]["properties"]
        content = {
            name: field["oneOf"][0]["const"] if "oneOf" in field else _SAMPLES[field["type"]]
            for name, field in fields.items()
        }
        return types.ElicitResult(action="accept", content=content)

    async def outcome(self, tool: str, arguments: dict[str, Any]) -> Any:
        """What came of a call."""
        before = len(self.asked)
        told: list[str | None] = []

        async def hear(progress: float, total: float | None, message: str | None) -> None:
            told.append(message)

        try:
            with anyio.fail_after(CALL_DEADLINE):
                if tool == ABANDONED:
                    return await self._abandon(arguments)
                result = await self.client.call_tool(tool, arguments, progress_callback=hear)
        except MCPError as error:
            return {"error": error.error.code}
        except TimeoutError:
            return {"error": "no end in sight"}
        seen = {
            "text": _text(result).partition("\n")[0],
            "isError": result.is_error,
            "asked": sorted(self.asked[before:]),
        }
        return {**seen, "told": told} if told else seen

    async def _abandon(self, arguments: dict[str, Any]) -> Any:
        with anyio.move_on_after(_PATIENCE) as scope:
            await self.client.call_tool("slow_compute", arguments)
        statuses = ""
        while scope.cancelled_caught and "cancelled" not in statuses.split():
            await anyio.sleep(_LOOK)
            statuses = _text(await self.client.call_tool("statuses", {}))
        return {"given up": scope.cancelled_caught, "cancelled": statuses.split().count("cancelled")}


def _text(result: Any) -> str:
    return "".join(block.text for block in result.content if block.type == "text")


async def travel(way: dict[str, Any]) -> dict[str, Any]:
    """All calls over one connection."""
    guest = Guest()
    command, *arguments = way["command"]
    pipe = stdio_client(StdioServerParameters(command=command, args=arguments, env=way["env"], cwd=way["cwd"]))
    client = Client(
        pipe,
        mode=way["mode"],
        elicitation_callback=guest.on_elicitation,
        cache=None,
        read_timeout_seconds=CONNECT_DEADLINE,
    )
    async with client as guest.client:
        return {tool: await guest.outcome(tool, given) for tool, given in way["calls"].items()}


async def main() -> None:
    """Do what the command line asks."""
    ways = json.loads(sys.argv[1])["ways"]
    found = await asyncio.gather(*map(travel, ways.values()))
    sys.stdout.write(json.dumps(dict(zip(ways, found, strict=True))))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main())
