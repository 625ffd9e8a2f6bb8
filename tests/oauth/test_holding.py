"""
Tests of L{mcpbridge.oauth.holding}; what becomes of it in a renewal is in L{tests.oauth.test_renewal}.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Coroutine
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.records import Credentials
from mcpbridge.core.oauth.tokens import TokenSet
from mcpbridge.oauth.errors import StoreFailure
from mcpbridge.oauth.holding import Holding, is_same
from mcpbridge.oauth.standing import Standing, State
from mcpbridge.service.state import state_in_memory
from tests.core.oauth.facts import CLIENT, ISSUER, NOW, SERVER, UPSTREAM
from tests.oauth.test_store import memory_store

_FIRST = Credentials(SERVER, CLIENT, UPSTREAM, ("mcp",), TokenSet("a1", NOW, NOW + 9, "r1"), 3)
_SECOND = attrs.evolve(_FIRST, tokens=TokenSet("a2", NOW, NOW + 9, "r2"), generation=1)
_THIRD = attrs.evolve(_FIRST, tokens=TokenSet("a3", NOW, NOW + 9, "r3"), generation=7)

_Result = TypeVar("_Result")


def _fill_the_disk(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TRIGGER full BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'disk full'); END")


def _make_room(connection: sqlite3.Connection) -> None:
    connection.execute("DROP TRIGGER full")


class _Case(SynchronousTestCase):
    """What is in use, and what is in the store."""

    def setUp(self) -> None:
        self.connection = state_in_memory()
        self.addCleanup(self.connection.close)
        self.store = memory_store(self.connection)
        self.changes = 0
        self.standing = Standing("it")
        self.holding = Holding(UPSTREAM, "default", self.store, self.standing)
        self.holding.changed = self.change

    def change(self) -> None:
        self.changes += 1

    def keep(self, credentials: Credentials) -> None:
        """Somebody else writes to the store."""
        self.successResultOf(self.store.save(self.holding.key(ISSUER), credentials, None))

    def kept(self) -> Credentials | None:
        return self.successResultOf(self.store.load(UPSTREAM, "default"))

    def done(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def fails(self, work: Coroutine[Any, Any, object]) -> None:
        self.failureResultOf(Deferred.fromCoroutine(work), StoreFailure)

    def adopt(self, before: Credentials | None) -> bool:
        return self.done(self.holding.adopt(before))


class LoadTests(_Case):
    """What an earlier daemon kept."""

    def test_loaded(self) -> None:
        """Once: what somebody else writes later is another matter."""
        self.keep(_FIRST)
        empty_before = self.holding.is_empty
        self.done(self.holding.load())
        self.keep(_SECOND)
        self.done(self.holding.load())

        self.assertEqual((_FIRST, 1, 3), (self.holding.current, self.changes, self.holding.generation))
        self.assertEqual((False, False), (empty_before, self.holding.is_empty))
        self.assertEqual(State.AUTHORIZED, self.standing.state)

    def test_nothing(self) -> None:
        """That there is nothing is known when it was looked at, and no news."""
        before = self.holding.is_empty

        self.done(self.holding.load())

        self.assertEqual((False, True, 0, 0), (before, self.holding.is_empty, self.holding.generation, self.changes))
        self.assertEqual(State.UNKNOWN, self.standing.state)

    def test_store_fails(self) -> None:
        """What cannot be read is said, and looked at again."""
        self.keep(_FIRST)
        self.connection.execute("ALTER TABLE secrets RENAME TO elsewhere")

        self.fails(self.holding.load())
        state = self.standing.state
        self.connection.execute("ALTER TABLE elsewhere RENAME TO secrets")
        self.done(self.holding.load())

        self.assertEqual((State.FAILING, _FIRST), (state, self.holding.current))


class AcceptTests(_Case):
    """What a human has brought."""

    def accept(self, credentials: Credentials, now: float = NOW) -> None:
        self.done(self.holding.accept(credentials, self.holding.key(ISSUER), now))

    def test_accepted(self) -> None:
        """It takes the place of whatever there is, in the store and in use."""
        self.keep(_FIRST)

        self.accept(_SECOND)

        self.assertEqual((attrs.evolve(_SECOND, generation=int(NOW)),) * 2, (self.holding.current, self.kept()))

    def test_numbers(self) -> None:
        """A number stands for one set of tokens for ever, also when everything was forgotten in between."""
        numbers = []

        for seconds in range(3):
            for credentials in (_FIRST, _SECOND):
                self.accept(credentials, NOW + seconds * 2)
                numbers.append(self.holding.generation)
            self.done(self.holding.forget_all())

        self.assertEqual(sorted(set(numbers)), numbers)

    def test_not_kept(self) -> None:
        """What cannot be kept is not used: the human is told, and may come again."""
        self.keep(_FIRST)
        _fill_the_disk(self.connection)

        self.fails(self.holding.accept(_SECOND, self.holding.key(ISSUER), NOW))

        self.assertEqual((_FIRST, _FIRST), (self.holding.current, self.kept()))


class UnsavedTests(_Case):
    """What could not be written down is newer than what is written."""

    def setUp(self) -> None:
        super().setUp()
        self.keep(_FIRST)
        self.done(self.holding.load())
        _fill_the_disk(self.connection)
        self.replaced = self.done(self.holding.replace(_FIRST, _SECOND))

    def test_used(self) -> None:
        """It is kept for later, and the old one that the store has is not taken for somebody else's."""
        self.assertEqual((False, False), (self.replaced, self.adopt(_SECOND)))
        self.assertEqual((_SECOND, _FIRST), (self.holding.current, self.kept()))
        self.assertEqual(State.FAILING, self.standing.state)

    def test_saved_again(self) -> None:
        """It is written before it is shown, as soon as that is possible, and once."""
        self.fails(self.holding.save_again())
        _make_room(self.connection)

        self.done(self.holding.save_again())
        self.successResultOf(self.store.forget_all(UPSTREAM, "default"))
        self.done(self.holding.save_again())

        self.assertEqual((_SECOND, None, State.AUTHORIZED), (self.holding.current, self.kept(), self.standing.state))

    def test_elsewhere(self) -> None:
        """Unless somebody else wrote since: that is not written over."""
        _make_room(self.connection)
        self.keep(_THIRD)

        self.done(self.holding.save_again())

        self.assertEqual((_THIRD, _THIRD), (self.holding.current, self.kept()))

    def test_dropped(self) -> None:
        """What is not used any more need not be saved."""
        _make_room(self.connection)

        self.assertEqual(_SECOND, self.holding.drop())
        self.done(self.holding.save_again())

        self.assertEqual((None, _FIRST), (self.holding.current, self.kept()))


class HoldingTests(_Case):
    """Others write to the store too."""

    def test_adopt(self) -> None:
        """Whatever is in the store and is something else is newer, whatever its number."""
        nothing = self.adopt(None)
        self.keep(_FIRST)
        first, again = self.adopt(None), self.adopt(_FIRST)
        self.keep(_SECOND)
        second = self.adopt(_FIRST)

        self.assertEqual((False, True, False, True), (nothing, first, again, second))
        self.assertEqual((_SECOND, 2), (self.holding.current, self.changes))

    def test_adopted_meanwhile(self) -> None:
        """What was taken over while somebody waited is news to him, but to nobody else."""
        self.keep(_SECOND)
        self.holding.use(_SECOND)

        self.assertEqual((True, 1), (self.adopt(_FIRST), self.changes))

    def test_logged_out_elsewhere(self) -> None:
        """That there is nothing in the store is no reason to let go of what may still be good."""
        self.holding.use(_FIRST)

        self.assertEqual((False, _FIRST), (self.adopt(_FIRST), self.holding.current))

    def test_same(self) -> None:
        """One access token given twice with another refresh token is another set; another number is not."""
        renewed = attrs.evolve(_FIRST, tokens=attrs.evolve(_FIRST.tokens, refresh_token="r2"))

        self.assertEqual(
            [True, True, False, False],
            [
                is_same(None, None),
                is_same(_FIRST, attrs.evolve(_FIRST, generation=9)),
                is_same(_FIRST, renewed),
                is_same(_FIRST, None),
            ],
        )
        self.assertNotIn("a1", repr(self.holding))
