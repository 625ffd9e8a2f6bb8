"""
A client of the stateless era over HTTP: everybody with the same credentials, name and capabilities.

They count their requests from 0 each, so here every request has a number of its own, and its answer gets the client's
id back. Closing a response is how a request is cancelled.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import attrs
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mcpbridge.core.bindings.backlog import answer_for
from mcpbridge.core.bindings.http_guards import refusal
from mcpbridge.core.bindings.http_ladder import answer_status
from mcpbridge.core.bindings.http_verdicts import ModernCall
from mcpbridge.core.bindings.relabel import relabel
from mcpbridge.core.errors import INTERNAL_ERROR, ErrorObject
from mcpbridge.core.jsonrpc import Error, Message, Notification, Request, RequestId, Result, encode
from mcpbridge.downstream.http import request as http
from mcpbridge.downstream.http.limits import EndpointLimits
from mcpbridge.downstream.http.reply import Reply
from mcpbridge.downstream.http.transport import HTTPTransport
from mcpbridge.interfaces import IClientTransport

_RETRY_SOON = ((b"Retry-After", b"1"),)


@attrs.frozen
class _Call:
    """
    @ivar id: the client's own.
    """

    id: RequestId
    reply: Reply


@implementer(IClientTransport)
class StatelessClient(HTTPTransport):
    """See the top of this module."""

    def __init__(self, clock: IReactorTime, limits: EndpointLimits, closed: Callable[[], None]) -> None:
        super().__init__(clock, limits, closed)
        self._numbers = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        self._by_reply: dict[Reply, int] = {}

    @property
    def is_busy(self) -> bool:
        """Whether a request is open."""
        return bool(self._calls)

    @property
    def patience(self) -> float:
        """Seconds without use after which it is forgotten."""
        return self._limits.client_idle

    def call(self, call: ModernCall, request: http.Request) -> None:
        """It asks for something."""
        self.touched = self._clock.seconds()
        asked = call.request
        if len(self._calls) >= self._limits.requests:
            text = "Too many requests: too many of this client are open; wait for answers before asking more"
            request.refuse(refusal(429, text, request_id=asked.id, fields=_RETRY_SOON))
            return
        number = next(self._numbers)
        reply = Reply(request, self._clock, self, call.accepted, self._limits)
        self._calls[number] = _Call(asked.id, reply)
        self._by_reply[reply] = number
        if not self._take(partial(self._hear, attrs.evolve(asked, id=number))):
            self._strike(number)
            text = "Too many requests: requests of this client wait already; wait for answers before asking more"
            reply.refuse(refusal(429, text, request_id=asked.id, fields=_RETRY_SOON))

    def notice(self, notification: Notification) -> None:
        """It tells of something. It cancels nothing so: the id would be one that others use too."""
        if notification.method != "notifications/cancelled":
            self.touched = self._clock.seconds()
            self._take(partial(self._deliver, notification))

    def _hear(self, request: Request) -> None:
        if request.id in self._calls and not self._deliver(request):
            text = "mcpbridge failed at this request; its log says more"
            self.send(Error(request.id, ErrorObject(INTERNAL_ERROR, text)))

    # What it is told.

    def send(self, message: Message, within: RequestId | None = None) -> None:
        """See L{IMessageTransport}."""
        if isinstance(message, Result | Error):
            self._answer(message)
        elif isinstance(message, Request):
            # MCP 2026-07-28, Streamable HTTP: servers ask nothing on their own.
            self._tell(self._deliver, answer_for(message, "its protocol version has no requests of servers"))
        else:
            call = self._calls.get(within) if isinstance(within, int) else None
            if call is not None:
                call.reply.event(encode(relabel(message, call.id)))

    def send_batch(self, messages: Sequence[Message]) -> None:
        """See L{IClientTransport}. There are no arrays in this era."""
        for message in messages:
            self.send(message)

    def forget(self, request_id: RequestId) -> None:
        """See L{mcpbridge.interfaces.IClientMemory}."""
        call = self._strike(request_id)
        if call is not None:
            call.reply.end()

    def _answer(self, answer: Result | Error) -> None:
        call = self._strike(answer.id)
        if call is not None:
            call.reply.answer(encode(relabel(answer, call.id)), status=answer_status(answer))

    def _strike(self, number: RequestId | None) -> _Call | None:
        call = self._calls.pop(number, None) if isinstance(number, int) else None
        if call is not None:
            del self._by_reply[call.reply]
            self.touched = self._clock.seconds()
        return call

    def left(self, reply: Reply) -> None:
        """See L{mcpbridge.downstream.http.reply.Reader}."""
        number = self._by_reply.get(reply)
        if number is not None:
            self._strike(number)
            self._cancel(number, "the client has closed the response")

    def _let_go(self, text: str) -> None:
        gone = [self._calls[number] for number in tuple(self._calls)]
        self._calls.clear()
        self._by_reply.clear()
        for call in gone:
            call.reply.refuse(refusal(503, f"Service unavailable: {text}", request_id=call.id, fields=_RETRY_SOON))
