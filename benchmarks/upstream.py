"""
A small, fast Streamable HTTP server, in a process of its own, so that it is never the bottleneck.

C{python -m benchmarks.upstream} prints its port. The path says what it is: C{/sse/40/0} answers with event streams, has
40 tools and no delay; C{/json/1000/80} answers with plain JSON, has 1000 tools and waits 80 ms before each answer. They
are of the session era; C{/stateless/40/0} is of the stateless one, and answers with event streams.
C{/stats} tells how many requests and connections there were for each path. It knows nothing of mcpbridge.
"""

import asyncio
import collections
import itertools
import json
import time
from typing import Any

_HEAD_LIMIT = 64 * 1024
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_BATCH = 64
"""Notifications written at once by C{progress}: one by one would measure this process, not what is between."""

requests: collections.Counter[str] = collections.Counter()
connections: collections.Counter[str] = collections.Counter()
_sessions = itertools.count(1)


def chunk(data: bytes) -> bytes:
    """One chunk (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(message: bytes) -> bytes:
    """One event (WHATWG HTML, 9.2)."""
    return b"data: " + message + b"\n\n"


def tool(index: int) -> dict[str, Any]:
    """A tool of common size: 0.75 kB."""
    properties = {
        f"argument_{n}": {"type": "string", "description": "What it is for, in a sentence."} for n in range(6)
    }
    return {
        "name": ["echo", "large", "progress"][index] if index < 3 else f"tool_{index}",
        "description": "Does what its name says, and says so in a sentence of usual length for such things. " * 2,
        "inputSchema": {"type": "object", "properties": properties},
    }


class Connection(asyncio.Protocol):
    """One connection with a client: requests one after another."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._seen: set[str] = set()
        self._queue: asyncio.Queue[tuple[str, str, bytes]] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._writable.set()

    def connection_lost(self, _: Exception | None) -> None:
        if self._worker is not None:
            self._worker.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n", 0, _HEAD_LIMIT)) >= 0:
            head = bytes(self._buffer[:end]).decode("latin-1")
            start, *lines = head.split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            size = int(headers.get("content-length", "0"))
            if len(self._buffer) < end + 4 + size:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + size])
            del self._buffer[: end + 4 + size]
            method, path, _ = start.split(" ")
            self._serve(method, path, body)

    def _serve(self, method: str, path: str, body: bytes) -> None:
        if path == "/stats":
            self._whole(200, json.dumps({"requests": requests, "connections": connections}).encode())
            return
        requests[path] += 1
        if path not in self._seen:
            self._seen.add(path)
            connections[path] += 1
        parts = path.split("/")
        if len(parts) != 4 or parts[1] not in ("sse", "json", "stateless"):
            self._whole(404, b"")
        elif method == "GET":
            self.transport.write(_STREAM_HEAD + chunk(b": open\n\n"))
        elif method == "DELETE":
            self._whole(200, b"")
        elif (delay := int(parts[3])) or b'"progress"' in body or self._worker is not None:
            if self._worker is None:
                self._worker = asyncio.create_task(self._work(delay / 1000))
            self._queue.put_nowait((parts[1], parts[2], body))
        else:
            self._post(parts[1], int(parts[2]), body)

    async def _work(self, delay: float) -> None:
        while True:
            style, tools, body = await self._queue.get()
            await asyncio.sleep(delay)
            if b'"progress"' in body and b"tools/call" in body:
                await self._progress(json.loads(body))
            else:
                self._post(style, int(tools), body)

    def _whole(self, status: int, body: bytes, more: bytes = b"", kind: bytes = b"application/json") -> None:
        head = b"HTTP/1.1 %d X\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n" % (status, kind, len(body), more)
        self.transport.write(head + body)

    def _post(self, style: str, tools: int, body: bytes) -> None:
        message = json.loads(body)
        if "id" not in message or "method" not in message:
            self._whole(202, b"")
            return
        method = message["method"]
        more = b""
        result: Any
        if style == "stateless" and method == "server/discover":
            result = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
        elif style != "stateless" and method == "initialize":
            more = b"Mcp-Session-Id: %d\r\n" % next(_sessions)
            result = {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "bench", "version": "1"},
            }
        elif method == "tools/list":
            result = {"tools": [tool(index) for index in range(tools)]}
        elif method == "tools/call":
            given = message["params"]["arguments"]
            text = "x" * given["size"] if message["params"]["name"] == "large" else given["text"]
            result = {"content": [{"type": "text", "text": text}]}
        elif method == "ping":
            result = {}
        else:
            error = {"code": -32601, "message": "Method not found"}
            self._answer(style, json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode(), b"")
            return
        if style == "stateless":
            result = {**result, "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        self._answer(style, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode(), more)

    def _answer(self, style: str, message: bytes, more: bytes) -> None:
        if style == "json":
            self._whole(200, message, more)
        else:
            head = _STREAM_HEAD[:-2] + more + b"\r\n"
            self.transport.write(b"".join((head, chunk(event(message)), _LAST_CHUNK)))

    async def _progress(self, message: dict[str, Any]) -> None:
        """Many notifications, each with the moment it was written, then the answer."""
        params = message["params"]
        given, token = params["arguments"], params["_meta"]["progressToken"]
        pause = given.get("pause", 0)
        self.transport.write(_STREAM_HEAD)
        for step in range(given["count"]):
            note = {"progressToken": token, "progress": step, "message": str(time.monotonic_ns())}
            line = json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": note}).encode()
            self.transport.write(chunk(event(line)))
            if pause:
                await asyncio.sleep(pause)
            elif step % _BATCH == 0:
                await asyncio.sleep(0)
                await self._writable.wait()
        done = {"jsonrpc": "2.0", "id": message["id"], "result": {"content": [{"type": "text", "text": "done"}]}}
        self.transport.write(chunk(event(json.dumps(done).encode())) + _LAST_CHUNK)


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
