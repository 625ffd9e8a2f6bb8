"""
What may become of one request of ours in the stateless era: POSTed, and answered in a body or on a stream that nobody
can resume (MCP 2026-07-28, Streamable HTTP, Sending Messages).

Every way through here ends in the answer or in one L{Loss}.
"""

from __future__ import annotations

import attrs

from mcpbridge.core.bindings.attempt import Attempt
from mcpbridge.core.bindings.dialogue import BareDialogue, Delivery, Finish, Hold, Noise, ReadBody, Send, Step
from mcpbridge.core.bindings.http import COMPLAINT_LIMIT, HeaderFields, ResponseHead, excerpt, printable
from mcpbridge.core.bindings.modern_http import ModernHTTP, Spoken, is_standing
from mcpbridge.core.bindings.streamable_answer import (
    CUT,
    answering,
    error_in,
    is_of_sessions,
    malformed,
    plain_text,
    reading,
    unanswerable,
)
from mcpbridge.core.errors import HEADER_MISMATCH, Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Batch, Error, InvalidMessage, Notification, Request, RequestId, Result, decode


@attrs.define(eq=False)
class ModernRequestDialogue(BareDialogue):
    """
    One request. See L{mcpbridge.core.bindings.dialogue.Dialogue}.

    It holds where the marks of the server's tools are wanted: before a call, if no list of them has passed by yet; and
    after the server said that the headers are not as they should be. By that it has not run the call, so the call is
    sent once more, if there is now something else to say.

    @ivar spoken: what its headers say.
    @ivar _fields: what was repeated of its arguments, the last time.
    @ivar _mismatch: what the server said of that.
    """

    _rules: ModernHTTP
    _message: Request
    spoken: Spoken
    _answered: bool = attrs.field(init=False, default=False)
    _status: int = attrs.field(init=False, default=0)
    _shown: tuple[str, ...] = attrs.field(init=False, default=(), repr=False)
    _refusal: Loss | None = attrs.field(init=False, default=None)
    _fields: HeaderFields = attrs.field(init=False, default=(), repr=False)
    _mismatch: Error | None = attrs.field(init=False, default=None)
    _attempt: Attempt = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._attempt = Attempt(self._rules.endpoint.moved)

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
        """POST it, if it is known what to say."""
        return Hold() if self._rules.wants_survey(self.spoken) else self._send()

    def proceed(self) -> Step:
        """POST it, unless that has been done and there is nothing new to say."""
        if self._mismatch is not None and self._rules.param_fields(self.spoken) == self._fields:
            self._answered = True
            return Finish((self._mismatch,))
        return self._send()

    def _send(self) -> Send:
        self._refusal = None
        self._fields = self._rules.param_fields(self.spoken)
        return self._attempt.send(self._rules.post(self._message, self.spoken, self._fields))

    def head_received(self, head: ResponseHead, now: float) -> Step:
        """Judge the status, then the type."""
        self._status = head.status
        self._shown = head.shown
        if 300 <= head.status < 400:
            redirected = self._attempt.redirected(head)
            return redirected if isinstance(redirected, Send) else Finish((redirected,))
        limits = self._rules.endpoint.limits
        if head.status < 300:
            # A subscription may be silent for as long as nothing changes.
            idle = None if is_standing(self._message) else limits.stream_idle
            return unanswerable(head) or reading(head, limits, idle)
        self._refusal = self._rules.endpoint.status_loss(head)
        if head.status == 401 or self._refusal.reason in (Reason.OVERLOADED, Reason.INSUFFICIENT_SCOPE):
            return Finish((self._refusal,))
        return ReadBody(COMPLAINT_LIMIT, limits.complaint_deadline)

    def body_received(self, body: bytes) -> Step:
        """The answer in one piece, or what an error status has to say."""
        if self._refusal is not None:
            return self._refused(body, self._refusal)
        deliveries = self._read(body)
        if self._answered:
            return Finish(deliveries)
        end = malformed("the server answered with a body that is no answer to the request")
        return Finish((*deliveries, *end.deliveries))

    def _refused(self, body: bytes, refusal: Loss) -> Step:
        secrets = (*self._rules.endpoint.secrets(), *self._shown)
        error = error_in(body, self.request_id)
        if self._status == 400 and self.spoken.method != "server/discover" and is_of_sessions(body, self.request_id):
            # It has become another server (a release was taken back, say), and has not looked at the request.
            text = f"{refusal.text}: it speaks the stateless era no more"
            return Finish((Loss(Fate.SESSION_LOST, Reason.VERSION_REFUSED, text),))
        if error is None:
            said = excerpt(plain_text(body), secrets)
            return Finish((attrs.evolve(refusal, text=f"{refusal.text} ({said})") if said else refusal,))
        error = answering(error, self.request_id, secrets)
        if self._may_be_repaired(error):
            self._mismatch = error
            # Whoever sent it while another call learnt better need not ask again.
            return Hold() if self._rules.param_fields(self.spoken) == self._fields else self._send()
        self._answered = True
        return Finish((error,))

    def _may_be_repaired(self, error: Error) -> bool:
        """Whether the call was turned away for what its headers say of its arguments: once at most."""
        return (
            error.error.code == HEADER_MISMATCH
            and self._status == 400
            and self._mismatch is None
            and self.spoken.called_tool is not None
        )

    def event_received(self, name: str, data: bytes) -> tuple[Delivery, ...]:
        """Events of other names are none of ours; empty ones say nothing."""
        return self._read(data) if name == "message" and data and not self._answered else ()

    def _read(self, data: bytes) -> tuple[Delivery, ...]:
        try:
            message = decode(data)
        except InvalidMessage as invalid:
            if invalid.response_id == self.request_id:
                self._answered = True
                return malformed(f"the server sent a broken answer: {excerpt(str(invalid))}").deliveries
            return (Noise(f"what the server sent is no message and was skipped: {excerpt(str(invalid))}"),)
        match message:
            case Notification():
                return (message,)
            case Result(id=self.request_id) | Error(id=self.request_id | None):
                self._answered = True
                return self._learnt(message) if isinstance(message, Result) else (self._own(message),)
            case Request():
                return (Noise(f"{printable(message.method)[:80]} was skipped: the server may ask nothing in this era"),)
            case Batch():
                return (Noise("an array of messages was skipped: there are none in this era"),)
        return (Noise("an answer to another request was skipped"),)

    def _own(self, error: Error) -> Error:
        return error if error.id is not None else attrs.evolve(error, id=self.request_id)

    def _learnt(self, answer: Result) -> tuple[Delivery, ...]:
        if self._message.method != "tools/list":
            return (answer,)
        result, told = self._rules.marks.learn(answer.result)
        if result is not answer.result:
            answer = attrs.evolve(answer, result=result)
        return (*map(Noise, told), answer)

    def ended(self, now: float, last_event_id: str) -> Step:
        """There is no resumption: an answer that did not come will not."""
        return Finish() if self._answered else Finish((Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, CUT),))

    def failed(self, loss: Loss, now: float) -> Step:
        """Whether to ask again is the owner's to say."""
        if self._answered:
            return Finish()
        # If the body of an error status was no good, the status has to do.
        return Finish((self._refusal or loss,))
