"""
Everybody's credentials: one authorizer for each account at each upstream, the store they share, and what an operator
says to them.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

import attrs
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from twisted.web.iweb import IAgent

from mcpbridge.configuration import HTTPUpstream, Upstream, ad_hoc, looks_like_url, near_match
from mcpbridge.core.errors import McpbridgeError
from mcpbridge.core.oauth.errors import LoginRefused
from mcpbridge.core.oauth.urls import URLPolicy
from mcpbridge.core.printable import printable
from mcpbridge.net.addresses import AddressRule
from mcpbridge.net.failures import HTTPFailure
from mcpbridge.net.guard import GuardedFetcher
from mcpbridge.oauth.agent import AuthorizingAgent
from mcpbridge.oauth.authorizer import Authorizer
from mcpbridge.oauth.callback import Callback
from mcpbridge.oauth.exchange import Exchange
from mcpbridge.oauth.imported import read_import
from mcpbridge.oauth.keyring import SystemKeyring
from mcpbridge.oauth.keys import KeyFinder
from mcpbridge.oauth.lease import Leases
from mcpbridge.oauth.logins import Logins
from mcpbridge.oauth.seal import Seal
from mcpbridge.oauth.secrets import Secrets
from mcpbridge.oauth.static import StaticHeaders
from mcpbridge.oauth.store import SQLiteTokenStore
from mcpbridge.service.networks import network_for
from mcpbridge.service.state import open_state

_Result = TypeVar("_Result")


@attrs.define(eq=False)
class _Account:
    """What there is for one upstream."""

    upstream: HTTPUpstream
    authorizer: Authorizer | None
    logins: Logins | None
    static: StaticHeaders | None


@attrs.define(eq=False)
class Authorizers:
    """
    See the top of this module.

    @ivar _state_dir: where the store is.
    @ivar _environment: for keys, helpers and proxies.
    @ivar logged_in: told the name of a server when there is access to it that was not there before.
    """

    _reactor: Any
    _state_dir: str
    _environment: Mapping[str, str] = attrs.field(repr=False)
    logged_in: Callable[[str], None] = lambda name: None
    _accounts: dict[str, _Account] = attrs.field(init=False, factory=dict)
    _threads: ThreadPool = attrs.field(init=False, factory=lambda: ThreadPool(0, 1, "store"))
    _store: SQLiteTokenStore = attrs.field(init=False)
    _callback: Callback = attrs.field(init=False)
    _at_shutdown: Any = attrs.field(init=False, default=None)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._store = SQLiteTokenStore(self._open, self._in_thread)
        self._callback = Callback(self._reactor, self._came_back)

    # Life.

    def start(self) -> None:
        """From now on credentials can be had."""
        self._threads.start()
        # Should nobody come to stop us, no thread is to keep the process alive.
        self._at_shutdown = self._reactor.addSystemEventTrigger("during", "shutdown", self._threads.stop)

    def serve(self, upstreams: Iterable[Upstream]) -> None:
        """
        These are configured now. Their tokens are kept fresh, whether anybody is connected or not; accounts of others
        are let be.
        """
        wanted = {upstream.name: upstream for upstream in upstreams if isinstance(upstream, HTTPUpstream)}
        for name, account in list(self._accounts.items()):
            if wanted.get(name) != account.upstream and not looks_like_url(name):
                self._dismiss(name)
        for upstream in wanted.values():
            self._account(upstream)

    def stop(self) -> Deferred[None]:
        """Stop in order: what is being written is written. Fires when all is closed."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        idle = [account.authorizer.idle() for account in self._accounts.values() if account.authorizer is not None]
        for name in list(self._accounts):
            self._dismiss(name)
        self._callback.close()
        await gatherResults(idle)
        await self._store.close()
        self._reactor.removeSystemEventTrigger(self._at_shutdown)
        self._threads.stop()

    # What transports want.

    def decorate(self, upstream: HTTPUpstream) -> Callable[[IAgent], IAgent]:
        """What to put round the agent of this upstream (C{http_client(decorate=...)})."""
        account = self._account(upstream)

        def decorated(agent: IAgent) -> IAgent:
            return AuthorizingAgent(agent, self._reactor, upstream.url, account.authorizer, account.static)

        return decorated

    # What an operator wants.

    def control(self, line: str) -> Deferred[Mapping[str, object]] | None:
        """
        Carry out an order: C{login JSON} or C{logout JSON}, whose object names the server and says what to do.

        @return: L{None} if it is none of ours. Errors come as an object with C{error}.
        """
        verb, _, rest = line.partition(" ")
        if verb not in ("login", "logout"):
            return None
        return Deferred.fromCoroutine(self._order(verb, rest))

    def status(self, name: str) -> str | None:
        """How this upstream's authorization stands, in a few words; L{None} if there is nothing to log in to."""
        account = self._accounts.get(name)
        return None if account is None or account.authorizer is None else account.authorizer.summary

    async def _order(self, verb: str, text: str) -> Mapping[str, object]:
        try:
            order = json.loads(text)
            name, action = order["server"], order.get("action", "start")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {"error": "this is no order that this version understands"}
        try:
            account = self._named(name)
            assert account.authorizer is not None and account.logins is not None
            if verb == "logout":
                await account.logins.cancel()
                return {"revoked": await account.authorizer.forget()}
            return await self._login(account.authorizer, account.logins, action, order)
        except LoginRefused as error:
            return {"error": str(error), "final": error.final}
        except (McpbridgeError, HTTPFailure) as error:
            return {"error": str(error), "final": True}

    async def _login(
        self, authorizer: Authorizer, logins: Logins, action: object, order: Mapping[str, Any]
    ) -> Mapping[str, object]:
        match action:
            case "start":
                said = await logins.begin(device=order.get("device") is True, anew=order.get("anew") is True)
            case "finish":
                said = await logins.finish(str(order.get("response", "")))
            case "status":
                said = await logins.settled()
            case "cancel":
                await logins.cancel()
                said = logins.status()
            case "import":
                await logins.bring(read_import(order.get("tokens"), time.time()))
                said = logins.status()
            case _:
                return {"error": "there is no such action; there are start, finish, status, cancel, import"}
        return {**said, "authorization": authorizer.status()}

    def _named(self, name: object) -> _Account:
        if isinstance(name, str) and looks_like_url(name):
            return self._account(ad_hoc(name))
        account = self._accounts.get(name) if isinstance(name, str) else None
        if account is None:
            near = near_match(str(name), list(self._accounts))
            hint = f"; did you mean {near}?" if near else "; see: python -m mcpbridge check"
            raise McpbridgeError(f"there is no server {printable(str(name), 64)!r} behind a URL{hint}")
        if account.authorizer is None:
            raise McpbridgeError(
                f"{name} has a token or a header in the configuration, so there is nothing to log in to"
            )
        return account

    def _came_back(self, response: str) -> Deferred[object]:
        """A browser brought an answer; whose is it?"""
        for account in self._accounts.values():
            if account.logins is not None and account.logins.expects(response):
                return cast("Deferred[object]", account.logins.finish(response))
        raise LoginRefused("an answer came for no login that waits here", final=False)

    # Making them.

    def _account(self, upstream: HTTPUpstream) -> _Account:
        account = self._accounts.get(upstream.name)
        if account is None:
            account = self._accounts[upstream.name] = self._new(upstream)
            if account.authorizer is not None and account.logins is not None:
                account.authorizer.start()
                account.logins.start()
        return account

    def _new(self, upstream: HTTPUpstream) -> _Account:
        terms = upstream.authorization
        static = None
        if terms.bearer is not None or terms.headers_helper is not None:
            static = StaticHeaders(
                upstream.name, upstream.url, terms.bearer, terms.headers_helper, self._reactor, self._environment
            )
        if terms.oauth is None:
            return _Account(upstream, None, None, static)
        network = network_for(upstream, self._environment)
        fetcher = GuardedFetcher(
            self._reactor,
            network.client,
            URLPolicy(upstream.url),
            AddressRule(upstream.url, terms.oauth.trusted_hosts),
            network.proxies.proxied,
        )
        secrets = Secrets(self._reactor, self._environment)
        exchange = Exchange(upstream.url, terms.oauth, fetcher, secrets, time.time, os.urandom)
        authorizer = Authorizer(
            upstream.name,
            upstream.url,
            terms.oauth,
            self._reactor,
            time.time,
            random.random,
            self._store,
            exchange,
            Leases(self._state_dir, self._reactor),
        )
        logins = Logins(
            authorizer,
            self._callback,
            self._store,
            self._reactor,
            time.time,
            os.urandom,
            lambda: self.logged_in(upstream.name),
        )
        return _Account(upstream, authorizer, logins, static)

    def _dismiss(self, name: str) -> None:
        account = self._accounts.pop(name)
        if account.authorizer is not None and account.logins is not None:
            account.logins.stop()
            account.authorizer.stop()

    # The store.

    def _open(self) -> tuple[sqlite3.Connection, Seal]:
        connection = open_state(self._state_dir, durable=True)
        try:
            ring = SystemKeyring(os.path.realpath(self._state_dir))
            return connection, Seal(KeyFinder(self._environment, self._state_dir, ring).find())
        except BaseException:
            connection.close()
            raise

    def _in_thread(self, work: Callable[[], _Result]) -> Deferred[_Result]:
        if not self._threads.started or self._threads.joined:
            # At the very end, when nobody waits for anything any more.
            return succeed(work())
        return deferToThreadPool(self._reactor, self._threads, work)
