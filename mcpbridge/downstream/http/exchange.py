"""
A POST of the session era with requests in it, and what becomes of it: answers in its response, or on the stream that it
is resumed by. The client may lose the connection and come back; the requests go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IDelayedCall

from mcpbridge.core.bindings.http_guards import Refusal
from mcpbridge.core.bindings.replay import MAX_BYTES, ReplayShelf
from mcpbridge.core.errors import Reason, bridge_error
from mcpbridge.core.jsonrpc import Error, Message, RequestId, Result, encode
from mcpbridge.downstream.http.reply import Reply

#: From this revision on a stream begins with an empty event that it can be resumed by; earlier clients choke on it.
_PRIMED = "2025-11-25"


class Exchange:
    """
    @ivar pending: ids of the requests that have no answer yet.
    @ivar reply: where answers go; L{None} while the client is away.
    @ivar orphan: runs while it is away.
    """

    def __init__(
        self,
        shelf: ReplayShelf,
        pending: Sequence[RequestId],
        version: Callable[[], str | None],
        *,
        is_batch: bool = False,
        is_opening: bool = False,
    ) -> None:
        """
        @param version: gives the revision that was agreed on.
        @param is_opening: whether it is the C{initialize} of a session that nobody knows yet.
        """
        self._shelf = shelf
        self._version = version
        self._answers: list[Message] = []
        self._stream: str | None = None
        self.is_batch = is_batch
        self.is_opening = is_opening
        self.pending = set(pending)
        self.reply: Reply | None = None
        self.orphan: IDelayedCall | None = None

    def opening(self) -> Sequence[tuple[bytes, str | None]]:
        """The response becomes a stream. See L{Reply}."""
        self._stream = self._shelf.open()
        version = self._version()
        primed = version is not None and version >= _PRIMED
        events: list[tuple[bytes, str | None]] = [(b"", self._shelf.primer(self._stream))] if primed else []
        events += [(encode(answer), self._record(answer)) for answer in self._answers]
        self._answers.clear()
        return events

    @property
    def stream(self) -> str | None:
        """Its name on the shelf; L{None} if it is no stream."""
        return self._stream

    def takes(self) -> bool:
        """Whether the client can be told anything but answers here, now or when it is back."""
        if self.reply is None:
            return self._stream is not None
        return self.reply.takes_events

    def say(self, message: Message) -> None:
        """Something that belongs to its requests."""
        if self.reply is None:
            self._record(message)
            return
        self.reply.begin_stream()
        self.reply.event(encode(message), self._record(message))

    def settle(self, request_id: RequestId | None, answer: Message | None) -> bool:
        """
        A request has its answer, or will get none.

        @param request_id: L{None} for an answer to what was no request.
        @return: whether that was the last one, so that it is over.
        """
        if request_id is not None:
            self.pending.discard(request_id)
        is_over = not self.pending
        if answer is not None:
            self._answer(answer, is_over)
        elif is_over:
            self._end()
        return is_over

    def refuse(self, refused: Refusal) -> None:
        """It comes to nothing."""
        self.pending.clear()
        if self.reply is not None:
            self.reply.refuse(refused)
        self._forget()

    def attach(self, reply: Reply) -> None:
        """The client is back."""
        if self.reply is not None:
            # It knows better than we do that its old connection is dead.
            before, self.reply = self.reply, None
            before.end()
        self.stop_waiting()
        self.reply = reply

    def stop_waiting(self) -> None:
        """It need not be given up any more."""
        orphan, self.orphan = self.orphan, None
        if orphan is not None:
            orphan.cancel()

    def _answer(self, answer: Message, is_over: bool) -> None:
        if self.reply is None:
            if self._stream is not None:
                self._record(answer)
        elif self.reply.wants_stream:
            self.reply.begin_stream()
            data, event_id = encode(answer), self._record(answer)
            if is_over:
                self.reply.answer(data, event_id=event_id)
            else:
                self.reply.event(data, event_id)
        else:
            self._answers.append(answer)
            if is_over:
                self.reply.answer(self._body())
        if is_over:
            self._finish()

    def _body(self) -> bytes:
        bodies = [encode(answer) for answer in self._answers]
        return b"[%b]" % b",".join(bodies) if self.is_batch else bodies[0]

    def _record(self, message: Message) -> str:
        assert self._stream is not None
        data = encode(message)
        return self._shelf.record(self._stream, data, _stand_in(message) if len(data) > MAX_BYTES else b"")

    def _end(self) -> None:
        if self.reply is not None:
            if self._answers and not self.reply.is_stream:
                self.reply.answer(self._body())
            else:
                self.reply.end()
        # Nothing is left to be resumed for: who came back would wait for an answer that will never be.
        self._forget()

    def _finish(self) -> None:
        self.stop_waiting()
        if self._stream is not None:
            self._shelf.finish(self._stream)

    def _forget(self) -> None:
        self.stop_waiting()
        if self._stream is not None:
            self._shelf.forget(self._stream)


def _stand_in(message: Message) -> bytes:
    """What is kept of an answer that is too large to be kept."""
    if not isinstance(message, Result | Error):
        return b""
    text = f"The answer came while the connection was lost, and is larger than the {MAX_BYTES} bytes kept for that"
    return encode(Error(message.id, bridge_error(Reason.OUTCOME_UNKNOWN, "mcpbridge", text)))
