"""
The pipes that the clients of L{tests.simulation.clients} are served through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Request, RequestId, Result
from mcpbridge.interfaces import IClientTransport, IMessageLink
from tests.simulation.world import Wire, World

if TYPE_CHECKING:
    from tests.simulation.clients import Client

GONE = Loss(Fate.UNKNOWN, Reason.UPSTREAM_UNREACHABLE, "the client is gone")


@implementer(IClientTransport)
@attrs.define(eq=False)
class ClientPipe:
    """
    The way between a client and the daemon of the day, with the memory of the client's relay.

    What the client says while there is no daemon waits for the next one.

    @ivar began: the client has been started.
    """

    _world: World
    _client: Client
    began: bool = False
    _link: IMessageLink | None = None
    _to_client: Wire = attrs.field(init=False)
    _to_daemon: Wire = attrs.field(init=False)
    _memory: bytes = b""
    _taken: list[RequestId] = attrs.Factory(list)
    _over: bool = False

    def __attrs_post_init__(self) -> None:
        self._to_client = Wire(self._world, self._client.hear)
        self._to_daemon = Wire(self._world, self._arrive)
        self._to_daemon.pause()

    # The client's end.

    def say(self, message: Message | InvalidMessage) -> None:
        """From the client."""
        if not self._over:
            self._to_daemon.put(message if isinstance(message, InvalidMessage) else jsonrpc.encode(message))

    def hang_up(self) -> None:
        """The client is gone."""
        self._over = True
        self._to_daemon.cut()
        self._world.later(0.1, self._tell_gone)

    def _tell_gone(self) -> None:
        if self._link is not None:
            self._link.disconnected(GONE)

    def dawdle(self, seconds: float) -> None:
        """The client does not read for a while."""
        self._to_client.pause()
        if self._link is not None:
            self._link.congested()
        self._world.clock.callLater(seconds, self._reads_on)

    def _reads_on(self) -> None:
        self._to_client.resume()
        if self._link is not None:
            self._link.relieved()

    # The daemon's end.

    def let_go(self) -> None:
        """The daemon has died. What it had not read waits."""
        # The next one begins with what it remembers, and tells what is newer.
        self._client.newest = 0
        self._client.restarted = self._world.clock.seconds()
        self._link = None
        self._to_daemon.pause()

    def connect(self, link: IMessageLink) -> Deferred[None]:
        """See L{IMessageTransport}."""
        self._link = link
        if self._over:
            self._world.later(0.1, self._tell_gone)
        self._world.clock.callLater(0, self.resume)
        return succeed(None)

    def _arrive(self, line: bytes | InvalidMessage) -> None:
        assert self._link is not None
        if isinstance(line, InvalidMessage):
            self._link.received_garbage(line)
            return
        message = jsonrpc.decode(line)
        assert not isinstance(message, jsonrpc.Batch)
        if isinstance(message, Request):
            self._taken.append(message.id)
        self._link.received(message, None)

    def send(self, message: Message, within: RequestId | None = None) -> None:
        """See L{IMessageTransport}."""
        if isinstance(message, Result | Error) and message.id in self._taken:
            self._taken.remove(message.id)
        if isinstance(message, Result):
            self._client.given.add(message.id)
        if not self._over:
            self._to_client.put(jsonrpc.encode(message))

    def send_batch(self, messages: Sequence[Message]) -> None:
        """See L{IClientTransport}."""
        for message in messages:
            self.send(message)

    def abandon(self, request_id: RequestId) -> None:
        """See L{IMessageTransport}."""

    def pause(self) -> None:
        """See L{IMessageTransport}."""
        self._to_daemon.pause()

    def resume(self) -> None:
        """See L{IMessageTransport}."""
        if self._link is not None:
            self._to_daemon.resume()

    def disconnect(self) -> Deferred[None]:
        """See L{IMessageTransport}."""
        return succeed(None)

    def remember(self, state: bytes) -> None:
        """See L{IClientMemory}."""
        self._memory = state

    def remembered(self) -> bytes:
        """See L{IClientMemory}."""
        return self._memory

    def unanswered(self) -> Sequence[RequestId]:
        """See L{IClientMemory}."""
        return tuple(self._taken)

    def forget(self, request_id: RequestId) -> None:
        """See L{IClientMemory}."""
        if request_id in self._taken:
            self._taken.remove(request_id)
