"""
Tests of L{mcpbridge.oauth.logins}: a human, a browser and a clock, all of them made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.authorization import OAuth
from mcpbridge.core.errors import ConfigurationError, McpbridgeError
from mcpbridge.core.oauth.attempt import LIFETIME
from mcpbridge.core.oauth.clients import ConfiguredClient
from mcpbridge.core.oauth.discovery import Discovery
from mcpbridge.core.oauth.errors import DiscoveryFailed, IdentityUnavailable, LoginRefused, MetadataRefused
from mcpbridge.core.oauth.tokens import Denied, TokenSet, Unavailable
from mcpbridge.net.guard import FetchFailed
from mcpbridge.oauth.errors import LoginFailed, StoreFailure
from mcpbridge.oauth.imported import Imported
from tests.core.oauth.facts import CLIENT, ISSUER, NOW, REDIRECT, SERVER, UPSTREAM
from tests.oauth.fakes import FakeExchange
from tests.oauth.loginworld import World, browsed

_DEVICE_SERVER = attrs.evolve(SERVER, device_authorization_endpoint=f"{ISSUER}/device")
_CODE_ONLY = attrs.evolve(_DEVICE_SERVER, authorization_endpoint=None)
_TOKENS = TokenSet("access-1", NOW, NOW + 3600.0, "refresh-1", ("mcp",))


class _Case(SynchronousTestCase):
    def begun(self, world: World, **options: bool) -> Mapping[str, object]:
        return self.successResultOf(world.logins.begin(**options))

    def failed(self, deferred: Deferred[Any], *kinds: type[Exception]) -> str:
        return str(self.failureResultOf(deferred, *kinds).value)


class BeginTests(_Case):
    """What is shown to the human."""

    def test_shown(self) -> None:
        """A URL, which is written down before anybody sees it, and somebody listens where it leads back to."""
        world = World()

        said = self.begun(world)

        pending = world.kept()
        assert pending is not None and pending.attempt is not None
        self.assertEqual({"waiting": True, "outcome": "", "url": pending.attempt.url, "redirect": REDIRECT}, dict(said))
        self.assertEqual([world.logins], world.callback.users)

    def test_one_url(self) -> None:
        """Whoever wants a login while one waits is shown the same one, be it an operator or a client."""
        world = World()
        first = self.begun(world)

        invited = self.successResultOf(world.authorizer.begin_login(world.exchange.discovery, ("mcp",)))

        self.assertEqual(first, self.begun(world))
        self.assertEqual(
            f"it wants you to log in: open {first['url']}, or run: python -m mcpbridge login it. Then ask again",
            invited,
        )
        self.assertEqual(1, world.exchange.registered)

    def test_another_url(self) -> None:
        """A new one is made where the old one is almost over, asks for too little, or is of another server."""
        other = attrs.evolve(SERVER, token_endpoint=f"{ISSUER}/elsewhere")
        for seconds, discovery, scopes in (
            (LIFETIME - 100.0, Discovery(UPSTREAM, SERVER, ("mcp",)), ("mcp",)),
            (0.0, Discovery(UPSTREAM, SERVER, ("mcp",)), ("mcp", "admin")),
            (0.0, Discovery(UPSTREAM, SERVER, ("mcp",)), None),
            (0.0, Discovery(UPSTREAM, other, ("mcp",)), ("mcp",)),
        ):
            world = World()
            first = self.begun(world)
            world.clock.advance(seconds)

            self.successResultOf(world.authorizer.begin_login(discovery, scopes))

            self.assertNotEqual(first["url"], world.logins.status()["url"])
            self.assertEqual(1, world.exchange.registered)

    def test_anew(self) -> None:
        """A registration that the server has forgotten is replaced when that is asked for."""
        world = World()
        first = self.begun(world)

        second = self.begun(world, anew=True)

        self.assertEqual(2, world.exchange.registered)
        self.assertIn("client_id=client-1&", str(first["url"]))
        self.assertIn("client_id=client-2&", str(second["url"]))

    def test_impossible(self) -> None:
        """What cannot be is said in a sentence, and nothing waits."""
        weak = attrs.evolve(SERVER, code_challenge_methods=())
        closed = attrs.evolve(SERVER, registration_endpoint=None)
        for discovery, options, kind, text in (
            (DiscoveryFailed("nobody home"), {}, DiscoveryFailed, "nobody home"),
            (Discovery(UPSTREAM, weak, None), {}, MetadataRefused, "PKCE"),
            (Discovery(UPSTREAM, closed, None), {}, IdentityUnavailable, '"callbackPort": 33418'),
            (Discovery(UPSTREAM, SERVER, None), {"device": True}, LoginFailed, "on another device"),
        ):
            world = World(exchange=FakeExchange(discovery))

            said = self.failed(world.logins.begin(**options), kind)

            self.assertIn(text, said)
            self.assertEqual((False, None), (world.logins.status()["waiting"], world.kept()))

    def test_waived(self) -> None:
        """A server that does not say that it supports PKCE may be used, if its user wants that."""
        weak = attrs.evolve(SERVER, code_challenge_methods=())
        world = World(oauth=OAuth(require_pkce=False), exchange=FakeExchange(Discovery(UPSTREAM, weak, None)))

        self.assertIn("code_challenge_method=S256", str(self.begun(world)["url"]))

    def test_no_resource(self) -> None:
        """A server that refuses the parameter is not shown it."""
        world = World(oauth=OAuth(resource=False))

        self.assertNotIn("resource=", str(self.begun(world)["url"]))


class FinishTests(_Case):
    """What comes back."""

    def test_finished(self) -> None:
        """The code is traded for tokens, which are kept; nothing waits or listens any more; who waits for it hears."""
        world = World(exchange=FakeExchange(answers=[_TOKENS]))
        pending_url = self.begun(world)
        pending = world.kept()
        assert pending is not None and pending.attempt is not None

        said = self.successResultOf(world.logins.finish(browsed(pending_url)))

        self.assertEqual({"waiting": False, "outcome": "logged in"}, dict(said))
        self.assertEqual(
            [
                {
                    "grant_type": "authorization_code",
                    "code": "code-1",
                    "redirect_uri": REDIRECT,
                    "code_verifier": pending.attempt.verifier,
                    "resource": UPSTREAM,
                }
            ],
            world.exchange.asked,
        )
        kept = world.credentials()
        assert kept is not None
        self.assertEqual((_TOKENS, "client-1"), (kept.tokens, kept.client.id))
        self.assertEqual((["logged in"], None, []), (world.heard, world.kept(), world.callback.users))
        self.assertEqual(pending.attempt.redirect_uri, kept.client.redirect_uri)

    def test_refused(self) -> None:
        """A wrong answer leaves the login waiting; one that says no, or comes from somebody else, ends it."""
        for more, final, text in (
            ({"state": "another"}, False, "another login"),
            ({"code": ""}, False, "no authorization code"),
            ({"error": "access_denied"}, True, "access_denied"),
            ({"iss": "https://evil.example"}, True, "another authorization server"),
        ):
            world = World()
            begun = self.begun(world)

            failure = self.failureResultOf(world.logins.finish(browsed(begun, **more)), LoginRefused)

            error = failure.value
            assert isinstance(error, LoginRefused)
            status = world.logins.status()
            self.assertEqual((final, not final), (error.final, status["waiting"]), more)
            self.assertIn(text, str(error))
            self.assertEqual(str(error) if final else "", status["outcome"])
            self.assertEqual((final, []), (world.kept() is None, world.exchange.asked))

    def test_nothing_waits(self) -> None:
        """An answer to no login."""
        self.assertIn("no login waits", self.failed(World().logins.finish("code"), LoginRefused))

    def test_no_tokens(self) -> None:
        """A code is good for one try: whatever comes of it, the login is over, and says why."""
        for answer, kind, text in (
            (Denied("invalid_grant", "too late"), LoginFailed, "invalid_grant: too late"),
            (Unavailable("HTTP 503"), LoginFailed, "HTTP 503"),
            (FetchFailed("it did not answer"), FetchFailed, "it did not answer"),
        ):
            world = World(exchange=FakeExchange(answers=[answer]))
            response = browsed(self.begun(world))

            said = self.failed(world.logins.finish(response), kind)

            self.assertIn(text, said)
            self.assertEqual({"waiting": False, "outcome": said}, dict(world.logins.status()))
            self.assertEqual((None, None, []), (world.kept(), world.credentials(), world.heard))
            self.failed(world.logins.finish(response), LoginRefused)

    def test_forgotten_client(self) -> None:
        """Where the server has forgotten our registration the next login makes a new one."""
        world = World(exchange=FakeExchange(answers=[Denied("invalid_client")]))
        self.failed(world.logins.finish(browsed(self.begun(world))), LoginFailed)

        self.begun(world)

        self.assertEqual(2, world.exchange.registered)

    def test_not_kept(self) -> None:
        """Tokens that cannot be written down are not used, and the operator hears that."""
        world = World(exchange=FakeExchange(answers=[_TOKENS]))
        response = browsed(self.begun(world))

        world.connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON secrets BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )

        said = self.failed(world.logins.finish(response), StoreFailure)

        self.assertIn("the disk is full", said)
        self.assertEqual(([], said), (world.heard, world.logins.status()["outcome"]))

    def test_expects(self) -> None:
        """Of several accounts the one whose login waits for this answer."""
        world = World()
        self.assertFalse(world.logins.expects("state=x"))
        response = browsed(self.begun(world))

        self.assertEqual(
            [True, False, False],
            [world.logins.expects(each) for each in (response, response.replace("state=", "state=x"), "nonsense")],
        )

    def test_settled(self) -> None:
        """Who asks while tokens are being fetched is answered when they are there."""
        fetched: Deferred[TokenSet] = Deferred()
        world = World(exchange=FakeExchange(answers=[fetched]))
        finishing = world.logins.finish(browsed(self.begun(world)))

        settled = world.logins.settled()

        self.assertNoResult(settled)
        fetched.callback(_TOKENS)
        self.assertEqual("logged in", self.successResultOf(settled)["outcome"])
        self.successResultOf(finishing)


class LifeTests(_Case):
    """Logins outlive daemons, but not for ever."""

    def test_next_daemon(self) -> None:
        """The next daemon shows the same URL, listens at the same place, and takes the answer."""
        first = World()
        begun = self.begun(first)
        first.logins.stop()
        self.assertEqual(([], []), (first.callback.users, first.clock.getDelayedCalls()))

        second = World(first.connection, exchange=FakeExchange(answers=[_TOKENS]))
        second.logins.start()

        self.assertEqual(begun, second.logins.status())
        self.assertEqual([second.logins], second.callback.users)
        self.assertEqual("logged in", self.successResultOf(second.logins.finish(browsed(begun)))["outcome"])

    def test_too_late_for_the_next_daemon(self) -> None:
        """One that is over is not taken up."""
        first = World()
        self.begun(first)

        second = World(first.connection)
        second.clock.advance(LIFETIME)
        second.logins.start()

        self.assertEqual((False, None, []), (second.logins.status()["waiting"], second.kept(), second.callback.users))

    def test_late(self) -> None:
        """The port is not open for longer than an answer may come."""
        world = World()
        response = browsed(self.begun(world))

        world.clock.advance(LIFETIME)

        self.assertEqual(
            {"waiting": False, "outcome": "nobody finished the login in time"}, dict(world.logins.status())
        )
        self.assertEqual(([], None, []), (world.callback.users, world.kept(), world.clock.getDelayedCalls()))
        self.failed(world.logins.finish(response), LoginRefused)

    def test_cancel(self) -> None:
        """Nobody wants it any more."""
        world = World()
        self.begun(world)

        self.successResultOf(world.logins.cancel())

        self.assertEqual({"waiting": False, "outcome": ""}, dict(world.logins.status()))
        self.assertEqual(([], None, []), (world.callback.users, world.kept(), world.clock.getDelayedCalls()))

    def test_damaged(self) -> None:
        """
        What was written down and cannot be read is no reason to fall: it is said, and the next login is a new one.
        """
        first = World()
        self.begun(first)
        first.connection.execute("UPDATE secrets SET sealed = x'00'")

        second = World(first.connection)
        second.logins.start()

        self.assertNotEqual("", second.logins.status()["outcome"])
        self.assertEqual(False, second.logins.status()["waiting"])


class DeviceTests(_Case):
    """A code that is typed on another device."""

    def world(self, *answers: Any) -> World:
        return World(exchange=FakeExchange(Discovery(UPSTREAM, _DEVICE_SERVER, ("mcp",)), answers=list(answers)))

    def test_shown(self) -> None:
        """The code and where to type it; nobody has to listen for that."""
        world = self.world()

        said = self.begun(world, device=True)

        self.assertEqual(
            {"waiting": True, "outcome": "", "device_url": f"{ISSUER}/code", "user_code": "WDJB-MJHT"}, dict(said)
        )
        self.assertEqual([], world.callback.users)

    def test_only_way(self) -> None:
        """A client of a server that knows no other way is told the code."""
        discovery = Discovery(UPSTREAM, _CODE_ONLY, ("mcp",))
        world = World(exchange=FakeExchange(discovery))

        invited = self.successResultOf(world.authorizer.begin_login(discovery, ("mcp",)))

        self.assertIn(f"open {ISSUER}/code and type WDJB-MJHT", invited)

    def test_asked(self) -> None:
        """It is asked for as often as the server likes, and slower when it says so, until it is done."""
        world = self.world(Denied("authorization_pending"), Denied("slow_down"), Unavailable("away"), _TOKENS)
        self.begun(world, device=True)

        asked = []
        for _ in range(35):
            asked.append(len(world.exchange.asked))
            world.clock.advance(1.0)

        # After 5 s, 5 s more, then 10, then 20 since it was away.
        self.assertEqual([0] * 5 + [1] * 5 + [2] * 10 + [3] * 15, asked)
        self.assertEqual(([], True), (world.heard, world.logins.status()["waiting"]))
        world.clock.advance(5.0)
        self.assertEqual((["logged in"], "logged in"), (world.heard, world.logins.status()["outcome"]))
        self.assertEqual((None, "device-1"), (world.kept(), world.exchange.asked[-1]["device_code"]))

    def test_denied(self) -> None:
        """The human says no over there."""
        world = self.world(Denied("access_denied", "The human said no."))
        self.begun(world, device=True)

        world.clock.advance(5.0)

        self.assertEqual(
            {"waiting": False, "outcome": "access_denied: The human said no."}, dict(world.logins.status())
        )
        self.assertEqual([], world.clock.getDelayedCalls())

    def test_next_daemon(self) -> None:
        """The next daemon goes on asking."""
        first = self.world()
        self.begun(first, device=True)
        first.logins.stop()

        second = World(first.connection, exchange=FakeExchange(answers=[_TOKENS]))
        second.logins.start()
        second.clock.advance(5.0)

        self.assertEqual("logged in", second.logins.status()["outcome"])


class BringTests(_Case):
    """Tokens that somebody else got."""

    def test_brought(self) -> None:
        """They are kept in the name of the client that they were given to."""
        world = World()

        self.successResultOf(world.logins.bring(Imported(_TOKENS, CLIENT)))

        kept = world.credentials()
        assert kept is not None
        self.assertEqual((CLIENT, _TOKENS, SERVER), (kept.client, kept.tokens, kept.server))
        self.assertEqual(("imported", ["logged in"]), (world.logins.status()["outcome"], world.heard))

    def test_whose(self) -> None:
        """What can be renewed needs a client: the one that is configured, if none was brought along."""
        configured = World(exchange=FakeExchange(configured=ConfiguredClient("mine", "secret")))
        nobody = World()
        access_only = World()

        self.successResultOf(configured.logins.bring(Imported(_TOKENS)))
        said = self.failed(nobody.logins.bring(Imported(_TOKENS)), LoginFailed)
        self.successResultOf(access_only.logins.bring(Imported(attrs.evolve(_TOKENS, refresh_token=None))))

        kept = [world.credentials() for world in (configured, nobody, access_only)]
        self.assertEqual(["mine", None, ""], [each and each.client.id for each in kept])
        self.assertIn("without its client_id", said)

    def test_waiting(self) -> None:
        """A login that waits meanwhile is over; where the server is unknown nothing is changed."""
        world = World()
        self.begun(world)
        world.exchange.discovery = DiscoveryFailed("away")
        self.failed(world.logins.bring(Imported(_TOKENS, CLIENT)), DiscoveryFailed)
        self.assertEqual(True, world.logins.status()["waiting"])

        world.exchange.discovery = Discovery(UPSTREAM, SERVER, ("mcp",))
        self.successResultOf(world.logins.bring(Imported(_TOKENS, CLIENT)))

        self.assertEqual((False, []), (world.logins.status()["waiting"], world.callback.users))


class TroubleTests(_Case):
    """What nobody waits for goes into the log."""

    def test_while_asking(self) -> None:
        """A device login that breaks says so, with a traceback only where it is our own fault."""
        for error, tracebacks in ((ConfigurationError("oauth.clientSecret is empty"), 0), (ValueError("a bug"), 1)):
            world = World(exchange=FakeExchange(Discovery(UPSTREAM, _DEVICE_SERVER, None), answers=[error]))
            self.begun(world, device=True)

            world.clock.advance(5.0)

            self.assertEqual({"waiting": False, "outcome": str(error)}, dict(world.logins.status()))
            self.assertEqual((None, []), (world.kept(), world.clock.getDelayedCalls()))
            self.assertEqual(tracebacks, len(self.flushLoggedErrors(ValueError)))
            self.assertIsInstance(error, McpbridgeError if not tracebacks else ValueError)
