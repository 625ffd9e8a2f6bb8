"""
Tests of L{mcpbridge.oauth.authorizer}, in simulated time.
"""

from __future__ import annotations

import sqlite3
from itertools import pairwise
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.authorization import Grant, OAuth
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.oauth.challenge import BearerChallenge
from mcpbridge.core.oauth.clients import ConfiguredClient
from mcpbridge.core.oauth.discovery import Discovery
from mcpbridge.core.oauth.errors import DiscoveryFailed, TokenRefused
from mcpbridge.core.oauth.records import Credentials
from mcpbridge.core.oauth.scopes import Scopes
from mcpbridge.core.oauth.tokens import Denied, TokenSet, Unavailable
from mcpbridge.oauth.authorizer import Authorizer
from mcpbridge.oauth.errors import StoreFailure, Unready
from mcpbridge.oauth.standing import State
from mcpbridge.oauth.store import SQLiteTokenStore
from mcpbridge.oauth.verdict import Retry, Stop, Verdict
from mcpbridge.service.state import state_in_memory
from tests.core.oauth.facts import CLIENT, ISSUER, NOW, SERVER, UPSTREAM
from tests.oauth.test_store import memory_store

_DISCOVERY = Discovery(UPSTREAM, SERVER, ("mcp",))


@attrs.define(eq=False)
class FakeExchange:
    """An authorization server that gives what it is told to."""

    answers: list[Any] = attrs.Factory(list)
    asked: list[Any] = attrs.Factory(list)
    discovery: Any = _DISCOVERY
    discovered: int = 0

    async def discover(self, challenge: BearerChallenge | None, known: Any) -> Discovery:
        self.discovered += 1
        if isinstance(self.discovery, Exception):
            raise self.discovery
        found: Discovery = self.discovery
        return found

    async def configured_client(self) -> ConfiguredClient:
        return ConfiguredClient("machine", "s")

    async def tokens(self, server: Any, client: Any, params: Any, previous: Any = None) -> Any:
        self.asked.append(dict(params))
        answer = self.answers.pop(0)
        if isinstance(answer, Deferred):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def revoke(self, server: Any, client: Any, tokens: Any) -> bool:
        return True


class FakeLeases:
    """Always free."""

    def take(self, name: str) -> Deferred[Any]:
        return succeed(lambda: None)


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


class AuthorizerTests(SynchronousTestCase):
    """What is shown, when it is renewed, and when it is given up."""

    def _credentials(self, world: World) -> Deferred[Credentials | None]:
        return Deferred.fromCoroutine(world.authorizer.credentials())

    def _shown(self, world: World) -> str | None:
        found = self.successResultOf(self._credentials(world))
        return None if found is None else found.tokens.access_token

    def _unauthorized(self, world: World, shown: Credentials | None, again: bool = False) -> Verdict:
        return self.successResultOf(
            Deferred.fromCoroutine(world.authorizer.unauthorized(shown, BearerChallenge(scopes=("mcp",)), again))
        )

    def test_proactive(self) -> None:
        """Tokens are renewed at four fifths of their life, over and over, with nobody there."""
        world = World()
        world.keep(world.tokens(1))
        world.authorizer.start()

        for number in range(2, 6):
            world.clock.pump([100.0] * 7)
            self.assertEqual(number - 2, len(world.exchange.asked))
            world.exchange.answers.append(world.tokens(number, 1000.0))
            world.exchange.answers[-1] = attrs.evolve(
                world.exchange.answers[-1], obtained_at=world.now() + 100, expires_at=world.now() + 1100
            )
            world.clock.advance(100.0)

        self.assertEqual("a5", self._shown(world))
        self.assertEqual(5, world.stored().generation)  # type: ignore[union-attr]  # it is there
        world.authorizer.stop()
        self.assertEqual([], world.clock.getDelayedCalls())

    def test_written_first(self) -> None:
        """New tokens are used only when they are kept; if they cannot be, that is said, and tried again."""
        world = World()
        world.keep(world.tokens(1, 100.0))
        self._shown(world)
        world.authorizer.stop()
        world.clock.advance(100.0)
        world.exchange.answers.append(world.tokens(2))
        world.connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )

        self.failureResultOf(self._credentials(world), StoreFailure)
        world.connection.execute("DROP TRIGGER full")

        self.assertEqual("a2", self._shown(world))
        self.assertEqual(2, world.stored().generation)  # type: ignore[union-attr]  # it is there
        self.assertEqual(1, len(world.exchange.asked))

    def test_shared(self) -> None:
        """Many ask while it is renewed; it is renewed once."""
        world = World()
        world.keep(world.tokens(1, 100.0))
        self._shown(world)
        world.authorizer.stop()
        world.clock.advance(100.0)
        answer: Deferred[Any] = Deferred()
        world.exchange.answers.append(answer)

        waiting = [self._credentials(world) for _ in range(50)]
        answer.callback(world.tokens(2))

        self.assertEqual({"a2"}, {self.successResultOf(one).tokens.access_token for one in waiting})  # type: ignore[union-attr]  # all are
        self.assertEqual(1, len(world.exchange.asked))

    def test_still_good(self) -> None:
        """Tokens that are about to end are shown if no others are to be had, and no longer than they live."""
        world = World()
        world.keep(world.tokens(1, 100.0))
        self._shown(world)
        world.authorizer.stop()
        world.clock.advance(80.0)
        world.exchange.answers += [Unavailable("away"), Unavailable("away")]

        self.assertEqual("a1", self._shown(world))
        world.clock.rightNow = 101.0
        error = self.failureResultOf(self._credentials(world), Unready)

        self.assertIn("away", str(error.value))
        self.assertIsNotNone(world.stored())

    def test_patience(self) -> None:
        """A server that is away is asked again, less and less often, and as late as it wants; nothing is forgotten."""
        world = World()
        world.keep(world.tokens(1, 1000.0))
        world.authorizer.start()
        world.exchange.answers += [
            Unavailable("away"),
            TokenRefused("nonsense"),
            Denied("invalid_request"),
            Unavailable("busy", 60.0),
            Unavailable("away"),
            Unavailable("away"),
        ]

        times: list[float] = []
        while world.exchange.answers:
            before = len(world.exchange.asked)
            world.clock.advance(1.0)
            if len(world.exchange.asked) > before:
                times.append(world.clock.seconds())
            self.assertLess(world.clock.seconds(), 3000)

        gaps = [after - before for before, after in pairwise(times)]
        self.assertEqual([4.0, 8.0, 300.0, 60.0, 60.0], gaps)
        self.assertIsNotNone(world.stored())
        self.assertEqual(State.FAILING, world.authorizer.state)

    def test_over(self) -> None:
        """Only that the grant is void is a reason to forget it."""
        world = World()
        world.keep(world.tokens(1, 100.0))
        self._shown(world)
        world.authorizer.stop()
        world.clock.advance(100.0)
        world.exchange.answers.append(Denied("invalid_grant", "gone"))

        self.assertEqual(None, self._shown(world))
        self.assertEqual((None, State.LOGIN_NEEDED), (world.stored(), world.authorizer.state))

    def test_somebody_was_quicker(self) -> None:
        """What another daemon has got meanwhile is taken over, and never deleted by us."""
        world = World()
        world.keep(world.tokens(1, 100.0))
        self._shown(world)
        world.authorizer.stop()
        world.clock.advance(100.0)
        answer: Deferred[Any] = Deferred()
        world.exchange.answers.append(answer)
        waiting = self._credentials(world)
        world.keep(world.tokens(7), 2)

        answer.callback(Denied("invalid_grant", "reuse"))

        self.assertEqual("a7", self.successResultOf(waiting).tokens.access_token)  # type: ignore[union-attr]  # it is there
        self.assertEqual(2, world.stored().generation)  # type: ignore[union-attr]  # it is there

    def test_challenged(self) -> None:
        """A 401 for tokens that are not old yet: renewed once, then a human is asked."""
        world = World()
        world.keep(world.tokens(1))
        shown = self.successResultOf(self._credentials(world))
        world.exchange.answers.append(world.tokens(2))

        first = self._unauthorized(world, shown)
        late = self._unauthorized(world, shown)
        second = self._unauthorized(world, self.successResultOf(self._credentials(world)), again=True)

        self.assertEqual((Retry(), Retry()), (first, late))
        self.assertEqual(Stop(Loss(Fate.REJECTED, Reason.AUTH_REQUIRED, "open https://x")), second)
        self.assertEqual((1, [("mcp",)]), (len(world.exchange.asked), world.invited))

    def test_moved(self) -> None:
        """To an authorization server that took another's place our tokens are not shown."""
        world = World()
        world.keep(world.tokens(1))
        shown = self.successResultOf(self._credentials(world))
        world.exchange.discovery = attrs.evolve(_DISCOVERY, server=attrs.evolve(SERVER, issuer="https://new.example"))

        verdict = self._unauthorized(world, shown)

        self.assertIsInstance(verdict, Stop)
        self.assertEqual(([], [("mcp",)]), (world.exchange.asked, world.invited))

    def test_refusal_stands(self) -> None:
        """Ten calls at once cause one discovery; some seconds later it is looked again."""
        world = World()

        verdicts = [self._unauthorized(world, None) for _ in range(10)]
        world.clock.advance(6.0)
        self._unauthorized(world, None)

        self.assertEqual(1, len(set(map(str, verdicts))))
        self.assertEqual(2, world.exchange.discovered)

    def test_not_found(self) -> None:
        """Nobody to log in to: now, or at all."""
        for temporary, fate in ((True, Fate.REJECTED), (False, Fate.FAILED)):
            world = World()
            world.exchange.discovery = DiscoveryFailed("nobody is there", temporary=temporary)

            verdict = self._unauthorized(world, None)

            self.assertEqual(
                Stop(Loss(fate, Reason.AUTH_FAILED, "it wants authorization, but nobody is there")), verdict
            )

    def test_storm(self) -> None:
        """A machine asks for three tokens in five minutes, and then says that it is no use."""
        world = World(oauth=OAuth(Grant.CLIENT, client_id="machine"))
        world.exchange.answers += [world.tokens(number) for number in range(9)]

        verdicts = []
        for _ in range(5):
            shown = self.successResultOf(self._credentials(world))
            verdicts.append(type(self._unauthorized(world, shown, again=True)))
            world.clock.advance(6.0)

        self.assertEqual([Retry, Retry, Retry, Stop, Stop], verdicts)
        self.assertEqual(3, len(world.exchange.asked))
        self.assertEqual(None, world.stored())

    def test_elsewhere(self) -> None:
        """A login made through another daemon is noticed by one that was refused, and told to those who wait."""
        world = World()
        self._unauthorized(world, None)
        world.keep(world.tokens(1))

        verdict = self._unauthorized(world, None)
        late = self._unauthorized(world, None)

        self.assertEqual((Retry(), Retry(), "a1"), (verdict, late, self._shown(world)))
        self.assertEqual((1, 1, State.AUTHORIZED), (world.exchange.discovered, world.regained, world.authorizer.state))

    def test_anew_elsewhere(self) -> None:
        """One of another daemon after a logout there is numbered from the start: it is the newer one all the same."""
        for generation in (1, 5, 9):
            world = World()
            world.keep(world.tokens(1), 5)
            shown = self.successResultOf(self._credentials(world))
            world.store.forget_all(world.authorizer.upstream, "default")
            world.keep(world.tokens(7), generation)

            verdict = self._unauthorized(world, shown)

            self.assertEqual((Retry(), "a7", 0), (verdict, self._shown(world), len(world.exchange.asked)))

    def test_anew_meanwhile(self) -> None:
        """The same while the old ones are being renewed, which ends with a refusal: nothing is deleted."""
        world = World()
        world.keep(world.tokens(1, 100.0))
        self._shown(world)
        world.authorizer.stop()
        world.clock.advance(100.0)
        answer: Deferred[Any] = Deferred()
        world.exchange.answers.append(answer)
        waiting = self._credentials(world)
        world.store.forget_all(world.authorizer.upstream, "default")
        world.keep(world.tokens(7))

        answer.callback(Denied("invalid_grant", "revoked"))

        self.assertEqual("a7", self.successResultOf(waiting).tokens.access_token)  # type: ignore[union-attr]  # it is there
        self.assertEqual("a7", world.stored().tokens.access_token)  # type: ignore[union-attr]  # likewise

    def test_elsewhere_no_use(self) -> None:
        """What the other daemon has is what was refused: a human is asked, and nothing is tried twice."""
        world = World()
        world.keep(attrs.evolve(world.tokens(1), refresh_token=None))
        shown = self.successResultOf(self._credentials(world))

        verdicts = [self._unauthorized(world, shown) for _ in range(3)]

        self.assertEqual([Stop(Loss(Fate.REJECTED, Reason.AUTH_REQUIRED, "open https://x"))] * 3, verdicts)
        self.assertEqual((1, 0), (world.exchange.discovered, world.regained))

    def test_unsaved_elsewhere(self) -> None:
        """What could not be written down is newer than what is written, unless somebody else wrote that since."""
        for elsewhere, expected in ((False, "a2"), (True, "a7")):
            world = World()
            world.keep(world.tokens(1, 100.0))
            self._shown(world)
            world.authorizer.stop()
            world.clock.advance(100.0)
            world.exchange.answers.append(world.tokens(2))
            world.connection.execute(
                "CREATE TRIGGER full BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'disk full'); END"
            )
            self.failureResultOf(self._credentials(world), StoreFailure)
            world.connection.execute("DROP TRIGGER full")
            if elsewhere:
                world.keep(world.tokens(7))

            verdict = self._unauthorized(world, self.successResultOf(self._credentials(world)), again=True)

            self.assertIsInstance(verdict, Stop)
            self.assertEqual(expected, self._shown(world))

    def test_numbers(self) -> None:
        """A number stands for one set of tokens for ever, also when everything was forgotten in between."""
        world = World()
        numbers = []

        for number in range(1, 4):
            credentials = Credentials(SERVER, CLIENT, UPSTREAM, ("mcp",), world.tokens(number))
            self.successResultOf(
                Deferred.fromCoroutine(world.authorizer.accept(world.authorizer.key(ISSUER), credentials))
            )
            numbers.append(world.stored().generation)  # type: ignore[union-attr]  # it is there
            self.successResultOf(Deferred.fromCoroutine(world.authorizer.forget()))
            world.clock.advance(1.0)

        self.assertEqual(sorted(set(numbers)), numbers)

    def test_store_fails(self) -> None:
        """What cannot be read is said, and looked at again."""
        world = World()
        world.connection.execute("ALTER TABLE secrets RENAME TO elsewhere")

        self.failureResultOf(self._credentials(world), StoreFailure)
        world.connection.execute("ALTER TABLE elsewhere RENAME TO secrets")

        self.assertEqual(None, self._shown(world))

    def test_status(self) -> None:
        """For an operator, without a secret."""
        world = World()
        world.keep(world.tokens(1))
        self._shown(world)

        self.assertEqual(
            {
                "state": "authorized",
                "account": "default",
                "issuer": ISSUER,
                "expires_in": 1000,
                "renewable": True,
                "scopes": ["mcp"],
            },
            world.authorizer.status(),
        )
        self.assertNotIn("'a1'", repr(world.authorizer))
