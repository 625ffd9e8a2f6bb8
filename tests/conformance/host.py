"""
A script: what the official client suite takes for a client, the bridge's relay with a program behind it.

The suite starts it with the URL of a server of its own as the last argument, and the names of the scenario and of the
revision in the environment. What it says to the relay is as plain as can be: whatever is asked of a client toward a
server (headers, metadata, resumption, retries) is the bridge's work.
"""

import asyncio
import json
import os
import sys
from typing import Any

from tests.conformance.client import Client, Refused, accept, capabilities_of
from tests.conformance.wires import RelayWire

#: The tools that a scenario wants called; what a scenario is not named for: all that are offered.
CALLS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "initialize": [],
    "tools_call": [("add_numbers", {"a": 5, "b": 3})],
    "request-metadata": [("add_numbers", {"a": 5, "b": 3})],
    "http-standard-headers": [("add_numbers", {"a": 5, "b": 3})],
    "json-schema-ref-no-deref": [],
    "sse-retry": [("test_reconnection", {})],
    "elicitation-sep1034-client-defaults": [("test_client_elicitation_defaults", {})],
    "sep-2322-client-request-state": [
        ("test_mrtr_echo_state", {}),
        ("test_mrtr_unrelated", {}),
        ("test_mrtr_no_state", {}),
        ("test_mrtr_no_result_type", {}),
    ],
}

_STUBS: dict[str, Any] = {"string": "x", "integer": 0, "number": 0, "boolean": False, "object": {}, "array": []}


def wanted(scenario: str, tools: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """What to call."""
    if scenario in CALLS:
        return CALLS[scenario]
    if scenario == "json-schema-2020-12-preservation":
        focal = next(tool for tool in tools if tool["name"] == "json_schema_2020_12_tool")
        return [("json_schema_echo", {"schema": focal["inputSchema"]})]
    offered = {tool["name"] for tool in tools}
    given = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}")).get("toolCalls")
    if given is not None:
        return [(call["name"], call.get("arguments") or {}) for call in given if call["name"] in offered]
    return [(tool["name"], _stubs(tool["inputSchema"])) for tool in tools]


def _stubs(schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties", {})
    return {name: _STUBS.get(properties.get(name, {}).get("type"), "x") for name in schema.get("required", ())}


async def run(url: str, scenario: str, version: str) -> None:
    """Be the client of one scenario."""
    spoken = os.environ.get("MCPBRIDGE_TEST_SPOKEN") or version
    wire = RelayWire([sys.executable, "-m", "mcpbridge.stdio", url], os.environ, os.getcwd())
    async with Client(wire, spoken, capabilities_of(spoken), accept) as client:
        tools = (await client.request("tools/list"))["tools"]
        for name, arguments in wanted(scenario, tools):
            try:
                await client.request("tools/call", {"name": name, "arguments": arguments})
            except Refused as refused:
                # Some scenarios refuse on purpose, and judge by what they saw.
                print(f"{name}: {refused}", file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(
        run(
            sys.argv[-1],
            os.environ["MCP_CONFORMANCE_SCENARIO"],
            os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "2025-11-25"),
        )
    )
