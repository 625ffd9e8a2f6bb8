"""
Tests of L{mcpbridge.oauth.renewal}, in simulated time.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.clients import Client, Origin
from mcpbridge.core.oauth.errors import TokenRefused
from mcpbridge.core.oauth.records import Credentials
from mcpbridge.core.oauth.tokens import Denied, TokenSet, Unavailable
from mcpbridge.oauth.errors import StoreFailure
from mcpbridge.oauth.holding import Holding
from mcpbridge.oauth.renewal import Renewal
from mcpbridge.oauth.standing import Standing, State
from mcpbridge.service.state import state_in_memory
from tests.core.oauth.facts import CLIENT, ISSUER, NOW, SERVER, UPSTREAM
from tests.oauth.fakes import FakeExchange, FakeLeases
from tests.oauth.test_store import memory_store


class _Case(SynchronousTestCase):
    """
    What one account holds, and what keeps it fresh.

    @ivar slept: seconds that the wall clock is ahead of the timers.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.slept = 0.0
        self.connection = state_in_memory()
        self.addCleanup(self.connection.close)
        self.store = memory_store(self.connection)
        self.exchange = FakeExchange()
        self.leases = FakeLeases()
        self.standing = Standing("it")
        self.holding = Holding(UPSTREAM, "default", self.store, self.standing)
        exchange: Any = self.exchange
        leases: Any = self.leases
        self.renewal = Renewal(self.holding, self.standing, exchange, leases, self.clock, self.now, lambda: 0.5)

    def now(self) -> float:
        return NOW + float(self.clock.seconds()) + self.slept

    def tokens(self, number: int, life: float | None = 1000.0) -> TokenSet:
        return TokenSet(f"a{number}", self.now(), None if life is None else self.now() + life, f"r{number}", ("mcp",))

    def keep(self, tokens: TokenSet, generation: int = 1, client: Client = CLIENT) -> Credentials:
        """Write to the store, as others do."""
        kept = Credentials(SERVER, client, UPSTREAM, ("mcp",), tokens, generation)
        self.successResultOf(self.store.save(self.holding.key(ISSUER), kept, None))
        return kept

    def use(self, tokens: TokenSet, client: Client = CLIENT) -> None:
        """What was there already."""
        self.holding.use(self.keep(tokens, client=client))

    def stored(self) -> Credentials | None:
        return self.successResultOf(self.store.load(UPSTREAM, "default"))

    def numbers(self) -> tuple[str | None, str | None]:
        """The tokens that are in use, and those in the store."""
        return _token(self.holding.current), _token(self.stored())


def _token(credentials: Credentials | None) -> str | None:
    return None if credentials is None else credentials.tokens.access_token


class RenewTests(_Case):
    """New tokens for old ones."""

    def test_renewed(self) -> None:
        """They take the place of the old ones, in use and in the store."""
        self.use(self.tokens(1))
        self.exchange.answers.append(self.tokens(2))

        self.assertEqual(True, self.successResultOf(self.renewal.renew()))

        stored = self.stored()
        assert stored is not None
        self.assertEqual((("a2", "a2"), 2), (self.numbers(), stored.generation))
        self.assertEqual(
            [{"grant_type": "refresh_token", "refresh_token": "r1", "resource": UPSTREAM}], self.exchange.asked
        )
        self.assertEqual(([CLIENT], 0), (self.exchange.clients, self.leases.held))

    def test_nothing_to_renew(self) -> None:
        """Where there is nothing, or nothing to renew it with, nobody is asked."""
        nothing = self.successResultOf(self.renewal.renew())
        self.use(attrs.evolve(self.tokens(1), refresh_token=None))

        self.assertEqual((False, False), (nothing, self.successResultOf(self.renewal.renew())))
        self.assertEqual(([], []), (self.exchange.asked, self.clock.getDelayedCalls()))

    def test_shared(self) -> None:
        """Many ask while it is renewed; it is renewed once. Who waits for the end of it hears of that."""
        self.use(self.tokens(1))
        answer: Deferred[TokenSet] = Deferred()
        self.exchange.answers.append(answer)

        waiting = [self.renewal.renew() for _ in range(50)]
        idle = self.renewal.idle()
        self.assertNoResult(idle)
        answer.callback(self.tokens(2))

        self.assertEqual({True}, {self.successResultOf(one) for one in waiting})
        self.successResultOf(idle)
        self.assertEqual((1, ("a2", "a2")), (len(self.exchange.asked), self.numbers()))

    def test_in_turn(self) -> None:
        """What another process has got while we waited for our turn is taken over; nobody is asked."""
        self.use(self.tokens(1))
        self.leases.free = Deferred()
        waiting = self.renewal.renew()
        self.keep(self.tokens(7), 2)

        self.leases.free.callback(None)

        self.assertEqual(True, self.successResultOf(waiting))
        self.assertEqual((("a7", "a7"), [], 0), (self.numbers(), self.exchange.asked, self.leases.held))

    def test_over(self) -> None:
        """Only that the grant is void is a reason to forget it."""
        self.use(self.tokens(1))
        self.exchange.answers.append(Denied("invalid_grant", "gone"))

        self.assertEqual(False, self.successResultOf(self.renewal.renew()))

        self.assertEqual(((None, None), []), (self.numbers(), self.clock.getDelayedCalls()))
        self.assertEqual("login needed: the login has ended (invalid_grant: gone)", str(self.standing))

    def test_not_over(self) -> None:
        """Whatever else comes is no reason, and the lease is given back for the next try."""
        self.use(self.tokens(1))
        for answer, text in (
            (Unavailable("HTTP 503"), "HTTP 503"),
            (TokenRefused("nonsense"), "nonsense"),
            (Denied("invalid_request", "what?"), "the authorization server says invalid_request: what?"),
        ):
            self.exchange.answers.append(answer)

            self.assertEqual(False, self.successResultOf(self.renewal.renew()))

            self.assertEqual((("a1", "a1"), 0), (self.numbers(), self.leases.held))
            self.assertEqual(f"failing: {text}", str(self.standing))

    def test_forgotten_client(self) -> None:
        """A registration that the server has forgotten is no more; one that is configured is the user's affair."""
        for origin, kept in ((Origin.REGISTERED, False), (Origin.CONFIGURED, True)):
            client = attrs.evolve(CLIENT, origin=origin)
            self.use(self.tokens(1), client)
            self.successResultOf(self.store.save_client(self.holding.key(ISSUER), client))
            self.exchange.answers.append(Denied("invalid_client"))

            self.assertEqual(False, self.successResultOf(self.renewal.renew()))

            found = self.successResultOf(self.store.load_client(self.holding.key(ISSUER)))
            self.assertEqual((client if kept else None, ("a1", "a1")), (found, self.numbers()))


class ElsewhereTests(_Case):
    """Others do things to the same account while it is renewed."""

    def renewing(self) -> tuple[Deferred[bool], Deferred[Any]]:
        """A renewal that is under way, and what the authorization server will answer."""
        self.use(self.tokens(1))
        answer: Deferred[Any] = Deferred()
        self.exchange.answers.append(answer)
        return self.renewal.renew(), answer

    def test_quicker(self) -> None:
        """What another daemon has got meanwhile is taken over, and never deleted by us."""
        for late in (Denied("invalid_grant", "reuse"), self.tokens(2)):
            waiting, answer = self.renewing()
            self.keep(self.tokens(7), 2)

            answer.callback(late)

            self.assertEqual((True, ("a7", "a7")), (self.successResultOf(waiting), self.numbers()))

    def test_anew(self) -> None:
        """A login there after a logout is numbered from the start: it is the newer one all the same."""
        waiting, answer = self.renewing()
        self.successResultOf(self.store.forget_all(UPSTREAM, "default"))
        self.keep(self.tokens(7))

        answer.callback(Denied("invalid_grant", "revoked"))

        self.assertEqual((True, ("a7", "a7")), (self.successResultOf(waiting), self.numbers()))

    def test_logged_out(self) -> None:
        """After a logout nothing comes back, neither here nor in the store."""
        waiting, answer = self.renewing()
        self.holding.drop()
        self.successResultOf(Deferred.fromCoroutine(self.holding.forget_all()))

        answer.callback(self.tokens(2))

        self.assertEqual((False, (None, None)), (self.successResultOf(waiting), self.numbers()))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_logged_out_for_good(self) -> None:
        """Nor does it matter then that there are no new tokens, or that they cannot be written down."""
        full = "CREATE TRIGGER full BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        for given, disk in (
            (Unavailable("HTTP 503"), "SELECT 1"),
            (Denied("invalid_client"), "SELECT 1"),
            (self.tokens(2), full),
        ):
            waiting, answer = self.renewing()
            self.successResultOf(Deferred.fromCoroutine(self.holding.forget_all()))
            self.connection.execute(disk)

            answer.callback(given)

            self.assertEqual((False, (None, None)), (self.successResultOf(waiting), self.numbers()), given)
            self.assertEqual((State.LOGIN_NEEDED, []), (self.standing.state, self.clock.getDelayedCalls()), given)

    def test_logged_in(self) -> None:
        """That the old login has ended says nothing of a new one, even if that is in the store no more."""
        waiting, answer = self.renewing()
        new = Credentials(SERVER, CLIENT, UPSTREAM, ("mcp",), self.tokens(7))
        self.successResultOf(Deferred.fromCoroutine(self.holding.accept(new, self.holding.key(ISSUER), self.now())))
        self.successResultOf(self.store.forget_all(UPSTREAM, "default"))

        answer.callback(Denied("invalid_grant"))

        self.assertEqual((True, ("a7", None)), (self.successResultOf(waiting), self.numbers()))
        self.assertEqual(State.AUTHORIZED, self.standing.state)


class TimeTests(_Case):
    """When it is done, with nobody there."""

    def times(self) -> list[float]:
        """When the authorization server was asked, until it has said all that it has to say."""
        found: list[float] = []
        while self.exchange.answers:
            before = len(self.exchange.asked)
            self.clock.advance(1.0)
            if len(self.exchange.asked) > before:
                found.append(self.clock.seconds())
            self.assertLess(self.clock.seconds(), 6000)
        return found

    def gaps(self, *answers: Any) -> list[float]:
        """Seconds between one answer and the next try; an answer more than there are gaps."""
        self.exchange.answers += answers
        return [after - before for before, after in pairwise(self.times())]

    def test_ahead(self) -> None:
        """At four fifths of their life, over and over."""
        self.use(self.tokens(1))
        self.exchange.answers += [partial(self.tokens, number) for number in range(2, 6)]

        times = self.times()

        self.assertEqual([800.0, 1600.0, 2400.0, 3200.0], times)
        self.assertEqual(("a5", "a5"), self.numbers())

    def test_patience(self) -> None:
        """A server that is away is asked again, less and less often, and as late as it wants; nothing is forgotten."""
        self.use(self.tokens(1))

        gaps = self.gaps(
            Unavailable("away"),
            TokenRefused("nonsense"),
            Denied("invalid_request"),
            Unavailable("busy", 60.0),
            Unavailable("away"),
            Unavailable("away"),
        )

        self.assertEqual([4.0, 8.0, 300.0, 60.0, 60.0], gaps)
        self.assertEqual(("a1", "a1"), self.numbers())
        self.assertEqual(State.FAILING, self.standing.state)

    def test_most_patience(self) -> None:
        """No server makes us wait for longer than five minutes."""
        self.use(self.tokens(1))

        self.assertEqual([300.0, 8.0], self.gaps(Unavailable("busy", 86400.0), *[Unavailable("away")] * 2))

    def test_patience_begins_anew(self) -> None:
        """With tokens that work the tries are counted from the start."""
        self.use(self.tokens(1))
        self.gaps(*[Unavailable("away")] * 4)
        self.exchange.answers.append(self.tokens(2))
        self.times()

        self.assertEqual([4.0], self.gaps(*[Unavailable("away")] * 2))

    def test_stop(self) -> None:
        """No more timers; what is under way goes on to its end, and starts none."""
        self.use(self.tokens(1))
        answer: Deferred[Any] = Deferred()
        self.exchange.answers.append(answer)
        waiting = self.renewal.renew()

        self.renewal.stop()
        stopped = self.clock.getDelayedCalls()
        answer.callback(self.tokens(2))

        self.assertEqual([], stopped)
        self.assertEqual((True, ("a2", "a2")), (self.successResultOf(waiting), self.numbers()))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_slept(self) -> None:
        """A machine that slept, or whose clock was set, is found out within ten minutes."""
        self.use(self.tokens(1, 100_000.0))
        self.clock.advance(600.0)
        self.slept = 90_000.0
        self.exchange.answers.append(self.tokens(2))
        before = len(self.exchange.asked)

        self.clock.advance(600.0)

        self.assertEqual((0, 1, ("a2", "a2")), (before, len(self.exchange.asked), self.numbers()))

    def test_broken_store(self) -> None:
        """That the store cannot be read is said, and it is tried again."""
        self.use(self.tokens(1, 100.0))
        self.connection.execute("ALTER TABLE secrets RENAME TO elsewhere")

        self.clock.advance(80.0)
        said = str(self.standing)
        self.connection.execute("ALTER TABLE elsewhere RENAME TO secrets")
        self.exchange.answers.append(self.tokens(2))
        self.clock.advance(4.0)

        self.assertIn("failing: ", said)
        self.assertIn("the state database fails", said)
        self.assertEqual((("a2", "a2"), "authorized"), (self.numbers(), str(self.standing)))
        self.assertEqual([], self.flushLoggedErrors(StoreFailure))

    def test_bug(self) -> None:
        """What is our own fault is logged with a traceback, and no reason to give up."""
        self.use(self.tokens(1, 100.0))
        self.exchange.answers += [ValueError("a bug"), self.tokens(2)]

        self.clock.advance(80.0)
        self.clock.advance(4.0)

        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))
        self.assertEqual(("a2", "a2"), self.numbers())


class UnsavedTests(_Case):
    """New tokens that cannot be written down: the old ones are void, so these are all that there is."""

    def fill_the_disk(self) -> None:
        self.connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )

    def make_room(self) -> None:
        self.connection.execute("DROP TRIGGER full")

    def renew(self, number: int) -> bool:
        self.exchange.answers.append(self.tokens(number))
        return self.successResultOf(self.renewal.renew())

    def test_kept(self) -> None:
        """They are kept in memory, and said to be in danger."""
        self.use(self.tokens(1))
        self.fill_the_disk()

        self.assertEqual((False, ("a2", "a1")), (self.renew(2), self.numbers()))
        self.assertIn("disk full", str(self.standing))

    def test_renewed_again(self) -> None:
        """When they are renewed in turn, what comes takes the place of what is in the store."""
        self.use(self.tokens(1))
        self.fill_the_disk()
        self.renew(2)
        self.make_room()

        self.assertEqual((True, ("a3", "a3")), (self.renew(3), self.numbers()))
        self.assertEqual(["r1", "r2"], [asked["refresh_token"] for asked in self.exchange.asked])
        self.assertEqual("authorized", str(self.standing))

    def test_full_for_long(self) -> None:
        """However often that goes wrong, the last ones count, and not those that the store still has."""
        self.use(self.tokens(1))
        self.fill_the_disk()

        for number in (2, 3, 4):
            self.renew(number)
            self.assertEqual((f"a{number}", "a1"), self.numbers())
        self.make_room()
        self.successResultOf(Deferred.fromCoroutine(self.holding.save_again()))

        self.assertEqual(("a4", "a4"), self.numbers())
        self.assertEqual(["r1", "r2", "r3"], [asked["refresh_token"] for asked in self.exchange.asked])

    def test_over(self) -> None:
        """When they end without having been written down, the old ones that the store still has are forgotten too."""
        self.use(self.tokens(1))
        self.fill_the_disk()
        self.renew(2)
        self.exchange.answers.append(Denied("invalid_grant"))

        self.assertEqual(False, self.successResultOf(self.renewal.renew()))

        self.assertEqual(((None, None), State.LOGIN_NEEDED), (self.numbers(), self.standing.state))
