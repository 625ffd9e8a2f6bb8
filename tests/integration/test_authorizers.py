"""
Being let in, from the first 401 to the logout, over real sockets and a real database.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from twisted.internet import reactor as global_reactor  # noqa: TID251 - a test of the real thing
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, readBody
from twisted.web.http_headers import Headers

from mcpbridge.configuration import HTTPUpstream
from mcpbridge.configuration.authorization import Authorization, Grant, OAuth, Secret
from mcpbridge.core.errors import Loss, Reason, UpstreamUnavailable
from mcpbridge.net.agent import HTTPClient, PreparedURL, http_client
from mcpbridge.net.producer import MessageProducer
from mcpbridge.service.authorizers import Authorizers
from tests.authorization_server import Family, Model, serve

reactor: Any = global_reactor

_CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}}


class LetInTests(TestCase):
    """One upstream, one authorization server, and us."""

    timeout = 10

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        self.folder = self.mktemp()
        self.skew = 0.0
        self.model = Model(now=self.now)
        self.port = serve(reactor, self.model)
        self.clients: list[HTTPClient] = []
        self.authorizers = self.begin()

    async def tearDown(self) -> None:  # type: ignore[override]  # as above
        for client in self.clients:
            await client.close()
        await self.authorizers.stop()
        await self.port.stopListening()

    def now(self) -> float:
        """The authorization server's clock."""
        return time.time() + self.skew

    def begin(self) -> Authorizers:
        """A daemon's worth."""
        os.makedirs(self.folder, 0o700, exist_ok=True)
        authorizers = Authorizers(reactor, self.folder, {"PATH": os.environ["PATH"], "SECRET": "s3cret"})
        authorizers.start()
        return authorizers

    def upstream(self, **oauth: Any) -> HTTPUpstream:
        return HTTPUpstream("guarded", self.model.upstream, authorization=Authorization(OAuth(**oauth)))

    def client(self, upstream: HTTPUpstream | None = None, authorizers: Authorizers | None = None) -> HTTPClient:
        """A client as a transport has it."""
        found = authorizers or self.authorizers
        upstream = upstream or self.upstream()
        found.serve([upstream])
        client = http_client(reactor, decorate=found.decorate(upstream))
        self.clients.append(client)
        return client

    async def call(self, client: HTTPClient) -> Any:
        """One call of a tool: its text, or the loss."""
        try:
            response = await client.perform(
                "POST",
                PreparedURL.prepare(self.model.upstream),
                Headers({b"Content-Type": [b"application/json"]}),
                MessageProducer(json.dumps(_CALL).encode()),
                reactor,
            )
        except UpstreamUnavailable as error:
            return error.loss
        body = await _body(response)
        return json.loads(body)["result"]["content"][0]["text"] if response.code == 200 else response.code

    async def order(self, verb: str, **order: Any) -> Mapping[str, Any]:
        """What an operator says to the daemon."""
        answered = self.authorizers.control(f"{verb} {json.dumps({'server': 'guarded', **order})}")
        assert answered is not None
        return await answered

    async def open(self, url: str) -> str:
        """What a browser does: the URL it was redirected to."""
        response = await Agent(reactor).request(b"GET", url.encode())
        await _body(response)
        if response.code != 302:
            return str(response.code)
        return str(response.headers.getRawHeaders("location")[0])

    async def visit(self, url: str) -> int:
        """And then it goes there."""
        response = await Agent(reactor).request(b"GET", (await self.open(url)).encode())
        page = await _body(response)
        self.assertNotIn(b"code-", page)
        return int(response.code)

    async def log_in(self, client: HTTPClient) -> None:
        loss = await self.call(client)
        self.assertEqual(200, await self.visit(_url(loss)))

    async def test_browser(self) -> None:
        """A call says at once what to open; the browser comes back; the same client's next call is answered."""
        client = self.client()

        loss = await self.call(client)
        self.assertEqual(Reason.AUTH_REQUIRED, loss.reason)
        self.assertIn("python -m mcpbridge login guarded", loss.text)
        again = await self.call(client)
        page = await self.visit(_url(loss))
        answer = await self.call(client)

        self.assertEqual((loss, 200, "call 1"), (again, page, answer))
        self.assertEqual(1, self.model.seen["/register"])
        (form,) = self.model.forms
        self.assertEqual(self.model.upstream, form["resource"])

    async def test_paste(self) -> None:
        """Without a browser that can reach us the address of the page that did not load is pasted."""
        client = self.client()
        started = await self.order("login")
        redirected = await self.open(started["url"])

        wrong = await self.order("login", action="finish", response=redirected.replace("state=", "state=x"))
        right = await self.order("login", action="finish", response=redirected)

        self.assertEqual((False, "logged in"), (wrong["final"], right["outcome"]))
        self.assertEqual("call 1", await self.call(client))

    async def test_restart(self) -> None:
        """A login that waits, and one that was made, outlive the daemon."""
        self.client()
        started = await self.order("login")
        await self.authorizers.stop()
        self.authorizers = self.begin()
        client = self.client()
        await self.order("login", action="status")
        page = await self.visit(started["url"])
        await self.authorizers.stop()
        self.authorizers = self.begin()

        answer = await self.call(self.client())

        self.assertEqual((200, "call 1"), (page, answer))
        self.assertIsNotNone(client)

    async def test_denied(self) -> None:
        """The human says no; the next call offers the choice again."""
        client = self.client()
        self.model.consent = False
        loss = await self.call(client)

        page = await self.visit(_url(loss))
        status = await self.order("login", action="status")

        self.assertEqual(400, page)
        self.assertIn("The human said no.", status["outcome"])
        self.model.consent = True
        await deferLater(reactor, 0.01)
        self.authorizers._accounts["guarded"].authorizer._settled = None  # type: ignore[union-attr]  # not to wait for it
        await self.log_in(client)
        self.assertEqual("call 1", await self.call(client))

    async def test_one_refresh(self) -> None:
        """Fifty calls across an expiry cause one refresh, and all are answered."""
        client = self.client()
        await self.log_in(client)
        await self.call(client)
        self.skew = 4000.0

        answers = await gatherResults([Deferred.fromCoroutine(self.call(client)) for _ in range(50)])

        self.assertEqual(50, len({answer for answer in answers if str(answer).startswith("call")}))
        self.assertEqual(1, _count(self.model, "refresh_token"))
        self.assertEqual(0, self.model.seen["reuse"])

    async def test_two_daemons(self) -> None:
        """
        Two daemons on one store: each takes over what the other got, nobody uses an old token, nobody is logged out.
        """
        first = self.client()
        await self.log_in(first)
        other = self.begin()
        try:
            second = self.client(authorizers=other)
            self.assertEqual(["call 1", "call 2"], [await self.call(first), await self.call(second)])
            for _ in range(4):
                self.skew += 4000.0
                for client in (first, second):
                    self.assertIn("call", str(await self.call(client)))
        finally:
            await other.stop()

        self.assertEqual((4, 0), (_count(self.model, "refresh_token"), self.model.seen["reuse"]))

    async def test_two_daemons_at_once(self) -> None:
        """Fifty calls each through two daemons on one store, across an expiry: one refresh."""
        first = self.client()
        await self.log_in(first)
        other = self.begin()
        try:
            second = self.client(authorizers=other)
            await gatherResults([Deferred.fromCoroutine(self.call(client)) for client in (first, second)])
            self.skew = 4000.0

            answers = await gatherResults(
                [Deferred.fromCoroutine(self.call(client)) for _ in range(50) for client in (first, second)]
            )
        finally:
            await other.stop()

        self.assertEqual(100, sum(str(answer).startswith("call") for answer in answers))
        self.assertEqual((1, 0), (_count(self.model, "refresh_token"), self.model.seen["reuse"]))

    async def test_network_trouble(self) -> None:
        """A token endpoint that is away, or broken, costs nothing but time."""
        client = self.client()
        await self.log_in(client)
        await self.call(client)
        self.skew = 4000.0
        for answer in ((500, {}), (404, {}), (429, {}), (400, {"error": "invalid_request"})):
            self.model.refuse["/token"] = answer
            self.authorizers._accounts["guarded"].authorizer._settled = None  # type: ignore[union-attr]  # as above
            self.assertIsInstance(await self.call(client), Loss)
        self.model.refuse.clear()
        self.authorizers._accounts["guarded"].authorizer._settled = None  # type: ignore[union-attr]  # as above

        self.assertEqual("call 2", await self.call(client))

    async def test_revoked(self) -> None:
        """A grant that the server has ended is over: the next call asks for a login."""
        client = self.client()
        await self.log_in(client)
        for family, _, _ in self.model.access.values():
            family.revoked = True

        loss = await self.call(client)

        self.assertEqual(Reason.AUTH_REQUIRED, loss.reason)
        await self.log_in(client)
        self.assertEqual("call 1", await self.call(client))

    async def test_step_up(self) -> None:
        """A call that needs more asks for both, what there was and what is missing; not for ever."""
        client = self.client()
        await self.log_in(client)
        self.model.needed = "admin"

        loss = await self.call(client)

        self.assertEqual(Reason.INSUFFICIENT_SCOPE, loss.reason)
        self.assertIn("scope=mcp+admin", _url(loss))
        self.assertEqual(200, await self.visit(_url(loss)))
        self.assertEqual("call 1", await self.call(client))
        self.model.needed = "never"
        losses = [await self.call(client) for _ in range(3)]
        self.assertNotIn("http", losses[-1].text)

    async def test_logout(self) -> None:
        """The server forgets, and so do we."""
        client = self.client()
        await self.log_in(client)

        said = await self.order("logout")

        self.assertEqual({"revoked": True}, said)
        self.assertEqual(Reason.AUTH_REQUIRED, (await self.call(client)).reason)

    async def test_device(self) -> None:
        """A code is typed elsewhere; nothing comes back here, and we find out."""
        client = self.client()
        started = await self.order("login", device=True)
        self.assertEqual("WDJB-MJHT", started["user_code"])
        self.model.device_approved = True

        for _ in range(100):
            if (await self.order("login", action="status"))["outcome"]:
                break
            await deferLater(reactor, 0.05)

        self.assertEqual("call 1", await self.call(client))

    async def test_import(self) -> None:
        """Tokens that another program got are used, renewed and kept."""
        client = self.client()
        registered = self.model.register({"application_type": "native", "redirect_uris": ["http://127.0.0.1:1/x"]})[1]
        from_elsewhere = self.model._grant(_family(self.model, registered["client_id"]))[1]

        said = await self.order(
            "login", action="import", tokens={**from_elsewhere, "client_id": registered["client_id"]}
        )

        self.assertEqual("imported", said["outcome"])
        self.assertEqual("call 1", await self.call(client))
        self.skew = 4000.0
        self.assertEqual("call 2", await self.call(client))

    async def test_client_credentials(self) -> None:
        """A client of its own right needs no human, and gets another token when one ends."""
        self.model.static_clients["machine"] = "s3cret"
        secret = Secret(command=("printenv", "SECRET"))
        client = self.client(self.upstream(grant=Grant.CLIENT, client_id="machine", client_secret=secret))

        self.assertEqual("call 1", await self.call(client))
        self.skew = 4000.0
        self.assertEqual("call 2", await self.call(client))
        self.assertEqual(2, _count(self.model, "client_credentials"))

    async def test_storm(self) -> None:
        """A server that takes no token whatever is not asked for ever."""
        self.model.static_clients["machine"] = "s3cret"
        client = self.client(
            self.upstream(grant=Grant.CLIENT, client_id="machine", client_secret=Secret(text="s3cret"))
        )
        self.model.lifetime = -1.0

        losses = [await self.call(client) for _ in range(20)]

        self.assertEqual({Reason.AUTH_FAILED}, {loss.reason for loss in losses})
        self.assertLessEqual(_count(self.model, "client_credentials"), 3)

    async def test_bearer(self) -> None:
        """A token that is there needs no OAuth, and a file is read again when it was refused."""
        path = os.path.join(self.folder, "token")
        _write(path, "old")
        terms = Authorization(None, Secret(file=path))
        client = self.client(HTTPUpstream("guarded", self.model.upstream, authorization=terms))

        self.assertEqual(401, await self.call(client))
        _write(path, self.model._grant(_family(self.model, "x"))[1]["access_token"])

        self.assertEqual("call 1", await self.call(client))
        self.assertEqual(0, self.model.seen["/register"])

    async def test_helper(self) -> None:
        """A program makes the headers, knows for whom, and is asked again when they are refused."""
        path = os.path.join(self.folder, "token")
        _write(path, "old")
        script = 'printf \'{"Authorization": "Bearer %s", "X-For": "%s"}\' "$(cat "$0")" "$MCP_SERVER_NAME"'
        terms = Authorization(None, None, ("sh", "-c", script, os.path.abspath(path)))
        client = self.client(HTTPUpstream("guarded", self.model.upstream, authorization=terms))

        self.assertEqual(401, await self.call(client))
        _write(path, self.model._grant(_family(self.model, "x"))[1]["access_token"])

        self.assertEqual("call 1", await self.call(client))

    async def test_other_origin(self) -> None:
        """What lets us in is shown to nobody else."""
        client = self.client()
        await self.log_in(client)
        other = Model(now=self.now)
        port = serve(reactor, other)
        try:
            response = await client.perform("GET", PreparedURL.prepare(f"{other.base}/mcp"), Headers(), None, reactor)
            await _body(response)
        finally:
            await port.stopListening()

        self.assertEqual((401, 0), (response.code, other.seen["/token"]))


def _url(loss: Loss) -> str:
    return loss.text.split("open ")[1].split(", or")[0]


def _count(model: Model, grant: str) -> int:
    return sum(form["grant_type"] == grant for form in model.forms)


def _family(model: Model, client: str) -> Any:
    return Family(client, "mcp", model.upstream)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _body(response: Any) -> Deferred[bytes]:
    body: Deferred[bytes] = readBody(response)
    return body
