"""
Clients of the modern era that were asked in the middle of a call.
"""

from __future__ import annotations

from typing import Any

from mcpbridge.core.events import Event, InputRequest, InputRequired, InputSupplied
from tests.core.eras.modern.rigs import FORM, Client, raw

SAMPLE = {"messages": [{"role": "user", "content": {"type": "text", "text": "?"}}], "maxTokens": 5}
ACCEPTED = {"action": "accept", "content": {"name": "joe"}}
CANCELLED = raw({"action": "cancel"})


def elicitation(xid: int | None, key: str = "q1", params: Any = FORM) -> InputRequired:
    """A form, in an exchange."""
    return InputRequired(xid, {key: InputRequest("elicitation/create", raw(params))})


def roots(xid: int | None, key: str = "r1") -> InputRequired:
    """C{roots/list}."""
    return InputRequired(xid, {key: InputRequest("roots/list", None)})


def sampling(xid: int | None, key: str = "s1") -> InputRequired:
    """C{sampling/createMessage}."""
    return InputRequired(xid, {key: InputRequest("sampling/createMessage", raw(SAMPLE))})


def parked(question: InputRequired | None = None, **more: Any) -> Client:
    """A client whose call 102 was asked C{q1} as request 1, and is parked as C{h1}."""
    client = Client()
    client.calls(1, more=more)
    client.told(question or elicitation(102))
    client.fire(("coalesce", 102))
    client.said()
    client.crossed()
    return client


def supplied(events: list[Event]) -> list[tuple[int | None, dict[str, Any]]]:
    """The answers among these events."""
    return [(event.xid, dict(event.responses)) for event in events if isinstance(event, InputSupplied)]
