"""
How a client of the tests reaches the bridge: by a relay of its own, or by HTTP.

Raw messages go in and out, nothing is hidden: the tests look at each of them. It knows of MCP only what HTTP wants in
its headers.
"""

import asyncio
import base64
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import httpx2

Message = Any
Take = Callable[[Message], None]

META = "io.modelcontextprotocol/"
MODERN = "2026-07-28"

_LARGEST_LINE = 16 * 1024 * 1024
_CLOSE_DEADLINE = 10.0
"""Seconds for a relay to end after its stdin was closed."""

_NAMED = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}


class Wire(Protocol):
    """A way to the bridge."""

    async def open(self, take: Take) -> None:
        """Be ready to send. Every message that comes is given to C{take}."""

    async def send(self, message: Message) -> None:
        """Send a message, or a batch."""

    def drop(self, request_id: Any) -> bool:
        """
        Cancel a request by giving up its stream.

        @return: whether there is such a thing here; else a notification is needed.
        """

    async def close(self) -> None:
        """End the conversation as a good client does."""


class RelayWire:
    """A relay process, and one message a line."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: str) -> None:
        self._command = command
        self._environment = environment
        self._folder = folder
        self._reading: asyncio.Task[None] | None = None

    async def open(self, take: Take) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=dict(self._environment),
            cwd=self._folder,
            limit=_LARGEST_LINE,
        )
        self._reading = asyncio.create_task(self._read(take))

    async def _read(self, take: Take) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            take(json.loads(line))

    async def send(self, message: Message) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        await self._process.stdin.drain()

    def drop(self, request_id: Any) -> bool:
        return False

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _CLOSE_DEADLINE)
        except TimeoutError:
            self._process.kill()
            raise
        if self._reading is not None:
            await self._reading


class HTTPWire:
    """
    Streamable HTTP of all eras: by what a message says of itself.

    @ivar statuses: of what was answered, by the id of the request.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: str | None = None
        self._version: str | None = None
        self._posts: dict[Any, asyncio.Task[None]] = {}
        self._others: set[asyncio.Task[None]] = set()
        self.statuses: dict[Any, int] = {}

    async def open(self, take: Take) -> None:
        self._take = take
        self._client = httpx2.AsyncClient(timeout=httpx2.Timeout(30.0))

    async def send(self, message: Message) -> None:
        key = message.get("id") if isinstance(message, dict) and "method" in message else None
        task = asyncio.create_task(self._post(message))
        if key is None:
            await task
            if isinstance(message, dict) and message.get("method") == "notifications/initialized":
                await self._listen()
            return
        self._posts[key] = task

    def drop(self, request_id: Any) -> bool:
        if self._version is not None:
            return False
        self._posts.pop(request_id).cancel()
        return True

    async def close(self) -> None:
        for task in (*self._posts.values(), *self._others):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._session is not None:
            await self._client.request("DELETE", self._url, headers=self._headers({}))
        await self._client.aclose()

    def _headers(self, message: Message) -> dict[str, str]:
        headers = {"Accept": "application/json, text/event-stream"}
        params = (message.get("params") or {}) if isinstance(message, dict) else {}
        version = params.get("_meta", {}).get(f"{META}protocolVersion")
        if version is None:
            if self._session is not None:
                headers["Mcp-Session-Id"] = self._session
            if self._version is not None and self._version >= "2025-06-18":
                headers["MCP-Protocol-Version"] = self._version
            return headers
        headers["MCP-Protocol-Version"] = version
        headers["Mcp-Method"] = message["method"]
        name = params.get(_NAMED.get(message["method"], ""))
        if name is not None:
            headers["Mcp-Name"] = name if name.isascii() else _encoded(name)
        return headers

    async def _post(self, message: Message) -> None:
        key = message.get("id") if isinstance(message, dict) else None
        async with self._client.stream("POST", self._url, json=message, headers=self._headers(message)) as answer:
            self.statuses[key] = answer.status_code
            self._session = answer.headers.get("Mcp-Session-Id", self._session)
            if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                await self._events(answer)
            elif body := await answer.aread():
                self._got(json.loads(body))

    async def _listen(self) -> None:
        """Open the stream of what belongs to no request."""
        opened = asyncio.Event()

        async def read() -> None:
            headers = {**self._headers({}), "Accept": "text/event-stream"}
            async with self._client.stream("GET", self._url, headers=headers, timeout=None) as answer:
                opened.set()
                if answer.status_code == 200:
                    await self._events(answer)

        self._others.add(asyncio.create_task(read()))
        await asyncio.wait_for(opened.wait(), _CLOSE_DEADLINE)

    async def _events(self, answer: httpx2.Response) -> None:
        data: list[str] = []
        async for line in answer.aiter_lines():
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif not line and data:
                text, data = "\n".join(data), []
                if text:
                    self._got(json.loads(text))

    def _got(self, message: Message) -> None:
        version = message.get("result", {}).get("protocolVersion") if isinstance(message, dict) else None
        if version is not None:
            self._version = version
        self._take(message)


def _encoded(name: str) -> str:
    return f"=?base64?{base64.b64encode(name.encode()).decode()}?="
