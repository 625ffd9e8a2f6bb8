"""
A notification of ours in the stateless era. The revision defines none over HTTP, but extensions may; nobody waits for
them, so what goes wrong is only logged.
"""

from __future__ import annotations

import attrs

from mcpbridge.core.bindings.attempt import Attempt
from mcpbridge.core.bindings.dialogue import BareDialogue, Finish, Noise, Send, Step
from mcpbridge.core.bindings.http import ResponseHead, printable
from mcpbridge.core.bindings.modern_http import ModernHTTP, Spoken
from mcpbridge.core.errors import Fate, Loss
from mcpbridge.core.jsonrpc import Message

#: Seconds before a message that never reached the server is sent once more.
_REPEAT_AFTER = 0.5


@attrs.define(eq=False)
class ModernNoticeDialogue(BareDialogue):
    """POSTed, and accepted or not. See L{mcpbridge.core.bindings.dialogue.Dialogue}."""

    _rules: ModernHTTP
    _message: Message
    _spoken: Spoken
    _settled: bool = attrs.field(init=False, default=False)
    _repeated: bool = attrs.field(init=False, default=False)
    _attempt: Attempt = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._attempt = Attempt(self._rules.endpoint.moved)

    @property
    def settled(self) -> bool:
        """Whether the server has accepted it."""
        return self._settled

    def begin(self) -> Step:
        """POST it."""
        return self._send(0.0)

    def head_received(self, head: ResponseHead, now: float) -> Step:
        """202 is right, any other success is good enough."""
        if head.status < 300:
            self._settled = True
            return Finish()
        if head.status < 400:
            redirected = self._attempt.redirected(head)
            return redirected if isinstance(redirected, Send) else self._refused(redirected.text)
        return self._refused(self._rules.endpoint.status_loss(head).text)

    def failed(self, loss: Loss, now: float) -> Step:
        """Once more, if it never arrived."""
        if loss.fate is Fate.NEVER_SENT and not self._repeated:
            self._repeated = True
            return self._send(_REPEAT_AFTER)
        return self._refused(loss.text)

    def _send(self, after: float) -> Step:
        request = self._rules.post(self._message, self._spoken)
        return self._attempt.send(request, after, self._rules.endpoint.limits.notice_deadline)

    def _refused(self, why: str) -> Finish:
        return Finish((Noise(f"{printable(self._spoken.method)[:80]} was not accepted: {why}"),))
