"""
Rules of HTTP+SSE, the transport of 2024-11-05 (basic/transports, "HTTP with SSE"): one event stream for all that the
server says, and a URL that it names for all that we say.

The stream is the session: when it ends, everything is over. Nothing here opens a connection; see
L{mcpbridge.upstream.http_sse}.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from mcpbridge.core.bindings.attempt import Attempt
from mcpbridge.core.bindings.dialogue import BareDialogue, Delivery, Finish, Noise, ReadEvents, Send, Step
from mcpbridge.core.bindings.http import (
    HeaderFields,
    HTTPLimits,
    HTTPRequest,
    MediaType,
    ResponseHead,
    header_fields,
    printable,
    resolve,
    shown,
    status_loss,
)
from mcpbridge.core.bindings.streamable_answer import garbage
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import InvalidMessage, Message, Notification, Request, RequestId, decode, encode


@attrs.define(eq=False)
class HTTPSSE:
    """
    What all requests to one server say.

    @ivar limits: how much we put up with.
    @ivar endpoint: where to POST; L{None} until the server has said so.
    """

    _url: str = attrs.field(repr=False)
    _configured: HeaderFields = attrs.field(repr=False)
    limits: HTTPLimits
    endpoint: str | None = attrs.field(init=False, default=None, repr=False)

    @classmethod
    def make(cls, url: str, headers: Mapping[str, str], limits: HTTPLimits) -> HTTPSSE:
        """
        @param headers: as configured; sent with every request to the origin of C{url}, and nowhere else.
        @raise ConfigurationError: a header cannot be sent.
        """
        return cls(url, header_fields(headers), limits)

    def get(self) -> HTTPRequest:
        """The request for the stream."""
        return HTTPRequest("GET", self._url, ((b"Accept", b"text/event-stream"), *self._configured))

    def post(self, message: Message) -> HTTPRequest:
        """The request that carries a message; only once there is an endpoint."""
        assert self.endpoint is not None
        headers = ((b"Accept", b"application/json"), (b"Content-Type", b"application/json"), *self._configured)
        return HTTPRequest("POST", self.endpoint, headers, encode(message))

    def named(self, reference: str) -> Loss | None:
        """
        The server named the endpoint. Only the first one counts, and only one of the same origin: configured headers
        and messages are meant for no other.
        """
        if self.endpoint is not None:
            return None
        self.endpoint = resolve(self._url, reference.strip())
        if self.endpoint is None:
            text = f"the server named an endpoint of another origin, {shown(reference.strip())}, which is not used"
            return Loss(Fate.FAILED, Reason.MALFORMED, text)
        return None

    def moved(self, head: ResponseHead, url: str, target: str) -> None:
        """A request was redirected within the origin. References are resolved against where the stream really is."""
        if url == self._url:
            self._url = target

    def status_loss(self, head: ResponseHead) -> Loss:
        """See L{mcpbridge.core.bindings.http.status_loss}."""
        return status_loss(head, authorized=any(name.lower() == b"authorization" for name, _ in self._configured))


@attrs.define(eq=False)
class EventsDialogue(BareDialogue):
    """
    The stream. It finishes with a L{Loss}, always: that of the whole connection.

    @ivar settled: whether the endpoint is known, so that messages can be sent.
    """

    _session: HTTPSSE
    _attempt: Attempt = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._attempt = Attempt(self._session.moved)

    @property
    def settled(self) -> bool:
        """Whether the endpoint is known."""
        return self._session.endpoint is not None

    def begin(self) -> Step:
        """GET it."""
        return self._attempt.send(self._session.get(), 0.0, self._session.limits.endpoint_deadline)

    def head_received(self, head: ResponseHead, now: float) -> Step:
        """An event stream, or nothing."""
        if head.status == 200 and head.media_type == MediaType.EVENTS:
            return ReadEvents(self._session.limits.max_message, self._session.limits.stream_idle)
        if 300 <= head.status < 400:
            redirected = self._attempt.redirected(head)
            return redirected if isinstance(redirected, Send) else Finish((redirected,))
        if head.status >= 400:
            return Finish((self._session.status_loss(head),))
        what = printable(head.media_type)[:80] or "something of no type"
        text = f"the server answered HTTP {head.status} with {what} where an event stream was wanted; check the URL"
        return Finish((Loss(Fate.FAILED, Reason.MALFORMED, text),))

    def event_received(self, name: str, data: bytes) -> tuple[Delivery, ...]:
        """The endpoint first, then messages."""
        if name == "endpoint":
            loss = self._session.named(data.decode("utf-8", "replace"))
            return () if loss is None else (loss,)
        if name != "message" or not data:
            return ()
        try:
            return (decode(data),)
        except InvalidMessage as invalid:
            return (garbage(invalid),)

    def ended(self, now: float, last_event_id: str) -> Step:
        """There is no resumption here."""
        if self._session.endpoint is None:
            text = "the event stream ended before the server named its endpoint; check the URL"
            return Finish((Loss(Fate.FAILED, Reason.MALFORMED, text),))
        return Finish((Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "the event stream ended, and with it the session"),))

    def failed(self, loss: Loss, now: float) -> Step:
        """Nor a second try: that is the owner's, with a new session."""
        return Finish((loss,))


@attrs.define(eq=False)
class PostDialogue(BareDialogue):
    """A message of ours. What it is answered with comes on the stream."""

    _session: HTTPSSE
    _message: Message
    _accepted: bool = attrs.field(init=False, default=False)
    _attempt: Attempt = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._attempt = Attempt(self._session.moved)

    @property
    def request_id(self) -> RequestId | None:
        """The id, if the message is a request."""
        return self._message.id if isinstance(self._message, Request) else None

    @property
    def settled(self) -> bool:
        """Whether it was accepted, or nobody wants to know any more."""
        return self._accepted

    def answered_elsewhere(self) -> None:
        """The answer came already."""
        self._accepted = True

    def begin(self) -> Step:
        """POST it."""
        return self._attempt.send(self._session.post(self._message), 0.0, self._session.limits.notice_deadline)

    def head_received(self, head: ResponseHead, now: float) -> Step:
        """Any success will do: servers answer 200, 202 or 204, some with a text."""
        if head.status < 300:
            self._accepted = True
            return Finish()
        if head.status < 400:
            redirected = self._attempt.redirected(head)
            return redirected if isinstance(redirected, Send) else self._lost(redirected)
        if head.status == 404:
            text = "the server answered HTTP 404: it does not know our session any more"
            return self._lost(Loss(Fate.SESSION_LOST, Reason.SESSION_LOST, text))
        return self._lost(self._session.status_loss(head))

    def failed(self, loss: Loss, now: float) -> Step:
        """It is not sent again; whoever sent it decides."""
        return self._lost(loss)

    def _lost(self, loss: Loss) -> Finish:
        if self._accepted:
            return Finish()
        if isinstance(self._message, Request):
            return Finish((loss,))
        message = self._message
        what = printable(message.method)[:80] if isinstance(message, Notification) else "an answer of ours"
        return Finish((Noise(f"{what} was not accepted: {loss.text}"),))
