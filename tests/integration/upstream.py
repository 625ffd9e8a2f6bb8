"""
A Streamable HTTP server of the session era that keeps books and misbehaves to order.

It runs in a thread of the test's own process, so that a test can look into its ledger, take its sessions away, stop it
and start it again on the same port. Its tools are in L{Upstream.tool}; L{tests.integration.faults} has its misdeeds.
"""

import asyncio
import collections
import contextlib
import json
import threading
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import attrs

from tests.integration.faults import FAULTS, REFUSALS

Message = dict[str, Any]

_READY_DEADLINE = 10.0


@attrs.define
class Session:
    """One session: what the server remembers of a client, and the client's stream."""

    id: str
    client: Message
    kept: dict[str, str] = attrs.Factory(dict)
    counter: int = 0
    stream: asyncio.StreamWriter | None = None
    pending: dict[str, "asyncio.Future[Message]"] = attrs.Factory(dict)


@attrs.define
class HTTPRequest:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Upstream:
    """
    The server: C{with Upstream() as upstream: ...}.

    @ivar port: its TCP port, the same after a restart.
    @ivar counts: requests by HTTP method and MCP method: C{"POST tools/call"}, C{"GET"}, C{"DELETE"}, ...
    @ivar ledger: the keys of all calls that ran, in order, each as often as it ran.
    @ivar sessions: open sessions by id.
    @ivar tools: what C{tools/list} says.
    @ivar streams: whether answers come as event streams instead of plain JSON.
    @ivar delay: seconds before each answer.
    """

    def __init__(self, tools: int = 3, *, streams: bool = False, delay: float = 0.0) -> None:
        self.port = 0
        self.counts: collections.Counter[str] = collections.Counter()
        self.connections = 0
        self.ledger: list[str] = []
        self.cancelled: list[Any] = []
        self.sessions: dict[str, Session] = {}
        self.revision = "2025-11-25"
        self.streams = streams
        self.delay = delay
        self.tools = [
            {"name": name, "description": f"tool {name}", "inputSchema": {"type": "object"}}
            for name in ["echo", "count", "slow", "keep", "kept", "progress", "large", "fault", "ask"]
        ]
        self.tools += [
            {"name": f"more_{n}", "description": "x" * 200, "inputSchema": {"type": "object"}} for n in range(tools)
        ]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # Life, called by the test's thread

    def __enter__(self) -> "Upstream":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def requests(self) -> int:
        """All requests so far."""
        return sum(self.counts.values())

    def start(self) -> None:
        """Listen; on the same port as before when it did before."""
        ready = threading.Event()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        assert ready.wait(_READY_DEADLINE), "the upstream did not start"

    def stop(self) -> None:
        """End as a killed process does: listener and connections go at once, sessions are forgotten."""
        if self._loop is not None:
            self.ask(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop = None
        self.sessions.clear()

    def ask(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run something in the server's thread and wait for it."""
        assert self._loop is not None, "the upstream does not run"
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_READY_DEADLINE)

    def cut(self) -> None:
        """Reset all connections; sessions stay."""
        self.ask(self._cut())

    def tell_all(self, method: str, params: Message | None = None) -> None:
        """Send a notification on the stream of every session."""
        self.ask(self._tell_all({"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})}))

    def _run(self, ready: threading.Event) -> None:
        loop = asyncio.new_event_loop()
        self._server = loop.run_until_complete(self._listen())
        self.port = self._server.sockets[0].getsockname()[1]
        self._loop = loop
        ready.set()
        loop.run_forever()
        with contextlib.suppress(RuntimeError):
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._connected, "127.0.0.1", self.port, backlog=1024, limit=256 * 2**20)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _tell_all(self, message: Message) -> None:
        for session in self.sessions.values():
            if session.stream is not None:
                session.stream.write(event(message))

    # HTTP

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (request := await self._read(reader)) is not None:
                if not await self._respond(request, writer):
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side went away, or the test ends
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> HTTPRequest | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except asyncio.IncompleteReadError:
            return None
        method, path, _ = head[0].split(" ")
        headers = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return HTTPRequest(method, path, headers, body)

    async def _respond(self, request: HTTPRequest, writer: asyncio.StreamWriter) -> bool:
        """Answer a request; whether the connection goes on."""
        session = self.sessions.get(request.headers.get("mcp-session-id", ""))
        if request.method == "POST":
            return await self._posted(json.loads(request.body), session, writer)
        self.counts[request.method] += 1
        if session is None:
            plain(writer, 404, b"no such session", "text/plain")
            return True
        if request.method == "DELETE":
            del self.sessions[session.id]
            if session.stream is not None:
                session.stream.close()
            plain(writer, 200, b"", "text/plain")
            return True
        stream_head(writer)
        session.stream = writer
        with contextlib.suppress(asyncio.CancelledError):
            while not writer.transport.is_closing():
                await asyncio.sleep(0.05)
        if session.stream is writer:
            session.stream = None
        return False

    async def _posted(self, message: Message, session: Session | None, writer: asyncio.StreamWriter) -> bool:
        method = message.get("method", "answer")
        self.counts[f"POST {method}"] += 1
        if self.delay:
            await asyncio.sleep(self.delay)
        if method == "initialize":
            return self._initialize(message, writer)
        if session is None:
            plain(writer, 404, b'{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}')
            return True
        if "id" not in message or "method" not in message:
            self._noted(message, session)
            plain(writer, 202, b"")
            return True
        tool = _tool(message)
        if tool == "fault":
            kind = message["params"]["arguments"]["kind"]
            if kind not in REFUSALS:
                self.ledger.append(str(message["params"]["arguments"].get("key")))
            return await FAULTS[kind](message, writer)
        if self.streams or tool in ("progress", "ask"):
            stream_head(writer)
            answer = await self._answer(message, session, lambda note: writer.write(event(note)))
            writer.write(event(answer))
            writer.write(b"")
            await writer.drain()
            return False
        answer = await self._answer(message, session, lambda note: None)
        plain(writer, 200, json.dumps(answer).encode())
        await writer.drain()
        return True

    # MCP

    def _initialize(self, message: Message, writer: asyncio.StreamWriter) -> bool:
        session = Session(uuid.uuid4().hex, message["params"])
        self.sessions[session.id] = session
        result = {
            "protocolVersion": self.revision,
            "capabilities": {"tools": {"listChanged": True}, "resources": {}, "prompts": {}, "logging": {}},
            "serverInfo": {"name": "upstream", "version": "1"},
        }
        answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
        plain(writer, 200, answer, more=f"Mcp-Session-Id: {session.id}\r\n")
        return True

    def _noted(self, message: Message, session: Session) -> None:
        if message.get("method") == "notifications/cancelled":
            self.cancelled.append(message["params"])
        elif "method" not in message and str(message.get("id")) in session.pending:
            session.pending.pop(str(message["id"])).set_result(message)

    async def _answer(self, message: Message, session: Session, emit: Callable[[Message], None]) -> Message:
        method, params = message["method"], message.get("params") or {}
        result: Message
        if method == "tools/list":
            result = {"tools": self.tools}
        elif _tool(message):
            result = await self.tool(params, session, emit)
        elif method in ("resources/list", "resources/templates/list", "prompts/list"):
            result = {{"resources/templates/list": "resourceTemplates"}.get(method, method.split("/")[0]): []}
        elif method in ("ping", "logging/setLevel"):
            result = {}
        else:
            error = {"code": -32601, "message": f"Method not found: {method[:50]}"}
            return {"jsonrpc": "2.0", "id": message["id"], "error": error}
        return {"jsonrpc": "2.0", "id": message["id"], "result": result}

    async def tool(self, params: Message, session: Session, emit: Callable[[Message], None]) -> Message:
        """
        Run a tool. A call's C{key} goes into the ledger when it runs.

        @return: the result.
        """
        name, given = params["name"], params.get("arguments") or {}
        if "key" in given:
            self.ledger.append(given["key"])
        words = "done"
        if name == "echo":
            words = str(given.get("text"))
        elif name == "count":
            session.counter += 1
            words = str(session.counter)
        elif name == "slow":
            await asyncio.sleep(given["seconds"])
        elif name == "keep":
            session.kept[given["name"]] = given["value"]
        elif name == "kept":
            words = session.kept.get(given["name"], "nothing")
        elif name == "progress":
            token = params["_meta"]["progressToken"]
            for step in range(given["upto"]):
                note = {"progressToken": token, "progress": step}
                emit({"jsonrpc": "2.0", "method": "notifications/progress", "params": note})
        elif name == "large":
            words = "x" * given["size"]
        elif name == "ask":
            question = uuid.uuid4().hex
            session.pending[question] = asyncio.get_running_loop().create_future()
            emit({"jsonrpc": "2.0", "id": question, "method": given["method"], "params": given["params"]})
            words = json.dumps(await session.pending[question])
        return {"content": [{"type": "text", "text": words}]}


def _tool(message: Message) -> str:
    """The name of the tool that a message calls; empty when it is no proper call."""
    params = message.get("params")
    return (
        str(params["name"])
        if message.get("method") == "tools/call" and isinstance(params, dict) and "name" in params
        else ""
    )


def event(message: object) -> bytes:
    """A message as an event, by the WHATWG standard."""
    return b"event: message\ndata: " + json.dumps(message).encode() + b"\n\n"


def stream_head(writer: asyncio.StreamWriter) -> None:
    """Begin a response that is an event stream and ends with its connection."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")


def plain(
    writer: asyncio.StreamWriter, status: int, body: bytes, kind: str = "application/json", more: str = ""
) -> None:
    """Write a whole response."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    writer.write(head.encode() + body)
