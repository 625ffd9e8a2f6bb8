"""
Access that ends while many call: real daemons, real relays, and an authorization server that takes whoever shows an old
refresh token for a thief. However many ask, and through however many daemons, one refresh is made.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from twisted.internet import reactor as global_reactor  # noqa: TID251 - a test of the real thing
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from tests.authorization_server import Model, serve
from tests.integration.daemon import Daemon
from tests.integration.wire import StdioClient

reactor: Any = global_reactor

#: Seconds that the token endpoint takes to say what it has decided: meanwhile everybody comes and asks.
_THINKS = 0.5

#: Seconds for all the answers: a refresh, and a lot of room for a busy machine.
_ANSWERED = 10.0

#: Seconds of a short access. A daemon renews it unasked after 70 %, and shows it nobody after 75 %.
_SHORT = 3.2


class _Thoughtful(Resource):
    """
    The authorization server behind a long line: what it does it does at once, what it says of tokens comes later.
    """

    isLeaf = True

    def __init__(self, server: Resource) -> None:
        super().__init__()
        self._server = server

    def render(self, request: Request) -> Any:
        answer = self._server.render(request)
        if request.path != b"/token":
            return answer
        reactor.callLater(_THINKS, self._say, request, answer)
        return NOT_DONE_YET

    def _say(self, request: Request, answer: bytes) -> None:
        # Whoever asked may have been ended meanwhile.
        if request.channel is not None:
            request.write(answer)
            request.finish()


class RefreshTests(TestCase):
    """A user who logged in once, and has one daemon or two on the same state folder."""

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        self.state = os.path.abspath(self.mktemp())
        self.skew = 0.0
        self.model = Model(now=lambda: time.time() + self.skew)
        self.port = serve(reactor, self.model)
        self.port.factory.resource = _Thoughtful(self.port.factory.resource)

    async def tearDown(self) -> None:  # type: ignore[override]  # as above
        await self.port.stopListening()

    # All of these block, so they run in a thread; the authorization server is in the reactor's.

    def daemon(self) -> Daemon:
        """One that is not started yet, with a socket of its own and the state folder of all."""
        return Daemon({"guarded": {"url": self.model.upstream}}, environment={"MCPBRIDGE_STATE_DIR": self.state})

    def log_in(self, daemon: Daemon, lifetime: float = 3600.0) -> float:
        """
        As a human with a browser does.

        @param lifetime: seconds of the access that this gives; what is got for it later lasts.
        @return: the time by which the access had been given.
        """
        self.model.lifetime = lifetime
        begun = daemon.ask(f"login {json.dumps({'server': 'guarded', 'action': 'start'})}")
        with urllib.request.urlopen(begun["url"], timeout=_ANSWERED) as page:
            self.assertEqual(200, page.status)
        self.model.lifetime = 3600.0
        return time.time()

    def relays(self, stack: ExitStack, daemons: Sequence[Daemon], each: int) -> list[StdioClient]:
        """As many clients for each daemon, all of them ready."""
        clients = [
            stack.enter_context(StdioClient(daemon.relay("guarded", "--no-start"), daemon.environment))
            for daemon in daemons
            for _ in range(each)
        ]
        for client in clients:
            client.initialize()
        return clients

    def call_at_once(self, clients: Sequence[StdioClient], each: int) -> list[str]:
        """
        So many calls from each client, before anything is waited for.

        @return: what they were answered with, errors too, in the order of the server's count.
        """
        call = {"name": "whoami", "arguments": {}}
        asked = [(client, client.post("tools/call", call)) for _ in range(each) for client in clients]
        end = time.monotonic() + _ANSWERED
        answers = [client.answer(number, end - time.monotonic()) for client, number in asked]
        said = [
            answer["result"]["content"][0]["text"] if "result" in answer else json.dumps(answer) for answer in answers
        ]
        return sorted(said, key=lambda text: (len(text), text))

    def check(self, said: Sequence[str], calls: int, before: int = 0) -> None:
        """
        Every call was answered and made once; one refresh; nobody was taken for a thief.

        @param before: calls that had been made before these.
        """
        self.assertEqual([f"call {number}" for number in range(before + 1, before + calls + 1)], list(said))
        self.assertEqual((["authorization_code", "refresh_token"], 0), (self.granted(), self.model.seen["reuse"]))

    def granted(self) -> list[str]:
        """What the token endpoint was asked for, in order."""
        return [form["grant_type"] for form in self.model.forms]

    def ahead(self, number: int) -> None:
        """
        Calls at the moment from which a daemon does not show the access any more, when a refresh is under way.

        @param number: of daemons.
        """
        with ExitStack() as stack:
            daemons = [stack.enter_context(self.daemon())]
            given = self.log_in(daemons[0], _SHORT)
            daemons += [stack.enter_context(self.daemon()) for _ in range(number - 1)]
            clients = self.relays(stack, daemons, 10 // number)
            self.assertEqual(10, len(self.call_at_once(clients, 1)))
            self.assertEqual(["authorization_code"], self.granted(), "all this took too long to see anything now")
            time.sleep(max(given + 0.75 * _SHORT - time.time(), 0.0))

            said = self.call_at_once(clients, 5)

            self.check(said, 50, 10)
            self.check(self.call_at_once(clients, 5), 50, 60)
        self.check(said, 50, 10)

    async def test_one_daemon(self) -> None:
        """Fifty calls of five clients, all refused because the access is over: one refresh, fifty answers."""

        def work() -> None:
            with ExitStack() as stack:
                daemon = stack.enter_context(self.daemon())
                self.log_in(daemon)
                clients = self.relays(stack, [daemon], 5)
                self.assertEqual(5, len(self.call_at_once(clients, 1)))
                self.skew = 4000.0

                said = self.call_at_once(clients, 10)

                self.check(said, 50, 5)
            self.check(said, 50, 5)

        await deferToThread(work)

    async def test_two_daemons(self) -> None:
        """The same through two daemons, twenty-five calls each: still one, and both go on with what it gave."""

        def work() -> None:
            with ExitStack() as stack:
                first = stack.enter_context(self.daemon())
                self.log_in(first)
                second = stack.enter_context(self.daemon())
                clients = self.relays(stack, [first, second], 5)
                self.assertEqual(10, len(self.call_at_once(clients, 1)))
                self.skew = 4000.0

                said = self.call_at_once(clients, 5)

                self.check(said, 50, 10)
                self.check(self.call_at_once(clients, 5), 50, 60)
            self.check(said, 50, 10)

        await deferToThread(work)

    async def test_login_elsewhere(self) -> None:
        """
        A client of one daemon was let in with empty lists, and another daemon is logged in to: at its next requests the
        first finds the tools, and calls one; also after a logout and a new login there.
        """

        def work() -> None:
            with ExitStack() as stack:
                daemons = [stack.enter_context(self.daemon()) for _ in range(2)]
                clients = self.relays(stack, daemons, 1)
                for client in clients:
                    self.assertEqual([], client.request("tools/list")["result"]["tools"])
                    refused = client.call("whoami")
                    self.assertEqual("auth_required", refused["error"]["data"]["mcpbridge"]["reason"])

                self.log_in(daemons[0])
                first = clients[1].request("tools/list")["result"]["tools"]
                told = "notifications/tools/list_changed"
                clients[1].wait_for(lambda message: message.get("method") == told, _ANSWERED, told)
                second = clients[1].request("tools/list")["result"]["tools"]
                said = self.call_at_once(clients[1:], 1)
                self.assertNotIn("error", daemons[0].ask('logout {"server": "guarded"}'))
                self.log_in(daemons[0])

                again = self.call_at_once(clients[1:], 1)

                self.assertEqual(([], ["whoami"]), (first, [tool["name"] for tool in second]))
                self.assertEqual((["call 1"], ["call 2"]), (said, again))
                self.assertEqual(["authorization_code"] * 2, self.granted())

        await deferToThread(work)

    async def test_one_daemon_ahead(self) -> None:
        """The access is about to end: the daemon renews it unasked, and fifty calls come in the middle of that."""
        await deferToThread(self.ahead, 1)

    async def test_two_daemons_ahead(self) -> None:
        """The same with two daemons that both want to renew it, and twenty-five calls through each."""
        await deferToThread(self.ahead, 2)

    async def test_after_the_night(self) -> None:
        """Both daemons are started at once, and find that the access has been over for long."""

        def work() -> None:
            evening = self.daemon()
            try:
                evening.start()
                over = self.log_in(evening, _SHORT / 2) + _SHORT / 2
            finally:
                # Its last act is not to be a refresh.
                evening.discard()
            time.sleep(max(over - time.time(), 0.0))
            self.assertEqual(["authorization_code"], self.granted(), "it was killed too late to see anything now")
            with ExitStack() as stack, ThreadPoolExecutor(2) as both:
                daemons = list(both.map(stack.enter_context, [self.daemon(), self.daemon()]))
                clients = self.relays(stack, daemons, 5)

                said = self.call_at_once(clients, 5)

                self.check(said, 50)
            self.check(said, 50)

        await deferToThread(work)
