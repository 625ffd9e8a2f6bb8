"""
Tests for L{mcpbridge.core.eras.modern.client} and L{mcpbridge.core.eras.modern.rounds}.
"""

from __future__ import annotations

from typing import Any

import attrs
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core import jsonrpc
from mcpbridge.core.eras.modern.rounds import MAX_QUESTIONS, MAX_ROUNDS
from mcpbridge.core.errors import ErrorObject, Fate, Loss, Reason
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Completed,
    Envelope,
    Failed,
    InputProgressed,
    InputRequest,
    InputRequired,
    InputSupplied,
    InputWithdrawn,
    LevelSet,
    Logged,
    Lost,
    Native,
    Notified,
    Opened,
    Progressed,
    RootsChanged,
)
from mcpbridge.core.interfaces import IClientPeer
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Request, Result
from tests.core.eras.modern.rigs import DONE, FORM, VERSION, Server, discover, meta, raw

LOSS = Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "it broke")
COMPLETE = raw("complete")
ARGUMENTS = {"name": "t", "arguments": {"a": 1}}


def called(xid: int = 5, method: str = "tools/call", params: Any = ARGUMENTS, **more: Any) -> Called:
    """A call."""
    return Called(xid, method, None if params is None else raw(params), **more)


def asks(state: Any = "s1", **requests: Any) -> dict[str, Any]:
    """An C{input_required}."""
    result: dict[str, Any] = {"resultType": "input_required", "inputRequests": requests}
    return result if state is None else {**result, "requestState": state}


FORMED = {"method": "elicitation/create", "params": FORM}
SAMPLED = {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}}
ROOTS = {"method": "roots/list"}


class OpeningTests(SynchronousTestCase):
    """What the server is, is asked first."""

    def test_interface(self) -> None:
        """It provides its door."""
        self.assertTrue(verifyObject(IClientPeer, Server().peer))

    def test_discover(self) -> None:
        """The client's own name and capabilities; the answer is shaped as in the other era."""
        server = Server(False)

        asked = server.said()
        server.answers(1, {**discover(tools={}), "instructions": "be nice"})

        expected = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta()}}
        opening = {
            "capabilities": {"tools": {}},
            "instructions": "be nice",
            "serverInfo": {"name": "m", "version": "3"},
            "protocolVersion": VERSION,
        }
        self.assertEqual([expected], asked)
        (completed,) = server.crossed()
        assert isinstance(completed, Completed)
        self.assertEqual(opening, _plain(completed.result))

    def test_nameless(self) -> None:
        """A server that does not say who it is, is called what the user calls it; a client gets no name."""
        server = Server(False)
        server.sends(Opened(9, VERSION, {"capabilities": raw({"roots": {"listChanged": True}})}))

        asked = server.said()[-1]
        server.answers(2, {"supportedVersions": [VERSION], "capabilities": {}})

        (completed,) = server.crossed()
        assert isinstance(completed, Completed)
        self.assertEqual({"name": "up", "version": "unknown"}, _plain(completed.result)["serverInfo"])
        self.assertNotIn("io.modelcontextprotocol/clientInfo", asked["params"]["_meta"])
        said = asked["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]
        self.assertEqual({"roots": {}}, said)

    def test_no_answer_at_all(self) -> None:
        """What is no discovery is a broken answer, whatever it is; the opening ends."""
        versions = {"supportedVersions": [VERSION]}
        answers: tuple[Any, ...] = ({}, {"supportedVersions": 5}, {**versions, "capabilities": []}, [], 5)
        for answer in answers:
            server = Server(False)

            server.answers(1, answer)

            (lost,) = server.crossed()
            assert isinstance(lost, Lost)
            self.assertEqual(Reason.MALFORMED, lost.loss.reason)

    def test_odd_capabilities(self) -> None:
        """A capability that is no object announces nothing."""
        server = Server(False)

        server.answers(1, discover(tools=5, prompts={"listChanged": 1}))

        self.assertEqual([Completed], [type(event) for event in server.crossed()])
        self.assertEqual(1, len(server.said()))

    def test_no_shared_revision(self) -> None:
        """That is the error which says so."""
        server = Server(False)

        server.answers(1, {**discover(), "supportedVersions": ["2025-11-25"]})

        (failed,) = server.crossed()
        assert isinstance(failed, Failed)
        self.assertEqual((-32022, ["2025-11-25"]), (failed.error.code, _plain(failed.error.data)["supported"]))


class CallTests(SynchronousTestCase):
    """Requests and their answers."""

    def test_call(self) -> None:
        """The client is named on each request; foreign keys stay; the result comes without its envelope."""
        server = Server()

        server.sends(called(params={**ARGUMENTS, "_meta": {"traceparent": "00-1"}}))
        server.answers(2, {**DONE, "resultType": "complete", "ttlMs": 5, "_meta": {"k": 1}})

        (said,) = server.said()
        self.assertEqual((2, {**ARGUMENTS, "_meta": meta(traceparent="00-1")}), (said["id"], said["params"]))
        expected = Completed(5, raw({**DONE, "_meta": {"k": 1}}), Envelope(COMPLETE, raw(5)))
        self.assertEqual([expected], server.crossed())

    def test_broken_meta(self) -> None:
        """A client's C{_meta} that is no object does not keep its call from the server."""
        server = Server()

        server.sends(called(params={**ARGUMENTS, "_meta": 5}))

        self.assertEqual(meta(), server.said()[0]["params"]["_meta"])

    def test_no_result_type(self) -> None:
        """A result without a kind is complete; one of an unknown kind is none."""
        server = Server()
        server.sends(called(), called(6), called(7))

        server.answers(2, DONE)
        server.answers(3, {**DONE, "resultType": "other"})
        server.answers(4, {**DONE, "resultType": 5})

        self.assertEqual([Completed, Lost, Lost], [type(event) for event in server.crossed()])

    def test_task(self) -> None:
        """A call may be answered with a task, and nothing else may."""
        server = Server()
        server.sends(called(), Called(6, "prompts/get", raw({"name": "x"})))

        server.answers(2, {"taskId": "t", "resultType": "task"})
        server.answers(3, {"taskId": "t", "resultType": "task"})

        done, lost = server.crossed()
        self.assertEqual(Completed(5, raw({"taskId": "t"}), Envelope(raw("task"))), done)
        self.assertIsInstance(lost, Lost)

    def test_native_kinds(self) -> None:
        """To a client of the era every kind passes: it is for the client to judge."""
        server = Server()
        server.sends(called(native=Native()), called(6, native=Native("info")))

        server.answers(2, {"taskId": "x", "resultType": "task"})
        server.answers(3, asks(q=FORMED))

        first, second = server.crossed()
        said = server.said()
        self.assertEqual(Completed(5, raw({"taskId": "x"}), Envelope(raw("task"))), first)
        assert isinstance(second, Completed)
        self.assertEqual(raw("input_required"), second.envelope and second.envelope.kind)
        self.assertNotIn("io.modelcontextprotocol/logLevel", said[0]["params"]["_meta"])
        self.assertEqual("info", said[1]["params"]["_meta"]["io.modelcontextprotocol/logLevel"])

    def test_log_level(self) -> None:
        """A client of the other era has set its level once; it goes with each request."""
        server = Server()

        server.sends(LevelSet(4, "error"), called())

        self.assertEqual([Completed(4, raw({}))], server.crossed())
        self.assertEqual("error", server.said()[0]["params"]["_meta"]["io.modelcontextprotocol/logLevel"])

    def test_progress(self) -> None:
        """Under a token of ours; for what is open only."""
        server = Server()
        server.sends(called(wants_progress=True))

        server.notes("notifications/progress", {"progressToken": 2, "progress": 1, "message": "m"})
        server.notes("notifications/progress", {"progressToken": "2", "progress": 1})
        server.notes("notifications/progress", {"progress": 1})
        server.notes("notifications/progress", None)

        self.assertEqual(2, server.said()[0]["params"]["_meta"]["progressToken"])
        self.assertEqual([Progressed(5, {"progress": raw(1), "message": raw("m")})], server.crossed())

    def test_notifications(self) -> None:
        """Log messages and what is unknown belong to the request on whose stream they came."""
        server = Server()
        server.sends(called())
        tag = "io.modelcontextprotocol/subscriptionId"

        server.notes("notifications/message", {"level": "info"}, within=2)
        server.notes("notifications/message", {"level": "info"})
        server.notes("x/note", {"_meta": {tag: 1}})

        info = raw({"level": "info"})
        self.assertEqual([Logged(5, info), Logged(None, info), Notified(None, "x/note", None)], server.crossed())

    def test_requests_of_the_server(self) -> None:
        """There are none in this era."""
        server = Server()

        server.says(Request(7, "ping"))

        self.assertEqual([(7, -32600)], [(said["id"], said["error"]["code"]) for said in server.said()])

    def test_errors(self) -> None:
        """An error ends its call; one without id that of the stream it came on."""
        server = Server()
        server.sends(called(), called(6))
        error = ErrorObject(-5, "no")

        server.says(Error(2, error))
        server.says(Error(None, error), 3)
        server.says(Error(99, error))
        server.says(Error(None, error))

        self.assertEqual([Failed(5, error), Failed(6, error)], server.crossed())

    def test_garbage(self) -> None:
        """A broken answer ends what it meant to answer."""
        server = Server()
        server.sends(called())

        server.do(server.peer.receive_garbage(InvalidMessage(-32700, "?")))
        server.do(server.peer.receive_garbage(InvalidMessage(-32600, "?", response_id=2)))
        server.says(Result(2, raw(DONE)))

        self.assertEqual([Lost], [type(event) for event in server.crossed()])

    def test_cancel(self) -> None:
        """The server is told, and its answer not waited for; once."""
        server = Server()
        server.sends(called())
        server.said()

        server.sends(Cancelled(5, "no"), Cancelled(5), Cancelled(77))
        server.answers(2, DONE)

        (said,) = server.said()
        self.assertEqual({"requestId": 2, "reason": "no"}, said["params"])
        self.assertEqual(([2], [], False), (server.abandoned, server.crossed(), server.peer.busy()))

    def test_without_words(self) -> None:
        """Unknown notifications pass; what the era has no words for is not said."""
        server = Server()

        server.sends(RootsChanged(), InputProgressed("k", {}), Notified(None, "x/note", raw({"a": 1})))

        self.assertEqual(["x/note"], [said["method"] for said in server.said()])

    def test_lost(self) -> None:
        """A stream that breaks loses its request; the channel loses all."""
        server = Server()
        server.sends(called(), called(6), called(7))
        server.answers(4, asks(q=FORMED))
        server.crossed()

        server.do(server.peer.lost(2, LOSS))
        server.do(server.peer.close(LOSS))

        first, second, withdrawn, third = server.crossed()
        self.assertEqual([Lost(5, LOSS), Lost(6, LOSS), Lost(7, LOSS)], [first, second, third])
        self.assertEqual((InputWithdrawn, False), (type(withdrawn), server.peer.busy()))

    def test_forget(self) -> None:
        """What is forgotten is not heard."""
        server = Server()
        server.sends(called())

        server.peer.forget(5)
        server.answers(2, DONE)

        self.assertEqual(([], False), (server.crossed(), server.peer.busy()))


class RoundTests(SynchronousTestCase):
    """A server wants to know something before it goes on."""

    def test_rounds(self) -> None:
        """The client is asked; the same call goes out again under a new id, with the answers and the very state."""
        server = Server()
        server.sends(called())

        head = b'{"resultType":"input_required","requestState":"\\u0041","inputRequests":'
        server.says(Result(2, Raw(b'%b{"k":%b}}' % (head, bytes(raw(FORMED))))))
        asked = server.crossed()
        server.sends(InputSupplied(5, {"2.k": raw({"action": "accept"})}))

        _, second = server.emitted
        self.assertEqual([InputRequired(5, {"2.k": InputRequest("elicitation/create", raw(FORM))})], asked)
        assert isinstance(second, Request)
        assert second.params is not None
        self.assertIn(b'"requestState":"\\u0041"', bytes(second.params))
        answered = {"inputResponses": {"k": {"action": "accept"}}, "requestState": "A"}
        self.assertEqual((3, {**ARGUMENTS, **answered, "_meta": meta()}), (second.id, _plain(second.params)))

    def test_this_round_only(self) -> None:
        """Answers of earlier rounds are not sent again; without a state, none is sent."""
        server = Server()
        server.sends(called())
        server.answers(2, asks(q=FORMED))
        server.sends(InputSupplied(5, {"2.q": raw({"action": "accept"})}))
        server.said()

        server.answers(3, asks(None, r=ROOTS))
        server.sends(InputSupplied(5, {"2.q": raw({"action": "cancel"}), "3.r": raw({"roots": []})}))

        params = {**ARGUMENTS, "inputResponses": {"r": {"roots": []}}, "_meta": meta()}
        self.assertEqual(params, server.said()[0]["params"])

    def test_gathered(self) -> None:
        """All answers of a round go together, however they come."""
        server = Server()
        server.sends(called())
        server.answers(2, asks(q=FORMED, r=ROOTS))
        server.said()

        server.sends(InputSupplied(5, {"2.r": raw({"roots": []})}))
        before = server.said()
        server.sends(InputSupplied(5, {"2.q": raw({"action": "accept"}), "2.r": raw({"roots": [1]})}))

        responses = {"r": {"roots": []}, "q": {"action": "accept"}}
        self.assertEqual(([], responses), (before, server.said()[0]["params"]["inputResponses"]))

    def test_same_keys(self) -> None:
        """Two calls may be asked under the same key at the same time."""
        server = Server()
        server.sends(called(), called(6))

        server.answers(2, asks(q=FORMED))
        server.answers(3, asks(q=FORMED))

        keys = [list(event.requests) for event in server.crossed() if isinstance(event, InputRequired)]
        self.assertEqual([["2.q"], ["3.q"]], keys)

    def test_only_time(self) -> None:
        """A state without questions: asked again by and by, more and more seldom."""
        server = Server()
        server.sends(called())
        server.said()

        pauses = []
        for number in range(7):
            server.answers(2 + number, {"resultType": "input_required", "requestState": str(number)})
            pauses.append(server.timers["again", 5])
            server.fire(("again", 5))

        self.assertEqual([0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0], pauses)
        states = [said["params"]["requestState"] for said in server.said()]
        self.assertEqual([str(number) for number in range(7)], states)

    def test_time_after_a_question(self) -> None:
        """How long it is waited depends on how often in a row the server wanted to wait."""
        server = Server()
        server.sends(called())
        server.answers(2, asks(r=ROOTS))
        server.sends(InputSupplied(5, {"2.r": raw({"roots": []})}))

        server.answers(3, {"resultType": "input_required", "requestState": "s"})

        self.assertEqual({("again", 5): 0.25}, server.timers)

    def test_cancelled_meanwhile(self) -> None:
        """The client's questions are taken back, and the server is not asked again."""
        server = Server()
        server.sends(called(), called(6))
        server.answers(2, asks(q=FORMED, r=ROOTS))
        server.answers(3, {"resultType": "input_required", "requestState": "s"})
        server.crossed()
        server.said()

        server.sends(Cancelled(5, "no"), Cancelled(6))
        server.sends(InputSupplied(5, {"2.q": raw({})}))
        server.fire(("again", 6))

        self.assertEqual([InputWithdrawn("2.q", "no"), InputWithdrawn("2.r", "no")], server.crossed())
        self.assertEqual(([], False), (server.said(), server.peer.busy()))

    def test_substitutes(self) -> None:
        """What can be said truthfully in place of a client's error is said."""
        server = Server()
        server.sends(called())
        server.answers(2, asks(q=FORMED, r=ROOTS))
        server.said()

        server.sends(InputSupplied(5, {"2.q": ErrorObject(-1, "no"), "2.r": ErrorObject(-32601, "?")}))

        responses = {"q": {"action": "cancel"}, "r": {"roots": []}}
        self.assertEqual(responses, server.said()[0]["params"]["inputResponses"])

    def test_refused(self) -> None:
        """Where nothing could be said the call ends, and what else was asked is taken back."""
        server = Server()
        server.sends(called(), called(6, "prompts/get", {"name": "p"}))
        for request_id in (2, 3):
            server.answers(request_id, asks(s=SAMPLED, q=FORMED))
        server.crossed()
        server.said()

        server.sends(InputSupplied(5, {"2.s": ErrorObject(-1, "no")}), InputSupplied(6, {"3.s": ErrorObject(-1, "no")}))

        result, _, failed, withdrawn = server.crossed()
        assert isinstance(result, Completed)
        assert isinstance(failed, Failed)
        self.assertTrue(_plain(result.result)["isError"])
        self.assertEqual("input_rejected", _plain(failed.error.data)["mcpbridge"]["reason"])
        self.assertEqual((InputWithdrawn, []), (type(withdrawn), server.said()))

    def test_against_the_rules(self) -> None:
        """A server that does not keep to the rules has given a broken answer."""
        broken = (
            {"resultType": "input_required"},
            asks(5, q=FORMED),
            asks(q={"method": "ping"}),
            asks(q={"params": {}}),
            asks(q=5),
            asks(q={"method": "elicitation/create"}),
            asks(q={**FORMED, "params": 5}),
            {"resultType": "input_required", "inputRequests": []},
            asks(**{f"q{number}": ROOTS for number in range(MAX_QUESTIONS + 1)}),
        )
        for result in broken:
            server = Server()
            server.sends(called())

            server.answers(2, result)

            self.assertEqual([Lost], [type(event) for event in server.crossed()], result)

    def test_wrong_method(self) -> None:
        """Only three methods may be answered so."""
        server = Server()
        server.sends(called(5, "tools/list", None))

        server.answers(2, asks(q=FORMED))

        self.assertEqual([Lost], [type(event) for event in server.crossed()])

    def test_later_round_lost(self) -> None:
        """What the server has not taken is sent again as it was: the call as it was made would run its rounds twice."""
        server = Server()
        server.sends(called())
        server.answers(2, asks(q=FORMED))
        server.sends(InputSupplied(5, {"2.q": raw({"action": "accept"})}))
        server.crossed()
        (_, sent) = server.said()
        rejected = Loss(Fate.REJECTED, Reason.UPSTREAM_UNREACHABLE, "HTTP 429", 2.0)

        server.do(server.peer.lost(3, rejected))
        timers = dict(server.timers)
        server.fire(("again", 5))
        (again,) = server.said()
        for request_id in range(4, 9):
            server.do(server.peer.lost(request_id, attrs.evolve(rejected, retry_after=None)))
            if ("again", 5) in server.timers:
                server.fire(("again", 5))

        self.assertEqual(({("again", 5): 2.0}, {**sent, "id": 4}), (timers, again))
        (lost,) = server.crossed()
        assert isinstance(lost, Lost)
        self.assertEqual((Fate.UNKNOWN, False), (lost.loss.fate, server.peer.busy()))

    def test_later_round_may_have_run(self) -> None:
        """Whether it ran or not, some of the call did; what only reads is for the bridge to repeat."""
        rejected = Loss(Fate.REJECTED, Reason.AUTH_REQUIRED, "401")
        for loss in (LOSS, rejected, Loss(Fate.NEVER_SENT, Reason.STOPPING, "")):
            server = Server()
            server.sends(called())
            server.answers(2, asks(q=FORMED))
            server.sends(InputSupplied(5, {"2.q": raw({"action": "accept"})}))
            server.crossed()

            server.do(server.peer.close(loss))

            self.assertEqual([Lost(5, attrs.evolve(loss, fate=Fate.UNKNOWN))], server.crossed())

    def test_revision_refused(self) -> None:
        """A server that was replaced has not run the request; of one in a later round, some was run before."""
        server = Server()
        server.sends(called(), called(6))
        server.answers(3, asks(q=FORMED))
        server.sends(InputSupplied(6, {"3.q": raw({"action": "accept"})}))
        server.crossed()

        for request_id in (2, 4):
            server.says(Error(request_id, ErrorObject(-32022, "no", raw({"supported": ["2025-11-25"]}))))

        fates = [event.loss.fate for event in server.crossed() if isinstance(event, Lost)]
        self.assertEqual([Fate.SESSION_LOST, Fate.UNKNOWN], fates)

    def test_too_many_rounds(self) -> None:
        """A server that asks and asks is stopped."""
        server = Server()
        server.sends(called())

        for number in range(MAX_ROUNDS + 1):
            server.answers(2 + number, asks(q=FORMED))
            server.sends(InputSupplied(5, {f"{2 + number}.q": raw({"action": "accept"})}))

        self.assertEqual([InputRequired] * MAX_ROUNDS + [Lost], [type(event) for event in server.crossed()])

    def test_progress_goes_up(self) -> None:
        """To the client it is one call: what a later request says of its progress must be more."""
        server = Server()
        server.sends(called(wants_progress=True))
        server.notes("notifications/progress", {"progressToken": 2, "progress": 5})
        server.answers(2, asks(r=ROOTS))
        server.sends(InputSupplied(5, {"2.r": raw({"roots": []})}))

        for progress in (1, 5, 6, "x"):
            server.notes("notifications/progress", {"progressToken": 3, "progress": progress})

        told = [_plain(event.params["progress"]) for event in server.crossed() if isinstance(event, Progressed)]
        self.assertEqual([5, 6, "x"], told)


def _plain(found: Raw | None) -> Any:
    assert found is not None
    return jsonrpc.read(found)
