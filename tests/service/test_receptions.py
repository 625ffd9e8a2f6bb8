"""
Tests for L{mcpbridge.service.receptions} and L{mcpbridge.service.sessions}.
"""

import itertools
import json

from msgspec import Raw
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration import ChildUpstream, Settings, Sharing
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Batch, Error, Message, Notification, Request, RequestId, Result, decode
from mcpbridge.service.receptions import Reception
from mcpbridge.service.snapshots import SnapshotStore
from mcpbridge.service.upstreams import UpstreamService
from tests.fakes import FakeClientTransport, Server

GONE = Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "gone")


def opening(version: str = "2025-06-18") -> Request:
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    return Request(0, "initialize", Raw(json.dumps(params).encode()))


def call(request_id: RequestId, tool: str = "echo") -> Request:
    return Request(request_id, "tools/call", Raw(b'{"name":"%b"}' % tool.encode()))


def code(answer: Result | Error) -> int:
    assert isinstance(answer, Error)
    return answer.error.code


def reason(answer: Result | Error) -> str:
    assert isinstance(answer, Error)
    assert answer.error.data is not None
    return str(json.loads(bytes(answer.error.data))["mcpbridge"]["reason"])


class ReceptionTests(SynchronousTestCase):
    """One client, its link, and the server behind it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = Server(self.clock)
        self.numbers = itertools.count(1)
        self.ended: list[Reception] = []
        self.service = self.make_service()

    def make_service(self, settings: Settings | None = None) -> UpstreamService:
        configured = ChildUpstream("s", "true", (), {}, "/srv", settings or Settings())
        snapshots = SnapshotStore.in_memory()
        return UpstreamService(configured, self.clock, self.server.make, snapshots, self.numbers, lambda: 0.5)

    def start(self, transport: FakeClientTransport) -> Reception:
        session = Reception(self.service, "/", transport, self.clock, self.numbers, self.numbers, self.ended.append)
        session.start()
        self.settle()
        return session

    def settle(self) -> None:
        for _ in range(4):
            self.clock.advance(0)

    def say(self, session: Reception, *messages: Message) -> None:
        for message in messages:
            session.received(message, None)
        self.settle()

    def opened(self, version: str = "2025-06-18") -> tuple[Reception, FakeClientTransport]:
        transport = FakeClientTransport()
        session = self.start(transport)
        self.say(session, opening(version), Notification("notifications/initialized"))
        transport.sent.clear()
        return session, transport

    def test_call(self) -> None:
        """A call goes to the server and its answer comes back under the client's id."""
        session, transport = self.opened()

        self.say(session, call("a"))

        self.assertEqual([Result("a", Raw(b'{"content":[]}'))], transport.sent)

    def test_gone(self) -> None:
        """When the client is gone its calls are cancelled, the link is free again, and its owner is told once."""
        session, _ = self.opened()
        self.say(session, call(1, "slow"))

        session.disconnected(GONE)
        session.disconnected(GONE)

        (server,) = self.server.transports
        self.assertIn("notifications/cancelled", [m.method for m in server.sent if isinstance(m, Notification)])
        self.assertEqual([session], self.ended)
        self.assertEqual(0, next(iter(self.service._leases)).bridge.sessions)

    def test_cancelled_is_forgotten(self) -> None:
        """A cancelled request is closed with the relay, since no answer will do that."""
        session, transport = self.opened()
        self.say(session, call(7, "slow"))

        self.say(session, Notification("notifications/cancelled", Raw(b'{"requestId":7}')))

        self.assertEqual(([7], []), (transport.forgotten, transport.sent))

    def test_remembers_and_restores(self) -> None:
        """The next daemon goes on with the client: it is not answered anew, and its next call works."""
        _, transport = self.opened()
        self.service = self.make_service()
        heir = FakeClientTransport(transport.state)

        session = self.start(heir)
        self.say(session, call(5))

        self.assertEqual([Result(5, Raw(b'{"content":[]}'))], heir.sent)

    def test_unanswered_get_errors(self) -> None:
        """What an earlier daemon left open is answered with an error that says the outcome is unknown, once each."""
        _, transport = self.opened()
        heir = FakeClientTransport(transport.state, [3, "3"])

        self.start(heir)

        answers = heir.answers()
        self.assertEqual([3, "3"], list(answers))
        self.assertEqual(["bridge_restarted"] * 2, [reason(answer) for answer in answers.values()])
        self.assertEqual([], self.server.transports[-1].requests("tools/call"))

    def test_foreign_state(self) -> None:
        """A state that cannot be understood starts the client afresh; the daemon lives."""
        transport = FakeClientTransport(b'{"era":"future"}')

        session = self.start(transport)
        self.say(session, opening())

        self.assertIsInstance(transport.answers()[0], Result)

    def test_batch(self) -> None:
        """In 2025-03-26 an array is answered with one array, when the last answer is there."""
        session, transport = self.opened("2025-03-26")
        batch = decode(
            b'[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"tools/call",'
            b'"params":{"name":"echo"}},{"jsonrpc":"2.0","method":"notifications/x"},5]'
        )
        assert isinstance(batch, Batch)

        session.received_batch(batch.elements)
        before = list(transport.batches)
        self.settle()

        ((refused, pong, result),) = transport.batches
        self.assertEqual(([], []), (before, transport.sent))
        self.assertEqual([None, 1, 2], sorted((m.id for m in (refused, pong, result)), key=lambda i: i or 0))  # type: ignore[union-attr]

    def test_batch_of_another_revision(self) -> None:
        """In other revisions each request of an array is refused, and the conversation goes on."""
        session, transport = self.opened("2025-06-18")
        batch = decode(b'[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]')
        assert isinstance(batch, Batch)

        session.received_batch(batch.elements)
        self.say(session, call(3))

        answers = transport.answers()
        self.assertEqual([-32600, -32600], [code(answers[1]), code(answers[2])])
        self.assertIsInstance(answers[3], Result)

    def test_opening_in_a_batch(self) -> None:
        """C{initialize} must not be part of an array."""
        session, transport = self.opened("2025-03-26")
        batch = decode(b'[{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}]')
        assert isinstance(batch, Batch)

        session.received_batch(batch.elements)

        ((answer,),) = transport.batches
        assert isinstance(answer, Error)
        self.assertEqual(-32600, answer.error.code)

    def test_too_many(self) -> None:
        """A client for whom there is no room is told so in the answer to its opening."""
        self.service = self.make_service(Settings(max_sessions=1, session=Sharing.PERSISTENT))
        self.opened()
        transport = FakeClientTransport()

        self.say(self.start(transport), opening())

        self.assertEqual("overloaded", reason(transport.answers()[0]))

    def test_move(self) -> None:
        """After a reload the client goes on with the new server of that name, without a word."""
        session, transport = self.opened()
        old = self.service
        self.server = Server(self.clock, "other")
        self.service = self.make_service()

        self.successResultOf(old.stop(Reason.REMOVED, "changed"))
        session.move(self.service, "changed")
        self.settle()
        self.say(session, call(9))

        self.assertEqual([Result(9, Raw(b'{"content":[]}'))], transport.sent)
        self.assertEqual(1, len(self.server.transports))

    def test_removed(self) -> None:
        """After its server was taken out of the configuration each request is told so."""
        session, transport = self.opened()

        session.move(None, "s: not there any more")
        self.say(session, call(9))

        answer = transport.answers()[9]
        self.assertEqual("upstream_removed", reason(answer))

    def test_slow_client(self) -> None:
        """While the client does not read, its server is not read from either."""
        session, _ = self.opened()
        (server,) = self.server.transports

        session.congested()
        paused = server.paused
        session.relieved()

        self.assertEqual((True, False), (paused, server.paused))

    def test_slow_client_goes(self) -> None:
        """A client that goes while it is slow leaves its server readable for the next one."""
        session, _ = self.opened()
        (server,) = self.server.transports
        session.congested()

        session.disconnected(GONE)

        self.assertFalse(server.paused)

    def test_slow_server(self) -> None:
        """While the server does not read, its client is not read from either."""
        _, transport = self.opened()
        (server,) = self.server.transports
        assert server.link is not None

        server.link.congested()
        paused = transport.paused
        server.link.relieved()

        self.assertEqual((True, False), (paused, transport.paused))
