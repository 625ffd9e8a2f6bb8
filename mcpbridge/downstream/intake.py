"""
What a client says, line by line: sorted, admitted and handed over.

Between a client and whoever answers it stands the book of its open requests: none may be open twice under one id, none
too many at once, and none is handed over before it stands in the book.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar, Protocol

from msgspec import Raw
from twisted.logger import Logger

from mcpbridge.core.errors import INTERNAL_ERROR, INVALID_REQUEST, ErrorObject, Reason, bridge_error
from mcpbridge.core.jsonrpc import (
    Batch,
    Error,
    InvalidMessage,
    Message,
    Request,
    RequestId,
    decode,
    decode_id,
)
from mcpbridge.interfaces import IMessageLink

_string = rb'"(?:[^"\\]|\\.)*"'
# In a message that was cut: the member at its very beginning, or at its very end. Anything may be between the two.
_first_id = re.compile(
    rb'\s*\{\s*(?:"(?:jsonrpc|method)"\s*:\s*' + _string + rb'\s*,\s*)*"id"\s*:\s*(' + _string + rb"|-?[0-9]+)\s*[,}]"
)
_last_id = re.compile(
    rb'[,{]\s*"id"\s*:\s*(' + _string + rb'|-?[0-9]+)\s*(?:,\s*"(?:jsonrpc|method)"\s*:\s*' + _string + rb"\s*)*\}\s*\Z"
)


class Book(Protocol):
    """The open requests of one client."""

    def holds(self, request_id: RequestId) -> bool:
        """Whether this one is open."""

    def enter(self, request_id: RequestId) -> bool:
        """Open it; C{False} if too many are open."""


class Intake:
    """
    Takes lines, one at a time.

    @ivar holding: take no more requests: they are left where they are, and all that is behind them.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        link: IMessageLink,
        book: Book,
        send: Callable[[Error], None],
        refuse: Callable[[Error], None],
        server: str,
    ) -> None:
        """
        @param send: answers a request that is in the book, which strikes it out.
        @param refuse: answers one that is not, even where another one of that id is.
        @param server: what the client asked for, for the texts of errors.
        """
        self._link = link
        self._book = book
        self._send = send
        self._refuse = refuse
        self._server = server
        self.holding = False

    def take(self, line: bytes, consume: Callable[[], None]) -> bool:
        """
        Deal with one line.

        @param consume: called once: after the book has what there is of requests and before anybody acts on them; but
            for what is no request only when it has been acted on, for that may happen twice and must not happen never.
        @return: C{False} if nothing was done, because requests are held back.
        """
        try:
            message = decode(line)
        except InvalidMessage as invalid:
            self.garbage(invalid, consume)
            return True
        if isinstance(message, Request):
            if self.holding:
                return False
            refusal = self._admit(message.id)
            consume()
            if refusal is None:
                self._hand_over(message)
            else:
                self._refuse(refusal)
        elif isinstance(message, Batch):
            if self.holding:
                return False
            self._take_batch(message, consume)
        else:
            self._guarded(self._link.received, message, None)
            consume()
        return True

    def garbage(self, invalid: InvalidMessage, consume: Callable[[], None]) -> None:
        """
        Deal with bytes that are no message.
        """
        refusal = self._admit_invalid(invalid)
        consume()
        if refusal is None:
            self._guarded(self._link.received_garbage, invalid)
        else:
            self._refuse(refusal)

    def _take_batch(self, batch: Batch, consume: Callable[[], None]) -> None:
        refusals: list[Error] = []
        admitted: list[Message | InvalidMessage] = []
        for element in batch.elements:
            refusal = None
            if isinstance(element, Request):
                refusal = self._admit(element.id)
            elif isinstance(element, InvalidMessage):
                refusal = self._admit_invalid(element)
            if refusal is None:
                admitted.append(element)
            else:
                refusals.append(refusal)
        consume()
        for refusal in refusals:
            self._refuse(refusal)
        if admitted:
            self._guarded(self._link.received_batch, admitted)

    def _admit(self, request_id: RequestId) -> Error | None:
        if self._book.holds(request_id):
            # The answer carries the id of the first one; there is no other way to say it.
            return Error(request_id, ErrorObject(INVALID_REQUEST, "Invalid request: this id is in use by a request"))
        if not self._book.enter(request_id):
            text = f"{self._server}: too many requests of this client are open; wait for answers before asking more"
            return Error(request_id, bridge_error(Reason.OVERLOADED, self._server, text, retryable=True))
        return None

    def _admit_invalid(self, invalid: InvalidMessage) -> Error | None:
        # What may have been a broken answer is answered by nobody, so it must not stand in the book.
        if invalid.request_id is None or invalid.response_id is not None:
            return None
        return self._admit(invalid.request_id)

    def _hand_over(self, request: Request) -> None:
        if not self._guarded(self._link.received, request, None) and self._book.holds(request.id):
            text = f"{self._server}: mcpbridge failed at this request; its log says more"
            self._send(Error(request.id, ErrorObject(INTERNAL_ERROR, text)))

    def _guarded(self, call: Callable[..., None], *arguments: object) -> bool:
        """Whatever is wrong with one message, the next one is heard."""
        try:
            call(*arguments)
        except Exception:  # noqa: BLE001  # of whoever is told
            self._log.failure("a message of a client could not be dealt with")
            return False
        return True


def overlong(head: bytes, tail: bytes, limit: int) -> InvalidMessage:
    """
    What is to be said of a line that was too long to be read.

    @param head: how it began, as far as it is known.
    @param tail: how it ended, as far as that is known.
    @param limit: the most bytes that a line may have.
    """
    found = _first_id.match(head) or _last_id.search(tail)
    request_id = None if found is None else decode_id(Raw(found[1]))
    return InvalidMessage(INVALID_REQUEST, f"Invalid request: a message has at most {limit} bytes", request_id)
