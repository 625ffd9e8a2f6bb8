"""
Performs a L{Dialogue}: makes the requests it wants, reads what it wants read, and passes on what it has to say.

It decides nothing about MCP, and nothing about HTTP that concerns a message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec
from typing import Protocol as Shape

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse
from zope.interface import implementer

from mcpbridge.core.bindings.dialogue import Delivery, Dialogue, Finish, Hold, ReadBody, ReadEvents, Send, Step
from mcpbridge.core.bindings.http import HeaderFields, HTTPRequest, MediaType, ResponseHead, secrets_in
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.net.agent import HTTPClient, PreparedURL, prepared_headers
from mcpbridge.net.body import BodyReader
from mcpbridge.net.producer import MessageProducer
from mcpbridge.upstream.http_failure import loss_of
from txsse import Event, EventParser, EventReceiver, IEventReceiver, discard

#: The first status that is a refusal.
_REFUSAL = 400
#: Headers that say nothing secret. To mask what they say would spoil the text of a complaint.
_PUBLIC = frozenset(
    b"accept accept-encoding connection content-length content-type host last-event-id mcp-method mcp-name "
    b"mcp-protocol-version transfer-encoding user-agent".split()
)
_ARGUMENT = b"mcp-param-"

#: What is read of a body that nobody wants, so that its connection can be used again: bytes, and seconds.
_DRAIN_LIMIT, _DRAIN_DEADLINE = 64 * 1024, 5.0

#: A session has one URL; redirects add a few. More are not worth keeping.
_MAX_URLS = 16

#: A session has two sets of headers, and resumptions add a few; without one, every tool has its own.
_MAX_HEADERS = 64


_P = ParamSpec("_P")

#: What is told when we ourselves fail: never nothing.
_BROKEN = Finish(
    (Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "the bridge failed on the answer of the server; its log says more"),)
)

_bugs = Logger(namespace="mcpbridge.upstream.http_call.Call").failureHandler("a bug: a dialogue failed")


class CallOwner(Shape):
    """Whom a call tells. All of it may come while C{start} still runs."""

    def delivered(self, call: Call, delivery: Delivery) -> None:
        """Something is to be told to the link, or logged."""

    def written(self, call: Call) -> None:
        """The request has been written to its connection."""

    def held(self, call: Call) -> None:
        """Its dialogue holds: the owner is to find out what it asks for, and to let the call proceed."""

    def settled(self, call: Call) -> None:
        """The counterpart has done its part; more may come all the same. At most once."""

    def finished(self, call: Call) -> None:
        """It is over. Once, and the last that is heard; not at all if the call was closed."""


@attrs.define(eq=False)
class Wire:
    """
    What the calls of one transport share.

    @ivar paused: whether bodies are to be left unread.
    """

    client: HTTPClient
    clock: IReactorTime
    paused: bool = False
    _urls: dict[str, PreparedURL] = attrs.field(factory=dict, repr=False)
    _headers: dict[tuple[str, HeaderFields], Headers] = attrs.field(factory=dict, repr=False)

    def perform(self, request: HTTPRequest, body: MessageProducer | None) -> Deferred[IResponse]:
        """Make a request."""
        url = self._urls.get(request.url)
        if url is None:
            if len(self._urls) >= _MAX_URLS:
                self._urls.clear()
            url = self._urls[request.url] = PreparedURL.prepare(request.url)
        same = (request.url, request.headers)
        headers = self._headers.get(same)
        if headers is None:
            if len(self._headers) >= _MAX_HEADERS:
                self._headers.clear()
            headers = self._headers[same] = prepared_headers(url)
            _add(headers, request.headers)
        if request.more:
            headers = headers.copy()
            _add(headers, request.more)
        return self.client.perform(request.method, url, headers, body, self.clock)


@implementer(IEventReceiver)
class Call:
    """
    One dialogue, performed.

    @ivar over: whether it is finished or closed.
    @ivar written: whether its first request has been written to a connection.
    @ivar settled: whether the counterpart has done its part.
    """

    _log = Logger()

    def __init__(self, wire: Wire, dialogue: Dialogue, owner: CallOwner) -> None:
        self.dialogue = dialogue
        self.over = False
        self.written = False
        self.settled = False
        self._wire = wire
        self._owner = owner
        self._requesting: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None
        self._response: IResponse | None = None
        self._reader: BodyReader | EventReceiver | None = None
        self._last_event_id = ""
        self._waiting: list[Deferred[None]] = []

    def start(self) -> None:
        """Begin."""
        self._next(self.dialogue.begin)

    def when_over(self) -> Deferred[None]:
        """Fires when it is over, or closed."""
        waiting: Deferred[None] = Deferred()
        if self.over:
            waiting.callback(None)
        else:
            self._waiting.append(waiting)
        return waiting

    def proceed(self) -> None:
        """What the dialogue held for is known, as far as it can be."""
        if not self.over:
            self._next(self.dialogue.proceed)

    def close(self) -> None:
        """Give up: close the connection, tell nobody. Safe at any time."""
        if self.over:
            return
        self._is_over()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        requesting, self._requesting = self._requesting, None
        if requesting is not None:
            requesting.cancel()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
        response, self._response = self._response, None
        if response is not None:
            discard(response)

    def pause(self) -> None:
        """Read no more."""
        if self._reader is not None:
            self._reader.pauseProducing()

    def resume(self) -> None:
        """Go on reading."""
        if self._reader is not None:
            self._reader.resumeProducing()

    def look_settled(self) -> None:
        """Tell the owner if the dialogue has come to be settled."""
        if not self.settled and self.dialogue.settled and not self.over:
            self.settled = True
            self._owner.settled(self)

    def _next(self, ask: Callable[_P, Step], *args: _P.args, **kwargs: _P.kwargs) -> None:
        step: Step = _BROKEN
        with _bugs:
            step = ask(*args, **kwargs)
        self._perform(step)

    def _perform(self, step: Step) -> None:
        match step:
            case Finish():
                self._drop_response()
                self._finish(step)
            case Send(after=0.0):
                self._drop_response()
                self._send(step)
            case Send():
                self._drop_response()
                self._timer = self._wire.clock.callLater(step.after, self._send, step)
            case Hold():
                self._drop_response()
                self._owner.held(self)
            case ReadBody():
                reader = BodyReader(step.limit, self._body_read, self._wire.clock, step.deadline)
                self._read(reader)
            case ReadEvents():
                parser = EventParser(max_event_size=step.limit, last_event_id=self._last_event_id)
                self._read(EventReceiver(self, self._wire.clock, parser=parser, idle_timeout=step.idle))

    def _send(self, step: Send) -> None:
        self._timer = None
        request = step.request
        body = None if request.body is None else MessageProducer(request.body, self._written)
        sent = maybeDeferred(self._wire.perform, request, body)
        if step.deadline is not None:
            sent.addTimeout(step.deadline, self._wire.clock)
        # Before the callbacks, which may run at once. Whether it is "called" would say nothing: it may be waiting
        # for another.
        self._requesting = sent
        sent.addCallbacks(self._head_came, self._not_answered)
        sent.addErrback(self._broken)

    def _written(self) -> None:
        if not self.over and not self.written:
            self.written = True
            self._owner.written(self)

    def _head_came(self, response: IResponse) -> None:
        self._requesting = None
        if self.over:
            discard(response)
            return
        self._response = response
        self._next(self.dialogue.head_received, _head_of(response), self._wire.clock.seconds())
        self.look_settled()

    def _not_answered(self, failure: Failure) -> None:
        self._requesting = None
        if not self.over:
            self._next(self.dialogue.failed, loss_of(failure), self._wire.clock.seconds())
            self.look_settled()

    def _broken(self, failure: Failure) -> None:
        self._log.failure("a bug: a step could not be performed", failure=failure)
        if not self.over:
            self._perform(_BROKEN)

    def _read(self, reader: BodyReader | EventReceiver) -> None:
        response, self._response = self._response, None
        assert response is not None
        self._reader = reader
        if self._wire.paused:
            reader.pauseProducing()
        response.deliverBody(reader)

    def _body_read(self, result: bytes | Failure) -> None:
        self._reader = None
        if isinstance(result, Failure):
            self._next(self.dialogue.failed, loss_of(result), self._wire.clock.seconds())
        else:
            self._next(self.dialogue.body_received, result)

    def event_received(self, event: Event) -> None:
        """An event came."""
        for delivery in self.dialogue.event_received(event.name, event.raw):
            self._owner.delivered(self, delivery)
        self.look_settled()

    def retry_received(self, milliseconds: int) -> None:
        """The stream set its reconnection time."""
        self.dialogue.retry_received(milliseconds)

    def stream_ended(self, reason: Failure | None) -> None:
        """The stream is over, in good order or cut."""
        reader, self._reader = self._reader, None
        assert isinstance(reader, EventReceiver)
        self._last_event_id = reader.last_event_id
        now = self._wire.clock.seconds()
        loss = None if reason is None else loss_of(reason)
        if loss is not None and loss.fate is Fate.FAILED:
            self._next(self.dialogue.failed, loss, now)
        else:
            self._next(self.dialogue.ended, now, self._last_event_id)

    def _drop_response(self) -> None:
        """Read what is left of a body that nobody wants, if that is little; a connection is worth it."""
        response, self._response = self._response, None
        if response is None or response.length == 0:
            return
        if _head_of(response).media_type == MediaType.EVENTS:
            discard(response)
        else:
            response.deliverBody(BodyReader(_DRAIN_LIMIT, _ignore, self._wire.clock, _DRAIN_DEADLINE))

    def _finish(self, step: Finish) -> None:
        self._is_over()
        for delivery in step.deliveries:
            self._owner.delivered(self, delivery)
        self._owner.finished(self)

    def _is_over(self) -> None:
        self.over = True
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)


def _add(headers: Headers, fields: HeaderFields) -> None:
    for name, value in fields:
        headers.addRawHeader(name, value)


def _head_of(response: IResponse) -> ResponseHead:
    fields = {
        name.decode("latin-1").lower(): b", ".join(values).decode("latin-1")
        for name, values in response.headers.getAllRawHeaders()
    }
    length = response.length
    shown = _shown(response) if response.code >= _REFUSAL else ()
    return ResponseHead(response.code, fields, None if length is UNKNOWN_LENGTH else length, shown)


def _shown(response: IResponse) -> tuple[str, ...]:
    """What let us in. Whoever stands between us and the connection may have added it, so no dialogue knows it."""
    found: list[str] = []
    for name, values in response.request.headers.getAllRawHeaders():
        if name.lower() not in _PUBLIC and not name.lower().startswith(_ARGUMENT):
            for value in values:
                found += secrets_in(value.decode("utf-8", "replace"))
    return tuple(found)


def _ignore(_: bytes | Failure) -> None:
    """Whatever became of a body that nobody wants."""
