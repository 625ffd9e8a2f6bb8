"""
A script: the official Python SDK goes through every feature of a server, over several ways at once, and prints what
it saw.

Run as C{python -m tests.integration.sdk_session REQUEST}, where REQUEST is JSON:
C{{"table": "everything", "ways": {"direct": WAY, ...}}}. A WAY is
C{{"kind": "stdio", "command": [...], "env": {...}, "mode": "legacy"}}, or C{{"kind": "http" | "sse", "url": ...}}.
What is printed is C{{"direct": {"initialize": OUTCOME, ...}, ...}}; the caller compares. It knows nothing of mcpbridge.
"""

import asyncio
import json
import sys
import warnings
from typing import Any

from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from tests.integration.sdk_peer import Outcome, Peer, Scenario, outcome, steady
from tests.integration.sdk_scenarios import SESSION_ERA, TABLES

CONNECT_DEADLINE = 30.0
"""Seconds for process start and handshake; a scenario has a shorter one."""


def innermost(error: BaseException) -> BaseException:
    """The first error inside groups of errors: what really happened."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def transport(way: dict[str, Any]) -> Any:
    """The SDK's transport for a way."""
    if way["kind"] == "stdio":
        command, *arguments = way["command"]
        return stdio_client(StdioServerParameters(command=command, args=arguments, env=way["env"], cwd=way.get("cwd")))
    return sse_client(way["url"]) if way["kind"] == "sse" else streamable_http_client(way["url"])


async def travel(way: dict[str, Any], scenarios: dict[str, Scenario]) -> dict[str, Outcome]:
    """All scenarios over one connection."""
    peer = Peer()
    client = Client(
        transport(way),
        mode=way.get("mode", "legacy"),
        sampling_callback=peer.on_sampling,
        elicitation_callback=peer.on_elicitation,
        list_roots_callback=peer.on_roots,
        logging_callback=peer.on_log,
        message_handler=peer.on_message,
        cache=None,
        read_timeout_seconds=CONNECT_DEADLINE,
    )
    seen: dict[str, Outcome] = {}
    try:
        async with client as peer.client:
            for name, scenario in scenarios.items():
                if name in SESSION_ERA and way.get("mode") == "auto":
                    continue
                seen[name] = steady(await outcome(scenario, peer))
    except Exception as error:  # noqa: BLE001 - any error is an outcome, and compared
        seen["connection"] = {"error": repr(innermost(error))}
    return seen


async def main() -> None:
    """Do what the command line asks."""
    request = json.loads(sys.argv[1])
    scenarios = TABLES[request["table"]]
    if "only" in request:
        scenarios = {name: scenario for name, scenario in scenarios.items() if name in request["only"]}
    ways = request["ways"]
    results = await asyncio.gather(*(travel(way, scenarios) for way in ways.values()))
    sys.stdout.write(json.dumps(dict(zip(ways, results, strict=True))))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main())
