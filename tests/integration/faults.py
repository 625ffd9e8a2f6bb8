"""
What a broken or hostile Streamable HTTP server answers to a call, by name.

Each takes the call and the connection, and says whether the connection may serve another request.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Fault = Callable[[Message, asyncio.StreamWriter], Awaitable[bool]]

_MANY = 20_000
"""Messages of a flood: enough to fill every buffer on the way."""

_HUGE = 100 * 1024 * 1024
"""Bytes of a message that nobody should swallow whole."""

_CHUNK = b"x" * (1024 * 1024)


def _head(status: int, kind: str, length: int | None, more: str = "") -> bytes:
    size = "Connection: close\r\n" if length is None else f"Content-Length: {length}\r\n"
    return f"HTTP/1.1 {status} Reason\r\nContent-Type: {kind}\r\n{size}{more}\r\n".encode()


def _answer(call: Message, text: str = "done") -> Message:
    return {"jsonrpc": "2.0", "id": call["id"], "result": {"content": [{"type": "text", "text": text}]}}


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def whole(status: int, kind: str, body: bytes, more: str = "") -> Fault:
    """A complete response, whatever is called."""

    async def fault(_: Message, writer: asyncio.StreamWriter) -> bool:
        writer.write(_head(status, kind, len(body), more) + body)
        return True

    return fault


def answering(kind: str, make: Callable[[Message], bytes]) -> Fault:
    """A complete 200 response made from the call."""

    async def fault(call: Message, writer: asyncio.StreamWriter) -> bool:
        body = make(call)
        writer.write(_head(200, kind, len(body)) + body)
        return True

    return fault


def streaming(*parts: Callable[[Message], bytes]) -> Fault:
    """An event stream made of parts, then the end of the connection."""

    async def fault(call: Message, writer: asyncio.StreamWriter) -> bool:
        writer.write(_head(200, "text/event-stream", None))
        for part in parts:
            writer.write(part(call))
            await writer.drain()
        return False

    return fault


async def cut_body(call: Message, writer: asyncio.StreamWriter) -> bool:
    """Half of the promised body, then the end."""
    body = json.dumps(_answer(call)).encode()
    writer.write(_head(200, "application/json", len(body)) + body[: len(body) // 2])
    await writer.drain()
    return False


async def reset(_: Message, writer: asyncio.StreamWriter) -> bool:
    """No answer at all: the connection breaks."""
    writer.transport.abort()
    return False


async def huge(
    _: Message, writer: asyncio.StreamWriter, kind: str = "application/json", start: bytes = b'{"x":"'
) -> bool:
    """A body without an end in sight."""
    writer.write(_head(200, kind, None) + start)
    for _index in range(_HUGE // len(_CHUNK)):
        writer.write(_CHUNK)
        await writer.drain()
    return False


async def huge_event(call: Message, writer: asyncio.StreamWriter) -> bool:
    """An event without an end in sight."""
    return await huge(call, writer, "text/event-stream", b"data: ")


async def flood(call: Message, writer: asyncio.StreamWriter) -> bool:
    """Notifications by the thousand, then the answer."""
    writer.write(_head(200, "text/event-stream", None))
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": "x" * 500}}
    line = _event(json.dumps(note).encode())
    for _index in range(_MANY // 100):
        writer.write(line * 100)
        await writer.drain()
    writer.write(_event(json.dumps(_answer(call)).encode()))
    await writer.drain()
    return False


def _json(message: object) -> Callable[[Message], bytes]:
    return lambda _: _event(json.dumps(message).encode())


def _right(call: Message) -> bytes:
    return _event(json.dumps(_answer(call)).encode())


_STRANGER = {"jsonrpc": "2.0", "id": 987654, "result": {"content": [{"type": "text", "text": "not yours"}]}}

FAULTS: dict[str, Fault] = {
    # That no answer can be made of: one clear error
    "status_400": whole(400, "text/plain", b"bad request"),
    "status_403": whole(403, "text/html", b"<html>forbidden</html>"),
    "status_429": whole(429, "application/json", b'{"error":"slow down"}', "Retry-After: 1\r\n"),
    "status_500": whole(500, "text/plain", b"internal"),
    "status_503": whole(503, "text/plain", b"later"),
    "empty_202": whole(202, "application/json", b""),
    "empty_200": whole(200, "application/json", b""),
    "html_200": whole(200, "text/html", b"<html>log in</html>"),
    "redirect_elsewhere": whole(302, "text/plain", b"", "Location: http://127.0.0.1:1/mcp\r\n"),
    "broken_json": whole(200, "application/json", b'{"jsonrpc":"2.0","id":1,"result":'),
    "invalid_utf8": whole(200, "application/json", b'{"jsonrpc":"2.0","id":1,"result":{"x":"\xff\xfe"}}'),
    "deep_json": whole(200, "application/json", b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 100_000),
    "not_an_object": whole(200, "application/json", b'"a string"'),
    "wrong_types": answering(
        "application/json", lambda call: json.dumps({"jsonrpc": "2.0", "id": call["id"], "error": "a string"}).encode()
    ),
    "other_id": whole(200, "application/json", json.dumps(_STRANGER).encode()),
    "cut_body": cut_body,
    "cut_stream": streaming(lambda call: _right(call)[:-20]),
    "empty_stream": streaming(),
    "garbage_stream": streaming(lambda _: b"\x00\xff\xfe garbage\r\r\n\n" * 100),
    "reset": reset,
    "huge": huge,
    "huge_event": huge_event,
    # That hold the right answer all the same
    "stranger_first": streaming(_json(_STRANGER), _right),
    "broken_first": streaming(lambda _: _event(b"{not json"), _right),
    "twice": streaming(_right, _right),
    "comments": streaming(lambda _: b": ping\n\n" * 1000 + b"event: own\ndata: {}\n\n", _right),
    "flood": flood,
}

RECOVERABLE = frozenset({"stranger_first", "broken_first", "twice", "comments", "flood"})
"""Those after which the call has its result; after all others it has an error."""

REFUSALS = frozenset({"status_429"})
"""Those by which a server says that it has not run the call: it may be sent again, and the ledger does not count it."""
