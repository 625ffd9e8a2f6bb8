"""
JSON-RPC 2.0: bytes to messages and back. The only room that knows JSON.

The envelope is read, the payload is not. C{params}, C{result} and C{error.data} stay the bytes that they came as
(L{msgspec.Raw} is a slice of them), so what no rule touches crosses unchanged: big integers, C{1e400}, lone
surrogates, unknown members, key order. msgspec is the quick path; what it refuses though it is JSON (a lone
surrogate) is cut into members all the same, still without re-serialising a byte. It recurses only as deep as the
interpreter allows; what nests deeper is refused with its own id.
"""

from mcpbridge.core.jsonrpc.decoding import MAX_BATCH, MAX_KEPT, decode
from mcpbridge.core.jsonrpc.encoding import encode, encode_batch, encode_error, encode_parts
from mcpbridge.core.jsonrpc.messages import (
    Batch,
    Error,
    InvalidMessage,
    Message,
    Notification,
    Request,
    RequestId,
    Result,
)
from mcpbridge.core.jsonrpc.scalars import decode_id, decode_string, encode_id, encode_string
from mcpbridge.core.jsonrpc.values import array, assemble, canonical, elements, members, read, value

__all__ = [
    "MAX_BATCH",
    "MAX_KEPT",
    "Batch",
    "Error",
    "InvalidMessage",
    "Message",
    "Notification",
    "Request",
    "RequestId",
    "Result",
    "array",
    "assemble",
    "canonical",
    "decode",
    "decode_id",
    "decode_string",
    "elements",
    "encode",
    "encode_batch",
    "encode_error",
    "encode_id",
    "encode_parts",
    "encode_string",
    "members",
    "read",
    "value",
]
