"""
Tests for L{mcpbridge.service.receptions} and L{mcpbridge.service.sessions}.
"""

import itertools
import json
from typing import Any

from msgspec import Raw
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration import ChildUpstream, Settings, Sharing
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Batch, Error, Message, Notification, Request, RequestId, Result, decode
from mcpbridge.service.receptions import MAX_BUCKETS, Reception
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


class Served(SynchronousTestCase):
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


class ReceptionTests(Served):
    """A client of the session era."""

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
        self.assertEqual([None, 1, 2], sorted((m.id for m in (refused, pong, result)), key=lambda i: i or 0))  # type: ignore[union-attr]  # all have one

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


META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
    "io.modelcontextprotocol/clientInfo": {"name": "m", "version": "1"},
}


def stateless(request_id: RequestId, method: str, params: Any = None, **meta: Any) -> Request:
    """A request of the stateless era."""
    said = {**(params or {}), "_meta": {**META, **meta}}
    return Request(request_id, method, Raw(json.dumps(said).encode()))


def stateless_call(request_id: RequestId, tool: str = "echo", **params: Any) -> Request:
    return stateless(request_id, "tools/call", {"name": tool, **params})


def capable(name: str) -> dict[str, Any]:
    """C{_meta} of a client that can do this."""
    return {"io.modelcontextprotocol/clientCapabilities": {name: {}}}


class StatelessTests(Served):
    """A client of the stateless era, or of both, and a server of the session era."""

    def start_stateless(self) -> tuple[Reception, FakeClientTransport]:
        transport = FakeClientTransport()
        return self.start(transport), transport

    def test_call_without_opening(self) -> None:
        """The first request of all may be a call; the server is opened for it."""
        session, transport = self.start_stateless()

        self.say(session, stateless_call(1))

        self.assertEqual("complete", found(transport, 1)["resultType"])
        (server,) = self.server.transports
        opening = json.loads(bytes(server.requests("initialize")[0].params or b""))
        said = (opening["protocolVersion"], opening["capabilities"])
        self.assertEqual(("2025-11-25", {"elicitation": {"form": {}}}), said)
        self.assertEqual([], server.requests("server/discover")[1:])

    def test_both_eras(self) -> None:
        """Both may share one pipe: C{initialize} after stateless requests opens a session of its own beside them."""
        session, transport = self.start_stateless()

        self.say(session, stateless_call(1))
        self.say(session, opening(), Notification("notifications/initialized"), call(2))
        self.say(session, stateless_call(3), call(4))

        answers = transport.answers()
        self.assertEqual([1, 0, 2, 3, 4], list(answers))
        kinds = ["resultType" in found(transport, request_id) for request_id in (1, 2, 3, 4)]
        self.assertEqual([True, False, True, False], kinds)
        self.assertEqual(2, len(self.server.transports))

    def test_bad_input(self) -> None:
        """Each gets the specification's error, and the conversation goes on."""
        session, transport = self.start_stateless()
        version = "io.modelcontextprotocol/protocolVersion"

        self.say(
            session,
            call("before initialize"),
            stateless(1, "tools/call", **{version: "2099-01-01"}),
            stateless(2, "tools/call", **{"io.modelcontextprotocol/clientCapabilities": 5}),
            stateless(3, "ping"),
            stateless_call(4, requestState="forged"),
            stateless_call(5),
        )

        answers = transport.answers()
        self.assertEqual(
            [("before initialize", -32600), (1, -32022), (2, -32602), (3, -32601), (4, -32602)],
            [(request_id, code(answer)) for request_id, answer in answers.items() if isinstance(answer, Error)],
        )
        self.assertIsInstance(answers[5], Result)

    def test_capabilities_keep_apart(self) -> None:
        """Whoever claims other capabilities uses another session of the server; at most so many at a time."""
        session, transport = self.start_stateless()

        for number in range(MAX_BUCKETS + 1):
            self.say(session, stateless(number, "tools/call", {"name": "slow"}, **capable(f"c{number}")))

        refused = [code(answer) for answer in transport.answers().values()]
        self.assertEqual([-32600], refused)
        self.assertEqual(MAX_BUCKETS, len(self.server.transports))

    def test_idle_gives_way(self) -> None:
        """A set of capabilities that nothing is open for makes room for another."""
        session, transport = self.start_stateless()

        for number in range(2 * MAX_BUCKETS):
            self.say(session, stateless(number, "tools/call", {"name": "echo"}, **capable(f"c{number}")))

        self.assertEqual([Result] * 2 * MAX_BUCKETS, [type(answer) for answer in transport.answers().values()])

    def test_cancelled(self) -> None:
        """A cancellation finds its request, whatever it says of itself."""
        session, transport = self.start_stateless()
        self.say(session, stateless_call(1, "slow"), stateless(2, "tools/call", {"name": "slow"}, **capable("roots")))

        self.say(session, Notification("notifications/cancelled", Raw(b'{"requestId":2}')))
        params = {"requestId": 1, "_meta": {**META, **capable("sampling")}}
        self.say(session, Notification("notifications/cancelled", Raw(json.dumps(params).encode())))

        self.assertEqual(([2, 1], []), (transport.forgotten, transport.sent))
        cancelled = [
            message
            for server in self.server.transports
            for message in server.sent
            if isinstance(message, Notification) and message.method == "notifications/cancelled"
        ]
        self.assertEqual(2, len(cancelled))

    def test_no_batches(self) -> None:
        """An array is of the session era: what is of the other one does not belong there."""
        session, transport = self.opened("2025-03-26")

        session.received_batch([stateless_call(1), call(2)])
        self.settle()

        ((refused, answered),) = transport.batches
        assert isinstance(refused, Error)
        self.assertEqual((1, -32600, Result), (refused.id, refused.error.code, type(answered)))

    def test_parked(self) -> None:
        """A question of the server parks the call; the retry goes on with it, and nothing runs twice."""
        session, transport = self.start_stateless()
        self.say(session, stateless_call(1, "slow"))
        (server,) = self.server.transports
        assert server.link is not None

        server.link.received(Request(7, "elicitation/create", Raw(b'{"message":"who?"}')), None)
        self.clock.advance(0.05)
        asked = found(transport, 1)
        (key,) = asked["inputRequests"]
        answers = {key: {"action": "accept", "content": {}}}
        retry = {"requestState": asked["requestState"], "inputResponses": answers}
        self.say(session, stateless_call(2, "slow", **retry))
        (ran,) = server.requests("tools/call")
        server.link.received(Result(ran.id, Raw(b'{"content":[]}')), None)

        self.assertEqual("complete", found(transport, 2)["resultType"])
        self.assertIn(Result(7, Raw(json.dumps(answers[key]).encode())), server.sent)

    def test_parked_of_another(self) -> None:
        """A handle is good for the client that got it, and for no other."""
        session, transport = self.start_stateless()
        self.say(session, stateless_call(1, "slow"))
        (server,) = self.server.transports
        assert server.link is not None
        server.link.received(Request(7, "elicitation/create", Raw(b'{"message":"who?"}')), None)
        self.clock.advance(0.05)
        state = found(transport, 1)["requestState"]

        other, others = self.start_stateless()
        self.say(other, stateless_call(1, "slow", requestState=state))
        self.say(session, stateless(2, "tools/call", {"name": "slow", "requestState": state}, **capable("roots")))

        self.assertEqual((-32602, -32602), (code(others.answers()[1]), code(transport.answers()[2])))

    def test_gone_while_parked(self) -> None:
        """With its client a parked call ends: the server gets an answer and is told to stop."""
        session, _ = self.start_stateless()
        self.say(session, stateless_call(1, "slow"))
        (server,) = self.server.transports
        assert server.link is not None
        server.link.received(Request(7, "elicitation/create", Raw(b'{"message":"who?"}')), None)
        self.clock.advance(0.05)

        session.disconnected(GONE)

        self.assertIn(7, [message.id for message in server.sent if isinstance(message, Result | Error)])
        # What is left is a question of our own: whether the server hangs.
        self.assertIn("ping", [message.method for message in server.sent if isinstance(message, Request)])
        counts = next(iter(self.service._leases)).bridge.counts()
        self.assertEqual((0, 1, 0), (counts["sessions"], counts["exchanges"], counts["questions"]))

    def test_stopped_before_it_was_sent(self) -> None:
        """A call that waits for the roots of its client is answered when the daemon stops."""
        session, transport = self.start_stateless()
        self.say(session, stateless(1, "tools/call", {"name": "slow"}, **capable("roots")))
        (server,) = self.server.transports
        assert server.link is not None
        server.link.received(Request(70, "roots/list"), None)
        self.settle()
        self.say(session, Notification("notifications/cancelled", Raw(b'{"requestId":1}')))
        server.link.received(Request(71, "roots/list"), None)
        self.say(session, stateless(2, "tools/call", {"name": "echo"}, **capable("roots")))
        before = transport.answers()

        session.stop("the daemon stops")
        self.settle()

        self.assertNotIn(2, before)
        answer = transport.answers()[2]
        assert isinstance(answer, Error)
        self.assertIn("the daemon stops", answer.error.message)

    def test_people_are_slow(self) -> None:
        """What a human is asked for outlives the deadline of a read."""
        self.service = self.make_service(Settings(timeout=600.0))
        session, transport = self.start_stateless()
        self.say(session, stateless(1, "resources/read", {"uri": "a://b"}))
        (server,) = self.server.transports
        assert server.link is not None
        server.link.received(Request(7, "elicitation/create", Raw(b'{"message":"who?"}')), None)

        for _ in range(300):
            self.clock.advance(1.0)

        asked = found(transport, 1)
        self.say(session, stateless(2, "resources/read", {"uri": "a://b", "requestState": asked["requestState"]}))
        (ran,) = server.requests("resources/read")
        server.link.received(Result(ran.id, Raw(b'{"contents":[]}')), None)
        self.assertEqual("complete", found(transport, 2)["resultType"])

    def test_no_room(self) -> None:
        """Where there is no room for another client, each request is told so, and may find room later."""
        self.service = self.make_service(Settings(max_sessions=1, session=Sharing.PERSISTENT))
        first, _ = self.start_stateless()
        self.say(first, stateless_call(1))
        session, transport = self.start_stateless()

        self.say(session, stateless_call(1))
        first.disconnected(GONE)
        self.say(session, stateless_call(2))

        answers = transport.answers()
        self.assertEqual(("overloaded", Result), (reason(answers[1]), type(answers[2])))

    def test_moved(self) -> None:
        """After a reload requests go to the new server; streams of changes end, and may be opened there."""
        session, transport = self.start_stateless()
        self.say(session, stateless("L", "subscriptions/listen", {"notifications": {"toolsListChanged": True}}))
        old = self.service
        self.server = Server(self.clock, "other")
        self.service = self.make_service()

        self.successResultOf(old.stop(Reason.REMOVED, "changed"))
        session.move(self.service, "changed")
        self.settle()
        self.say(session, stateless_call(2))

        self.assertEqual(["L", 2], list(transport.answers()))
        self.assertEqual("complete", found(transport, 2)["resultType"])

    def test_half_closed(self) -> None:
        """A client that says nothing more gets the end of its streams, and the answers it waits for."""
        session, transport = self.start_stateless()
        self.say(session, stateless("L", "subscriptions/listen", {"notifications": {"toolsListChanged": True}}))
        session.received(stateless_call(2), None)

        session.no_more()
        self.settle()

        self.assertEqual(["L", 2], list(transport.answers()))


def found(transport: FakeClientTransport, request_id: RequestId) -> Any:
    """The result that was sent."""
    answer = transport.answers()[request_id]
    assert isinstance(answer, Result), answer
    return json.loads(bytes(answer.result))
