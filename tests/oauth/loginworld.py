"""
A human who logs in, the browser, and the daemon that waits for what it brings.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
from twisted.internet.task import Clock

from mcpbridge.configuration.authorization import OAuth
from mcpbridge.core.oauth.records import Credentials
from mcpbridge.oauth.authorizer import Authorizer
from mcpbridge.oauth.login import PendingLogin
from mcpbridge.oauth.logins import Logins
from mcpbridge.oauth.store import SQLiteTokenStore
from mcpbridge.service.state import state_in_memory
from tests.core.oauth.facts import NOW, REDIRECT, UPSTREAM
from tests.oauth.fakes import FakeExchange, FakeLeases
from tests.oauth.test_store import memory_store


@attrs.define(eq=False)
class FakeCallback:
    """A listener on a port; remembers for whom it listens."""

    users: list[object] = attrs.Factory(list)

    def redirect_uri(self, user: object, port: int | None, public: str | None, preferred: str | None) -> str:
        self.release(user)
        self.users.append(user)
        return public or preferred or REDIRECT

    def release(self, user: object) -> None:
        if user in self.users:
            self.users.remove(user)


@attrs.define(eq=False)
class World:
    """One account and the daemon that it belongs to; another one on the same connection is the next daemon."""

    connection: sqlite3.Connection = attrs.Factory(state_in_memory)
    oauth: OAuth = attrs.Factory(OAuth)
    exchange: FakeExchange = attrs.Factory(FakeExchange)
    clock: Clock = attrs.Factory(Clock)
    callback: FakeCallback = attrs.Factory(FakeCallback)
    heard: list[str] = attrs.Factory(list)
    store: SQLiteTokenStore = attrs.field(init=False)
    authorizer: Authorizer = attrs.field(init=False)
    logins: Logins = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.store = memory_store(self.connection)
        exchange: Any = self.exchange
        callback: Any = self.callback
        leases: Any = FakeLeases()
        numbers = itertools.count(1)
        self.authorizer = Authorizer(
            "it", UPSTREAM, self.oauth, self.clock, self.now, lambda: 0.5, self.store, exchange, leases
        )
        self.logins = Logins(
            self.authorizer,
            callback,
            self.store,
            self.clock,
            self.now,
            lambda size: bytes([next(numbers)]) * size,
            lambda: self.heard.append("logged in"),
        )

    def now(self) -> float:
        return NOW + float(self.clock.seconds())

    def kept(self) -> PendingLogin | None:
        """The login that is written down."""
        found: list[PendingLogin | None] = []
        self.store.load_login(self.authorizer.upstream, "default").addCallback(found.append)
        return found[0]

    def credentials(self) -> Credentials | None:
        """What is written down of it in the end."""
        found: list[Credentials | None] = []
        self.store.load(self.authorizer.upstream, "default").addCallback(found.append)
        return found[0]


def browsed(status: Mapping[str, object], code: str = "code-1", **more: str) -> str:
    """What a browser comes back with."""
    state = parse_qs(urlsplit(str(status["url"])).query)["state"][0]
    members = {"code": code, "state": state, **more}
    return f"{REDIRECT}?{'&'.join(f'{name}={value}' for name, value in members.items() if value)}"
