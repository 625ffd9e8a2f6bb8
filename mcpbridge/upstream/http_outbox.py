"""
In which order messages go out over HTTP, and how many at a time.

HTTP keeps no order between requests on different connections. So that nothing surprising overtakes anything:

 - a notification waits until every request sent before it is written, and for the notification before it to be
 accepted;
 - requests wait until C{notifications/initialized} is accepted;
 - those that make the server do something wait a moment longer, until it is known whether there is a stream for what it
 has to say meanwhile, and whatever is asked after them waits with them;
 - answers to the counterpart's requests wait for nothing, or calls that wait for them would hold their places for ever;
 - subscriptions wait for nothing and hold up nothing, since their streams stay open.

Every one of these waits has an end.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol as Shape

import attrs
from msgspec import Raw
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.core.bindings.modern_http import is_standing
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Error, Message, Notification, Request, RequestId, Result
from mcpbridge.upstream.http_call import Call

#: Messages that wait: above the first we are congested, below the second no more.
_CONGESTED, _RELIEVED = 256, 64

#: What may make a server say something of its own, at once.
_ACTING = frozenset(("tools/call", "prompts/get", "resources/read"))

#: Bytes of an envelope, more or less.
_ENVELOPE = 200


class OutboxOwner(Shape):
    """Who starts what the outbox lets go."""

    def start(self, message: Message) -> Call:
        """Send it. What becomes of it is reported back to the outbox."""

    def overloaded(self, message: Message, loss: Loss) -> None:
        """It cannot wait any more: too much does already."""

    def congested(self) -> None:
        """Many messages wait."""

    def relieved(self) -> None:
        """Few messages wait."""


@attrs.define(eq=False)
class _Waiting:
    message: Message
    size: int
    behind: frozenset[Call] = frozenset()


@attrs.define(eq=False)
class Outbox:
    """The messages that are on their way to the counterpart."""

    _owner: OutboxOwner
    _clock: IReactorTime
    _limits: HTTPLimits
    _requests: deque[_Waiting] = attrs.field(init=False, factory=deque)
    _notices: deque[_Waiting] = attrs.field(init=False, factory=deque)
    _answers: deque[_Waiting] = attrs.field(init=False, factory=deque)
    _size: int = attrs.field(init=False, default=0)
    _requesting: set[Call] = attrs.field(init=False, factory=set)
    _answering: set[Call] = attrs.field(init=False, factory=set)
    _standing: set[Call] = attrs.field(init=False, factory=set)
    _unwritten: set[Call] = attrs.field(init=False, factory=set)
    _notice: Call | None = attrs.field(init=False, default=None)
    _patience: IDelayedCall | None = attrs.field(init=False, default=None)
    _holding: IDelayedCall | None = attrs.field(init=False, default=None)
    _noticing: Message | None = attrs.field(init=False, default=None)
    _initialized: Notification | None = attrs.field(init=False, default=None)
    _congested: bool = attrs.field(init=False, default=False)

    def send(self, message: Message) -> None:
        """Send in its turn."""
        if isinstance(message, Request):
            if is_standing(message):
                self._start_standing(message)
            elif self._may_request and not self._requests and not self._is_held(message):
                self._start_request(message)
            else:
                self._wait(self._requests, message)
        elif isinstance(message, Notification):
            waits = self._wait(self._notices, message, frozenset(self._unwritten))
            if waits and message.method == "notifications/initialized":
                self._initialized = message
            self._next_notice()
        elif len(self._answering) < self._limits.max_posts:
            self._start_answer(message)
        else:
            self._wait(self._answers, message)

    def withdraw(self, request_id: RequestId) -> None:
        """A request that still waits is not sent."""
        for waiting in self._requests:
            if isinstance(waiting.message, Request) and waiting.message.id == request_id:
                self._requests.remove(waiting)
                self._waits_no_more(waiting)
                return

    def written(self, call: Call) -> None:
        """A call's request has been written."""
        if call in self._unwritten:
            self._unwritten.discard(call)
            self._next_notice()

    def done(self, call: Call) -> None:
        """A call needs its place no more. Unknown ones are ignored."""
        self._requesting.discard(call)
        self._answering.discard(call)
        self._standing.discard(call)
        self._unwritten.discard(call)
        if call is self._notice:
            self._notice_over()
        self._next()

    def hold(self) -> None:
        """The stream on which the server may say what requests make it say is about to open."""
        self._stop_holding()
        self._holding = self._clock.callLater(self._limits.stream_patience, self._held_long_enough)

    def let_go(self) -> None:
        """The stream is there, or there is none."""
        if self._holding is not None:
            self._stop_holding()
            self._next()

    def close(self) -> None:
        """Send nothing any more."""
        self._stop_holding()
        for queue in (self._requests, self._notices, self._answers):
            queue.clear()
        self._stop_patience()

    def _next(self) -> None:
        while self._requests and self._may_request and not self._is_held(self._requests[0].message):
            waiting = self._requests.popleft()
            self._waits_no_more(waiting)
            self._start_request(waiting.message)
        while self._answers and len(self._answering) < self._limits.max_posts:
            waiting = self._answers.popleft()
            self._waits_no_more(waiting)
            self._start_answer(waiting.message)
        self._next_notice()

    @property
    def _may_request(self) -> bool:
        return self._initialized is None and len(self._requesting) < self._limits.max_posts

    def _is_held(self, message: Message) -> bool:
        return self._holding is not None and isinstance(message, Request) and message.method in _ACTING

    def _held_long_enough(self) -> None:
        self._holding = None
        self._next()

    def _stop_holding(self) -> None:
        holding, self._holding = self._holding, None
        if holding is not None:
            holding.cancel()

    def _start_request(self, message: Message) -> None:
        call = self._owner.start(message)
        if call.over or call.settled:
            return
        self._requesting.add(call)
        if not call.written:
            self._unwritten.add(call)

    def _start_standing(self, message: Message) -> None:
        if len(self._standing) >= self._limits.max_posts:
            text = f"too many subscriptions are open at the server ({len(self._standing)})"
            self._owner.overloaded(message, Loss(Fate.NEVER_SENT, Reason.OVERLOADED, text))
            return
        call = self._owner.start(message)
        if call.over or call.settled:
            return
        self._standing.add(call)
        if not call.written:
            self._unwritten.add(call)

    def _start_answer(self, message: Message) -> None:
        call = self._owner.start(message)
        if not call.over:
            self._answering.add(call)

    def _next_notice(self) -> None:
        while self._notice is None and self._notices:
            if not self._unwritten.isdisjoint(self._notices[0].behind):
                return
            waiting = self._notices.popleft()
            self._waits_no_more(waiting)
            call = self._owner.start(waiting.message)
            self._noticing = waiting.message
            if call.over:
                self._notice_over()
                continue
            self._notice = call
            initializes = waiting.message is self._initialized
            seconds = self._limits.initialized_patience if initializes else self._limits.order_patience
            self._patience = self._clock.callLater(seconds, self._impatient)

    def _impatient(self) -> None:
        self._patience = None
        self._notice_over()
        self._next()

    def _notice_over(self) -> None:
        self._stop_patience()
        if self._noticing is self._initialized:
            self._initialized = None
        self._notice = self._noticing = None

    def _stop_patience(self) -> None:
        patience, self._patience = self._patience, None
        if patience is not None:
            patience.cancel()

    def _wait(self, queue: deque[_Waiting], message: Message, behind: frozenset[Call] = frozenset()) -> bool:
        size = _size_of(message)
        if self._count >= self._limits.max_waiting or (
            self._size and self._size + size > self._limits.max_waiting_bytes
        ):
            text = f"too many messages wait to be sent to the server ({self._count}); try again later"
            self._owner.overloaded(message, Loss(Fate.NEVER_SENT, Reason.OVERLOADED, text))
            return False
        queue.append(_Waiting(message, size, behind))
        self._size += size
        if self._count > _CONGESTED and not self._congested:
            self._congested = True
            self._owner.congested()
        return True

    def _waits_no_more(self, waiting: _Waiting) -> None:
        self._size -= waiting.size
        if self._congested and self._count < _RELIEVED:
            self._congested = False
            self._owner.relieved()

    @property
    def _count(self) -> int:
        return len(self._requests) + len(self._notices) + len(self._answers)


def _size_of(message: Message) -> int:
    payload: Raw | None
    match message:
        case Result():
            payload = message.result
        case Error():
            payload = message.error.data
        case _:
            payload = message.params
    return _ENVELOPE + (0 if payload is None else len(memoryview(payload)))
