"""
Messages to bytes. The payload is not copied where it need not be.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Raw

from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.jsonrpc.messages import Error, Message, Notification, Request, Result
from mcpbridge.core.jsonrpc.scalars import encode_id, encode_string


def encode(message: Message) -> bytes:
    """One message as one line of JSON, without the newline at its end."""
    return b"".join(encode_parts(message))


def encode_parts(message: Message) -> list[bytes | Raw]:
    """The same in pieces, so that a large payload need not be copied to be written."""
    parts: list[bytes | Raw]
    match message:
        case Result():
            parts = [b'{"jsonrpc":"2.0","id":', encode_id(message.id), b',"result":', message.result]
        case Request():
            parts = [b'{"jsonrpc":"2.0","id":', encode_id(message.id), b',"method":', encode_string(message.method)]
            if message.params is not None:
                parts += (b',"params":', message.params)
        case Notification():
            parts = [b'{"jsonrpc":"2.0","method":', encode_string(message.method)]
            if message.params is not None:
                parts += (b',"params":', message.params)
        case Error():
            parts = [b'{"jsonrpc":"2.0","id":', b"null" if message.id is None else encode_id(message.id)]
            parts += (b',"error":', encode_error(message.error))
    for name, value in message.extra:
        parts += (b",", encode_string(name), b":", value)
    parts.append(b"}")
    return parts


def encode_batch(messages: Iterable[Message]) -> bytes:
    """Several messages as one JSON array on one line."""
    return b"[" + b",".join(encode(message) for message in messages) + b"]"


def encode_error(error: ErrorObject) -> bytes:
    """The C{error} member alone."""
    head = b'{"code":%d,"message":%b' % (error.code, encode_string(error.message))
    if error.data is None:
        return head + b"}"
    return b"".join((head, b',"data":', error.data, b"}"))
