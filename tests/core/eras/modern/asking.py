"""
Calls to a server of the modern era, and what it asks in the middle of them.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.events import Called
from tests.core.eras.modern.rigs import FORM, raw

LOSS = Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "it broke")
ARGUMENTS = {"name": "t", "arguments": {"a": 1}}


def called(xid: int = 5, method: str = "tools/call", params: Any = ARGUMENTS, **more: Any) -> Called:
    """A call."""
    return Called(xid, method, None if params is None else raw(params), **more)


def asks(state: Any = "s1", **requests: Any) -> dict[str, Any]:
    """An C{input_required}."""
    result: dict[str, Any] = {"resultType": "input_required", "inputRequests": requests}
    return result if state is None else {**result, "requestState": state}


FORMED = {"method": "elicitation/create", "params": FORM}


def read(found: Raw | None) -> Any:
    """JSON that must be there."""
    assert found is not None
    return jsonrpc.read(found)
