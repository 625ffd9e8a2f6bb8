"""
Keeps one account at one upstream authorized. Many may ask; one works.

It owns the tokens: it refreshes them ahead of time while nobody looks, writes new ones down before they are used, and
forgets them only when the authorization server says that they are void. When a human is needed it says so at once, with
a URL, and goes on when the human has been there.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mcpbridge.configuration.authorization import Grant, OAuth
from mcpbridge.core.errors import Fate, Loss, McpbridgeError, Reason
from mcpbridge.core.oauth.budget import Budget
from mcpbridge.core.oauth.challenge import BearerChallenge
from mcpbridge.core.oauth.clients import Client, Origin, choose_client
from mcpbridge.core.oauth.discovery import Discovery
from mcpbridge.core.oauth.endpoint import client_credentials_params, jwt_bearer_params, refresh_params
from mcpbridge.core.oauth.errors import DiscoveryFailed
from mcpbridge.core.oauth.metadata import canonical_resource
from mcpbridge.core.oauth.records import Credentials, Key
from mcpbridge.core.oauth.scopes import Scopes, initial_scopes, union
from mcpbridge.core.oauth.tokens import Denied, TokenSet, Unavailable
from mcpbridge.net.failures import HTTPFailure
from mcpbridge.oauth.errors import StoreFailure
from mcpbridge.oauth.exchange import Exchange
from mcpbridge.oauth.flight import SingleFlight
from mcpbridge.oauth.interfaces import ITokenStore
from mcpbridge.oauth.lease import Leases

#: Seconds between two tries to refresh that nobody waits for: the first, and the most.
_FIRST_RETRY, _LAST_RETRY = 5.0, 300.0

#: Seconds after which the clock is looked at again: it may have been set, or the machine have slept.
_LOOK = 600.0

#: Seconds for which a refusal stands: who calls ten tools at once does not cause ten discoveries.
_SETTLED = 5.0


class State(enum.Enum):
    """How it stands, for an operator."""

    UNKNOWN = "unknown"
    AUTHORIZED = "authorized"
    LOGIN_NEEDED = "login needed"
    FAILING = "failing"


@attrs.frozen
class Retry:
    """Make the request again, with what L{Authorizer.credentials} gives now."""


@attrs.frozen
class Stop:
    """The request is not to be made again. C{loss} says why, for the client."""

    loss: Loss


Verdict: TypeAlias = Retry | Stop

#: Begins a login: given whom to log in to and what to ask for; has the sentence that tells the human what to do.
BeginLogin: TypeAlias = Callable[[Discovery, "Scopes | None"], "Deferred[str]"]


@attrs.define(eq=False)
class Authorizer:
    """
    See the top of this module.

    @ivar upstream: the canonical URI of the resource, the first part of the key to everything kept.
    @ivar _clock: for timers.
    @ivar _now: seconds since the epoch, for what is written down.
    @ivar _spread: numbers in [0, 1).
    @ivar begin_login: see L{BeginLogin}; set by who owns both.
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
    upstream: str = attrs.field(init=False)
    state: State = attrs.field(init=False, default=State.UNKNOWN)
    trouble: str = attrs.field(init=False, default="")
    _current: Credentials | None = attrs.field(init=False, default=None, repr=False)
    _unsaved: bool = attrs.field(init=False, default=False)
    _loaded: bool = attrs.field(init=False, default=False)
    _obtained: Scopes | None = attrs.field(init=False, default=None)
    _budget: Budget = attrs.field(init=False, factory=Budget)
    _loading: SingleFlight[None] = attrs.field(init=False, factory=SingleFlight)
    _refreshing: SingleFlight[bool] = attrs.field(init=False, factory=SingleFlight)
    _answering: SingleFlight[Verdict] = attrs.field(init=False, factory=SingleFlight)
    _settled: tuple[int, int, float, Verdict] | None = attrs.field(init=False, default=None)
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)
    _failures: int = attrs.field(init=False, default=0)
    _stopped: bool = attrs.field(init=False, default=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self.upstream = canonical_resource(self.url)

    # What requests ask.

    async def credentials(self) -> Credentials | None:
        """
        What to show now; L{None} if there is nothing.

        @raise StoreFailure: there is something that cannot be read or written.
        @raise Unready: there is something, but it has to be refreshed and that is not possible now.
        """
        await self._load()
        if self._unsaved:
            await self._save_again()
        current = self._current
        if current is None or not current.tokens.stale(self._now()):
            return current
        if current.tokens.refresh_token is not None:
            refreshed = await self._refresh()
            if self._unsaved:
                await self._save_again()
            if not refreshed and self._current is current and self._expired(current):
                raise Unready(f"its access has expired and cannot be renewed now: {self.trouble}")
        elif self.oauth.grant is not Grant.USER and self._expired(current):
            # Another one is to be had for the asking; what the server wants is best asked from a challenge.
            return None
        return self._current

    async def unauthorized(self, shown: Credentials | None, challenge: BearerChallenge | None, again: bool) -> Verdict:
        """
        The server answered 401.

        @param shown: what was shown to it.
        @param again: whether this was already a second try.
        """
        await self._load()
        if self._newer(shown) and not again:
            return Retry()
        if self._settled is not None and self._settled[:2] == (_generation(shown), self._generation()):
            _, _, until, verdict = self._settled
            if self._clock.seconds() < until:
                return verdict
        return await self._answering.join(lambda: Deferred.fromCoroutine(self._answer(shown, challenge, again)))

    async def insufficient(self, challenge: BearerChallenge, operation: str) -> Verdict:
        """
        The server answered 403 and wants a token with more scopes.

        @param operation: what was refused: the same thing is not tried for ever.
        """
        wanted = challenge.scopes or ()
        if not self._budget.take_step_up(operation, wanted):
            text = "it still wants more permissions after they were asked for several times; ask who runs the server"
            return Stop(Loss(Fate.FAILED, Reason.INSUFFICIENT_SCOPE, text))
        requested = (self._current.requested if self._current is not None else self._obtained) or ()
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
        await self._load()
        new = attrs.evolve(credentials, generation=self._generation() + 1)
        await self._store.save(key, new, None)
        self._use(new)
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
            await self._load()
        except StoreFailure as error:
            self._log.warn("{name}: {error}", name=self.name, error=str(error))
        current, self._current = self._current, None
        self._stop_timer()
        self.state, self.trouble, self._unsaved = State.LOGIN_NEEDED, "", False
        if current is not None:
            try:
                revoked = await self.exchange.revoke(current.server, current.client, current.tokens)
            except McpbridgeError as error:
                self._log.warn("{name}: could not revoke: {error}", name=self.name, error=str(error))
        await self._store.forget_all(self.upstream, self.oauth.account)
        self._loaded = True
        return revoked

    @property
    def has_nothing(self) -> bool:
        """Whether it is known that there is nothing to show: most servers never ask for anything."""
        return self._loaded and self._current is None and not self._unsaved

    @property
    def current(self) -> Credentials | None:
        """What there is, as far as it has been loaded."""
        return self._current

    def key(self, issuer: str) -> Key:
        """Under what to keep what is from this issuer."""
        return Key(self.upstream, issuer, self.oauth.account)

    @property
    def summary(self) -> str:
        """How it stands, in a few words."""
        return f"{self.state.value}: {self.trouble}" if self.trouble else self.state.value

    def status(self) -> Mapping[str, object]:
        """For an operator; free of secrets."""
        said: dict[str, object] = {"state": self.state.value, "account": self.oauth.account}
        if self._current is not None:
            tokens = self._current.tokens
            said["issuer"] = self._current.server.issuer
            said["expires_in"] = None if tokens.expires_at is None else round(tokens.expires_at - self._now())
            said["renewable"] = tokens.refresh_token is not None or self.oauth.grant is not Grant.USER
            said["scopes"] = list(tokens.scopes or self._current.requested or ())
        if self.trouble:
            said["trouble"] = self.trouble
        return said

    # Life.

    def start(self) -> None:
        """Load what there is, and keep it fresh, whether anybody is connected or not."""
        Deferred.fromCoroutine(self._load()).addErrback(self._not_loaded)

    def stop(self) -> None:
        """No more timers. What is under way goes on to its end, since it may have to be written down."""
        self._stopped = True
        self._stop_timer()

    def idle(self) -> Deferred[None]:
        """Fires when nothing is under way."""
        return Deferred.fromCoroutine(self._idle())

    async def _idle(self) -> None:
        await self._refreshing.landed()
        await self._answering.landed()

    async def _load(self) -> None:
        if not self._loaded:
            await self._loading.join(lambda: Deferred.fromCoroutine(self._load_now()))

    async def _load_now(self) -> None:
        try:
            found = await self._store.load(self.upstream, self.oauth.account)
        except StoreFailure as error:
            self._fail(str(error))
            raise
        self._loaded = True
        if found is not None:
            self._use(found)

    def _not_loaded(self, failure: Failure) -> None:
        self._log.error("{name}: {error}", name=self.name, error=str(failure.value))

    # Refreshing.

    def _refresh(self) -> Deferred[bool]:
        """Get new tokens for the old ones; the result says whether that worked. Never more than one at a time."""
        return self._refreshing.join(lambda: Deferred.fromCoroutine(self._refresh_now()))

    async def _refresh_now(self) -> bool:
        before = self._current
        if before is None or before.tokens.refresh_token is None:
            return False
        release = await self._leases.take(f"{self.upstream} {before.server.issuer} {self.oauth.account}")
        try:
            # Another process on the same store may have been quicker.
            return await self._adopt(before) or await self._refresh_alone(before)
        finally:
            release()

    async def _refresh_alone(self, before: Credentials) -> bool:
        assert before.tokens.refresh_token is not None
        try:
            answer = await self.exchange.tokens(
                before.server,
                before.client,
                refresh_params(before.tokens.refresh_token, before.resource),
                before.tokens,
            )
        except McpbridgeError as error:
            return self._not_refreshed(str(error), None)
        if isinstance(answer, TokenSet):
            return await self._renewed(before, answer)
        if isinstance(answer, Unavailable):
            return self._not_refreshed(answer.text, answer.retry_after)
        return await self._denied(before, answer)

    async def _renewed(self, before: Credentials, tokens: TokenSet) -> bool:
        new = attrs.evolve(before, tokens=tokens, generation=before.generation + 1)
        key = self.key(before.server.issuer)
        try:
            saved = await self._store.save(key, new, before.generation)
        except StoreFailure as error:
            # They exist only here now. They are kept, and saved before they are used.
            self._use(new)
            self._unsaved = True
            self._fail(str(error))
            return False
        if not saved:
            return await self._adopt(before)
        self._use(new)
        self._log.info("{name}: access renewed", name=self.name)
        return True

    async def _denied(self, before: Credentials, answer: Denied) -> bool:
        if not answer.over:
            if answer.error == "invalid_client" and before.client.origin is Origin.REGISTERED:
                # Servers that forget their clients. What they gave may be good until its end all the same.
                await self._store.forget_client(self.key(before.server.issuer))
            return self._not_refreshed(f"the authorization server says {answer.text}", _LAST_RETRY)
        if await self._adopt(before):
            return True
        await self._store.forget(self.key(before.server.issuer), before.generation)
        if self._current is before:
            self._current = None
            self._stop_timer()
            self.state = State.LOGIN_NEEDED
            self.trouble = f"the login has ended ({answer.text})"
        self._log.warn("{name}: the login has ended: {why}", name=self.name, why=answer.text)
        return False

    async def _adopt(self, before: Credentials) -> bool:
        """Whether there are newer ones than these in the store; then they are ours from now on."""
        found = await self._store.load(self.upstream, self.oauth.account)
        if found is None or found.generation <= before.generation or found.server.issuer != before.server.issuer:
            return False
        self._use(found)
        return True

    async def _save_again(self) -> None:
        assert self._current is not None
        await self._store.save(self.key(self._current.server.issuer), self._current, None)
        self._unsaved = False
        self.state, self.trouble = State.AUTHORIZED, ""

    def _not_refreshed(self, text: str, wait: float | None) -> bool:
        self._fail(text)
        self._failures += 1
        pause = min(_FIRST_RETRY * 2 ** min(self._failures - 1, 16), _LAST_RETRY) * (0.5 + self._spread() / 2)
        self._start_timer(min(max(pause, wait or 0.0), _LAST_RETRY))
        return False

    # Being challenged.

    async def _answer(self, shown: Credentials | None, challenge: BearerChallenge | None, again: bool) -> Verdict:
        verdict = Retry() if self._newer(shown) and not again else await self._judge(shown, challenge, again)
        if isinstance(verdict, Stop):
            self._settled = (_generation(shown), self._generation(), self._clock.seconds() + _SETTLED, verdict)
        return verdict

    async def _judge(self, shown: Credentials | None, challenge: BearerChallenge | None, again: bool) -> Verdict:
        try:
            discovery = await self._discover(challenge)
        except DiscoveryFailed as error:
            if error.temporary and not again and shown is not None and await self._refresh():
                return Retry()
            fate = Fate.REJECTED if error.temporary else Fate.FAILED
            self._fail(str(error))
            return Stop(Loss(fate, Reason.AUTH_FAILED, f"it wants authorization, but {error}"))
        current = self._current
        same = current is not None and current.server.issuer == discovery.server.issuer
        if same and not again and self._can_refresh(shown) and await self._refresh():
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

    def _newer(self, shown: Credentials | None) -> bool:
        return self._generation() > _generation(shown)

    def _generation(self) -> int:
        return _generation(self._current)

    def _can_refresh(self, shown: Credentials | None) -> bool:
        return shown is not None and self._current is not None and self._current.tokens.refresh_token is not None

    async def _widen(self, challenge: BearerChallenge, scopes: Scopes | None, reason: Reason) -> Verdict:
        try:
            discovery = await self._discover(challenge)
        except DiscoveryFailed as error:
            return Stop(Loss(Fate.FAILED, reason, f"it wants more permissions, but {error}"))
        return await self._obtain(discovery, scopes, reason)

    async def _discover(self, challenge: BearerChallenge | None) -> Discovery:
        known = () if self._current is None else (self._current.server.issuer,)
        return await self.exchange.discover(challenge, known)

    async def _obtain(self, discovery: Discovery, scopes: Scopes | None, reason: Reason) -> Verdict:
        if self.oauth.grant is Grant.USER:
            self.state = State.LOGIN_NEEDED
            try:
                text = await self.begin_login(discovery, scopes)
            except (McpbridgeError, HTTPFailure) as error:
                self._fail(str(error))
                return Stop(Loss(Fate.REJECTED, Reason.AUTH_FAILED, f"it wants a login, but {error}"))
            self.trouble = ""
            return Stop(Loss(Fate.REJECTED, reason, text))
        if not self._budget.take_flow(self._clock.seconds()):
            text = "it does not accept the tokens that its authorization server gives; it is let be for some minutes"
            self._fail(text)
            return Stop(Loss(Fate.FAILED, Reason.AUTH_FAILED, text))
        try:
            return await self._ask(discovery, scopes)
        except McpbridgeError as error:
            self._fail(str(error))
            return Stop(Loss(Fate.FAILED, Reason.AUTH_FAILED, f"it wants authorization, but {error}"))

    async def _ask(self, discovery: Discovery, scopes: Scopes | None) -> Verdict:
        """Ask for a token in our own name, or in that of a user for whom an identity provider vouches."""
        configured = await self.exchange.configured_client()
        server = discovery.server
        client = choose_client(server, configured, None, "", None, self._now())
        # The configuration has seen to it that there is a client id.
        assert isinstance(client, Client)
        resource = discovery.resource if self.oauth.resource else None
        if self.oauth.grant is Grant.ENTERPRISE:
            vouched = await self.exchange.identity_assertion(server.issuer, resource, scopes)
            if not isinstance(vouched, str):
                return self._refused("the identity provider", vouched)
            params = jwt_bearer_params(vouched, resource, scopes)
        else:
            params = client_credentials_params(resource, scopes)
        answer = await self.exchange.tokens(server, client, params)
        if not isinstance(answer, TokenSet):
            return self._refused("the authorization server", answer)
        self._obtained = scopes
        # A token that is to be had for the asking is not worth keeping on the disk, nor is a refresh token beside it.
        tokens = attrs.evolve(answer, refresh_token=None)
        self._use(Credentials(server, client, resource, scopes, tokens, self._generation() + 1))
        return Retry()

    def _refused(self, who: str, answer: Denied | Unavailable) -> Verdict:
        text = f"{who} gives no token: {answer.text}"
        self._fail(text)
        fate = Fate.REJECTED if isinstance(answer, Unavailable) else Fate.FAILED
        return Stop(Loss(fate, Reason.AUTH_FAILED, text))

    # State and timers.

    def _use(self, credentials: Credentials) -> None:
        self._current = credentials
        self._unsaved = False
        self._failures = 0
        self.state, self.trouble = State.AUTHORIZED, ""
        self._schedule()

    def _schedule(self) -> None:
        if self._current is None:
            return
        due = self._current.tokens.refresh_at(self._spread())
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
        self._refresh().addErrback(self._refresh_broke)

    def _refresh_broke(self, failure: Failure) -> None:
        if not failure.check(McpbridgeError):
            self._log.failure("{name}: refreshing failed", failure, name=self.name)
        self._not_refreshed(str(failure.value), None)

    def _expired(self, credentials: Credentials) -> bool:
        return credentials.tokens.expires_at is not None and self._now() >= credentials.tokens.expires_at

    def _fail(self, text: str) -> None:
        self.state, self.trouble = State.FAILING, text
        self._log.warn("{name}: {text}", name=self.name, text=text)


def _generation(credentials: Credentials | None) -> int:
    return 0 if credentials is None else credentials.generation


class Unready(McpbridgeError):
    """There are credentials, but they cannot be used now."""
