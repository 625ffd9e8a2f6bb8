"""
Streamable HTTP toward a server, in both eras.

The rules are in L{mcpbridge.core.bindings.streamable_http} and L{mcpbridge.core.bindings.modern_http}; here are the
requests, the streams and the table of what is under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mcpbridge.core.bindings.dialogue import Delivery, Dialogue, Noise
from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.core.bindings.modern_http import ModernHTTP, cancelled_by
from mcpbridge.core.bindings.modern_notice import ModernNoticeDialogue
from mcpbridge.core.bindings.modern_request import ModernRequestDialogue
from mcpbridge.core.bindings.streamable_http import StreamableHTTP
from mcpbridge.core.bindings.streamable_notice import FarewellDialogue, NoticeDialogue
from mcpbridge.core.bindings.streamable_request import RequestDialogue
from mcpbridge.core.bindings.streamable_stream import StreamDialogue
from mcpbridge.core.errors import Loss
from mcpbridge.core.jsonrpc import Batch, Error, Message, Request, RequestId, Result
from mcpbridge.interfaces import IMessageLink, IMessageTransport
from mcpbridge.net.agent import HTTPClient
from mcpbridge.upstream.http_call import Call, Wire
from mcpbridge.upstream.http_outbox import Outbox
from mcpbridge.upstream.http_survey import Survey
from mcpbridge.upstream.http_teller import Teller

_REQUESTS = (RequestDialogue, ModernRequestDialogue)
_NOTICES = (NoticeDialogue, ModernNoticeDialogue)

#: Seconds that notifications under way have to be accepted when all ends.
_LAST_WORDS = 1.0

#: Seconds until the last connection must be closed. They are aborted, so the next turn of the reactor does.
_CLOSED = 5.0


@implementer(IMessageTransport)
class StreamableHTTPTransport:
    """
    One conversation with one server: a session, or requests that stand for themselves. Which a message belongs to is
    seen on it, so that a server can be asked what it speaks.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        client: HTTPClient,
        url: str,
        headers: Mapping[str, str],
        *,
        limits: HTTPLimits,
        random: Callable[[], float],
        name: str = "an HTTP server",
    ) -> None:
        """
        @param client: for this transport only; closed at the end.
        @param headers: as configured; they may hold secrets.
        @param name: of the upstream, for the log.
        @param random: numbers from 0 to 1, for jitter.
        @raise ConfigurationError: a header cannot be sent.
        """
        self._session = StreamableHTTP.make(url, headers, limits, random)
        self._modern = ModernHTTP(self._session)
        self._clock = clock
        self._limits = limits
        self._wire = Wire(client, clock)
        self._outbox = Outbox(self, clock, limits)
        self._teller = Teller(clock, name)
        self._survey = Survey(self._wire, clock, self._modern, self._noticed)
        self._name = name
        self._calls: set[Call] = set()
        self._open: dict[RequestId, Call] = {}
        self._lingering: deque[Call] = deque()
        self._closing = False
        self._closed = False
        self._waiting: list[Deferred[None]] = []

    @property
    def not_spoken(self) -> bool:
        """Whether C{initialize} was refused as a server does that speaks HTTP+SSE only."""
        return self._session.not_spoken

    def connect(self, link: IMessageLink) -> Deferred[None]:
        """Nothing to do before the first message."""
        self._teller.link = link
        return succeed(None)

    def send(self, message: Message, within: RequestId | None = None) -> None:
        """POST a message, in its turn."""
        if not self._closing and not self._is_said_by_closing(message):
            with self._teller.held():
                self._outbox.send(message)

    def _is_said_by_closing(self, message: Message) -> bool:
        """Whether this is a word that the stateless era has no use for over HTTP: there, closing a stream cancels."""
        cancelled = cancelled_by(message)
        if cancelled is None:
            return False
        call = self._open.get(cancelled)
        if call is None:
            return self._modern.version is not None
        return isinstance(call.dialogue, ModernRequestDialogue)

    def abandon(self, request_id: RequestId) -> None:
        """
        Close the stream of this request. That cancels it in the stateless era, and in the others does not (2025-03-26,
        Sending Messages to the Server, 5).
        """
        self._outbox.withdraw(request_id)
        call = self._open.pop(request_id, None)
        if call is not None:
            self._calls.discard(call)
            self._survey.forget(call)
            call.close()
            self._outbox.done(call)

    def pause(self) -> None:
        """Leave every body unread."""
        self._wire.paused = True
        self._survey.pause()
        for call in list(self._calls):
            call.pause()

    def resume(self) -> None:
        """Read on."""
        self._wire.paused = False
        self._survey.resume()
        for call in list(self._calls):
            # Whoever is told something may pause again.
            if not self._wire.paused:
                call.resume()

    def disconnect(self) -> Deferred[None]:
        """End the session, then all connections."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        if not self._closing:
            self._closing = True
            Deferred.fromCoroutine(self._disconnect()).addErrback(self._disconnect_failed).addBoth(self._disconnected)
        elif self._closed:
            self._disconnected(None)
        return waiting

    async def _disconnect(self) -> None:
        self._teller.link = None
        self._outbox.close()
        self._survey.close()
        for call in [call for call in self._calls if not isinstance(call.dialogue, _NOTICES)]:
            self._calls.discard(call)
            call.close()
        last_words = DeferredList([call.when_over() for call in self._calls], consumeErrors=True)
        last_words.addTimeout(_LAST_WORDS, self._clock, _enough)
        await last_words
        farewell = Call(self._wire, FarewellDialogue(self._session), self)
        farewell.start()
        await farewell.when_over()
        for call in list(self._calls):
            call.close()
        await self._wire.client.close().addTimeout(_CLOSED, self._clock)

    def _disconnect_failed(self, failure: Failure) -> None:
        self._log.failure("{upstream}: its connections could not be closed", failure=failure, upstream=self._name)

    def _disconnected(self, _: object) -> None:
        self._closed = True
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def start(self, message: Message) -> Call:
        """The outbox lets this go."""
        spoken = self._modern.spoken(message)
        dialogue: Dialogue
        if isinstance(message, Request):
            if spoken is None:
                dialogue = RequestDialogue(self._session, message)
            else:
                dialogue = ModernRequestDialogue(self._modern, message, spoken)
            call = self._open[message.id] = self._call(dialogue)
        elif spoken is None:
            call = self._call(NoticeDialogue(self._session, message))
        else:
            call = self._call(ModernNoticeDialogue(self._modern, message, spoken))
        call.start()
        return call

    def _call(self, dialogue: Dialogue) -> Call:
        call = Call(self._wire, dialogue, self)
        self._calls.add(call)
        return call

    def overloaded(self, message: Message, loss: Loss) -> None:
        """The outbox refuses this."""
        if isinstance(message, Request):
            self._teller.lost(message.id, loss)
        else:
            self._teller.deliver(Noise(f"a message without an answer is dropped: {loss.text}"), None)

    def congested(self) -> None:
        """Many messages wait in the outbox."""
        self._teller.tell(_congested)

    def relieved(self) -> None:
        """Few messages wait in the outbox."""
        self._teller.tell(_relieved)

    def delivered(self, call: Call, delivery: Delivery) -> None:
        """A call has something to say."""
        if isinstance(delivery, Loss) and call.dialogue.request_id is None and not self._open:
            # That of the session, and there is no request that would tell of it.
            loss = delivery
            self._teller.tell(lambda link: link.disconnected(loss))
            return
        if isinstance(delivery, Result | Error) and delivery.id is not None:
            self._note_answer(call, delivery.id)
        elif isinstance(delivery, Batch):
            for element in delivery.elements:
                if isinstance(element, Result | Error) and element.id is not None:
                    self._note_answer(call, element.id)
        self._teller.deliver(delivery, call.dialogue.request_id)

    def _note_answer(self, call: Call, request_id: RequestId) -> None:
        """An answer may come on any stream; the request's own has then nothing to add."""
        asked = self._open.get(request_id)
        if asked is not None and asked is not call and isinstance(asked.dialogue, _REQUESTS):
            asked.dialogue.answered_elsewhere()
            asked.look_settled()

    def written(self, call: Call) -> None:
        """A call's request has been written."""
        self._outbox.written(call)

    def held(self, call: Call) -> None:
        """A call waits for what the tools of the server want said in headers."""
        assert isinstance(call.dialogue, ModernRequestDialogue)
        self._survey.wait(call, call.dialogue.spoken)

    def _noticed(self, noise: Noise) -> None:
        self._teller.deliver(noise, None)

    def settled(self, call: Call) -> None:
        """A call was answered, but its stream is still open."""
        if isinstance(call.dialogue, StreamDialogue):
            self._outbox.let_go()
            return
        self._forget(call)
        self._lingering.append(call)
        if len(self._lingering) > self._limits.max_lingering:
            oldest = self._lingering.popleft()
            self._calls.discard(oldest)
            oldest.close()
        self._outbox.done(call)

    def finished(self, call: Call) -> None:
        """A call is over."""
        self._calls.discard(call)
        self._forget(call)
        if isinstance(call.dialogue, StreamDialogue):
            self._outbox.let_go()
        elif call.settled:
            self._lingering.remove(call)
        if self._session.stream_due and not self._closing:
            # Before the requests that wait for the session: what these make the server say may come on this stream,
            # and is lost if there is none yet.
            self._session.stream_due = False
            self._outbox.hold()
            self._call(StreamDialogue(self._session)).start()
        self._outbox.done(call)

    def _forget(self, call: Call) -> None:
        request_id = call.dialogue.request_id
        if request_id is not None and self._open.get(request_id) is call:
            del self._open[request_id]


def _enough(_: object, __: float) -> None:
    """What has not been accepted by now will not be waited for."""


def _congested(link: IMessageLink) -> None:
    link.congested()


def _relieved(link: IMessageLink) -> None:
    link.relieved()
