"""
Tests for L{mcpbridge.core.eras.modern.parking}, by way of the peer.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.eras.modern.calls import MAX_BUFFERED, MAX_KEPT, MAX_PARKED, digest
from mcpbridge.core.eras.modern.parking import MAX_ROUNDS
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Completed,
    Failed,
    InputRequired,
    InputSupplied,
    InputWithdrawn,
    Logged,
    Notified,
    Progressed,
)
from tests.core.eras.modern.parked import ACCEPTED, CANCELLED, SAMPLE, elicitation, parked, roots, sampling, supplied
from tests.core.eras.modern.rigs import DONE, FORM, Client, raw


class ParkTests(SynchronousTestCase):
    """A server of the session era asks something."""

    def test_parked(self) -> None:
        """The client's request ends with the questions of one moment and a state; the call stays open."""
        client = Client()
        client.calls(1)

        client.told(elicitation(102), sampling(102), roots(102))
        before = client.said()
        client.fire(("coalesce", 102))

        (said,) = client.said()
        expected = {
            "q1": {"method": "elicitation/create", "params": FORM},
            "s1": {"method": "sampling/createMessage", "params": SAMPLE},
            "r1": {"method": "roots/list"},
        }
        self.assertEqual([], before)
        result = said["result"]
        self.assertEqual((1, expected), (said["id"], result["inputRequests"]))
        self.assertEqual(("input_required", "mcpbridge-h1"), (result["resultType"], result["requestState"]))
        self.assertEqual({("expire", 102): 900.0}, client.timers)
        self.assertEqual([], [event for event in client.crossed() if not isinstance(event, Called)])

    def test_resumed(self) -> None:
        """The retry is the carrier of the very same call: its answers go to the server, and the result to it."""
        client = parked()

        client.calls(2, requestState="mcpbridge-h1", inputResponses={"q1": ACCEPTED})
        client.told(Completed(102, raw(DONE)))

        self.assertEqual([InputSupplied(102, {"q1": raw(ACCEPTED)})], client.crossed())
        self.assertEqual([(2, "complete")], [(said["id"], said["result"]["resultType"]) for said in client.said()])

    def test_written_otherwise(self) -> None:
        """The same call in other bytes is the same call."""
        self.assertEqual(
            digest("tools/call", {"arguments": raw({"a": 1, "b": 2}), "name": raw("t")}),
            digest("tools/call", {"name": raw("t"), "arguments": raw({"b": 2, "a": 1}), "x": raw(1)}),
        )

    def test_several_rounds(self) -> None:
        """Each round has a handle of its own, and the earlier ones stay good."""
        client = parked()

        client.calls(2, requestState="mcpbridge-h1", inputResponses={"q1": ACCEPTED})
        client.told(elicitation(102, "q2"))
        client.fire(("coalesce", 102))
        client.calls(3, requestState="mcpbridge-h1", inputResponses={"q1": ACCEPTED})
        client.fire(("coalesce", 102))
        client.calls(4, requestState="mcpbridge-h2", inputResponses={"q2": ACCEPTED})

        said = client.said()
        self.assertEqual(["mcpbridge-h2", "mcpbridge-h3"], [each["result"]["requestState"] for each in said])
        self.assertEqual([(102, {"q1": raw(ACCEPTED)}), (102, {"q2": raw(ACCEPTED)})], supplied(client.crossed()))

    def test_some_answers_missing(self) -> None:
        """What is missing is asked again, and nothing else (Multi Round-Trip Requests, Error Handling)."""
        client = parked(InputRequired(102, {**elicitation(102).requests, **roots(102).requests}))

        client.calls(2, requestState="mcpbridge-h1", inputResponses={"r1": {"roots": []}, "x": {}})
        client.fire(("coalesce", 102))

        self.assertEqual(["q1"], list(client.said()[0]["result"]["inputRequests"]))
        self.assertEqual([(102, {"r1": raw({"roots": []})})], supplied(client.crossed()))

    def test_another_request(self) -> None:
        """A state is good for the call that it was given for, and for no other."""
        client = parked()

        client.calls(2, "other", requestState="mcpbridge-h1")
        client.calls(3, requestState="mcpbridge-h1", arguments={"a": 2})
        client.asks(4, "prompts/get", {"name": "t", "arguments": {"a": 1}, "requestState": "mcpbridge-h1"})

        self.assertEqual([-32602] * 3, [said["error"]["code"] for said in client.said()])
        self.assertEqual([], client.crossed())

    def test_forged(self) -> None:
        """A state that was never given is refused, and the call is not run."""
        client = parked()

        states: tuple[Any, ...] = ("mcpbridge-h2", "mcpbridge-", "h1", "", 5, None, {})
        for number, state in enumerate(states):
            client.calls(10 + number, requestState=state)

        said = client.said()
        self.assertEqual([-32602] * 7, [each["error"]["code"] for each in said])
        self.assertEqual("parked_expired", said[0]["error"]["data"]["mcpbridge"]["reason"])
        self.assertEqual([], client.crossed())

    def test_answers_that_are_none(self) -> None:
        """What is no answer is refused before anything is done; the call still waits."""
        client = parked()

        for number, responses in enumerate((5, [], {"q1": 5}, {"q1": None})):
            client.calls(10 + number, requestState="mcpbridge-h1", inputResponses=responses)
        client.calls(20, requestState="mcpbridge-h1", inputResponses={"q1": ACCEPTED})

        self.assertEqual([-32602] * 4, [said["error"]["code"] for said in client.said()])
        self.assertEqual([(102, {"q1": raw(ACCEPTED)})], supplied(client.crossed()))

    def test_answer_before_it_was_asked(self) -> None:
        """A question that the client has not been given cannot be answered by guessing its key."""
        client = parked()
        client.told(elicitation(102, "q2"))

        client.calls(2, requestState="mcpbridge-h1", inputResponses={"q1": ACCEPTED, "q2": ACCEPTED})

        self.assertEqual([(102, {"q1": raw(ACCEPTED)})], supplied(client.crossed()))

    def test_repeated_retry(self) -> None:
        """A retry that comes twice waits for the same call twice; nothing is answered twice."""
        client = parked()

        client.calls(2, requestState="mcpbridge-h1", inputResponses={"q1": ACCEPTED})
        client.calls(3, requestState="mcpbridge-h1", inputResponses={"q1": {"action": "decline"}})
        client.told(Completed(102, raw(DONE)))
        client.calls(4, requestState="mcpbridge-h1", inputResponses={"q1": ACCEPTED})

        self.assertEqual([2, 3, 4], [said["id"] for said in client.said()])
        self.assertEqual([(102, {"q1": raw(ACCEPTED)})], supplied(client.crossed()))

    def test_outcome_is_kept(self) -> None:
        """For a minute after it was told; a state from before then is no good any more."""
        client = parked()
        client.calls(2, requestState="mcpbridge-h1", inputResponses={"q1": ACCEPTED})
        client.told(Completed(102, raw(DONE)))
        timers = dict(client.timers)

        client.fire(("forget", 102))
        client.calls(3, requestState="mcpbridge-h1")

        self.assertEqual({("forget", 102): 60.0}, timers)
        self.assertEqual([(2, True), (3, False)], [(said["id"], "result" in said) for said in client.said()])
        self.assertTrue(client.peer.idle())

    def test_done_without_the_client(self) -> None:
        """The server did not need an answer after all, and gets none: its result waits for the client."""
        client = parked()

        client.told(Completed(102, raw(DONE)))
        timers, told = dict(client.timers), client.crossed()
        client.calls(2, requestState="mcpbridge-h1", inputResponses={"q1": ACCEPTED})

        self.assertEqual({("forget", 102): 900.0}, timers)
        self.assertEqual([InputSupplied(102, {"q1": CANCELLED})], told)
        self.assertEqual([2], [said["id"] for said in client.said()])
        self.assertEqual(([], {("forget", 102): 60.0}), (client.crossed(), client.timers))

    def test_lost_while_parked(self) -> None:
        """What became of it is told to the next retry."""
        client = parked()

        client.told(Failed(102, ErrorObject(-32603, "outcome unknown")), InputWithdrawn("q1"))
        client.calls(2, requestState="mcpbridge-h1")

        self.assertEqual(["outcome unknown"], [said["error"]["message"] for said in client.said()])

    def test_expired(self) -> None:
        """Nobody came: the server gets answers to what it asked, and is told to stop."""
        client = parked(InputRequired(102, {**elicitation(102).requests, **sampling(102).requests}))

        client.fire(("expire", 102))
        client.calls(2, requestState="mcpbridge-h1")

        first, second, third = client.crossed()
        assert isinstance(second, InputSupplied)
        failed = second.responses["s1"]
        assert isinstance(failed, ErrorObject)
        self.assertEqual(InputSupplied(102, {"q1": CANCELLED}), first)
        self.assertEqual((-32603, Cancelled(102, "the client did not come back")), (failed.code, third))
        self.assertEqual([-32602], [said["error"]["code"] for said in client.said()])

    def test_cancelled_carrier(self) -> None:
        """A carrier that is cancelled was the call; one of several was not."""
        client = parked()
        client.calls(2, requestState="mcpbridge-h1", inputResponses={"q1": ACCEPTED})
        client.calls(3, requestState="mcpbridge-h1")
        client.told(elicitation(102, "q2"))
        client.crossed()

        client.cancels(2)
        before = client.crossed()
        client.cancels(3)

        self.assertEqual([], before)
        self.assertEqual([InputSupplied(102, {"q2": CANCELLED}), Cancelled(102, "no")], client.crossed())
        self.assertTrue(client.peer.idle())

    def test_answered_request_is_not_cancelled(self) -> None:
        """The request that was answered with the question is over: cancelling it cancels nothing."""
        client = parked()

        client.cancels(1)

        self.assertEqual([], client.crossed())

    def test_withdrawn(self) -> None:
        """A question that the server takes back is not asked, and its answer not taken."""
        client = parked()

        client.told(InputWithdrawn("q1"))
        client.calls(2, requestState="mcpbridge-h1", inputResponses={"q1": ACCEPTED})
        client.told(elicitation(102, "q2"), InputWithdrawn("q2"))
        client.fire(("coalesce", 102))

        self.assertEqual(([], []), (client.said(), client.crossed()))

    def test_meanwhile(self) -> None:
        """Progress and log messages of a parked call are told to its next carrier, by its own token; so many."""
        client = parked(None, **{"progressToken": "p1", "io.modelcontextprotocol/logLevel": "info"})
        client.told(Progressed(102, {"progress": raw(1)}), Logged(102, raw({"level": "info", "data": "x"})))
        client.told(Notified(102, "x/note", None), Logged(102, raw({"level": "info", "data": "x" * 70_000})))
        for _ in range(2 * MAX_BUFFERED):
            client.told(Progressed(102, {"progress": raw(2)}))

        client.calls(2, requestState="mcpbridge-h1", more={"progressToken": 7})

        said = client.said()
        self.assertEqual(
            [{"progressToken": 7, "progress": 1}, {"progressToken": 7, "progress": 2}],
            [each["params"] for each in said if each["method"] == "notifications/progress"],
        )
        methods = [each["method"].removeprefix("notifications/") for each in said]
        self.assertEqual(["progress", "message", "x/note", "progress"], methods)

    def test_progress_goes_up(self) -> None:
        """Over several rounds it is one call, whose progress must increase."""
        client = parked(progressToken=1)
        client.calls(2, requestState="mcpbridge-h1", more={"progressToken": 1})

        for progress in (3, 2, 3, 4.5):
            client.told(Progressed(102, {"progress": raw(progress)}))

        self.assertEqual([3, 4.5], [said["params"]["progress"] for said in client.said()])

    def test_too_many_rounds(self) -> None:
        """A client that never answers does not cost memory for ever."""
        client = parked()

        for number in range(MAX_ROUNDS):
            client.calls(10 + number, requestState="mcpbridge-h1")
            client.fire(("coalesce", 102))

        *asked, failed = client.said()
        self.assertEqual((MAX_ROUNDS - 1, -32603), (len(asked), failed["error"]["code"]))
        answered, cancelled = client.crossed()
        self.assertEqual((InputSupplied(102, {"q1": CANCELLED}), Cancelled), (answered, type(cancelled)))
        self.assertTrue(client.peer.idle())

    def test_too_many_parked(self) -> None:
        """The oldest gives way."""
        client = Client()
        for number in range(MAX_PARKED + 1):
            client.calls(number)
            client.told(elicitation(102 + number, f"q{number}"))
            client.fire(("coalesce", 102 + number))

        self.assertEqual([102], [event.xid for event in client.crossed() if isinstance(event, Cancelled)])
        self.assertEqual(MAX_PARKED, len(client.timers))

    def test_too_many_outcomes(self) -> None:
        """Outcomes that nobody fetches are kept as long as there is room."""
        client = Client()
        for number in range(3):
            client.calls(number)
            client.told(elicitation(102 + number, f"q{number}"))
            client.fire(("coalesce", 102 + number))
            client.told(Completed(102 + number, raw({"content": [], "x": "y" * (MAX_KEPT // 2 - 100)})))
        client.said()

        for number in range(3):
            client.calls(10 + number, requestState=f"mcpbridge-h{number + 1}")

        self.assertEqual([False, True, True], ["result" in said for said in client.said()])
