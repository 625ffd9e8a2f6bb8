"""
Tests of L{mcpbridge.service.authorizers}: who has an account, and what is said to an operator. What goes over the
network is in L{tests.integration.test_authorizers}.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IAgent
from zope.interface import implementer

from mcpbridge.configuration import ChildUpstream, HTTPUpstream, Upstream
from mcpbridge.configuration.authorization import Authorization, OAuth, Secret
from mcpbridge.core.oauth.clients import Client
from mcpbridge.core.oauth.metadata import canonical_resource
from mcpbridge.core.oauth.records import Credentials, Key
from mcpbridge.core.oauth.tokens import TokenSet
from mcpbridge.oauth.agent import AuthorizingAgent
from mcpbridge.service.authorizers import Authorizers
from tests.core.oauth.facts import ISSUER, SERVER

_URL = "https://mcp.example.com/mcp"


class _Reactor(MemoryReactorClock):
    """One whose shutdown triggers can be taken back."""

    def removeSystemEventTrigger(self, triggerID: Any) -> None:
        pass


@implementer(IAgent)
class _Agent:
    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Any:
        raise AssertionError("nothing is asked here")


def _http(name: str, url: str = _URL, oauth: OAuth | None = OAuth(), bearer: str = "") -> HTTPUpstream:  # noqa: B008 - a fact
    return HTTPUpstream(name, url, authorization=Authorization(oauth, Secret(text=bearer) if bearer else None))


class AuthorizersTests(SynchronousTestCase):
    """One daemon's worth, whose store works at once."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.makedirs(self.folder, 0o700)
        self.reactor = _Reactor()
        # Not started: without its thread all is done on the spot.
        self.authorizers = Authorizers(self.reactor, self.folder, {})
        self.stopped = False
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """Once."""
        if not self.stopped:
            self.stopped = True
            self.successResultOf(self.authorizers.stop())

    def order(self, verb: str, order: Any) -> Mapping[str, Any]:
        answered = self.authorizers.control(f"{verb} {order if isinstance(order, str) else json.dumps(order)}")
        assert answered is not None
        return self.successResultOf(answered)

    def keep(self, url: str) -> None:
        """What an earlier daemon has written down."""
        credentials = Credentials(SERVER, Client("me"), None, None, TokenSet("access-1", 0.0))
        self.successResultOf(self.authorizers._store.save(Key(canonical_resource(url), ISSUER), credentials, None))

    def test_accounts(self) -> None:
        """Every server behind a URL has one, and says how it stands; others have nothing to log in to."""
        self.keep("https://in.example/mcp")
        upstreams: list[Upstream] = [
            _http("out"),
            _http("in", "https://in.example/mcp"),
            _http("key", oauth=None, bearer="token"),
            ChildUpstream("child", "true"),
        ]

        self.authorizers.serve(upstreams)

        self.assertEqual(
            {"out": "unknown", "in": "authorized", "key": None, "child": None, "nobody": None},
            {name: self.authorizers.status(name) for name in ("out", "in", "key", "child", "nobody")},
        )

    def test_reload(self) -> None:
        """Who is as before keeps what it has; who was changed begins anew; who is gone is gone; URLs stay."""
        self.authorizers.serve([_http("same"), _http("changed"), _http("gone")])
        self.authorizers.decorate(_http("https://adhoc.example/mcp", "https://adhoc.example/mcp"))
        before = dict(self.authorizers._accounts)

        self.authorizers.serve([_http("same"), _http("changed", oauth=OAuth(client_id="me")), _http("new")])

        after = self.authorizers._accounts
        self.assertEqual({"same", "changed", "new", "https://adhoc.example/mcp"}, set(after))
        self.assertEqual(
            [True, False, True],
            [after[name] is before[name] for name in ("same", "changed", "https://adhoc.example/mcp")],
        )

    def test_decorate(self) -> None:
        """All transports of a server share one account, also before it is served."""
        upstream = _http("it")

        decorated = [self.authorizers.decorate(upstream)(_Agent()) for _ in range(2)]

        self.assertEqual([AuthorizingAgent] * 2, [type(agent) for agent in decorated])
        self.assertEqual(["it"], list(self.authorizers._accounts))

    def test_stop(self) -> None:
        """After that there are no accounts and no timers."""
        self.authorizers.serve([_http("it")])

        self.stop()

        self.assertEqual(({}, []), (self.authorizers._accounts, self.reactor.getDelayedCalls()))

    def test_not_ours(self) -> None:
        """Other orders are for others."""
        self.assertEqual([None] * 3, [self.authorizers.control(line) for line in ("status", "", "loginx {}")])

    def test_mistakes(self) -> None:
        """What cannot be done is said in an answer, whatever was written."""
        self.authorizers.serve([_http("linear"), _http("key", oauth=None, bearer="hush")])
        nonsense = "this is no order that this version understands"
        for order, error in (
            ("", nonsense),
            ("not JSON", nonsense),
            ("[]", nonsense),
            ("7", nonsense),
            ("{}", nonsense),
            ("[" * 100_000, nonsense),
            ({"server": "liner"}, "did you mean linear"),
            ({"server": 7}, "there is no server '7' behind a URL"),
            ({"server": "\x1b[2J"}, "there is no server '\\\\x1b[2J' behind a URL"),
            ({"server": "key"}, "key has a token or a header in the configuration"),
            ({"server": "linear", "action": "dance"}, "there is no such action"),
            ({"server": "linear", "action": ["start"]}, "there is no such action"),
            ({"server": "linear", "action": "finish", "response": "code"}, "no login waits"),
            ({"server": "linear", "action": "import", "tokens": "x"}, "no JSON object with an access_token"),
            ({"server": "linear", "action": "import"}, "no JSON object with an access_token"),
        ):
            answer = self.order("login", order)

            self.assertIn(error, str(answer["error"]), order)
            self.assertNotIn("hush", str(answer))

    def test_status(self) -> None:
        """How a login stands, and whose access there is; no secret is in it."""
        self.keep(_URL)
        self.authorizers.serve([_http("linear")])

        for action in ("status", "cancel"):
            self.assertEqual(
                {
                    "waiting": False,
                    "outcome": "",
                    "authorization": {
                        "state": "authorized",
                        "account": "default",
                        "issuer": ISSUER,
                        "expires_in": None,
                        "renewable": False,
                        "scopes": [],
                    },
                },
                dict(self.order("login", {"server": "linear", "action": action})),
            )

    def test_logout(self) -> None:
        """What is kept is forgotten, also where the server offers no way to be told."""
        self.keep(_URL)
        self.authorizers.serve([_http("linear")])

        said = self.order("logout", {"server": "linear"})

        self.assertEqual(({"revoked": False}, "login needed"), (said, self.authorizers.status("linear")))
        self.assertIsNone(self.successResultOf(self.authorizers._store.load(canonical_resource(_URL), "default")))

    def test_url(self) -> None:
        """A URL that is in no configuration has an account of its own as soon as somebody names it."""
        said = self.order("login", {"server": _URL, "action": "status"})

        self.assertEqual((False, [_URL]), (said["waiting"], list(self.authorizers._accounts)))
