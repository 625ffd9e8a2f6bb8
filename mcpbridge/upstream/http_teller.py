"""
Tells the owner of a transport what its contract says, as its contract says: never from inside a call of the owner's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mcpbridge.core.bindings.dialogue import Delivery, Noise
from mcpbridge.core.errors import Loss
from mcpbridge.core.jsonrpc import Batch, InvalidMessage, RequestId
from mcpbridge.interfaces import IMessageLink

#: Lines about one connection, and seconds after which as many may come again. A server can make as much noise as it
#: likes.
_MAX_NOISE, _NOISE_SECONDS = 20, 60.0

_owner_failures = Logger(namespace="mcpbridge.upstream.http_teller.Teller").failureHandler(
    "the owner of a transport failed on what it was told"
)


@attrs.define(eq=False)
class Teller:
    """
    The way to the link.

    @ivar _name: of the upstream, for the log.
    @ivar link: L{None} before there is one, and when it is to hear nothing any more.
    """

    _log = Logger()

    _clock: IReactorTime
    _name: str
    link: IMessageLink | None = attrs.field(init=False, default=None)
    _held: int = attrs.field(init=False, default=0)
    _later: deque[Callable[[IMessageLink], None]] = attrs.field(init=False, factory=deque)
    _noise: int = attrs.field(init=False, default=0)
    _noise_since: float = attrs.field(init=False, default=float("-inf"))

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is told meanwhile is told in the next turn of the reactor."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def deliver(self, delivery: Delivery, request_id: RequestId | None) -> None:
        """
        Pass on what a dialogue has to say.

        @param request_id: of the request that it carries.
        """
        if isinstance(delivery, Noise):
            self._hear(delivery)
        elif isinstance(delivery, Loss):
            if request_id is not None:
                self.lost(request_id, delivery)
        elif isinstance(delivery, Batch):
            batch = delivery
            self.tell(lambda link: link.received_batch(batch.elements))
        elif isinstance(delivery, InvalidMessage):
            invalid = delivery
            self.tell(lambda link: link.received_garbage(invalid))
        elif self.link is not None and not self._held and not self._later:
            # The one that counts: twenty thousand of these may come.
            with _owner_failures:
                self.link.received(delivery, request_id)
        else:
            message = delivery
            self.tell(lambda link: link.received(message, request_id))

    def lost(self, request_id: RequestId, loss: Loss) -> None:
        """A request will get no answer."""
        self.tell(lambda link: link.request_lost(request_id, loss))

    def tell(self, what: Callable[[IMessageLink], None]) -> None:
        """Tell something, after what was to be told before."""
        self._later.append(what)
        if self._held:
            self._clock.callLater(0, self._flush)
        else:
            self._flush()

    def _flush(self) -> None:
        while self._later and not self._held:
            what = self._later.popleft()
            if self.link is not None:
                with _owner_failures:
                    what(self.link)

    def _hear(self, noise: Noise) -> None:
        now = self._clock.seconds()
        if now - self._noise_since >= _NOISE_SECONDS:
            self._noise, self._noise_since = 0, now
        self._noise += 1
        if self._noise <= _MAX_NOISE:
            self._log.warn("{upstream}: {text}", upstream=self._name, text=noise.text)
        else:
            self._log.debug("{upstream}: {text}", upstream=self._name, text=noise.text)
