"""
Keeps one account at one upstream authorized. Many may ask; one works.

It decides what to show, and what becomes of a request that was not let in: new tokens for old ones, what another daemon
or a login from a terminal has brought meanwhile, a token in our own name, or a human. When a human is needed it says so
at once, with a URL, and goes on when the human has been there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mcpbridge.configuration.authorization import Grant, OAuth
from mcpbridge.core.errors import Fate, Loss, McpbridgeError, Reason
from mcpbridge.core.oauth.budget import Budget
from mcpbridge.core.oauth.challenge import BearerChallenge
from mcpbridge.core.oauth.discovery import Discovery
from mcpbridge.core.oauth.errors import DiscoveryFailed
from mcpbridge.core.oauth.metadata import canonical_resource
from mcpbridge.core.oauth.records import Credentials, Key
from mcpbridge.core.oauth.scopes import Scopes, initial_scopes, union
from mcpbridge.net.failures import HTTPFailure
from mcpbridge.oauth.errors import StoreFailure, Unready
from mcpbridge.oauth.exchange import Exchange
from mcpbridge.oauth.flight import SingleFlight
from mcpbridge.oauth.grant import MachineGrant, Refusal
from mcpbridge.oauth.holding import Holding
from mcpbridge.oauth.interfaces import ITokenStore
from mcpbridge.oauth.lease import Leases
from mcpbridge.oauth.renewal import Renewal
from mcpbridge.oauth.standing import Standing, State
from mcpbridge.oauth.verdict import Retry, Stop, Verdict

#: Seconds for which a refusal stands: who calls ten tools at once does not cause ten discoveries.
_SETTLED = 5.0

#: Begins a login: given whom to log in to and what to ask for; has the sentence that tells the human what to do.
BeginLogin: TypeAlias = Callable[[Discovery, "Scopes | None"], "Deferred[str]"]


@attrs.define(eq=False)
class Authorizer:
    """
    See the top of this module.

    @ivar _clock: for timers.
    @ivar _now: seconds since the epoch, for what is written down.
    @ivar _spread: numbers in [0, 1).
    @ivar begin_login: see L{BeginLogin}; set by who owns both.
    @ivar regained: called when there is access again that somebody else has brought; likewise.
    @ivar _obtained: the scopes of the last token in our own name.
    @ivar _settled: the access tokens that were shown and in use when a request was stopped, until when that stands, and
        what it was told.
    """

    name: str
    url: str = attrs.field(repr=False)
    oauth: OAuth
    _clock: IReactorTime
    _now: Callable[[], float]
    _spread: Callable[[], float]
    _store: ITokenStore
    exchange: Exchange
    _leases: Leases
    begin_login: BeginLogin = attrs.field(init=False)
    regained: Callable[[], None] = attrs.field(init=False, default=lambda: None)
    _standing: Standing = attrs.field(init=False)
    _holding: Holding = attrs.field(init=False)
    _renewal: Renewal = attrs.field(init=False)
    _grant: MachineGrant = attrs.field(init=False)
    _obtained: Scopes | None = attrs.field(init=False, default=None)
    _budget: Budget = attrs.field(init=False, factory=Budget)
    _answering: SingleFlight[Verdict] = attrs.field(init=False, factory=SingleFlight)
    _settled: tuple[str, str, float, Verdict] | None = attrs.field(init=False, default=None, repr=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._standing = Standing(self.name)
        self._holding = Holding(canonical_resource(self.url), self.oauth.account, self._store, self._standing)
        self._renewal = Renewal(
            self._holding, self._standing, self.exchange, self._leases, self._clock, self._now, self._spread
        )
        self._grant = MachineGrant(self.oauth, self.exchange, self._now)

    # What requests ask.

    async def credentials(self) -> Credentials | None:
        """
        What to show now; L{None} if there is nothing.

        @raise StoreFailure: there is something that cannot be read or written.
        @raise Unready: there is something, but it has to be refreshed and that is not possible now.
        """
        await self._holding.load()
        await self._holding.save_again()
        current = self._holding.current
        if current is None or not current.tokens.stale(self._now()):
            return current
        if current.tokens.refresh_token is not None:
            refreshed = await self._renewal.renew()
            await self._holding.save_again()
            if not refreshed and self._holding.current is current and self._expired(current):
                raise Unready(f"its access has expired and cannot be renewed now: {self._standing.trouble}")
        elif self.oauth.grant is not Grant.USER and self._expired(current):
            # Another one is to be had for the asking; what the server wants is best asked from a challenge.
            return None
        return self._holding.current

    async def unauthorized(self, shown: Credentials | None, challenge: BearerChallenge | None, again: bool) -> Verdict:
        """
        The server answered 401.

        @param shown: what was shown to it.
        @param again: whether this was already a second try.
        """
        await self._holding.load()
        if (self._has_other(shown) and not again) or await self._is_regained(shown):
            return Retry()
        if self._settled is not None and self._settled[:2] == (_token(shown), _token(self._holding.current)):
            _, _, until, verdict = self._settled
            if self._clock.seconds() < until:
                return verdict
        return await self._answering.join(lambda: Deferred.fromCoroutine(self._answer(shown, challenge, again)))

    async def insufficient(self, challenge: BearerChallenge, operation: str) -> Verdict:
        """
        The server answered 403 and wants a token with more scopes.

        @param operation: what was refused: the same thing is not tried for ever.
        """
        if await self._is_regained(self._holding.current):
            return Retry()
        wanted = challenge.scopes or ()
        if not self._budget.take_step_up(operation, wanted):
            text = "it still wants more permissions after they were asked for several times; ask who runs the server"
            return Stop(Loss(Fate.FAILED, Reason.INSUFFICIENT_SCOPE, text))
        current = self._holding.current
        requested = (current.requested if current is not None else self._obtained) or ()
        scopes = union(requested, wanted) or None
        return await self._answering.join(
            lambda: Deferred.fromCoroutine(self._widen(challenge, scopes, Reason.INSUFFICIENT_SCOPE))
        )

    # What logins bring.

    async def accept(self, key: Key, credentials: Credentials) -> None:
        """
        A human has logged in, or brought tokens along. They are on the disk when this returns, and used from then on.

        @raise StoreFailure: they cannot be kept.
        """
        await self._holding.accept(credentials, key, self._now())
        self._budget.succeeded()
        self._settled = None
        self._log.info("{name}: logged in", name=self.name)

    async def forget(self) -> bool:
        """
        Log out: have the server forget the tokens, and forget everything ourselves.

        @return: whether the server says that it has.
        """
        revoked = False
        try:
            await self._holding.load()
        except StoreFailure as error:
            self._log.warn("{name}: {error}", name=self.name, error=str(error))
        current = self._holding.drop()
        if current is not None:
            try:
                revoked = await self.exchange.revoke(current.server, current.client, current.tokens)
            except McpbridgeError as error:
                self._log.warn("{name}: could not revoke: {error}", name=self.name, error=str(error))
        await self._holding.forget_all()
        return revoked

    # What others may know.

    @property
    def has_nothing(self) -> bool:
        """Whether it is known that there is nothing to show: most servers never ask for anything."""
        return self._holding.is_empty

    @property
    def current(self) -> Credentials | None:
        """What there is, as far as it has been loaded."""
        return self._holding.current

    @property
    def upstream(self) -> str:
        """The canonical URI of the resource, the first part of the key to everything kept."""
        return self._holding.upstream

    def key(self, issuer: str) -> Key:
        """Under what to keep what is from this issuer."""
        return self._holding.key(issuer)

    @property
    def state(self) -> State:
        """How it stands, in a word."""
        return self._standing.state

    @property
    def summary(self) -> str:
        """How it stands, in a few words."""
        return str(self._standing)

    def status(self) -> Mapping[str, object]:
        """For an operator; free of secrets."""
        said: dict[str, object] = {"state": self.state.value, "account": self.oauth.account}
        current = self._holding.current
        if current is not None:
            tokens = current.tokens
            said["issuer"] = current.server.issuer
            said["expires_in"] = None if tokens.expires_at is None else round(tokens.expires_at - self._now())
            said["renewable"] = tokens.refresh_token is not None or self.oauth.grant is not Grant.USER
            said["scopes"] = list(tokens.scopes or current.requested or ())
        if self._standing.trouble:
            said["trouble"] = self._standing.trouble
        return said

    # Life.

    def start(self) -> None:
        """Load what there is, and keep it fresh, whether anybody is connected or not."""
        Deferred.fromCoroutine(self._holding.load()).addErrback(self._not_loaded)

    def stop(self) -> None:
        """No more timers. What is under way goes on to its end, since it may have to be written down."""
        self._renewal.stop()

    def idle(self) -> Deferred[None]:
        """Fires when nothing is under way."""
        return Deferred.fromCoroutine(self._idle())

    async def _idle(self) -> None:
        await self._renewal.idle()
        await self._answering.landed()

    def _not_loaded(self, failure: Failure) -> None:
        self._log.error("{name}: {error}", name=self.name, error=str(failure.value))

    # Being challenged.

    def _has_other(self, shown: Credentials | None) -> bool:
        current = self._holding.current
        return current is not None and _token(current) != _token(shown)

    async def _is_regained(self, shown: Credentials | None) -> bool:
        """Whether somebody else has logged in since, on the same store: another daemon, or a human at a terminal."""
        was_locked = self._standing.state is State.LOGIN_NEEDED
        if self.oauth.grant is not Grant.USER or not await self._holding.adopt(self._holding.current):
            return False
        self._budget.succeeded()
        self._settled = None
        if was_locked:
            self._log.info("{name}: somebody else has logged in", name=self.name)
            self.regained()
        return self._has_other(shown)

    async def _answer(self, shown: Credentials | None, challenge: BearerChallenge | None, again: bool) -> Verdict:
        if self._has_other(shown) and not again:
            return Retry()
        verdict = await self._judge(shown, challenge, again)
        if isinstance(verdict, Stop):
            until = self._clock.seconds() + _SETTLED
            self._settled = (_token(shown), _token(self._holding.current), until, verdict)
        return verdict

    async def _judge(self, shown: Credentials | None, challenge: BearerChallenge | None, again: bool) -> Verdict:
        try:
            discovery = await self._discover(challenge)
        except DiscoveryFailed as error:
            if error.temporary and not again and shown is not None and await self._renewal.renew():
                return Retry()
            fate = Fate.REJECTED if error.temporary else Fate.FAILED
            self._standing.fail(str(error))
            return Stop(Loss(fate, Reason.AUTH_FAILED, f"it wants authorization, but {error}"))
        current = self._holding.current
        same = current is not None and current.server.issuer == discovery.server.issuer
        if same and not again and self._can_renew(shown) and await self._renewal.renew():
            return Retry()
        scopes = initial_scopes(
            challenge.scopes if challenge is not None else None,
            discovery.scopes,
            discovery.server.scopes,
            self.oauth.scopes,
        )
        if current is not None and current.requested is not None and scopes is not None:
            # What was granted before is not to be lost by logging in again.
            scopes = union(current.requested, scopes) if same and self.oauth.scopes is None else scopes
        return await self._obtain(discovery, scopes, Reason.AUTH_REQUIRED)

    def _can_renew(self, shown: Credentials | None) -> bool:
        current = self._holding.current
        return shown is not None and current is not None and current.tokens.refresh_token is not None

    async def _widen(self, challenge: BearerChallenge, scopes: Scopes | None, reason: Reason) -> Verdict:
        try:
            discovery = await self._discover(challenge)
        except DiscoveryFailed as error:
            return Stop(Loss(Fate.FAILED, reason, f"it wants more permissions, but {error}"))
        return await self._obtain(discovery, scopes, reason)

    async def _discover(self, challenge: BearerChallenge | None) -> Discovery:
        current = self._holding.current
        return await self.exchange.discover(challenge, () if current is None else (current.server.issuer,))

    async def _obtain(self, discovery: Discovery, scopes: Scopes | None, reason: Reason) -> Verdict:
        if self.oauth.grant is Grant.USER:
            return await self._invite(discovery, scopes, reason)
        if not self._budget.take_flow(self._clock.seconds()):
            text = "it does not accept the tokens that its authorization server gives; it is let be for some minutes"
            return self._failed(Fate.FAILED, text)
        try:
            found = await self._grant.ask(discovery, scopes, self._holding.generation + 1)
        except McpbridgeError as error:
            self._standing.fail(str(error))
            return Stop(Loss(Fate.FAILED, Reason.AUTH_FAILED, f"it wants authorization, but {error}"))
        if isinstance(found, Refusal):
            return self._failed(Fate.REJECTED if found.passes else Fate.FAILED, found.text)
        self._obtained = scopes
        self._holding.use(found)
        return Retry()

    async def _invite(self, discovery: Discovery, scopes: Scopes | None, reason: Reason) -> Verdict:
        self._standing.login_needed(self._standing.trouble)
        try:
            text = await self.begin_login(discovery, scopes)
        except (McpbridgeError, HTTPFailure) as error:
            self._standing.fail(str(error))
            return Stop(Loss(Fate.REJECTED, Reason.AUTH_FAILED, f"it wants a login, but {error}"))
        self._standing.trouble = ""
        return Stop(Loss(Fate.REJECTED, reason, text))

    def _failed(self, fate: Fate, text: str) -> Verdict:
        self._standing.fail(text)
        return Stop(Loss(fate, Reason.AUTH_FAILED, text))

    def _expired(self, credentials: Credentials) -> bool:
        return credentials.tokens.expires_at is not None and self._now() >= credentials.tokens.expires_at


def _token(credentials: Credentials | None) -> str:
    return "" if credentials is None else credentials.tokens.access_token
