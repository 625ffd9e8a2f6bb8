"""
Logging in, with a human somewhere: prepares the URL, waits for whatever comes back first, and trades it for tokens.

A login is written down before its URL is shown, so it can be finished after a restart, from another terminal, or by a
browser that took its time.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mcpbridge.core.errors import McpbridgeError
from mcpbridge.core.oauth.attempt import (
    LIFETIME,
    STATE_BYTES,
    VERIFIER_BYTES,
    Attempt,
    base64url,
    read_response,
    state_of,
)
from mcpbridge.core.oauth.clients import Client, choose_client
from mcpbridge.core.oauth.device import AskAgain, device_progress
from mcpbridge.core.oauth.discovery import Discovery
from mcpbridge.core.oauth.endpoint import code_params, device_code_params
from mcpbridge.core.oauth.errors import LoginRefused
from mcpbridge.core.oauth.metadata import ServerMetadata
from mcpbridge.core.oauth.records import Credentials
from mcpbridge.core.oauth.scopes import Scopes, initial_scopes
from mcpbridge.core.oauth.tokens import Denied, TokenSet, Unavailable
from mcpbridge.net.failures import HTTPFailure
from mcpbridge.oauth.authorizer import Authorizer
from mcpbridge.oauth.callback import Callback
from mcpbridge.oauth.errors import LoginFailed
from mcpbridge.oauth.imported import Imported
from mcpbridge.oauth.interfaces import ITokenStore
from mcpbridge.oauth.login import DeviceAttempt, PendingLogin, serves

#: Seconds: a URL that is shown again must still be good for as long as a human needs.
_STILL_GOOD = 180.0


@attrs.define(eq=False)
class Logins:
    """
    The logins of one account at one upstream, one at a time.

    @ivar _now: seconds since the epoch.
    @ivar _random: so many random bytes.
    @ivar _logged_in: called when there is access that was not there before.
    """

    _authorizer: Authorizer
    _callback: Callback
    _store: ITokenStore
    _clock: IReactorTime
    _now: Callable[[], float]
    _random: Callable[[int], bytes]
    _logged_in: Callable[[], None] = lambda: None
    _pending: PendingLogin | None = attrs.field(init=False, default=None, repr=False)
    _outcome: str = attrs.field(init=False, default="")
    _lock: DeferredLock = attrs.field(init=False, factory=DeferredLock)
    _poll: IDelayedCall | None = attrs.field(init=False, default=None)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._authorizer.begin_login = self._wanted
        self._authorizer.regained = self._logged_in

    # Beginning.

    def start(self) -> None:
        """Take up what an earlier daemon began."""
        self._in_order(self._resume).addErrback(self._broken)

    def begin(self, *, device: bool = False, anew: bool = False) -> Deferred[Mapping[str, object]]:
        """
        The operator wants to log in.

        @param device: by a code on another device.
        @param anew: with a new registration, if ours was dynamic: servers forget them.
        @return: the URL to open, or the code to type and where; see L{status}.
        @raise McpbridgeError: (through the Deferred) it cannot be; the text says why.
        """
        return self._in_order(lambda: self._begin(device, anew))

    def finish(self, response: str) -> Deferred[Mapping[str, object]]:
        """
        A redirect URL, or a code, from a browser or by hand.

        @raise LoginRefused: (through the Deferred) it is not acceptable.
        @raise LoginFailed: (through the Deferred) it was acceptable, but the authorization server gives no tokens.
        """
        return self._in_order(lambda: self._finish(response))

    def bring(self, imported: Imported) -> Deferred[None]:
        """
        Use tokens that somebody else got.

        @raise McpbridgeError: (through the Deferred) they cannot be used here.
        """
        return self._in_order(lambda: self._bring(imported))

    def cancel(self) -> Deferred[None]:
        """No login any more."""
        return self._in_order(self._end)

    def expects(self, response: str) -> bool:
        """Whether this answer belongs to the login that waits here."""
        attempt = self._pending.attempt if self._pending is not None else None
        return attempt is not None and state_of(response) == attempt.state

    def settled(self) -> Deferred[Mapping[str, object]]:
        """The same as L{status}, when what is under way is done."""

        async def look() -> Mapping[str, object]:
            return self.status()

        return self._in_order(look)

    def status(self) -> Mapping[str, object]:
        """How it stands: what to open, what to type; what came of the last one."""
        said: dict[str, object] = {"waiting": False, "outcome": self._outcome}
        pending = self._pending
        if pending is None or pending.expired(self._now()):
            return said
        said["waiting"] = True
        if pending.attempt is not None:
            said["url"] = pending.attempt.url
            said["redirect"] = pending.attempt.redirect_uri
        if pending.device is not None:
            said["device_url"] = pending.device.login.complete_url or pending.device.login.url
            said["user_code"] = pending.device.login.user_code
        return said

    def stop(self) -> None:
        """The daemon ends; the login waits for the next one."""
        self._stop_polling()
        self._callback.release(self)

    async def _resume(self) -> None:
        pending = await self._store.load_login(self._authorizer.upstream, self._authorizer.oauth.account)
        if pending is None:
            return
        if pending.expired(self._now()):
            await self._end()
            return
        self._pending = pending
        if pending.attempt is not None:
            self._listen(pending.attempt.redirect_uri)
        self._keep_polling()

    async def _begin(self, device: bool, anew: bool) -> Mapping[str, object]:
        exchange = self._authorizer.exchange
        challenge = await exchange.probe()
        current = self._authorizer.current
        known = () if current is None else (current.server.issuer,)
        discovery = await exchange.discover(challenge, known)
        if anew:
            await self._store.forget_client(self._authorizer.key(discovery.server.issuer))
            self._pending = None
        scopes = initial_scopes(
            challenge.scopes if challenge is not None else None,
            discovery.scopes,
            discovery.server.scopes,
            self._authorizer.oauth.scopes,
        )
        await self._prepare(discovery, scopes, device)
        return self.status()

    def _wanted(self, discovery: Discovery, scopes: Scopes | None) -> Deferred[str]:
        return self._in_order(lambda: self._invite(discovery, scopes))

    async def _invite(self, discovery: Discovery, scopes: Scopes | None) -> str:
        """What to tell a client whose request needs a login."""
        await self._prepare(discovery, scopes, False)
        said = self.status()
        where = f"open {said['url']}" if "url" in said else f"open {said['device_url']} and type {said['user_code']}"
        name = shlex.quote(self._authorizer.name)
        return f"it wants you to log in: {where}, or run: python -m mcpbridge login {name}. Then ask again"

    async def _prepare(self, discovery: Discovery, scopes: Scopes | None, device: bool) -> None:
        server = discovery.server
        if self._reusable(discovery, scopes, device):
            return
        by_code = server.device_authorization_endpoint is not None and (device or server.authorization_endpoint is None)
        if device and not by_code:
            raise LoginFailed("its authorization server offers no login by a code on another device")
        if not by_code:
            server.require_pkce(waived=not self._authorizer.oauth.require_pkce)
        resource = discovery.resource if self._authorizer.oauth.resource else None
        known = await self._store.load_client(self._authorizer.key(server.issuer))
        redirect_uri = self._listen(known.redirect_uri if known is not None else None)
        client = await self._client(server, known, redirect_uri, scopes)
        attempt = None
        if server.authorization_endpoint is not None and not by_code:
            attempt = Attempt(
                server,
                client,
                resource,
                scopes,
                client.redirect_uri or redirect_uri,
                base64url(self._random(STATE_BYTES)),
                base64url(self._random(VERIFIER_BYTES)),
                self._now(),
            )
        by_device = None
        if by_code:
            self._callback.release(self)
            login = await self._authorizer.exchange.device(server, client, resource, scopes)
            by_device = DeviceAttempt(server, client, resource, scopes, login)
        pending = PendingLogin(attempt, by_device)
        # Written down before anybody sees it.
        await self._store.save_login(self._authorizer.upstream, self._authorizer.oauth.account, pending)
        self._pending, self._outcome = pending, ""
        self._keep_polling()

    def _reusable(self, discovery: Discovery, scopes: Scopes | None, device: bool) -> bool:
        """Whether the login that waits is what is wanted: several clients of one server are shown one URL."""
        pending = self._pending
        if pending is None or pending.expired(self._now() + _STILL_GOOD):
            return False
        found = pending.device if device else pending.attempt or pending.device
        return found is not None and serves(found, self._authorizer.oauth, discovery, scopes)

    async def _client(
        self, server: ServerMetadata, known: Client | None, redirect_uri: str, scopes: Scopes | None
    ) -> Client:
        exchange = self._authorizer.exchange
        configured = await exchange.configured_client()
        chosen = choose_client(server, configured, known, redirect_uri, scopes, self._now())
        if isinstance(chosen, Client):
            return chosen
        client = await exchange.register(chosen, redirect_uri)
        await self._store.save_client(self._authorizer.key(server.issuer), client)
        return client

    def _listen(self, preferred: str | None) -> str:
        oauth = self._authorizer.oauth
        return self._callback.redirect_uri(self, oauth.callback_port, oauth.redirect_url, preferred)

    # Finishing.

    async def _finish(self, response: str) -> Mapping[str, object]:
        pending = self._pending
        if pending is None or pending.attempt is None:
            raise LoginRefused("no login waits for an answer; start one", final=True)
        attempt = pending.attempt
        try:
            code = read_response(attempt, response, self._now())
        except LoginRefused as error:
            if error.final:
                await self._end(str(error))
            raise
        # It is used once, whatever comes of it: a code is good for one try as well.
        await self._end()
        params = code_params(code, attempt.redirect_uri, attempt.verifier, attempt.resource)
        try:
            answer = await self._authorizer.exchange.tokens(attempt.server, attempt.client, params)
            if not isinstance(answer, TokenSet):
                raise await self._no_tokens(answer, attempt)
            await self._accept(attempt, answer)
        except (McpbridgeError, HTTPFailure) as error:
            self._outcome = str(error)
            raise
        return self.status()

    async def _bring(self, imported: Imported) -> None:
        exchange = self._authorizer.exchange
        discovery = await exchange.discover(await exchange.probe(), ())
        client = imported.client
        if client is None:
            configured = await exchange.configured_client()
            if configured.id is None and imported.tokens.refresh_token is not None:
                raise LoginFailed(
                    "a refresh_token is of no use without its client_id; bring that along, or leave it out"
                )
            client = Client("")
            if configured.id is not None:
                chosen = choose_client(discovery.server, configured, None, "", None, self._now())
                assert isinstance(chosen, Client)
                client = chosen
        resource = discovery.resource if self._authorizer.oauth.resource else None
        tokens = imported.tokens
        credentials = Credentials(discovery.server, client, resource, tokens.scopes, tokens)
        await self._end()
        await self._authorizer.accept(self._authorizer.key(discovery.server.issuer), credentials)
        self._outcome = "imported"
        self._logged_in()

    async def _no_tokens(self, answer: Denied | Unavailable, attempt: Attempt) -> LoginFailed:
        if isinstance(answer, Denied) and answer.error == "invalid_client":
            await self._store.forget_client(self._authorizer.key(attempt.server.issuer))
        return LoginFailed(f"the authorization server gave no tokens ({answer.text}); start the login again")

    async def _accept(self, found: Attempt | DeviceAttempt, tokens: TokenSet) -> None:
        credentials = Credentials(found.server, found.client, found.resource, found.scopes, tokens)
        await self._authorizer.accept(self._authorizer.key(found.server.issuer), credentials)
        self._outcome = "logged in"
        self._logged_in()

    async def _end(self, outcome: str = "") -> None:
        self._pending, self._outcome = None, outcome
        self._stop_polling()
        self._callback.release(self)
        await self._store.forget_login(self._authorizer.upstream, self._authorizer.oauth.account)

    # Another device, and the clock.

    def _keep_polling(self) -> None:
        self._stop_polling()
        device = self._pending.device if self._pending is not None else None
        if device is not None:
            self._poll = self._clock.callLater(device.login.interval, self._ask)
        if self._pending is not None and self._pending.attempt is not None:
            # The port is not left open for longer than an answer may come.
            self._poll = self._clock.callLater(LIFETIME, self._look)

    def _stop_polling(self) -> None:
        poll, self._poll = self._poll, None
        if poll is not None and poll.active():
            poll.cancel()

    def _look(self) -> None:
        self._poll = None
        self._in_order(self._end_if_late).addErrback(self._broken)

    async def _end_if_late(self) -> None:
        if self._pending is None:
            return
        if self._pending.expired(self._now()):
            await self._end("nobody finished the login in time")
        else:
            self._keep_polling()

    def _ask(self) -> None:
        self._poll = None
        self._in_order(self._ask_now).addErrback(self._broken)

    async def _ask_now(self) -> None:
        device = self._pending.device if self._pending is not None else None
        if device is None:
            return
        params = device_code_params(device.login.device_code, device.resource)
        try:
            answer = await self._authorizer.exchange.tokens(device.server, device.client, params)
        except Exception:
            # Nobody would ask again, so nobody is to wait for it.
            await self._end()
            raise
        progress = device_progress(device.login, answer, self._now())
        if isinstance(progress, AskAgain):
            assert self._pending is not None
            self._pending = attrs.evolve(self._pending, device=attrs.evolve(device, login=progress.login))
            self._keep_polling()
            return
        if isinstance(progress, Denied):
            await self._end(progress.text)
            return
        await self._end()
        await self._accept(device, progress)

    def _in_order(self, work: Callable[[], Any]) -> Deferred[Any]:
        return self._lock.run(lambda: Deferred.fromCoroutine(work()))

    def _broken(self, failure: Failure) -> None:
        self._outcome = str(failure.value)
        if failure.check(McpbridgeError, HTTPFailure):
            self._log.warn("{name}: {error}", name=self._authorizer.name, error=str(failure.value))
        else:
            self._log.failure("{name}: a login broke", failure, name=self._authorizer.name)
