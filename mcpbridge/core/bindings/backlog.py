"""
What a server said to a client of the session era while no stream was open on which it could be told.

Some of it is worth keeping for as long as it takes (a list has changed), most of it for a moment (the client is between
two streams), and a question that cannot be asked has to be answered all the same, or the server waits for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.errors import Reason, bridge_error
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, Result

#: Messages kept, and bytes of them.
MAX_MESSAGES: Final = 64
MAX_BYTES: Final = 1024 * 1024

#: Seconds for which a message waits for a stream. A client that lost one opens the next within seconds.
PATIENCE: Final = 30.0

#: What says no more if it is said twice, and is as true later.
_LASTING: Final = frozenset(
    (
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
    )
)


@attrs.define(eq=False)
class Backlog:
    """Messages that wait, in order."""

    _waiting: list[tuple[float, Message]] = attrs.Factory(list)
    _size: int = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, message: Message, now: float) -> Sequence[Message]:
        """
        Keep a message.

        @param now: in seconds.
        @return: what is not kept any longer, this one perhaps among it.
        """
        if isinstance(message, Notification):
            if message.method == "notifications/cancelled" and self._withdraw(message):
                return ()
            if message.method in _LASTING and any(other == message for _, other in self._waiting):
                return ()
        size = _size(message)
        if size > MAX_BYTES:
            return (message,)
        self._waiting.append((now, message))
        self._size += size
        dropped: list[Message] = []
        while len(self._waiting) > MAX_MESSAGES or self._size > MAX_BYTES:
            dropped.append(self._drop(0))
        return dropped

    def expire(self, now: float) -> Sequence[Message]:
        """
        Give up what has waited too long.

        @return: what that is.
        """
        late = [
            place
            for place, (since, message) in enumerate(self._waiting)
            if now - since >= PATIENCE and not _lasts(message)
        ]
        return [self._drop(place) for place in reversed(late)][::-1]

    def is_impatient(self) -> bool:
        """Whether there is something that will be given up."""
        return any(not _lasts(message) for _, message in self._waiting)

    def has_questions(self) -> bool:
        """Whether something is of a question, and so need not wait for a stream of the client's own."""
        return any(is_of_question(message) for _, message in self._waiting)

    def take(self) -> Sequence[Message]:
        """All of it; there is a stream now, or there will never be one."""
        taken = [message for _, message in self._waiting]
        self._waiting.clear()
        self._size = 0
        return taken

    def _drop(self, place: int) -> Message:
        _, message = self._waiting.pop(place)
        self._size -= _size(message)
        return message

    def _withdraw(self, cancelled: Notification) -> bool:
        """Whether the question that is cancelled was waiting here; it does not any more."""
        try:
            params = jsonrpc.members(cancelled.params or Raw(b"{}"))
        except InvalidMessage:
            return False
        request_id = jsonrpc.decode_id(params.get("requestId", Raw(b"null")))
        for place, (_, message) in enumerate(self._waiting):
            if isinstance(message, Request) and message.id == request_id:
                self._drop(place)
                return True
        return False


def is_of_question(message: Message) -> bool:
    """
    Whether it is a question, or says that nobody wants to know any more.

    Servers behind a pipe do not say for which call they ask. A client that opens no stream of its own reads those of
    its calls, and it is the one that is asked.
    """
    return isinstance(message, Request) or (
        isinstance(message, Notification) and message.method == "notifications/cancelled"
    )


def answer_for(question: Request, why: str) -> Result | Error:
    """
    What a server is told of a question that the client was not asked.

    @param why: for humans, as a clause.
    """
    if question.method == "elicitation/create":
        # A true statement: nobody chose.
        return Result(question.id, jsonrpc.value({"action": "cancel"}))
    error = bridge_error(Reason.INPUT_UNAVAILABLE, "mcpbridge", f"The client could not be asked: {why}")
    return Error(question.id, error)


def _lasts(message: Message) -> bool:
    return isinstance(message, Notification) and message.method in _LASTING


def _size(message: Message) -> int:
    return 0 if isinstance(message, Result | Error) or message.params is None else len(memoryview(message.params))
