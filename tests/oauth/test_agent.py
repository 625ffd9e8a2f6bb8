"""
Tests of L{mcpbridge.oauth.agent}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mcpbridge.core.errors import ConfigurationError, Fate, Loss, Reason, UpstreamUnavailable
from mcpbridge.core.oauth.challenge import BearerChallenge
from mcpbridge.core.oauth.records import Credentials
from mcpbridge.core.oauth.tokens import TokenSet
from mcpbridge.net.producer import MessageProducer
from mcpbridge.oauth.agent import AuthorizingAgent
from mcpbridge.oauth.errors import StoreFailure, Unready
from mcpbridge.oauth.verdict import Retry, Stop
from tests.core.oauth.facts import CLIENT, NOW, SERVER, UPSTREAM


class FakeResponse:
    """A head, and a body that is there at once."""

    def __init__(self, code: int, challenge: str = "", body: bytes = b"no") -> None:
        self.code = code
        self.headers = Headers({b"WWW-Authenticate": [challenge.encode()]} if challenge else {})
        self.body = body
        self.read = False

    def deliverBody(self, protocol: Any) -> None:
        self.read = True
        protocol.makeConnection(_Producer())
        protocol.dataReceived(self.body)
        protocol.connectionLost(Failure(ResponseDone()))


class _Producer:
    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...


@implementer(IAgent)
@attrs.define(eq=False)
class FakeAgent:
    """Answers what it is told to."""

    responses: list[FakeResponse]
    requests: list[tuple[bytes, bytes, str | None, IBodyProducer | None]] = attrs.Factory(list)

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        said = headers.getRawHeaders("authorization") if headers is not None else None
        self.requests.append((method, uri, str(said[0]) if said else None, bodyProducer))
        response: Any = self.responses.pop(0)
        return succeed(response)


@attrs.define(eq=False)
class FakeAuthorizer:
    """Decides what it is told to."""

    shown: list[Any]
    verdicts: list[Any] = attrs.Factory(list)
    heard: list[tuple[Any, ...]] = attrs.Factory(list)

    @property
    def has_nothing(self) -> bool:
        return self.shown == [None]

    async def credentials(self) -> Credentials | None:
        found = self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]
        if isinstance(found, Exception):
            raise found
        return None if found is None else _credentials(found)

    async def unauthorized(self, shown: Any, challenge: Any, again: bool) -> Any:
        self.heard.append((None if shown is None else shown.tokens.access_token, challenge, again))
        return self._verdict()

    async def insufficient(self, challenge: Any, operation: str) -> Any:
        self.heard.append((challenge.scopes, operation))
        return self._verdict()

    def _verdict(self) -> Any:
        verdict = self.verdicts.pop(0)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict


@attrs.define(eq=False)
class FakeStatic:
    """Headers that are there."""

    made: list[Any]
    changes: bool = True
    forgotten: int = 0

    async def headers(self) -> Mapping[bytes, bytes]:
        found: Any = self.made[min(self.forgotten, len(self.made) - 1)]
        if isinstance(found, Exception):
            raise found
        return {b"authorization": found}

    def forget(self) -> None:
        self.forgotten += 1


def _credentials(token: str) -> Credentials:
    return Credentials(SERVER, CLIENT, None, None, TokenSet(token, NOW))


class AgentTests(SynchronousTestCase):
    """What is added to requests, and what becomes of refusals."""

    def _agent(self, responses: list[FakeResponse], authorizer: Any, static: Any = None) -> tuple[Any, FakeAgent]:
        inner = FakeAgent(responses)
        return AuthorizingAgent(inner, Clock(), UPSTREAM, authorizer, static), inner

    def _request(self, agent: Any, uri: str = UPSTREAM, body: Any = None) -> Deferred[Any]:
        requested: Deferred[Any] = agent.request(b"POST", uri.encode(), Headers({b"X": [b"1"]}), body)
        return requested

    def test_door(self) -> None:
        """It is an agent."""
        verifyObject(IAgent, self._agent([], None)[0])

    def test_own_origin(self) -> None:
        """Whatever the path, to its own origin the token goes; to no other, however like it."""
        origin = "https://mcp.example.com"
        for uri, shown in (
            (UPSTREAM, "Bearer a"),
            (f"{origin}/elsewhere?x=1", "Bearer a"),
            (f"{origin}:443/", "Bearer a"),
            ("https://mcp.example.com.evil.example/", None),
            (f"{origin}:8443/", None),
            ("http://mcp.example.com/", None),
            ("https://mcp.example.com@evil.example/", None),
            ("https://evil.example/?https://mcp.example.com", None),
        ):
            agent, inner = self._agent([FakeResponse(200)], FakeAuthorizer(["a"]))
            self.successResultOf(self._request(agent, uri))
            self.assertEqual(shown, inner.requests[0][2], uri)

    def test_nothing_yet(self) -> None:
        """Without credentials the request goes as it is."""
        agent, inner = self._agent([FakeResponse(200)], FakeAuthorizer([None]))

        self.successResultOf(self._request(agent))

        self.assertEqual(None, inner.requests[0][2])

    def test_again(self) -> None:
        """After a 401 the same bytes are sent with what there is then; the refusal was read."""
        refused = FakeResponse(401, 'Bearer scope="x"')
        authorizer = FakeAuthorizer(["a", "b"], [Retry()])
        agent, inner = self._agent([refused, FakeResponse(200)], authorizer)
        body = MessageProducer(b"body")

        response = self.successResultOf(self._request(agent, body=body))

        self.assertEqual((200, True), (response.code, refused.read))
        self.assertEqual(["Bearer a", "Bearer b"], [request[2] for request in inner.requests])
        self.assertEqual([("a", BearerChallenge(scopes=("x",)), False)], authorizer.heard)
        # Another producer: the first may still be writing.
        self.assertEqual([4, 4], [request[3].length for request in inner.requests if request[3] is not None])
        self.assertIsNot(inner.requests[0][3], inner.requests[1][3])

    def test_enough(self) -> None:
        """Three times, then no more, whatever the authorizer hopes."""
        authorizer = FakeAuthorizer(["a"], [Retry()] * 9)
        agent, inner = self._agent([FakeResponse(401, "Bearer")] * 9, authorizer)

        error = self.failureResultOf(self._request(agent), UpstreamUnavailable).value

        self.assertEqual((3, Reason.AUTH_FAILED), (len(inner.requests), error.loss.reason))
        self.assertEqual([False, True, True], [heard[2] for heard in authorizer.heard])

    def test_stopped(self) -> None:
        """What the authorizer says is what the client hears."""
        loss = Loss(Fate.REJECTED, Reason.AUTH_REQUIRED, "open https://x")
        agent, _ = self._agent([FakeResponse(401, "Bearer")], FakeAuthorizer([None], [Stop(loss)]))

        error = self.failureResultOf(self._request(agent), UpstreamUnavailable).value

        self.assertEqual(loss, error.loss)

    def test_forbidden(self) -> None:
        """A 403 that wants more scopes is dealt with; another one is the server's last word."""
        more = FakeResponse(403, 'Bearer error="insufficient_scope", scope="admin"')
        authorizer = FakeAuthorizer(["a"], [Retry()])
        agent, _ = self._agent([more, FakeResponse(403)], authorizer)

        response = self.successResultOf(self._request(agent))

        self.assertEqual((403, False), (response.code, response.read))
        self.assertEqual([(("admin",), f"POST {UPSTREAM}")], authorizer.heard)

    def test_trouble(self) -> None:
        """What stands in the way of asking is told, and whether not a byte was sent."""
        table: list[tuple[Exception, Fate, Reason]] = [
            (StoreFailure("locked"), Fate.FAILED, Reason.AUTH_FAILED),
            (ConfigurationError("no secret"), Fate.FAILED, Reason.AUTH_FAILED),
            (Unready("away"), Fate.NEVER_SENT, Reason.UPSTREAM_UNREACHABLE),
        ]

        for trouble, fate, reason in table:
            agent, inner = self._agent([], FakeAuthorizer([trouble]))
            error = self.failureResultOf(self._request(agent), UpstreamUnavailable).value
            self.assertEqual(Loss(fate, reason, str(trouble)), error.loss)
            self.assertEqual([], inner.requests)
        agent, _ = self._agent([FakeResponse(401)], FakeAuthorizer([None], [StoreFailure("locked")]))
        self.failureResultOf(self._request(agent), UpstreamUnavailable)

    def test_static(self) -> None:
        """Headers that are there; after a refusal they are made anew, once."""
        static = FakeStatic([b"old", b"new"])
        agent, inner = self._agent([FakeResponse(401), FakeResponse(401)], None, static)

        response = self.successResultOf(self._request(agent))

        self.assertEqual(
            (401, ["old", "new"], 1), (response.code, [one[2] for one in inner.requests], static.forgotten)
        )

    def test_fixed(self) -> None:
        """What cannot change is not tried twice."""
        agent, inner = self._agent([FakeResponse(401)], None, FakeStatic([b"old"], changes=False))

        self.successResultOf(self._request(agent))

        self.assertEqual(1, len(inner.requests))

    def test_helper_fails(self) -> None:
        """A program that fails is told of."""
        agent, _ = self._agent([], None, FakeStatic([ConfigurationError("headersHelper exited with status 1")]))

        error = self.failureResultOf(self._request(agent), UpstreamUnavailable).value

        self.assertEqual("headersHelper exited with status 1", error.loss.text)

    def test_headers_are_copied(self) -> None:
        """The caller's headers stay as they are: they are used for every request."""
        agent, _ = self._agent([FakeResponse(200)], FakeAuthorizer(["a"]))
        headers = Headers({b"X": [b"1"]})

        self.successResultOf(agent.request(b"GET", UPSTREAM.encode(), headers))

        self.assertEqual([(b"X", [b"1"])], list(headers.getAllRawHeaders()))
