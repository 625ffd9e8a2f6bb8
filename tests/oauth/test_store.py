"""
Tests of L{mcpbridge.oauth.store}.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.oauth.records import Credentials, Key
from mcpbridge.core.oauth.tokens import TokenSet
from mcpbridge.oauth.errors import StoreFailure
from mcpbridge.oauth.interfaces import ITokenStore
from mcpbridge.oauth.login import PendingLogin
from mcpbridge.oauth.seal import Seal, StoreKey
from mcpbridge.oauth.store import SQLiteTokenStore
from mcpbridge.service.state import state_in_memory
from tests.core.oauth.facts import ATTEMPT, CLIENT, ISSUER, NOW, SERVER

_KEY = Key("https://mcp.example.com/mcp", ISSUER)
_FIRST = Credentials(SERVER, CLIENT, None, ("a",), TokenSet("secret-1", NOW, refresh_token="secret-r"), 1)
_SECOND = attrs.evolve(_FIRST, tokens=TokenSet("secret-2", NOW), generation=2)


def run_now(work: Callable[[], object]) -> Deferred[object]:
    """Calls at once."""
    return maybeDeferred(work)


def memory_store(connection: sqlite3.Connection | None = None, key: bytes = b"k" * 32) -> SQLiteTokenStore:
    """A store that nothing outlives."""
    ground = connection or state_in_memory(), Seal((StoreKey(key, "the test"),))
    return SQLiteTokenStore(lambda: ground, run_now)


class StoreTests(SynchronousTestCase):
    """What is kept."""

    def setUp(self) -> None:
        self.connection = state_in_memory()
        self.addCleanup(self.connection.close)
        self.store = memory_store(self.connection)

    def _save(self, credentials: Credentials, after: int | None, key: Key = _KEY) -> bool:
        return self.successResultOf(self.store.save(key, credentials, after))

    def _load(self, principal: str = "default") -> Credentials | None:
        return self.successResultOf(self.store.load(_KEY.upstream, principal))

    def test_door(self) -> None:
        """It is what it says."""
        verifyObject(ITokenStore, self.store)

    def test_credentials(self) -> None:
        """Nothing, then what was saved, then nothing again."""
        self.assertEqual(None, self._load())
        self.assertTrue(self._save(_FIRST, 0))
        self.assertEqual(_FIRST, self._load())
        self.assertTrue(self.successResultOf(self.store.forget(_KEY, None)))
        self.assertEqual(None, self._load())
        self.assertFalse(self.successResultOf(self.store.forget(_KEY, None)))

    def test_compare_and_swap(self) -> None:
        """Of two who refresh the same generation the second is told, and the first's tokens stay."""
        self._save(_FIRST, 0)

        won = self._save(_SECOND, 1)
        lost = self._save(attrs.evolve(_SECOND, tokens=TokenSet("other", NOW)), 1)

        self.assertEqual((True, False, _SECOND), (won, lost, self._load()))
        self.assertFalse(self.connection.in_transaction)

    def test_loser_never_deletes(self) -> None:
        """What was refreshed meanwhile is not forgotten by who was told that the old one is void."""
        self._save(_FIRST, 0)
        self._save(_SECOND, 1)

        self.assertFalse(self.successResultOf(self.store.forget(_KEY, 1)))
        self.assertEqual(_SECOND, self._load())

    def test_newest_issuer(self) -> None:
        """After a move the credentials of the new issuer are the ones that count."""
        self._save(_FIRST, 0, attrs.evolve(_KEY, issuer="https://z.example"))
        self._save(_SECOND, 0, attrs.evolve(_KEY, issuer="https://a.example"))

        self.assertEqual(_SECOND, self._load())

    def test_accounts(self) -> None:
        """Each has its own."""
        self._save(_FIRST, 0)
        self._save(_SECOND, 0, attrs.evolve(_KEY, principal="work"))

        self.assertEqual((_FIRST, _SECOND), (self._load(), self._load("work")))
        self.assertEqual(("default", "work"), self.successResultOf(self.store.principals(_KEY.upstream)))
        self.assertEqual((), self.successResultOf(self.store.principals("https://elsewhere.example")))

    def test_client(self) -> None:
        """A registration is its issuer's, and no other's."""
        self.successResultOf(self.store.save_client(_KEY, CLIENT))

        self.assertEqual(CLIENT, self.successResultOf(self.store.load_client(_KEY)))
        for other in (
            attrs.evolve(_KEY, issuer=f"{ISSUER}/"),
            attrs.evolve(_KEY, upstream="https://other.example"),
            attrs.evolve(_KEY, principal="work"),
        ):
            self.assertEqual(None, self.successResultOf(self.store.load_client(other)))
        self.successResultOf(self.store.forget_client(_KEY))
        self.assertEqual(None, self.successResultOf(self.store.load_client(_KEY)))

    def test_forget_all(self) -> None:
        """An account goes with all that belongs to it, whatever the key; others stay."""
        self._save(_FIRST, 0)
        self._save(_SECOND, 0, attrs.evolve(_KEY, principal="work"))
        self.successResultOf(self.store.save_client(_KEY, CLIENT))

        other = memory_store(self.connection, b"o" * 32)
        self.successResultOf(other.forget_all(_KEY.upstream, "default"))

        self.assertEqual([("work",)], self.connection.execute("SELECT principal FROM secrets").fetchall())

    def test_login(self) -> None:
        """The one that is under way."""
        login = PendingLogin(ATTEMPT)
        self.successResultOf(self.store.save_login(_KEY.upstream, "default", login))

        self.assertEqual(login, self.successResultOf(self.store.load_login(_KEY.upstream, "default")))
        self.successResultOf(self.store.forget_login(_KEY.upstream, "default"))
        self.assertEqual(None, self.successResultOf(self.store.load_login(_KEY.upstream, "default")))

    def test_nothing_in_the_clear(self) -> None:
        """No secret is in the database."""
        self._save(_FIRST, 0)
        self.successResultOf(self.store.save_login(_KEY.upstream, "default", PendingLogin(ATTEMPT)))

        dump = "\n".join(self.connection.iterdump()).encode()
        for secret in (
            b"secret-",
            ATTEMPT.state.encode(),
            ATTEMPT.verifier.encode(),
            b"secret-".hex().upper().encode(),
        ):
            self.assertNotIn(secret, dump)

    def test_other_key(self) -> None:
        """Without the key it is there but not read, not overwritten, and can be forgotten."""
        self._save(_FIRST, 0)
        other = memory_store(self.connection, b"o" * 32)

        self.failureResultOf(other.load(_KEY.upstream, "default"), StoreFailure)
        for after in (None, 0, 1):
            self.failureResultOf(other.save(_KEY, _SECOND, after), StoreFailure)
        self.assertEqual(_FIRST, self._load())
        self.assertTrue(self.successResultOf(other.forget(_KEY, None)))

    def test_swapped_rows(self) -> None:
        """A row that was put in another's place, or an old one in a new one's, is noticed."""
        self._save(_FIRST, 0)
        for change in ("upstream = 'https://mcp.example.com/evil'", "generation = 9", "principal = 'work'"):
            self.connection.execute("SAVEPOINT s")
            self.connection.execute(f"UPDATE secrets SET {change}")
            (upstream, principal) = self.connection.execute("SELECT upstream, principal FROM secrets").fetchone()
            self.failureResultOf(self.store.load(upstream, principal), StoreFailure)
            self.connection.execute("ROLLBACK TO s")
            self.connection.execute("RELEASE s")

    def test_not_opened(self) -> None:
        """What stands in the way is said, and looked at again the next time; at the end it is closed."""
        trouble = [ConfigurationError("no key")]

        def ground() -> tuple[sqlite3.Connection, Seal]:
            if trouble:
                raise trouble.pop()
            return self.connection, Seal((StoreKey(b"k" * 32, "the test"),))

        store = SQLiteTokenStore(ground, run_now)

        error = self.failureResultOf(store.load(_KEY.upstream, "default"), StoreFailure)
        self.assertEqual(f"the credentials for {_KEY.upstream}: no key", str(error.value))
        self.assertEqual(None, self.successResultOf(store.load(_KEY.upstream, "default")))
        self.successResultOf(store.close())
        self.assertRaises(sqlite3.ProgrammingError, self.connection.execute, "SELECT 1")

    def test_database_fails(self) -> None:
        """It is said, with the upstream and without what was to be saved."""
        self.connection.execute("DROP TABLE secrets")

        failure = self.failureResultOf(self.store.save(_KEY, _FIRST, 0), StoreFailure)

        self.assertIn(_KEY.upstream, str(failure.value))
        self.assertNotIn("secret-", failure.getTraceback())
        self.assertFalse(self.connection.in_transaction)
