"""
Keeps credentials fresh: new tokens for old ones, ahead of time and whether anybody is connected or not.

One renewal is under way at a time, among all daemons that share a store; and only that the authorization server calls
the old tokens void is a reason to forget them.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mcpbridge.core.errors import McpbridgeError
from mcpbridge.core.oauth.clients import Origin
from mcpbridge.core.oauth.endpoint import refresh_params
from mcpbridge.core.oauth.records import Credentials
from mcpbridge.core.oauth.tokens import Denied, TokenSet, Unavailable
from mcpbridge.oauth.exchange import Exchange
from mcpbridge.oauth.flight import SingleFlight
from mcpbridge.oauth.holding import Holding
from mcpbridge.oauth.lease import Leases
from mcpbridge.oauth.standing import Standing

#: Seconds between two tries to refresh that nobody waits for: the first, and the most.
_FIRST_RETRY, _LAST_RETRY = 5.0, 300.0

#: Seconds after which the clock is looked at again: it may have been set, or the machine have slept.
_LOOK = 600.0


@attrs.define(eq=False)
class Renewal:
    """
    See the top of this module.

    @ivar _clock: for timers.
    @ivar _now: seconds since the epoch.
    @ivar _spread: numbers in [0, 1).
    """

    _holding: Holding
    _standing: Standing
    _exchange: Exchange
    _leases: Leases
    _clock: IReactorTime
    _now: Callable[[], float]
    _spread: Callable[[], float]
    _flight: SingleFlight[bool] = attrs.field(init=False, factory=SingleFlight)
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)
    _failures: int = attrs.field(init=False, default=0)
    _stopped: bool = attrs.field(init=False, default=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._holding.changed = self._schedule

    def renew(self) -> Deferred[bool]:
        """Get new tokens for the old ones; the result says whether that worked. Never more than one at a time."""
        return self._flight.join(lambda: Deferred.fromCoroutine(self._renew()))

    def stop(self) -> None:
        """No more timers. What is under way goes on to its end, since it may have to be written down."""
        self._stopped = True
        self._stop_timer()

    def idle(self) -> Deferred[None]:
        """Fires when nothing is under way."""
        return self._flight.landed()

    async def _renew(self) -> bool:
        before = self._holding.current
        if before is None or before.tokens.refresh_token is None:
            return False
        release = await self._leases.take(f"{self._holding.upstream} {before.server.issuer} {self._holding.account}")
        try:
            # Another process on the same store may have been quicker.
            return await self._holding.adopt(before) or await self._renew_alone(before)
        finally:
            release()

    async def _renew_alone(self, before: Credentials) -> bool:
        assert before.tokens.refresh_token is not None
        params = refresh_params(before.tokens.refresh_token, before.resource)
        try:
            answer = await self._exchange.tokens(before.server, before.client, params, before.tokens)
        except McpbridgeError as error:
            answer = Unavailable(str(error))
        if isinstance(answer, TokenSet):
            return await self._renewed(before, answer)
        if self._holding.current is not before:
            # Somebody has logged out, or in anew, and what became of the old ones is no matter.
            return self._holding.current is not None
        if isinstance(answer, Unavailable):
            return self._failed(answer.text, answer.retry_after)
        return await self._denied(before, answer)

    async def _renewed(self, before: Credentials, tokens: TokenSet) -> bool:
        new = attrs.evolve(before, tokens=tokens, generation=before.generation + 1)
        replaced = await self._holding.replace(before, new)
        if replaced and self._holding.current is new:
            self._log.info("{name}: access renewed", name=self._standing.name)
        return replaced

    async def _denied(self, before: Credentials, answer: Denied) -> bool:
        if not answer.over:
            if answer.error == "invalid_client" and before.client.origin is Origin.REGISTERED:
                await self._holding.forget_client(before.server.issuer)
            return self._failed(f"the authorization server says {answer.text}", _LAST_RETRY)
        if await self._holding.ended(before):
            return True
        if self._holding.current is None:
            self._standing.login_needed(f"the login has ended ({answer.text})")
        self._log.warn("{name}: the login has ended: {why}", name=self._standing.name, why=answer.text)
        return False

    def _failed(self, text: str, wait: float | None) -> bool:
        self._standing.fail(text)
        self._failures += 1
        pause = min(_FIRST_RETRY * 2 ** min(self._failures - 1, 16), _LAST_RETRY) * (0.5 + self._spread() / 2)
        self._start_timer(min(max(pause, wait or 0.0), _LAST_RETRY))
        return False

    # Timers.

    def _schedule(self) -> None:
        """Other credentials are in use, or none."""
        self._failures = 0
        current = self._holding.current
        if current is None:
            self._stop_timer()
            return
        due = current.tokens.refresh_at(self._spread())
        if due is not None:
            self._start_timer(max(due - self._now(), 0.0), due)

    def _start_timer(self, seconds: float, due: float | None = None) -> None:
        self._stop_timer()
        if not self._stopped:
            self._timer = self._clock.callLater(min(seconds, _LOOK), self._fired, due)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _fired(self, due: float | None) -> None:
        self._timer = None
        if due is not None and self._now() < due:
            self._start_timer(due - self._now(), due)
            return
        self.renew().addErrback(self._broke)

    def _broke(self, failure: Failure) -> None:
        if not failure.check(McpbridgeError):
            self._log.failure("{name}: refreshing failed", failure, name=self._standing.name)
        self._failed(str(failure.value), None)
