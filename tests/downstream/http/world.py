"""
An endpoint in memory: connections without a network, a clock that stands still, and an owner that writes down what
comes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from msgspec import Raw
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from mcpbridge.core.bindings.http_guards import guard
from mcpbridge.core.errors import ConfigurationError, Loss
from mcpbridge.core.jsonrpc import InvalidMessage, Message, Notification, Request, RequestId, Result, value
from mcpbridge.downstream.http.channel import Channel, ChannelFactory
from mcpbridge.downstream.http.endpoint import Endpoint
from mcpbridge.downstream.http.limits import EndpointLimits
from mcpbridge.downstream.http.request import Request as HTTPRequest
from mcpbridge.interfaces import IClientTransport, IMessageLink

PORT = 8808
HOST = f"127.0.0.1:{PORT}"
TOKEN = "a-token-of-the-user"
MODERN = "2026-07-28"

Event = tuple[str | None, Any]


@implementer(IMessageLink)
class Owner:
    """
    Whoever serves the clients of one transport.

    @ivar heard: all messages that came, in order.
    @ivar on_request: what to do about a request; nothing by default.
    """

    def __init__(self, server: str, transport: IClientTransport) -> None:
        self.server = server
        self.transport = transport
        self.heard: list[Message] = []
        self.told: list[str] = []
        self.on_request: Callable[[Request], None] = lambda request: None

    def received(self, message: Message, within: RequestId | None) -> None:
        self.heard.append(message)
        if isinstance(message, Request):
            self.on_request(message)

    def received_batch(self, messages: Sequence[Message | InvalidMessage]) -> None:
        self.told.append("batch")

    def received_garbage(self, invalid: InvalidMessage) -> None:
        self.told.append("garbage")

    def request_lost(self, request_id: RequestId, loss: Loss) -> None:
        self.told.append("lost")

    def disconnected(self, loss: Loss) -> None:
        self.told.append(f"disconnected: {loss.text}")

    def congested(self) -> None:
        self.told.append("congested")

    def relieved(self) -> None:
        self.told.append("relieved")

    @property
    def requests(self) -> list[Request]:
        return [message for message in self.heard if isinstance(message, Request)]

    def answer(self, request: Request, result: object = None) -> None:
        self.transport.send(Result(request.id, value({} if result is None else result)), request.id)

    def say(self, method: str, params: object = None, within: RequestId | None = None) -> None:
        self.transport.send(Notification(method, None if params is None else value(params)), within)


class Wire(StringTransport):
    """A connection's end that closes, as the network would have it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.protocol: Channel | None = None

    def write(self, data: bytes) -> None:
        if not self.disconnecting:
            super().write(data)

    def loseConnection(self) -> None:
        self._close(ConnectionDone())

    def abortConnection(self) -> None:
        self._close(ConnectionAborted())

    def setTcpNoDelay(self, enabled: bool) -> None:
        """It has no packets."""

    def _close(self, reason: Exception) -> None:
        if not self.disconnecting:
            self.disconnecting = True
            self.clock.callLater(0, self.lost, reason)

    def lost(self, reason: Exception) -> None:
        self.disconnecting = True
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(Failure(reason))

    @property
    def closed(self) -> bool:
        return self.protocol is None


@attrs.frozen
class Seen:
    """
    What a client has read of one response.

    @ivar is_complete: whether the response is over.
    """

    status: int
    fields: Mapping[str, str]
    body: bytes
    is_complete: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Event]:
        """Ids and data; data is parsed unless it is empty. Comments are left out."""
        found: list[Event] = []
        for block in self.body.decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
            if "data" in lines:
                found.append((lines.get("id"), json.loads(lines["data"]) if lines["data"] else ""))
        return found

    @property
    def data(self) -> list[Any]:
        return [data for _, data in self.events]


class Connection:
    """A client's end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wire = Wire(world.clock)
        channel = world.factory.buildProtocol(None)
        assert isinstance(channel, Channel)
        self.wire.protocol = channel
        channel.makeConnection(self.wire)

    def write(self, data: bytes) -> None:
        if self.wire.protocol is not None:
            self.wire.protocol.dataReceived(data)
        self.world.clock.advance(0)

    def leave(self) -> None:
        """The client closes the connection."""
        self.wire.lost(ConnectionDone())
        self.world.clock.advance(0)

    @property
    def raw(self) -> bytes:
        return bytes(self.wire.value())

    @property
    def seen(self) -> Seen:
        """The response, as far as it has come."""
        head, found, rest = self.raw.partition(b"\r\n\r\n")
        if not found:
            raise AssertionError(f"no response has begun: {self.raw!r}")
        first, *lines = head.decode().split("\r\n")
        fields = {name.lower(): text for name, text in (line.split(": ", 1) for line in lines)}
        if "content-length" in fields:
            length = int(fields["content-length"])
            return Seen(int(first.split()[1]), fields, rest[:length], len(rest) >= length)
        body, is_complete = b"", False
        while b"\r\n" in rest:
            size, _, rest = rest.partition(b"\r\n")
            is_complete = size == b"0"
            body += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        return Seen(int(first.split()[1]), fields, body, is_complete)

    @property
    def is_silent(self) -> bool:
        return self.raw == b""


class World:
    """
    @ivar owners: who serves, by transport, in the order in which they were attached.
    """

    def __init__(self, *, with_token: bool = False, limits: EndpointLimits | None = None) -> None:
        self.clock = Clock()
        self.owners: list[Owner] = []
        self.tools: Raw | None = None
        self.connects = True
        limits = limits or EndpointLimits()
        checks = guard("127.0.0.1", PORT, (), (lambda shown: shown == TOKEN) if with_token else None)
        self.endpoint = Endpoint(self.clock, checks, self._attach, limits, tools=lambda server: self.tools)
        self.factory = ChannelFactory(
            self.clock, limits, lambda channel, *_: HTTPRequest(channel, self.endpoint, limits)
        )

    def _attach(self, server: str, transport: IClientTransport) -> None:
        if server == "nowhere":
            raise ConfigurationError("there is no server 'nowhere'")
        owner = Owner(server, transport)
        self.owners.append(owner)
        if self.connects:
            transport.connect(owner)

    @property
    def owner(self) -> Owner:
        """Who was attached last."""
        return self.owners[-1]

    def request(
        self, method: str, path: str = "/mcp/demo", body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Connection:
        """Send a request on a connection of its own; a header without a value is left out."""
        fields = {"Host": HOST, "Accept": "application/json, text/event-stream"}
        if body is not None:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        fields |= headers or {}
        head = "".join(f"{name}: {text}\r\n" for name, text in fields.items() if text)
        connection = Connection(self)
        connection.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (body or b""))
        return connection

    def post(self, message: object, headers: Mapping[str, str] | None = None, path: str = "/mcp/demo") -> Connection:
        """POST a message."""
        return self.request("POST", path, json.dumps(message).encode(), headers)

    def initialize(self, version: str = "2025-11-25", path: str = "/mcp/demo") -> Client:
        """Open a session."""
        params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        opening = self.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}, path=path)
        owner = self.owner
        owner.answer(owner.requests[0], {"protocolVersion": version, "capabilities": {}})
        self.clock.advance(0)
        seen = opening.seen
        return Client(self, owner, {"Mcp-Session-Id": seen.fields["mcp-session-id"]}, path)

    def modern(
        self,
        method: str,
        params: Mapping[str, object] | None = None,
        *,
        request_id: object = 1,
        headers: Mapping[str, str] | None = None,
        meta: Mapping[str, object] | None = None,
    ) -> Connection:
        """POST a request of the stateless era; C{headers} and C{meta} stand in for what they name."""
        params = dict(params or {})
        fields = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if "name" in params:
            fields["Mcp-Name"] = str(params["name"])
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            **(meta or {}),
        }
        message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        return self.post(message, {**fields, **(headers or {})})


@attrs.frozen
class Client:
    """A client of the session era that has opened its session."""

    world: World
    owner: Owner
    headers: Mapping[str, str]
    path: str = "/mcp/demo"

    def post(self, message: object, headers: Mapping[str, str] | None = None) -> Connection:
        return self.world.post(message, {**self.headers, **(headers or {})}, self.path)

    def call(self, request_id: object = 1, method: str = "tools/call") -> Connection:
        return self.post({"jsonrpc": "2.0", "id": request_id, "method": method, "params": {}})

    def notify(self, method: str) -> Connection:
        return self.post({"jsonrpc": "2.0", "method": method})

    def listen(self, last_event_id: str = "") -> Connection:
        headers = {**self.headers, "Last-Event-ID": last_event_id}
        return self.world.request("GET", self.path, headers=headers)

    def end(self) -> Connection:
        return self.world.request("DELETE", self.path, headers=self.headers)
