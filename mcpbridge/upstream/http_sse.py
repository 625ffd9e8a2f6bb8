"""
HTTP+SSE, the transport of 2024-11-05, toward a server.

The rules are in L{mcpbridge.core.bindings.http_sse}; here are the stream and the requests.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mcpbridge.core.bindings.dialogue import Delivery, Dialogue, Noise
from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.core.bindings.http_sse import HTTPSSE, EventsDialogue, PostDialogue
from mcpbridge.core.errors import Fate, Loss, Reason, UpstreamUnavailable
from mcpbridge.core.jsonrpc import Batch, Error, Message, Request, RequestId, Result
from mcpbridge.interfaces import IMessageLink, IMessageTransport
from mcpbridge.net.agent import HTTPClient
from mcpbridge.upstream.http_call import Call, Wire
from mcpbridge.upstream.http_outbox import Outbox
from mcpbridge.upstream.http_teller import Teller

#: Seconds that messages under way have to be accepted when all ends.
_LAST_WORDS = 1.0

#: Seconds until the last connection must be closed. They are aborted, so the next turn of the reactor does.
_CLOSED = 5.0


@implementer(IMessageTransport)
class HTTPSSETransport:
    """
    One session with one server: one event stream, and a POST for each message.
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
        name: str = "an HTTP server",
    ) -> None:
        """
        @param client: for this transport only; closed at the end.
        @param headers: as configured; they may hold secrets.
        @param name: of the upstream, for the log.
        @raise ConfigurationError: a header cannot be sent.
        """
        self._session = HTTPSSE.make(url, headers, limits)
        self._clock = clock
        self._limits = limits
        self._wire = Wire(client, clock)
        self._outbox = Outbox(self, clock, limits)
        self._teller = Teller(clock, name)
        self._name = name
        self._calls: set[Call] = set()
        self._open: dict[RequestId, Call] = {}
        self._events = self._call(EventsDialogue(self._session))
        self._connecting: Deferred[None] | None = None
        self._deadline: IDelayedCall | None = None
        self._over = False
        self._closing = False
        self._closed = False
        self._waiting: list[Deferred[None]] = []

    def connect(self, link: IMessageLink) -> Deferred[None]:
        """Open the stream, and wait for the endpoint."""
        if self._over:
            return fail(
                UpstreamUnavailable(Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "the connection is over"))
            )
        self._teller.link = link
        connecting = self._connecting = Deferred(self._cancelled)
        self._deadline = self._clock.callLater(self._limits.endpoint_deadline, self._too_late)
        self._events.start()
        return connecting

    def send(self, message: Message, within: RequestId | None = None) -> None:
        """POST a message, in its turn."""
        if not self._over:
            with self._teller.held():
                self._outbox.send(message)

    def abandon(self, request_id: RequestId) -> None:
        """Nothing to close: the answer, should it come, is as unknown to the owner as any."""
        self._outbox.withdraw(request_id)
        call = self._open.pop(request_id, None)
        if call is not None and isinstance(call.dialogue, PostDialogue):
            call.dialogue.answered_elsewhere()

    def pause(self) -> None:
        """Leave the stream unread."""
        self._wire.paused = True
        for call in list(self._calls):
            call.pause()

    def resume(self) -> None:
        """Read on."""
        self._wire.paused = False
        for call in list(self._calls):
            # Whoever is told something may pause again.
            if not self._wire.paused:
                call.resume()

    def disconnect(self) -> Deferred[None]:
        """Close all connections; the server takes that for the end."""
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
        self._end(Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "the connection was given up"))
        notices = [call.when_over() for call in self._calls if call.dialogue.request_id is None]
        last_words = DeferredList(notices, consumeErrors=True)
        last_words.addTimeout(_LAST_WORDS, self._clock, _enough)
        await last_words
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
        call = self._call(PostDialogue(self._session, message))
        if isinstance(message, Request):
            self._open[message.id] = call
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
        if call is self._events:
            self._heard(delivery)
        else:
            self._teller.deliver(delivery, call.dialogue.request_id)

    def _heard(self, delivery: Delivery) -> None:
        if isinstance(delivery, Loss):
            self._end(delivery)
            return
        for element in delivery.elements if isinstance(delivery, Batch) else (delivery,):
            if isinstance(element, Result | Error) and element.id is not None:
                asked = self._open.pop(element.id, None)
                if asked is not None and isinstance(asked.dialogue, PostDialogue):
                    asked.dialogue.answered_elsewhere()
        self._teller.deliver(delivery, None)

    def written(self, call: Call) -> None:
        """A call's request has been written."""
        self._outbox.written(call)

    def held(self, call: Call) -> None:
        """See L{CallOwner}. There is nothing to hold for here."""

    def settled(self, call: Call) -> None:
        """The endpoint is known."""
        if call is self._events:
            self._connected(None)

    def finished(self, call: Call) -> None:
        """A call is over."""
        self._calls.discard(call)
        request_id = call.dialogue.request_id
        if request_id is not None and self._open.get(request_id) is call:
            del self._open[request_id]
        self._outbox.done(call)

    def _end(self, loss: Loss) -> None:
        """Nothing more can be said or heard."""
        if self._over:
            return
        self._over = True
        self._calls.discard(self._events)
        self._events.close()
        self._outbox.close()
        if self._connecting is not None:
            self._connected(loss)
        else:
            self._open.clear()
            self._teller.tell(lambda link: self._tell_end(link, loss))

    def _tell_end(self, link: IMessageLink, loss: Loss) -> None:
        self._teller.link = None
        link.disconnected(loss)

    def _connected(self, loss: Loss | None) -> None:
        connecting, self._connecting = self._connecting, None
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()
        if connecting is None:
            return
        if loss is None:
            connecting.callback(None)
        else:
            # Nothing has been asked of the server yet.
            fate = Fate.NEVER_SENT if loss.fate is Fate.UNKNOWN else loss.fate
            reason = Reason.UPSTREAM_UNREACHABLE if loss.reason is Reason.OUTCOME_UNKNOWN else loss.reason
            connecting.errback(UpstreamUnavailable(attrs.evolve(loss, fate=fate, reason=reason)))

    def _too_late(self) -> None:
        self._deadline = None
        text = f"the server did not name its endpoint within {self._limits.endpoint_deadline:g} s"
        self._end(Loss(Fate.NEVER_SENT, Reason.UPSTREAM_TIMEOUT, text))

    def _cancelled(self, _: Deferred[None]) -> None:
        self._connecting = None
        self._connected(None)
        self._teller.link = None
        self._end(Loss(Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE, "the connection was given up"))


def _enough(_: object, __: float) -> None:
    """What has not been accepted by now will not be waited for."""


def _congested(link: IMessageLink) -> None:
    link.congested()


def _relieved(link: IMessageLink) -> None:
    link.relieved()
