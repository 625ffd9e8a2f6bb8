"""
A script: what L{tests.integration.sdk_session} does, with the official Python SDK 1.x, which has to be first on the
path.

The request is the same, but each way says its C{table}, and there are no modes: 1.x knows the session era alone. A way
may say what to leave out (C{"without": [...]}). An error after all scenarios is the outcome C{closing}. It knows
nothing of mcpbridge.
"""

import asyncio
import json
import sys
import warnings
from typing import Any

import anyio
import mcp
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from pydantic import RootModel

from tests.integration.sdk_generation import types
from tests.integration.sdk_peer import Outcome, Peer, outcome, plain
from tests.integration.sdk_scenarios import TABLES

CONNECT_DEADLINE = 30.0
"""Seconds for process start and handshake; a scenario has a shorter one."""

_of_1: Any = mcp
"""The types that are checked are those of 2.x."""


class Anything(RootModel[Any]):
    """A message or a result with any content."""


class Connected:
    """A session of 1.x that looks like a client of 2.x, as far as scenarios look."""

    def __init__(self, session: Any, said: Any) -> None:
        self.session = session
        self.protocol_version = said.protocolVersion
        self.server_info = said.serverInfo
        self.server_capabilities = said.capabilities
        self.instructions = said.instructions

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


class FirstPeer(Peer):
    """The same as with 2.x, where 1.x has other names."""

    client: Any

    async def on_message(self, message: Any) -> None:
        if isinstance(message, types.ServerNotification):
            told: Any = message.root  # type: ignore[union-attr]  # of 1.x
            if not isinstance(told, types.LoggingMessageNotification):
                self.told.append((told.method, plain(told.params) if told.params else None))

    async def raw(self, method: str, params: dict[str, Any] | None = None) -> Any:
        message = {"method": method, **({} if params is None else {"params": params})}
        return (await self.client.session.send_request(Anything(message), Anything)).root

    async def all_pages(self, kind: str) -> list[Any]:
        fetch = getattr(self.client, f"list_{kind}")
        member = {"resource_templates": "resourceTemplates"}.get(kind, kind)
        page = await fetch()
        found = [plain(item) for item in getattr(page, member)]
        while page.nextCursor is not None:
            page = await fetch(cursor=page.nextCursor)
            found += [plain(item) for item in getattr(page, member)]
        return found


def transport(way: dict[str, Any]) -> Any:
    """The SDK's transport for a way."""
    if way["kind"] == "stdio":
        command, *arguments = way["command"]
        parameters = _of_1.StdioServerParameters(command=command, args=arguments, env=way["env"], cwd=way.get("cwd"))
        return _of_1.stdio_client(parameters)
    return sse_client(way["url"]) if way["kind"] == "sse" else streamable_http_client(way["url"])


async def travel(way: dict[str, Any]) -> dict[str, Outcome]:
    """All scenarios over one connection."""
    peer = FirstPeer()
    seen: dict[str, Outcome] = {}
    wrong = "connection"
    try:
        async with (
            transport(way) as streams,
            _of_1.ClientSession(
                *streams[:2],
                sampling_callback=peer.on_sampling,
                elicitation_callback=peer.on_elicitation,
                list_roots_callback=peer.on_roots,
                logging_callback=peer.on_log,
                message_handler=peer.on_message,
            ) as session,
        ):
            with anyio.fail_after(CONNECT_DEADLINE):
                peer.client = Connected(session, await session.initialize())
            for name, scenario in TABLES[way["table"]].items():
                if name not in way.get("without", ()):
                    seen[name] = await outcome(scenario, peer)
            wrong = "closing"
    except Exception as error:  # noqa: BLE001 - any error is an outcome, and compared
        seen[wrong] = {"error": repr(error)}
    return seen


async def main() -> None:
    """Do what the command line asks."""
    ways = json.loads(sys.argv[1])["ways"]
    results = await asyncio.gather(*map(travel, ways.values()))
    sys.stdout.write(json.dumps(dict(zip(ways, results, strict=True))))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(main())
