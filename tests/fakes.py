"""
Stand-ins for what is on the other side of a door. L{tests.test_fakes} sees that they do not drift from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Raw
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.jsonrpc import Error, Message, Request, RequestId, Result
from mcpbridge.interfaces import IClientTransport, IMessageLink, IMessageTransport


@implementer(IMessageTransport)
class FakeTransport:
    """
    A transport toward a server, which writes down what it is told.

    @ivar sent: all messages, in order.
    @ivar link: its owner, once it is connected.
    @ivar connecting: what C{connect} answers with; L{None} connects at once. C{closing} likewise.
    """

    def __init__(self, connecting: Deferred[None] | None = None) -> None:
        self.sent: list[Message] = []
        self.abandoned: list[RequestId] = []
        self.paused = False
        self.is_disconnected = False
        self.connecting = connecting
        self.closing: Deferred[None] | None = None
        self.link: IMessageLink | None = None

    def connect(self, link: IMessageLink) -> Deferred[None]:
        self.link = link
        return succeed(None) if self.connecting is None else self.connecting

    def send(self, message: Message, within: RequestId | None = None) -> None:
        self.sent.append(message)

    def abandon(self, request_id: RequestId) -> None:
        self.abandoned.append(request_id)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def disconnect(self) -> Deferred[None]:
        self.is_disconnected = True
        return succeed(None) if self.closing is None else self.closing

    def requests(self, method: str) -> list[Request]:
        """The requests of this method that were sent."""
        return [message for message in self.sent if isinstance(message, Request) and message.method == method]


@implementer(IClientTransport)
class FakeClientTransport(FakeTransport):
    """
    A transport toward a client, which remembers as a relay does.

    @ivar state: what is remembered.
    @ivar open: what an earlier daemon left unanswered.
    """

    def __init__(self, state: bytes = b"", unanswered: Sequence[RequestId] = ()) -> None:
        super().__init__()
        self.state = state
        self.open = list(unanswered)
        self.forgotten: list[RequestId] = []
        self.batches: list[Sequence[Message]] = []

    def remember(self, state: bytes) -> None:
        self.state = state

    def remembered(self) -> bytes:
        return self.state

    def unanswered(self) -> Sequence[RequestId]:
        return tuple(self.open)

    def forget(self, request_id: RequestId) -> None:
        self.forgotten.append(request_id)

    def send_batch(self, messages: Sequence[Message]) -> None:
        self.batches.append(messages)

    def answers(self) -> dict[RequestId | None, Result | Error]:
        """The answers that were sent, by id. An id that was answered twice fails."""
        found: dict[RequestId | None, Result | Error] = {}
        for message in self.sent:
            if isinstance(message, Result | Error):
                assert message.id not in found, f"{message.id!r} was answered twice"
                found[message.id] = message
        return found


class Server:
    """
    A server of the session era behind any number of transports. Answers C{initialize}, lists, and calls of the tool
    C{echo}, at the next turn of the clock.

    @ivar transports: all that were made, in order.
    @ivar tools: the names in its C{tools/list}.
    @ivar capabilities: what its C{initialize} declares, as JSON.
    """

    def __init__(self, clock: Clock, *tools: str) -> None:
        self._clock = clock
        self.transports: list[FakeTransport] = []
        self.tools = list(tools or ("echo",))
        self.capabilities = b'{"tools":{"listChanged":true}}'

    def make(self, *_: object) -> FakeTransport:
        """A new transport to it."""
        transport = _ServerTransport(self._clock, self._answer)
        self.transports.append(transport)
        return transport

    def _answer(self, request: Request) -> bytes | None:
        match request.method:
            case "initialize":
                return b'{"protocolVersion":"2025-06-18","capabilities":%b,"serverInfo":{}}' % self.capabilities
            case "tools/list":
                return b'{"tools":[%b]}' % b",".join(b'{"name":"%b"}' % name.encode() for name in self.tools)
            case "tools/call" if b'"echo"' in bytes(request.params or b""):
                return b'{"content":[]}'
        return None


class _ServerTransport(FakeTransport):
    def __init__(self, clock: Clock, answer: Callable[[Request], bytes | None]) -> None:
        super().__init__()
        self._clock = clock
        self._answer = answer

    def send(self, message: Message, within: RequestId | None = None) -> None:
        super().send(message, within)
        answer = self._answer(message) if isinstance(message, Request) else None
        if isinstance(message, Request) and answer is not None:
            self._clock.callLater(0, self._reply, Result(message.id, Raw(answer)))
        elif isinstance(message, Request) and message.method == "server/discover":
            self._clock.callLater(0, self._reply, Error(message.id, ErrorObject(-32601, "Method not found")))

    def _reply(self, result: Result | Error) -> None:
        if self.link is not None and not self.is_disconnected:
            self.link.received(result, result.id)
