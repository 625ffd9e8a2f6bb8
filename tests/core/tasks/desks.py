"""
A client's tasks without a bridge around them: the two ends say things, and what comes out is read as plain values.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Hashable, Sequence
from typing import Any

from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.effects import StartTimer
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import (
    Called,
    Completed,
    Envelope,
    ExchangeId,
    Failed,
    InputRequest,
    InputRequired,
    InputSupplied,
    Opened,
)
from mcpbridge.core.tasks.desk import Desk
from mcpbridge.core.tasks.offer import Offer
from mcpbridge.core.tasks.steps import Down, Post, Step, Up
from mcpbridge.core.tasks.terms import Terms

EXTENSION: Any = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
SESSION: Any = {"tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}}

#: Of a server: the revision that it speaks, and its capabilities.
T1_SERVER: tuple[str, Any] = ("2025-11-25", SESSION)
T2_SERVER: tuple[str, Any] = ("2026-07-28", EXTENSION)
NO_TASKS: tuple[str, Any] = ("2025-11-25", {})

#: Of a client.
T1_CLIENT: tuple[str, Any] = ("2025-11-25", {"elicitation": {}})
T2_CLIENT: tuple[str, Any] = ("2026-07-28", {"elicitation": {}, **EXTENSION})
MODERN_CLIENT: tuple[str, Any] = ("2026-07-28", {"elicitation": {}})
OLD_CLIENT: tuple[str, Any] = ("2025-03-26", {})

#: Of a server of the session dialect: what it lists, and a task of its.
TOOLS: Any = {
    "tools": [
        {"name": "only", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "required"}},
        {"name": "either", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "optional"}},
        {"name": "never", "inputSchema": {"type": "object"}},
    ]
}

WORKING: Any = {
    "taskId": "t",
    "status": "working",
    "createdAt": "c",
    "lastUpdatedAt": "l",
    "ttl": 9,
    "pollInterval": 500,
}


def raw(value: Any) -> Raw:
    """JSON."""
    return Raw(json.dumps(value, separators=(",", ":")).encode())


def plain(value: Raw | ErrorObject | None) -> Any:
    """JSON as plain Python; an error as its code and text."""
    if isinstance(value, ErrorObject):
        return (value.code, value.message)
    return None if value is None else jsonrpc.read(value)


class Ends:
    """
    The client and the server of one desk.

    @ivar timers: seconds by key; those that run.
    """

    def __init__(self, client: tuple[str, Any], server: tuple[str, Any], tools: Any = None, alone: bool = True) -> None:
        self.offer = Offer()
        names = (f"handle{number}" for number in itertools.count(1))
        self.desk = Desk(Terms(self.offer, alone), itertools.count(1000), lambda: next(names), lambda: "now", 60.0)
        self.timers: dict[Hashable, float] = {}
        version, capabilities = client
        self.introduced = self._read(
            self.desk.up(Opened(1, version, {"capabilities": raw(capabilities), "protocolVersion": raw(version)}))
        )
        spoken, offered = server
        opening = raw({"protocolVersion": spoken, "capabilities": offered, "serverInfo": {"name": "s", "version": "1"}})
        self.offer.opened(opening)
        self.opened = self._read(self.desk.down(Completed(1, opening)))
        self.tools = tools

    def _read(self, steps: Sequence[Step]) -> list[Any]:
        seen: list[Any] = []
        for step in steps:
            match step:
                case Up(event) | Down(event) | Post(event):
                    seen.append((type(step).__name__.lower(), *_words(event)))
                case StartTimer(key, seconds):
                    self.timers[key] = seconds
                case _:
                    self.timers.pop(step.key, None)
        return seen

    def calls(self, xid: ExchangeId, method: str, params: Any, wants_progress: bool = False) -> list[Any]:
        """The client asks."""
        return self.says(Called(xid, method, raw(params), wants_progress))

    def says(self, event: Any) -> list[Any]:
        """The client says."""
        return self._read(self.desk.up(event))

    def answers(self, xid: ExchangeId, result: Any, kind: str | None = None) -> list[Any]:
        """The server answers."""
        envelope = None if kind is None else Envelope(raw(kind))
        return self.tells(Completed(xid, raw(result), envelope))

    def fails(self, xid: ExchangeId, code: int, message: str, data: Any = None) -> list[Any]:
        """The server answers with an error."""
        return self.tells(Failed(xid, ErrorObject(code, message, None if data is None else raw(data))))

    def tells(self, event: Any) -> list[Any]:
        """The server, or the bridge, says."""
        return self._read(self.desk.down(event))

    def asks(self, xid: ExchangeId | None, key: str, params: Any, method: str = "elicitation/create") -> list[Any]:
        """The server asks."""
        return self.tells(InputRequired(xid, {key: InputRequest(method, raw(params))}))

    def supplies(self, xid: ExchangeId | None, answers: dict[str, Any]) -> list[Any]:
        """The client answers what it was asked."""
        given = {key: each if isinstance(each, ErrorObject) else raw(each) for key, each in answers.items()}
        return self.says(InputSupplied(xid, given))

    def fires(self, *key: Any) -> list[Any]:
        """A timer runs out."""
        del self.timers[key]
        return self._read(self.desk.fired(key, ErrorObject(-32603, "overdue")))

    def ends(self, error: ErrorObject) -> list[Any]:
        """The server is nobody's any more."""
        return self._read(self.desk.end(error))

    def closes(self) -> list[Any]:
        """The client is gone."""
        return self._read(self.desk.close())


def knowing(client: tuple[str, Any], **more: Any) -> Ends:
    """A client of a server of the session dialect, whose tools are known."""
    ends = Ends(client, T1_SERVER, **more)
    ends.calls(2, "tools/call", {"name": "never"})
    ends.answers(1000, TOOLS)
    ends.answers(2, {"content": []})
    return ends


def _words(event: Any) -> tuple[Any, ...]:
    match event:
        case Called():
            return (event.xid, event.method, plain(event.params))
        case Completed():
            kind = None if event.envelope is None else plain(event.envelope.kind)
            return ("result", event.xid, plain(event.result), kind)
        case Failed():
            return ("error", event.xid, plain(event.error))
        case InputRequired():
            return ("ask", event.xid, {key: (of.method, plain(of.params)) for key, of in event.requests.items()})
        case InputSupplied():
            return ("answer", event.xid, {key: plain(each) for key, each in event.responses.items()})
        case Opened():
            return ("opened", plain(event.params["capabilities"]))
    members = {name: getattr(event, name) for name in event.__slots__ if not name.startswith("__")}
    return (type(event).__name__, *(plain_deep(each) for each in members.values()))


def plain_deep(value: Any) -> Any:
    """Plain values, at whatever depth."""
    if isinstance(value, dict):
        return {name: plain_deep(each) for name, each in value.items()}
    return plain(value) if isinstance(value, Raw) else value
