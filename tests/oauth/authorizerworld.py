"""
One account at one upstream: what keeps it authorized, and all that is around it.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from mcpbridge.configuration.authorization import OAuth
from mcpbridge.core.oauth.discovery import Discovery
from mcpbridge.core.oauth.records import Credentials
from mcpbridge.core.oauth.scopes import Scopes
from mcpbridge.core.oauth.tokens import TokenSet
from mcpbridge.oauth.authorizer import Authorizer
from mcpbridge.oauth.store import SQLiteTokenStore
from mcpbridge.service.state import state_in_memory
from tests.core.oauth.facts import CLIENT, ISSUER, NOW, SERVER, UPSTREAM
from tests.oauth.fakes import FakeExchange, FakeLeases
from tests.oauth.test_store import memory_store


@attrs.define(eq=False)
class World:
    """One authorizer, its clock, its store, its server."""

    connection: sqlite3.Connection = attrs.Factory(state_in_memory)
    oauth: OAuth = attrs.Factory(OAuth)
    clock: Clock = attrs.Factory(Clock)
    exchange: FakeExchange = attrs.Factory(FakeExchange)
    invited: list[Scopes | None] = attrs.Factory(list)
    store: SQLiteTokenStore = attrs.field(init=False)
    authorizer: Authorizer = attrs.field(init=False)
    regained: int = 0

    def __attrs_post_init__(self) -> None:
        self.store = memory_store(self.connection)
        exchange: Any = self.exchange
        leases: Any = FakeLeases()
        self.authorizer = Authorizer(
            "it", UPSTREAM, self.oauth, self.clock, self.now, lambda: 0.5, self.store, exchange, leases
        )
        self.authorizer.begin_login = self.invite
        self.authorizer.regained = self.regain

    def now(self) -> float:
        return NOW + float(self.clock.seconds())

    def invite(self, discovery: Discovery, scopes: Scopes | None) -> Deferred[str]:
        self.invited.append(scopes)
        return succeed("open https://x")

    def regain(self) -> None:
        self.regained += 1

    def tokens(self, number: int, life: float | None = 1000.0) -> TokenSet:
        return TokenSet(f"a{number}", self.now(), None if life is None else self.now() + life, f"r{number}", ("mcp",))

    def keep(self, tokens: TokenSet, generation: int = 1) -> None:
        """What an earlier daemon has kept."""
        credentials = Credentials(SERVER, CLIENT, UPSTREAM, ("mcp",), tokens, generation)
        self.store.save(self.authorizer.key(ISSUER), credentials, None)

    def stored(self) -> Credentials | None:
        found: list[Any] = []
        self.store.load(self.authorizer.upstream, "default").addCallback(found.append)
        kept: Credentials | None = found[0]
        return kept
