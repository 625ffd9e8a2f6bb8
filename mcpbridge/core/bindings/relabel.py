"""
Ids of requests inside of payloads (MCP 2026-07-28, Subscriptions): a client that shares one conversation of ours with
others has its requests renumbered, and must not notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.eras.modern.envelope import SUBSCRIPTION_ID
from mcpbridge.core.jsonrpc import InvalidMessage, Message, Notification, RequestId, Result

_WORD: Final = b"subscriptionId"


def relabel(message: Message, request_id: RequestId) -> Message:
    """
    The message with the client's own id wherever it names the request that it belongs to.

    @param request_id: the client's.
    """
    encoded = Raw(jsonrpc.encode_id(request_id))
    match message:
        case Result():
            return attrs.evolve(message, id=request_id, result=_retag(message.result, encoded))
        case jsonrpc.Error():
            return attrs.evolve(message, id=request_id)
        case Notification(method="notifications/cancelled", params=params) if params is not None:
            return attrs.evolve(message, params=_replace(params, "requestId", encoded))
        case Notification(params=params) if params is not None:
            return attrs.evolve(message, params=_retag(params, encoded))
    return message


def _retag(payload: Raw, encoded: Raw) -> Raw:
    if _WORD not in bytes(payload):
        return payload
    try:
        found = jsonrpc.members(payload)
        meta = found.get("_meta")
        if meta is None or SUBSCRIPTION_ID not in jsonrpc.members(meta):
            return payload
        found["_meta"] = _replace(meta, SUBSCRIPTION_ID, encoded)
    except InvalidMessage:
        return payload
    return jsonrpc.assemble(found)


def _replace(payload: Raw, name: str, value: Raw) -> Raw:
    found: Mapping[str, Raw] = jsonrpc.members(payload)
    return jsonrpc.assemble({**found, name: value}) if name in found else payload
