"""
Tests of L{mcpbridge.oauth.authorizer}, in simulated time.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.authorization import Grant, OAuth
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.oauth.challenge import BearerChallenge
from mcpbridge.core.oauth.clients import ConfiguredClient
from mcpbridge.core.oauth.errors import DiscoveryFailed, IdentityUnavailable, TokenRefused
from mcpbridge.core.oauth.records import Credentials
from mcpbridge.core.oauth.tokens import Denied, TokenSet, Unavailable
from mcpbridge.oauth.errors import StoreFailure, Unready
from mcpbridge.oauth.standing import State
from mcpbridge.oauth.verdict import Retry, Stop, Verdict
from tests.core.oauth.facts import ISSUER, NOW, SERVER
from tests.oauth.authorizerworld import World
from tests.oauth.fakes import DISCOVERY, FakeExchange

_MACHINE = ConfiguredClient("machine", "s")


class _Case(SynchronousTestCase):
    def _credentials(self, world: World) -> Deferred[Credentials | None]:
        return Deferred.fromCoroutine(world.authorizer.credentials())

    def _shown(self, world: World) -> str | None:
        found = self.successResultOf(self._credentials(world))
        return None if found is None else found.tokens.access_token

    def _unauthorized(self, world: World, shown: Credentials | None, again: bool = False) -> Verdict:
        return self.successResultOf(
            Deferred.fromCoroutine(world.authorizer.unauthorized(shown, BearerChallenge(scopes=("mcp",)), again))
        )

    def _insufficient(self, world: World, *scopes: str, operation: str = "POST") -> Verdict:
        challenge = BearerChallenge(error="insufficient_scope", scopes=scopes)
        return self.successResultOf(Deferred.fromCoroutine(world.authorizer.insufficient(challenge, operation)))


class AuthorizerTests(_Case):
    """What is shown, when it is renewed, and when it is given up."""

    def test_kept_fresh(self) -> None:
        """What an earlier daemon has kept is renewed ahead of time with nobody there, until it is stopped."""
        world = World()
        world.keep(world.tokens(1))
        world.exchange.answers += [lambda: world.tokens(2), lambda: world.tokens(3)]

        world.authorizer.start()
        world.clock.pump([100.0] * 16)
        world.authorizer.stop()

        self.successResultOf(world.authorizer.idle())
        self.assertEqual(("a3", []), (self._shown(world), world.clock.getDelayedCalls()))

    def test_not_loaded(self) -> None:
        """That there is something that cannot be read is said at the start, and no reason to fall."""
        world = World()
        world.keep(world.tokens(1))
        world.connection.execute("UPDATE secrets SET sealed = x'00'")

        with capturedLogs() as events:
            world.authorizer.start()

        self.assertEqual(State.FAILING, world.authorizer.state)
        self.assertIn("log out to forget it", formatEvent(events[-1]))
        self.assertFalse(world.authorizer.has_nothing)

    def test_over(self) -> None:
        """Who asks when the login has ended is shown nothing, and a human is needed."""
        world = World()
        world.keep(world.tokens(1, 100.0))
        self._shown(world)
        world.authorizer.stop()
        world.clock.advance(100.0)
        world.exchange.answers.append(Denied("invalid_grant", "gone"))

        self.assertEqual(None, self._shown(world))
        self.assertEqual((None, State.LOGIN_NEEDED), (world.stored(), world.authorizer.state))

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
        world.exchange.discovery = attrs.evolve(DISCOVERY, server=attrs.evolve(SERVER, issuer="https://new.example"))

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
        world = World(oauth=OAuth(Grant.CLIENT, client_id="machine"), exchange=FakeExchange(configured=_MACHINE))
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

    def test_elsewhere_no_use(self) -> None:
        """What the other daemon has is what was refused: a human is asked, and nothing is tried twice."""
        world = World()
        world.keep(attrs.evolve(world.tokens(1), refresh_token=None))
        shown = self.successResultOf(self._credentials(world))

        verdicts = [self._unauthorized(world, shown) for _ in range(3)]

        self.assertEqual([Stop(Loss(Fate.REJECTED, Reason.AUTH_REQUIRED, "open https://x"))] * 3, verdicts)
        self.assertEqual((1, 0), (world.exchange.discovered, world.regained))

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


class DiscoveryTests(_Case):
    """Who is to be asked is not always to be found out."""

    def test_renewed_without(self) -> None:
        """Whose tokens we have is known, so that they are renewed all the same; and that once."""
        world = World()
        world.keep(world.tokens(1))
        shown = self.successResultOf(self._credentials(world))
        world.exchange.discovery = DiscoveryFailed("nobody is there", temporary=True)
        world.exchange.answers.append(world.tokens(2))

        first = self._unauthorized(world, shown)
        second = self._unauthorized(world, self.successResultOf(self._credentials(world)), again=True)

        self.assertEqual(
            (Retry(), Stop(Loss(Fate.REJECTED, Reason.AUTH_FAILED, "it wants authorization, but nobody is there"))),
            (first, second),
        )
        self.assertEqual(1, len(world.exchange.asked))

    def test_no_login(self) -> None:
        """A login that cannot begin is said to whose request was refused."""
        world = World()
        world.authorizer.begin_login = lambda discovery, scopes: fail(IdentityUnavailable("no client may register"))

        verdict = self._unauthorized(world, None)

        self.assertEqual(
            Stop(Loss(Fate.REJECTED, Reason.AUTH_FAILED, "it wants a login, but no client may register")), verdict
        )
        self.assertEqual("failing: no client may register", world.authorizer.summary)


class ScopeTests(_Case):
    """A token is good, but not for this."""

    def test_asked(self) -> None:
        """A human is asked for what there was and for what is wanted."""
        world = World()
        world.keep(world.tokens(1))
        self._shown(world)

        verdict = self._insufficient(world, "admin")

        self.assertEqual(Stop(Loss(Fate.REJECTED, Reason.INSUFFICIENT_SCOPE, "open https://x")), verdict)
        self.assertEqual([("mcp", "admin")], world.invited)

    def test_machine(self) -> None:
        """A machine asks for more itself, and for all of it when it has to ask again."""
        world = World(oauth=OAuth(Grant.CLIENT, client_id="machine"), exchange=FakeExchange(configured=_MACHINE))
        world.exchange.answers += [world.tokens(number, 100.0) for number in range(1, 4)]
        self._unauthorized(world, None)

        verdict = self._insufficient(world, "admin")
        again = self._insufficient(world, "write")

        self.assertEqual((Retry(), Retry()), (verdict, again))
        self.assertEqual(["mcp", "mcp admin", "mcp admin write"], [asked["scope"] for asked in world.exchange.asked])

    def test_not_for_ever(self) -> None:
        """A server that wants for one thing what it was given already is let be; another thing is asked for anew."""
        world = World()
        world.keep(world.tokens(1))
        self._shown(world)

        verdicts = [self._insufficient(world, "admin") for _ in range(3)]
        other = self._insufficient(world, "admin", operation="DELETE")

        self.assertEqual(
            [Fate.REJECTED, Fate.REJECTED, Fate.FAILED, Fate.REJECTED],
            [verdict.loss.fate for verdict in (*verdicts, other) if isinstance(verdict, Stop)],
        )
        self.assertEqual(3, len(world.invited))

    def test_not_found(self) -> None:
        """Nobody to ask."""
        world = World()
        world.keep(world.tokens(1))
        self._shown(world)
        world.exchange.discovery = DiscoveryFailed("nobody is there")

        verdict = self._insufficient(world, "admin")

        self.assertEqual(
            Stop(Loss(Fate.FAILED, Reason.INSUFFICIENT_SCOPE, "it wants more permissions, but nobody is there")),
            verdict,
        )

    def test_elsewhere(self) -> None:
        """A login through another daemon may have brought what is wanted: it is tried before anybody is asked."""
        world = World()
        world.keep(world.tokens(1))
        self._shown(world)
        world.keep(world.tokens(7), 2)

        self.assertEqual((Retry(), "a7"), (self._insufficient(world, "admin"), self._shown(world)))
        self.assertEqual(([], 0), (world.invited, world.exchange.discovered))


class MachineTests(_Case):
    """A token in our own name is to be had for the asking."""

    def world(self, *answers: Any) -> World:
        exchange = FakeExchange(configured=_MACHINE, answers=list(answers))
        return World(oauth=OAuth(Grant.CLIENT, client_id="machine"), exchange=exchange)

    def test_expired(self) -> None:
        """It is shown as long as it lives, and no longer; it is not written down."""
        world = self.world(TokenSet("a1", NOW, NOW + 100.0, "r1", ("mcp",)))
        self._unauthorized(world, None)

        shown = []
        for _ in range(3):
            shown.append(self._shown(world))
            world.clock.advance(50.0)

        self.assertEqual((["a1", "a1", None], None), (shown, world.stored()))
        self.assertEqual([], world.clock.getDelayedCalls())

    def test_refused(self) -> None:
        """Whether it is worth asking again depends on why there is none."""
        for answer, fate, text in (
            (Unavailable("HTTP 503"), Fate.REJECTED, "the authorization server gives no token: HTTP 503"),
            (Denied("invalid_scope"), Fate.FAILED, "the authorization server gives no token: invalid_scope"),
            (TokenRefused("nonsense"), Fate.FAILED, "it wants authorization, but nonsense"),
        ):
            world = self.world(answer)

            verdict = self._unauthorized(world, None)

            self.assertEqual(Stop(Loss(fate, Reason.AUTH_FAILED, text)), verdict)
            self.assertEqual(State.FAILING, world.authorizer.state)

    def test_status(self) -> None:
        """It counts as renewable, also if it never ends; what is wrong is said."""
        world = self.world(TokenSet("a1", NOW))
        self._unauthorized(world, None)
        good = world.authorizer.status()
        world.exchange.answers.append(Denied("invalid_scope"))
        self._unauthorized(world, world.authorizer.current, again=True)

        self.assertEqual(
            {
                "state": "authorized",
                "account": "default",
                "issuer": ISSUER,
                "expires_in": None,
                "renewable": True,
                "scopes": ["mcp"],
            },
            good,
        )
        self.assertEqual(
            {
                **good,
                "state": "failing",
                "trouble": "the authorization server gives no token: invalid_scope",
            },
            world.authorizer.status(),
        )


class LogoutTests(_Case):
    """Everything is forgotten, whatever else happens."""

    def _forgetting(self, world: World) -> Deferred[bool]:
        return Deferred.fromCoroutine(world.authorizer.forget())

    def _gone(self, world: World) -> None:
        self.assertEqual((None, None, State.LOGIN_NEEDED), (self._shown(world), world.stored(), world.authorizer.state))
        self.assertEqual(
            ({"state": "login needed", "account": "default"}, []),
            (world.authorizer.status(), world.clock.getDelayedCalls()),
        )
        self.assertTrue(world.authorizer.has_nothing)

    def test_forgotten(self) -> None:
        """By the server and by us, though nobody has asked for it before."""
        world = World()
        world.keep(world.tokens(1))

        self.assertEqual(True, self.successResultOf(self._forgetting(world)))

        self.assertEqual(["a1"], [tokens.access_token for tokens in world.exchange.revoked])
        self._gone(world)

    def test_nothing(self) -> None:
        """Where there is nothing nobody is told."""
        world = World()

        self.assertEqual(False, self.successResultOf(self._forgetting(world)))

        self.assertEqual([], world.exchange.revoked)
        self._gone(world)

    def test_not_revoked(self) -> None:
        """A server that does not want to know of it changes nothing for us."""
        world = World(exchange=FakeExchange(revocation=TokenRefused("nonsense")))
        world.keep(world.tokens(1))

        self.assertEqual(False, self.successResultOf(self._forgetting(world)))

        self._gone(world)

    def test_unreadable(self) -> None:
        """What cannot be read is forgotten like anything else: it is the way out that the error speaks of."""
        world = World()
        world.keep(world.tokens(1))
        world.connection.execute("UPDATE secrets SET sealed = x'00'")

        self.assertEqual(False, self.successResultOf(self._forgetting(world)))

        self._gone(world)

    def test_while_it_is_renewed(self) -> None:
        """New tokens that come in the middle of it are let go as well."""
        answer: Deferred[Any] = Deferred()
        world = World(exchange=FakeExchange(answers=[answer], revocation=Deferred()))
        world.keep(world.tokens(1))
        world.authorizer.start()
        world.clock.pump([100.0] * 8)

        forgetting = self._forgetting(world)
        answer.callback(world.tokens(2))
        world.exchange.revocation.callback(True)

        self.assertEqual(True, self.successResultOf(forgetting))
        self._gone(world)

    def test_while_a_request_is_refused(self) -> None:
        """What that finds in the store is no login by somebody else."""
        world = World(exchange=FakeExchange(revocation=Deferred()))
        world.keep(attrs.evolve(world.tokens(1), refresh_token=None))
        shown = self.successResultOf(self._credentials(world))

        forgetting = self._forgetting(world)
        self._unauthorized(world, shown)
        world.exchange.revocation.callback(True)

        self.assertEqual(True, self.successResultOf(forgetting))
        self._gone(world)
