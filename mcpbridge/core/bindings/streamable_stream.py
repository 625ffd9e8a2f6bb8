"""
The shared stream of Streamable HTTP (Listening for Messages from the Server): asked for once the session stands, and
again whenever it ends, as long as the session lives.
"""

from __future__ import annotations

import attrs

from mcpbridge.core.bindings.attempt import Attempt
from mcpbridge.core.bindings.dialogue import BareDialogue, Delivery, Finish, Noise, ReadEvents, Send, Step
from mcpbridge.core.bindings.http import PASSING, MediaType, ResponseHead, retry_after
from mcpbridge.core.bindings.resumption import Resumption
from mcpbridge.core.bindings.streamable_answer import garbage
from mcpbridge.core.bindings.streamable_http import StreamableHTTP
from mcpbridge.core.errors import Loss
from mcpbridge.core.jsonrpc import InvalidMessage, decode

#: Seconds that a stream must have lived for its end to be taken for a time limit somewhere, not for a refusal.
_LIVED = 5.0


@attrs.define(eq=False)
class StreamDialogue(BareDialogue):
    """The shared stream. See L{mcpbridge.core.bindings.dialogue.Dialogue}."""

    _session: StreamableHTTP
    _answered: bool = attrs.field(init=False, default=False)
    _opened: bool = attrs.field(init=False, default=False)
    _opened_at: float = attrs.field(init=False, default=0.0)
    _last_event_id: str = attrs.field(init=False, default="")
    _attempt: Attempt = attrs.field(init=False)
    _resumption: Resumption = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._attempt = Attempt(self._session.moved)
        self._resumption = Resumption(self._session.random, None, None)

    @property
    def settled(self) -> bool:
        """Whether it is known if there is a stream: the first answer has come, or there was none."""
        return self._answered

    def begin(self) -> Step:
        """GET it."""
        return self._ask(0.0)

    def head_received(self, head: ResponseHead, now: float) -> Step:
        """405 is how a server says that it has none (Listening for Messages from the Server, 2)."""
        self._answered = self._answered or not 300 <= head.status < 400
        if head.status == 200 and head.media_type == MediaType.EVENTS:
            self._opened, self._opened_at = True, now
            return ReadEvents(self._session.limits.max_message)
        if 300 <= head.status < 400:
            redirected = self._attempt.redirected(head)
            return (
                redirected if isinstance(redirected, Send) else Finish((Noise(f"no shared stream: {redirected.text}"),))
            )
        if head.status == 405:
            return Finish()
        if self._opened and head.status == 404:
            # Session Management, 4: it had one for us, and has forgotten it. Nobody may ask for anything for hours,
            # and would not be told of any change meanwhile.
            return Finish((self._session.session_lost(head.status),))
        if self._opened or head.status in PASSING:
            return self._again(now, retry_after(head))
        return Finish((Noise(f"no shared stream: the server answered HTTP {head.status}"),))

    def event_received(self, name: str, data: bytes) -> tuple[Delivery, ...]:
        """As on the stream of a request, but there is no request whose answer could be broken."""
        self._resumption.heard()
        if name != "message" or not data:
            return ()
        try:
            return (decode(data),)
        except InvalidMessage as invalid:
            return (garbage(invalid),)

    def retry_received(self, milliseconds: int) -> None:
        """See L{Resumption.told}."""
        self._resumption.told(milliseconds)

    def ended(self, now: float, last_event_id: str) -> Step:
        """Ask for it again."""
        if last_event_id and last_event_id.isprintable():
            self._last_event_id = last_event_id
        if now - self._opened_at >= _LIVED:
            self._resumption.heard()
        return self._again(now)

    def failed(self, loss: Loss, now: float) -> Step:
        """Ask for it again, later and later."""
        self._answered = True
        return self._again(now, loss.retry_after)

    def _again(self, now: float, wanted: float | None = None) -> Step:
        delay = self._resumption.delay(now, wanted)
        if delay is None or self._session.lost is not None:
            return Finish()
        return self._ask(delay)

    def _ask(self, after: float) -> Send:
        return self._attempt.send(self._session.get(self._last_event_id), after, self._session.limits.head_deadline)
