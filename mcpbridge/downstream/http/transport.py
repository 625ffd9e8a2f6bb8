"""
What the transports of both eras have in common: a link, messages that wait while nobody reads, and slow readers.

Nothing outlives the daemon here: a client of the endpoint notices its death by its connection, and begins anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mcpbridge.core.errors import Fate, LocalProtocolError, Loss, Reason
from mcpbridge.core.jsonrpc import Message, Notification, RequestId, value
from mcpbridge.downstream.http.limits import EndpointLimits
from mcpbridge.downstream.http.reply import Reply
from mcpbridge.interfaces import IMessageLink


class HTTPTransport:
    """
    One client. Good from its first request until it is closed.

    @ivar is_over: whether it was closed.
    @ivar touched: when it was last used; seconds of the clock.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, limits: EndpointLimits, closed: Callable[[], None]) -> None:
        """
        @param closed: called once, when the client is gone or was let go.
        """
        self._clock = clock
        self._limits = limits
        self._closed = closed
        self._link: IMessageLink | None = None
        self._waiting: deque[Callable[[], object]] = deque()
        self._paused = False
        self._taking = False
        self._slow: set[Reply] = set()
        self._told_slow = False
        self.is_over = False
        self.touched = clock.seconds()

    # IMessageTransport, as far as it is the same in both eras.

    def connect(self, link: IMessageLink) -> Deferred[None]:
        """See L{IMessageTransport}. Never fails."""
        if self._link is not None:
            raise LocalProtocolError("a transport is good for one connection")
        self._link = link
        self._take_soon()
        return succeed(None)

    def abandon(self, request_id: RequestId) -> None:
        """See L{IMessageTransport}. A client is told with a message of the owner's, or not at all."""

    def pause(self) -> None:
        """See L{IMessageTransport}."""
        self._paused = True

    def resume(self) -> None:
        """See L{IMessageTransport}."""
        self._paused = False
        self._take_soon()

    def disconnect(self) -> Deferred[None]:
        """See L{IMessageTransport}."""
        self._link = None
        self.close("mcpbridge is stopping")
        return succeed(None)

    # IClientMemory

    def remember(self, state: bytes) -> None:
        """See L{IClientMemory}. There is nobody who would ask for it."""

    def remembered(self) -> bytes:
        """See L{IClientMemory}."""
        return b""

    def unanswered(self) -> Sequence[RequestId]:
        """See L{IClientMemory}."""
        return ()

    # The end.

    def close(self, text: str) -> None:
        """
        Let the client go.

        @param text: why, as a clause, for whoever still waits for an answer.
        """
        if self.is_over:
            return
        self.is_over = True
        self._waiting.clear()
        self._let_go(text)
        link, self._link = self._link, None
        self._closed()
        if link is not None:
            link.disconnected(Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, f"the client is gone: {text}"))

    def _let_go(self, text: str) -> None:
        """End every response."""
        raise NotImplementedError

    # What comes in.

    def _take(self, work: Callable[[], object]) -> bool:
        """
        Do this now, or when somebody reads again, and all in order.

        @return: C{False} if too much waits already.
        """
        if self._link is not None and not self._paused and not self._waiting:
            work()
            return True
        if len(self._waiting) >= self._limits.waiting:
            return False
        self._waiting.append(work)
        return True

    def _take_soon(self) -> None:
        if self._waiting and not self._taking:
            self._taking = True
            self._clock.callLater(0, self._take_waiting)

    def _take_waiting(self) -> None:
        self._taking = False
        while self._waiting and self._link is not None and not self._paused:
            self._waiting.popleft()()

    def _deliver(self, message: Message) -> bool:
        """Whatever is wrong with one message, the next one is heard. Whether this one was."""
        if self._link is None:
            return False
        try:
            self._link.received(message, None)
        except Exception:  # noqa: BLE001  # it is logged, and whoever asked is answered
            self._log.failure("A message of a client of the HTTP endpoint could not be dealt with")
            return False
        return True

    def _cancel(self, request_id: RequestId, why: str) -> None:
        params = value({"requestId": request_id, "reason": why})
        self._deliver(Notification("notifications/cancelled", params))

    def _tell(self, call: Callable[..., object], *arguments: object) -> None:
        """Soon, because a link is never called from inside a call of its own."""
        self._clock.callLater(0, self._told, call, *arguments)

    def _told(self, call: Callable[..., object], *arguments: object) -> None:
        if not self.is_over:
            call(*arguments)

    # Reader, as far as it is the same in both eras.

    def slow(self, reply: Reply) -> None:
        """See L{mcpbridge.downstream.http.reply.Reader}."""
        self._slow.add(reply)
        self._tell(self._tell_of_slowness)

    def quick(self, reply: Reply) -> None:
        """See L{mcpbridge.downstream.http.reply.Reader}."""
        self._slow.discard(reply)
        self._tell(self._tell_of_slowness)

    def _tell_of_slowness(self) -> None:
        is_slow = bool(self._slow)
        if is_slow == self._told_slow or self._link is None:
            return
        self._told_slow = is_slow
        if is_slow:
            self._link.congested()
        else:
            self._link.relieved()
