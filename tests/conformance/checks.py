"""
What the rows of the matrix are written with.
"""

from typing import Any

from tests.conformance.client import Client, Refused


def same(expected: object, found: object) -> None:
    """Both are equal."""
    if expected != found:
        raise AssertionError(f"expected {expected!r}, got {found!r}")


async def call(client: Client, name: str, meta: dict[str, Any] | None = None, **arguments: Any) -> Any:
    """Call a tool."""
    return await client.request("tools/call", {"name": name, "arguments": arguments}, meta)


async def said(client: Client, name: str, **arguments: Any) -> str:
    """Call a tool that answers with one text."""
    result = await call(client, name, **arguments)
    same(["text"], [block["type"] for block in result["content"]])
    text: str = result["content"][0]["text"]
    return text


async def refusal(client: Client, method: str, **params: Any) -> Refused:
    """Ask for what is refused."""
    try:
        result = await client.request(method, params)
    except Refused as refused:
        return refused
    raise AssertionError(f"{method} was not refused: {result!r}")
