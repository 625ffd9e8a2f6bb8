"""
The store in the state database: one table of sealed records.

Every save is one transaction that is on the disk before it is reported; a process that dies at any moment leaves the
old record or the new one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.oauth.clients import Client
from mcpbridge.core.oauth.records import Credentials, Key, from_bytes, to_bytes
from mcpbridge.oauth.errors import StoreFailure
from mcpbridge.oauth.interfaces import ITokenStore
from mcpbridge.oauth.login import PendingLogin
from mcpbridge.oauth.seal import Seal

_Result = TypeVar("_Result")
_Record = TypeVar("_Record")

#: What is to be in the database. C{changed} is in seconds since the epoch and only orders rows.
SCHEMA = """
    CREATE TABLE secrets (
        kind TEXT NOT NULL,
        upstream TEXT NOT NULL,
        issuer TEXT NOT NULL,
        principal TEXT NOT NULL,
        generation INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        key_id TEXT NOT NULL,
        sealed BLOB NOT NULL,
        PRIMARY KEY (kind, upstream, issuer, principal)
    ) WITHOUT ROWID
"""

_CREDENTIALS, _CLIENT, _LOGIN = "credentials", "client", "login"


@implementer(ITokenStore)
@attrs.define(eq=False)
class SQLiteTokenStore:
    """
    See L{ITokenStore} and the top of this module.

    @ivar _open: gives a connection to a database with L{SCHEMA}, in autocommit mode, which waits for others and syncs
        each commit; and what seals. May block, and may raise L{ConfigurationError}; then it is tried again next time.
    @ivar _run: calls a function where it may block, always in the same thread, and has its result.
    """

    _open: Callable[[], tuple[sqlite3.Connection, Seal]]
    _run: Callable[[Callable[[], object]], Deferred[object]]
    _opened: tuple[sqlite3.Connection, Seal] | None = attrs.field(init=False, default=None)

    def load(self, upstream: str, principal: str) -> Deferred[Credentials | None]:
        """See L{ITokenStore}."""

        def work() -> Credentials | None:
            rows = self._connection.execute(
                "SELECT issuer FROM secrets WHERE kind = ? AND upstream = ? AND principal = ? "
                "ORDER BY changed DESC, issuer LIMIT 1",
                (_CREDENTIALS, upstream, principal),
            ).fetchall()
            return self._read(_CREDENTIALS, Key(upstream, rows[0][0], principal), Credentials) if rows else None

        return self._do(f"the credentials for {upstream}", work)

    def save(self, key: Key, credentials: Credentials, after: int | None) -> Deferred[bool]:
        """See L{ITokenStore}."""

        def work() -> bool:
            return self._write(_CREDENTIALS, key, to_bytes(credentials), credentials.generation, after)

        return self._do(f"the credentials for {key.upstream}", work)

    def forget(self, key: Key, generation: int | None) -> Deferred[bool]:
        """See L{ITokenStore}."""

        def work() -> bool:
            return self._delete(_CREDENTIALS, key, generation)

        return self._do(f"the credentials for {key.upstream}", work)

    def load_client(self, key: Key) -> Deferred[Client | None]:
        """See L{ITokenStore}."""
        return self._do(f"our registration at {key.issuer}", lambda: self._read(_CLIENT, key, Client))

    def save_client(self, key: Key, client: Client) -> Deferred[None]:
        """See L{ITokenStore}."""

        def work() -> None:
            self._write(_CLIENT, key, to_bytes(client), 1, None)

        return self._do(f"our registration at {key.issuer}", work)

    def forget_client(self, key: Key) -> Deferred[None]:
        """See L{ITokenStore}."""

        def work() -> None:
            self._delete(_CLIENT, key, None)

        return self._do(f"our registration at {key.issuer}", work)

    def load_login(self, upstream: str, principal: str) -> Deferred[PendingLogin | None]:
        """See L{ITokenStore}."""
        key = Key(upstream, "", principal)
        return self._do(f"the login for {upstream}", lambda: self._read(_LOGIN, key, PendingLogin))

    def save_login(self, upstream: str, principal: str, login: PendingLogin) -> Deferred[None]:
        """See L{ITokenStore}."""

        def work() -> None:
            self._write(_LOGIN, Key(upstream, "", principal), to_bytes(login), 1, None)

        return self._do(f"the login for {upstream}", work)

    def forget_login(self, upstream: str, principal: str) -> Deferred[None]:
        """See L{ITokenStore}."""

        def work() -> None:
            self._delete(_LOGIN, Key(upstream, "", principal), None)

        return self._do(f"the login for {upstream}", work)

    def forget_all(self, upstream: str, principal: str) -> Deferred[None]:
        """See L{ITokenStore}."""

        def work() -> None:
            self._connection.execute("DELETE FROM secrets WHERE upstream = ? AND principal = ?", (upstream, principal))

        return self._do(f"what there is for {upstream}", work)

    def principals(self, upstream: str) -> Deferred[Sequence[str]]:
        """See L{ITokenStore}."""

        def work() -> Sequence[str]:
            rows = self._connection.execute(
                "SELECT DISTINCT principal FROM secrets WHERE kind = ? AND upstream = ? ORDER BY principal",
                (_CREDENTIALS, upstream),
            ).fetchall()
            return tuple(row[0] for row in rows)

        return self._do(f"the accounts at {upstream}", work)

    def close(self) -> Deferred[None]:
        """No more."""

        def work() -> None:
            opened, self._opened = self._opened, None
            if opened is not None:
                opened[0].close()

        return self._do("the store", work)

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._ground()[0]

    @property
    def _seal(self) -> Seal:
        return self._ground()[1]

    def _ground(self) -> tuple[sqlite3.Connection, Seal]:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _read(self, kind: str, key: Key, record: type[_Record]) -> _Record | None:
        row = self._connection.execute(
            "SELECT sealed, generation, key_id FROM secrets "
            "WHERE kind = ? AND upstream = ? AND issuer = ? AND principal = ?",
            (kind, *_columns(key)),
        ).fetchone()
        if row is None:
            return None
        sealed, generation, key_id = row
        try:
            return from_bytes(self._seal.opened(sealed, _context(kind, key, generation), key_id), record)
        except ValueError as error:
            raise StoreFailure(f"it cannot be understood ({error}); log out to forget it") from error

    def _write(self, kind: str, key: Key, plain: bytes, generation: int, after: int | None) -> bool:
        sealed = self._seal.seal(plain, _context(kind, key, generation))
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            row = self._connection.execute(
                "SELECT generation, key_id FROM secrets "
                "WHERE kind = ? AND upstream = ? AND issuer = ? AND principal = ?",
                (kind, *_columns(key)),
            ).fetchone()
            if row is not None and not self._seal.can_open(row[1]):
                raise StoreFailure("there is one already, sealed with another key; log out to forget it")
            if after is not None and (row[0] if row is not None else 0) != after:
                self._connection.execute("ROLLBACK")
                return False
            self._connection.execute(
                "INSERT OR REPLACE INTO secrets VALUES (?, ?, ?, ?, ?, "
                "(SELECT coalesce(max(changed), 0) + 1 FROM secrets), ?, ?)",
                (kind, *_columns(key), generation, self._seal.key_id, sealed),
            )
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return True

    def _delete(self, kind: str, key: Key, generation: int | None) -> bool:
        found = self._connection.execute(
            "DELETE FROM secrets WHERE kind = ?1 AND upstream = ?2 AND issuer = ?3 AND principal = ?4 "
            "AND (?5 IS NULL OR generation = ?5)",
            (kind, *_columns(key), generation),
        )
        return found.rowcount > 0

    def _do(self, what: str, work: Callable[[], _Result]) -> Deferred[_Result]:
        def guarded() -> _Result:
            try:
                return work()
            except (StoreFailure, ConfigurationError) as failure:
                raise StoreFailure(f"{what}: {failure}") from None
            except sqlite3.Error as error:
                raise StoreFailure(f"{what}: the state database fails: {error}") from error

        done: Deferred[_Result] = self._run(guarded)  # type: ignore[assignment]  # it has the function's result
        return done


def _columns(key: Key) -> tuple[str, str, str]:
    return key.upstream, key.issuer, key.principal


def _context(kind: str, key: Key, generation: int) -> bytes:
    """A row moved elsewhere, or one of an older generation put back under a newer number, does not open."""
    return json.dumps([kind, *_columns(key), generation]).encode("ascii")
