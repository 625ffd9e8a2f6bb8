"""
What may become of one request of ours on Streamable HTTP: POSTed, answered in a body or on a stream, and the stream
resumed as often as that takes.

Every way through here ends in the answer or in one L{Loss}.
"""

from __future__ import annotations

import re

import attrs

from mcpbridge.core.bindings.attempt import Attempt
from mcpbridge.core.bindings.dialogue import BareDialogue, Delivery, Finish, Noise, ReadBody, ReadEvents, Send, Step
from mcpbridge.core.bindings.http import COMPLAINT_LIMIT, PASSING, MediaType, ResponseHead, excerpt, retry_after
from mcpbridge.core.bindings.resumption import Resumption
from mcpbridge.core.bindings.streamable_answer import (
    CUT,
    answering,
    error_in,
    garbage,
    plain_text,
    reading,
    unanswerable,
)
from mcpbridge.core.bindings.streamable_http import StreamableHTTP
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Batch, Error, InvalidMessage, Request, RequestId, Result, decode

#: Error codes by which a request was looked at, and so the session was found.
_LOOKED_AT = frozenset((-32601, -32602))

_no_session = re.compile(r"session|not initialized", re.IGNORECASE)


@attrs.define(eq=False)
class RequestDialogue(BareDialogue):
    """
    One request. See L{mcpbridge.core.bindings.dialogue.Dialogue}.
    """

    _session: StreamableHTTP
    _message: Request
    _answered: bool = attrs.field(init=False, default=False)
    _resuming: bool = attrs.field(init=False, default=False)
    _last_event_id: str = attrs.field(init=False, default="")
    _status: int = attrs.field(init=False, default=0)
    _shown: tuple[str, ...] = attrs.field(init=False, default=(), repr=False)
    _refusal: Loss | None = attrs.field(init=False, default=None)
    _attempt: Attempt = attrs.field(init=False)
    _resumption: Resumption = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._attempt = Attempt(self._session.moved)
        self._resumption = Resumption(self._session.random)

    @property
    def request_id(self) -> RequestId:
        """The id of our request."""
        return self._message.id

    @property
    def settled(self) -> bool:
        """Whether it has been answered."""
        return self._answered

    def answered_elsewhere(self) -> None:
        """The answer came on another stream."""
        self._answered = True

    def begin(self) -> Step:
        """POST it."""
        if self._initializes:
            self._session.initialize_sent()
        elif self._session.lost is not None:
            return Finish((self._session.lost,))
        return self._attempt.send(self._session.post(self._message))

    def head_received(self, head: ResponseHead, now: float) -> Step:
        """Judge the status, then the type."""
        self._status = head.status
        self._shown = head.shown
        if 300 <= head.status < 400:
            return self._redirected(head)
        if self._resuming:
            return self._resumed(head, now)
        if head.status < 300:
            return self._accepted(head)
        self._refusal = self._session.status_loss(head)
        if head.status in (401, 403) or self._refusal.reason is Reason.OVERLOADED:
            return Finish((self._refusal,))
        return ReadBody(COMPLAINT_LIMIT, self._session.limits.complaint_deadline)

    def _redirected(self, head: ResponseHead) -> Step:
        redirected = self._attempt.redirected(head)
        if isinstance(redirected, Send):
            return redirected
        if self._resuming:
            redirected = attrs.evolve(redirected, fate=Fate.UNKNOWN, reason=Reason.OUTCOME_UNKNOWN)
        return Finish((redirected,))

    def _accepted(self, head: ResponseHead) -> Step:
        end = unanswerable(head)
        if end is not None:
            return end
        if self._initializes:
            loss = self._session.initialize_answered(head)
            if loss is not None:
                return Finish((loss,))
        return reading(head, self._session.limits, self._session.limits.stream_idle)

    def _resumed(self, head: ResponseHead, now: float) -> Step:
        if head.status == 200 and head.media_type == MediaType.EVENTS:
            return ReadEvents(self._session.limits.max_message, self._session.limits.stream_idle)
        text = f"the answer was cut off, and the server answered HTTP {head.status} when asked for the rest of it"
        if head.status in PASSING:
            return self._resume(now, retry_after(head), text)
        return Finish((Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, text),))

    def body_received(self, body: bytes) -> Step:
        """The answer in one piece, or what an error status has to say."""
        if self._refusal is not None:
            return Finish((self._refused(body, self._refusal),))
        delivery = self._read(body)
        if self._answered:
            return Finish((delivery,))
        # The exchange is over, so no answer can come any more.
        loss = Loss(Fate.FAILED, Reason.MALFORMED, "the server answered with a body that is no answer to the request")
        return Finish((loss,) if isinstance(delivery, Noise) else (delivery, loss))

    def _refused(self, body: bytes, refusal: Loss) -> Delivery:
        error = error_in(body, self.request_id)
        if self._knows_no_session(error, body):
            return self._session.session_lost(self._status)
        secrets = (*self._session.secrets(), *self._shown)
        if error is not None:
            self._answered = True
            return answering(error, self.request_id, secrets)
        if self._initializes and self._status in (400, 404, 405):
            self._session.not_spoken = True
        said = excerpt(plain_text(body), secrets)
        return attrs.evolve(refusal, text=f"{refusal.text} ({said})") if said else refusal

    def _knows_no_session(self, error: Error | None, body: bytes) -> bool:
        ours = error is not None and error.id == self.request_id
        if self._status == 404 and self._session.session_id is not None:
            return not (error is not None and ours and error.error.code in _LOOKED_AT)
        if self._status != 400 or self._initializes:
            return False
        if error is not None and ours and error.error.code != -32600 and not -32099 <= error.error.code <= -32000:
            # A tool's own error may well speak of sessions; transports use the range that JSON-RPC gives to servers.
            return False
        # The specification leaves the words to the server. The official SDKs say "Missing session ID", "No valid
        # session ID provided", "Server not initialized".
        text = body.decode("utf-8", "replace") if error is None else error.error.message
        return _no_session.search(text) is not None

    def event_received(self, name: str, data: bytes) -> tuple[Delivery, ...]:
        """Events of other names are none of ours; empty ones prime the stream for resumption (2025-11-25)."""
        self._resumption.heard()
        return (self._read(data),) if name == "message" and data else ()

    def _read(self, data: bytes) -> Delivery:
        try:
            message = decode(data)
        except InvalidMessage as invalid:
            if invalid.response_id == self.request_id and not self._answered:
                self._answered = True
                return Loss(Fate.FAILED, Reason.MALFORMED, f"the server sent a broken answer: {excerpt(str(invalid))}")
            return garbage(invalid)
        if isinstance(message, Error) and message.id is None and not self._answered:
            # The request's own exchange: whom else should it answer? JSON-RPC 2.0, 5: null if the id was unreadable.
            message = attrs.evolve(message, id=self.request_id)
        for element in message.elements if isinstance(message, Batch) else (message,):
            if isinstance(element, Result | Error) and element.id == self.request_id:
                self._settle(element)
        return message

    def _settle(self, answer: Result | Error) -> None:
        if self._initializes and not self._answered and isinstance(answer, Result):
            self._session.initialized_with(answer)
        self._answered = True

    def retry_received(self, milliseconds: int) -> None:
        """See L{Resumption.told}."""
        self._resumption.told(milliseconds)

    def ended(self, now: float, last_event_id: str) -> Step:
        """
        Without an answer but with ids the server wants to be polled (2025-11-25, Sending Messages to the Server, 6).
        Without ids the answer is lost.
        """
        if self._answered:
            return Finish()
        # What cannot be a header cannot be asked for.
        self._last_event_id = last_event_id if last_event_id.isprintable() else ""
        if not self._last_event_id:
            return Finish((Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, CUT),))
        return self._resume(now, None, "the answer was cut off, and could not be resumed")

    def failed(self, loss: Loss, now: float) -> Step:
        """Only a resumption is tried again; the request itself is its owner's to repeat."""
        if self._answered:
            return Finish()
        if self._refusal is not None:
            # The body of an error status was no good: the status has to do.
            return Finish((self._refused(b"", self._refusal),))
        if not self._resuming or loss.fate is Fate.FAILED:
            return Finish((loss,))
        return self._resume(now, loss.retry_after, f"the answer was cut off, and could not be resumed: {loss.text}")

    def _resume(self, now: float, wanted: float | None, why: str) -> Step:
        delay = self._resumption.delay(now, wanted)
        if delay is None or self._session.lost is not None:
            return Finish((Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, why),))
        self._resuming = True
        request = self._session.get(self._last_event_id)
        return self._attempt.send(request, delay, self._session.limits.head_deadline)

    @property
    def _initializes(self) -> bool:
        return self._message.method == "initialize"
