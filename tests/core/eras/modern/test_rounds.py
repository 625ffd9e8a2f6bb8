"""
Tests for L{mcpbridge.core.eras.modern.rounds}, through the peer that they are parts of.
"""

from __future__ import annotations

import attrs
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.eras.modern.rounds import MAX_QUESTIONS, MAX_ROUNDS
from mcpbridge.core.errors import ErrorObject, Fate, Loss, Reason
from mcpbridge.core.events import (
    Cancelled,
    Completed,
    Failed,
    InputRequest,
    InputRequired,
    InputSupplied,
    InputWithdrawn,
    Lost,
    Progressed,
)
from mcpbridge.core.jsonrpc import Error, Request, Result
from tests.core.eras.modern.asking import ARGUMENTS, FORMED, LOSS, asks, called, read
from tests.core.eras.modern.rigs import FORM, Server, meta, raw

SAMPLED = {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}}
ROOTS = {"method": "roots/list"}


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
        self.assertEqual((3, {**ARGUMENTS, **answered, "_meta": meta()}), (second.id, read(second.params)))

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
        self.assertTrue(read(result.result)["isError"])
        self.assertEqual("input_rejected", read(failed.error.data)["mcpbridge"]["reason"])
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

        told = [read(event.params["progress"]) for event in server.crossed() if isinstance(event, Progressed)]
        self.assertEqual([5, 6, "x"], told)
