"""
Messages of ours that want no answer on Streamable HTTP: notifications, answers, and the end of the session.

Nobody waits for them, so what goes wrong is only logged.
"""

from __future__ import annotations

import attrs

from mcpbridge.core.bindings.attempt import Attempt
from mcpbridge.core.bindings.dialogue import BareDialogue, Finish, Noise, Send, Step
from mcpbridge.core.bindings.http import ResponseHead, printable
from mcpbridge.core.bindings.streamable_http import StreamableHTTP
from mcpbridge.core.errors import Fate, Loss
from mcpbridge.core.jsonrpc import Message, Notification

#: Seconds before a message that never reached the server is sent once more.
_REPEAT_AFTER = 0.5

#: Notifications that do no harm if they arrive twice.
_HARMLESS = frozenset(("notifications/initialized", "notifications/cancelled", "notifications/roots/list_changed"))


@attrs.define(eq=False)
class NoticeDialogue(BareDialogue):
    """A notification or an answer of ours: POSTed, and accepted or not."""

    _session: StreamableHTTP
    _message: Message
    _settled: bool = attrs.field(init=False, default=False)
    _repeated: bool = attrs.field(init=False, default=False)
    _attempt: Attempt = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._attempt = Attempt(self._session.moved)

    @property
    def settled(self) -> bool:
        """Whether the server has accepted it."""
        return self._settled

    def begin(self) -> Step:
        """POST it."""
        if self._session.lost is not None:
            return self._refused("the session is lost")
        return self._send(0.0)

    def head_received(self, head: ResponseHead, now: float) -> Step:
        """202 is right (Sending Messages to the Server, 4), any other success is good enough."""
        if head.status < 300:
            self._settled = True
            self._session.accepted(self._message)
            return Finish()
        if head.status < 400:
            redirected = self._attempt.redirected(head)
            return redirected if isinstance(redirected, Send) else self._refused(redirected.text)
        if head.status == 404 and self._session.session_id is not None:
            return self._refused(self._session.session_lost(head.status).text)
        return self._refused(self._session.status_loss(head).text)

    def failed(self, loss: Loss, now: float) -> Step:
        """Once more, if it never arrived, or if arriving twice does no harm."""
        harmless = isinstance(self._message, Notification) and self._message.method in _HARMLESS
        if not self._repeated and (loss.fate is Fate.NEVER_SENT or (loss.fate is Fate.UNKNOWN and harmless)):
            self._repeated = True
            return self._send(_REPEAT_AFTER)
        return self._refused(loss.text)

    def _send(self, after: float) -> Step:
        return self._attempt.send(self._session.post(self._message), after, self._session.limits.notice_deadline)

    def _refused(self, why: str) -> Finish:
        message = self._message
        what = printable(message.method)[:80] if isinstance(message, Notification) else "an answer of ours"
        return Finish((Noise(f"{what} was not accepted: {why}"),))


@attrs.define(eq=False)
class FarewellDialogue(BareDialogue):
    """The end of a session (Session Management, 5). The server may refuse with 405; nothing follows from that."""

    _session: StreamableHTTP
    _attempt: Attempt = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._attempt = Attempt(self._session.moved)

    def begin(self) -> Step:
        """DELETE it, if there is one."""
        if self._session.session_id is None or self._session.lost is not None:
            return Finish()
        return self._attempt.send(self._session.delete(), 0.0, self._session.limits.farewell_deadline)

    def head_received(self, head: ResponseHead, now: float) -> Step:
        """Whatever it says."""
        if 300 <= head.status < 400:
            redirected = self._attempt.redirected(head)
            return redirected if isinstance(redirected, Send) else Finish()
        return Finish()

    def failed(self, loss: Loss, now: float) -> Step:
        """The session will time out by itself."""
        return Finish((Noise(f"the session could not be ended: {loss.text}"),))
