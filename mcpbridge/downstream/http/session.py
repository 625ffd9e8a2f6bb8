"""
A session of the session era over HTTP, from its C{initialize} to its end.

Each POST with requests is an L{Exchange}. What belongs to no request goes to the stream that the client opened last
with a GET, or waits for one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from mcpbridge.core import jsonrpc
from mcpbridge.core.bindings.backlog import PATIENCE, Backlog, answer_for, is_of_question
from mcpbridge.core.bindings.http_guards import Accepted, Refusal, refusal
from mcpbridge.core.bindings.http_ladder import admit
from mcpbridge.core.bindings.http_verdicts import Opening, SessionPost, SessionStream
from mcpbridge.core.bindings.replay import ReplayShelf
from mcpbridge.core.errors import INTERNAL_ERROR, ErrorObject
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Request, RequestId, Result, encode
from mcpbridge.downstream.http import request as http
from mcpbridge.downstream.http.exchange import Exchange
from mcpbridge.downstream.http.limits import EndpointLimits
from mcpbridge.downstream.http.reply import Reply
from mcpbridge.downstream.http.transport import HTTPTransport
from mcpbridge.interfaces import IClientTransport

_RETRY_SOON = ((b"Retry-After", b"1"),)


@attrs.frozen
class Owner:
    """
    Whose session it is: an id alone opens nothing.

    @ivar principal: whose credentials the client has shown.
    @ivar server: the server that it uses.
    """

    principal: str
    server: str


@implementer(IClientTransport)
class HTTPSession(HTTPTransport):
    """
    @ivar session_id: what its client calls it.
    @ivar version: the revision that was agreed on; L{None} before.
    """

    def __init__(
        self, clock: IReactorTime, limits: EndpointLimits, closed: Callable[[], None], session_id: str, owner: Owner
    ) -> None:
        super().__init__(clock, limits, closed)
        self.session_id = session_id
        self.owner = owner
        self.version: str | None = None
        self._open: dict[RequestId, Exchange] = {}
        self._readers: dict[Reply, Exchange | str] = {}
        self._standing: list[Reply] = []
        self._shelf = ReplayShelf()
        self._backlog = Backlog()
        self._expiry: IDelayedCall | None = None
        self._is_used = False

    @property
    def is_busy(self) -> bool:
        """Whether a request or a stream is open."""
        return bool(self._open or self._readers or self._waiting)

    @property
    def patience(self) -> float:
        """Seconds without use after which it ends."""
        return self._limits.session_idle if self._is_used else self._limits.session_unused

    # What the client says.

    def open(self, opening: Opening, request: http.Request) -> None:
        """It begins."""
        fields = ((b"Mcp-Session-Id", self.session_id.encode("ascii")),)
        post = SessionPost(self.session_id, (opening.request,), False, opening.accepted)
        self._post(post, request, fields, is_opening=True)

    def post(self, post: SessionPost, request: http.Request) -> None:
        """It goes on."""
        self._touch()
        refused = admit(post, self.version)
        if refused is not None:
            request.refuse(refused)
        else:
            self._post(post, request, ())

    def _post(
        self,
        post: SessionPost,
        request: http.Request,
        fields: tuple[tuple[bytes, bytes], ...],
        *,
        is_opening: bool = False,
    ) -> None:
        asked = [message.id for message in post.messages if isinstance(message, Request)]
        refused = self._check_ids(asked)
        if refused is not None:
            request.refuse(refused)
            return
        exchange = None
        if asked or (post.is_batch and any(isinstance(message, InvalidMessage) for message in post.messages)):
            exchange = Exchange(self._shelf, asked, lambda: self.version, is_batch=post.is_batch, is_opening=is_opening)
            self._open.update(dict.fromkeys(asked, exchange))
            self._attach(exchange, request, post.accepted, fields)
        if not self._take(partial(self._hear, post, request, exchange)):
            text = "Too many requests: messages of this session wait already; wait for answers before sending more"
            busy = refusal(429, text, fields=_RETRY_SOON)
            if exchange is None:
                request.refuse(busy)
            else:
                self._strike(exchange)
                exchange.refuse(busy)

    def _check_ids(self, asked: Sequence[RequestId]) -> Refusal | None:
        first = asked[0] if asked else None
        if any(request_id in self._open for request_id in asked) or len(set(asked)) < len(asked):
            return refusal(400, "Invalid request: this id is in use by a request still open", request_id=first)
        if len(self._open) + len(asked) > self._limits.requests:
            text = "Too many requests: too many of this session are open; wait for answers before asking more"
            return refusal(429, text, request_id=first, fields=_RETRY_SOON)
        return None

    def _hear(self, post: SessionPost, request: http.Request, exchange: Exchange | None) -> None:
        if exchange is None:
            self._acknowledge(post, request)
        elif self._backlog.has_questions() and exchange.takes():
            self._say_waiting()
        for message in post.messages:
            if isinstance(message, InvalidMessage):
                self._hear_garbage(message, exchange)
            elif not self._deliver(message) and isinstance(message, Request):
                text = f"{self.owner.server}: mcpbridge failed at this request; its log says more"
                self.send(Error(message.id, ErrorObject(INTERNAL_ERROR, text)), message.id)

    def _acknowledge(self, post: SessionPost, request: http.Request) -> None:
        for message in post.messages:
            if isinstance(message, InvalidMessage):
                request.respond(400, encode(message.answer))
        request.respond(202)

    def _hear_garbage(self, invalid: InvalidMessage, exchange: Exchange | None) -> None:
        if invalid.response_id is not None:
            # Whoever asked has to learn that this is all the answer there will be.
            self._deliver(Error(invalid.response_id, ErrorObject(invalid.code, str(invalid))))
        elif exchange is not None:
            exchange.settle(None, invalid.answer)

    def listen(self, wanted: SessionStream, request: http.Request) -> None:
        """It opens a stream, or goes on with one."""
        self._touch()
        if wanted.last_event_id is not None:
            self._resume(wanted.last_event_id, request)
            return
        self._stand(self._shelf.open(is_standing=True), request)

    def end(self) -> None:
        """
        The client has ended its session, and waits for no answer any more.

        Its open requests are answered with nothing at all: the Python SDK 1.x takes a 404 for an answer, and fails
        since there is nobody to be given it.
        """
        for request_id in tuple(self._open):
            self.forget(request_id)
        self.close("it has ended its session")

    def _touch(self) -> None:
        self.touched = self._clock.seconds()
        self._is_used = True

    def _resume(self, last_event_id: str, request: http.Request) -> None:
        found = self._shelf.replay(last_event_id)
        if found is None:
            # Not 404, which would say that the session is gone.
            request.refuse(refusal(400, "Bad request: nothing is kept from this Last-Event-ID on"))
            return
        name, events = found
        if self._shelf.is_standing(name):
            self._stand(name, request, events)
            return
        exchange = next((each for each in self._open.values() if each.stream == name), None)
        reply = Reply(request, self._clock, self, Accepted(False, True), self._limits)
        reply.begin_stream()
        for event_id, data in events:
            reply.event(data, event_id)
        if exchange is None:
            reply.end()
        elif not reply.is_over:
            self._readers[reply] = exchange
            exchange.attach(reply)

    def _stand(self, name: str, request: http.Request, events: Sequence[tuple[str, bytes]] = ()) -> None:
        for other in [reply for reply, of in self._readers.items() if of == name]:
            self._leave(other).end()
        self._shelf.reopen(name)
        reply = Reply(request, self._clock, self, Accepted(False, True), self._limits)
        self._readers[reply] = name
        self._standing.append(reply)
        reply.begin_stream()
        for event_id, data in events:
            reply.event(data, event_id)
        if len(self._standing) > self._limits.streams:
            self._leave(self._standing[0]).end()
        self._say_waiting()

    # What the client is told.

    def send(self, message: Message, within: RequestId | None = None) -> None:
        """See L{IMessageTransport}."""
        if self.is_over:
            return
        if isinstance(message, Result | Error):
            self._answer(message)
            return
        exchange = self._open.get(within) if within is not None else None
        if exchange is not None and exchange.takes():
            exchange.say(message)
        elif exchange is None or isinstance(message, Request):
            self._say_aside(message)

    def send_batch(self, messages: Sequence[Message]) -> None:
        """See L{IClientTransport}. Answers find their array by themselves."""
        for message in messages:
            self.send(message)

    def forget(self, request_id: RequestId) -> None:
        """See L{IClientMemory}."""
        exchange = self._open.pop(request_id, None)
        if exchange is not None and exchange.settle(request_id, None):
            self._over(exchange)

    def _answer(self, answer: Result | Error) -> None:
        exchange = self._open.pop(answer.id, None) if answer.id is not None else None
        if exchange is None:
            self._log.debug("An answer that no request of the session is open for")
            return
        failed = False
        if exchange.is_opening:
            failed = isinstance(answer, Error)
            self._opened(answer, exchange)
        if exchange.settle(answer.id, answer):
            self._over(exchange)
        if failed:
            self._tell(self.close, "the session could not be opened")

    def _opened(self, answer: Result | Error, exchange: Exchange) -> None:
        if isinstance(answer, Error):
            if exchange.reply is not None:
                exchange.reply.fields = ()
            return
        self.version = jsonrpc.decode_string(jsonrpc.members(answer.result).get("protocolVersion"))

    def _say_aside(self, message: Message) -> None:
        reply = next((reply for reply in reversed(self._standing) if reply.takes_events), None)
        if reply is not None:
            name = self._readers[reply]
            assert isinstance(name, str)
            data = encode(message)
            reply.event(data, self._shelf.record(name, data))
            return
        if is_of_question(message):
            # A stream that the client has lost comes last: it may not come back for it.
            calls = (exchange for exchange in self._open.values() if exchange.takes())
            call = min(calls, key=lambda exchange: exchange.reply is None, default=None)
            if call is not None:
                call.say(message)
                return
        self._unheard(self._backlog.add(message, self._clock.seconds()))
        self._expire_soon()

    def _say_waiting(self) -> None:
        for message in self._backlog.take():
            self._say_aside(message)

    def _expire_soon(self) -> None:
        if self._expiry is None and self._backlog.is_impatient():
            self._expiry = self._clock.callLater(PATIENCE, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        self._unheard(self._backlog.expire(self._clock.seconds()))
        self._expire_soon()

    def _unheard(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if isinstance(message, Request):
                self._tell(self._deliver, answer_for(message, "it has no stream open to be asked on"))

    # How it takes that.

    def _attach(
        self, exchange: Exchange, request: http.Request, accepted: Accepted, fields: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        reply = Reply(request, self._clock, self, accepted, self._limits, opening=exchange.opening, fields=fields)
        self._readers[reply] = exchange
        exchange.attach(reply)

    def left(self, reply: Reply) -> None:
        """See L{mcpbridge.downstream.http.reply.Reader}."""
        of = self._readers.get(reply)
        self._leave(reply)
        if not isinstance(of, Exchange) or of.reply is not reply:
            return
        of.reply = None
        if of.is_opening and of.stream is None:
            # Nobody has ever learned the id of this session.
            self.close("it has not waited for its session to open")
        elif of.pending:
            of.orphan = self._clock.callLater(self._limits.orphan, self._give_up, of)

    def _leave(self, reply: Reply) -> Reply:
        of = self._readers.pop(reply, None)
        if reply in self._standing:
            self._standing.remove(reply)
            assert isinstance(of, str)
            self._shelf.finish(of)
        self.touched = self._clock.seconds()
        return reply

    def _give_up(self, exchange: Exchange) -> None:
        exchange.orphan = None
        for request_id in tuple(exchange.pending):
            self._cancel(request_id, "the client has lost the connection, and has not come back")
            self.forget(request_id)

    def _over(self, exchange: Exchange) -> None:
        for reply in [reply for reply, of in self._readers.items() if of is exchange]:
            del self._readers[reply]
        self.touched = self._clock.seconds()

    def _strike(self, exchange: Exchange) -> None:
        for request_id in exchange.pending:
            self._open.pop(request_id, None)
        self._over(exchange)

    def _let_go(self, text: str) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        gone = refusal(404, f"Session not found: {text}")
        for exchange in set(self._open.values()):
            exchange.refuse(gone)
        self._open.clear()
        for reply in tuple(self._readers):
            reply.end()
        self._readers.clear()
        self._standing.clear()
        self._backlog.take()
