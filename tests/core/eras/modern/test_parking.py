"""
Tests for L{mcpbridge.core.eras.modern.parking}, L{mcpbridge.core.eras.modern.calls} and
L{mcpbridge.core.eras.modern.visits}, through the peer that they are parts of.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.eras.modern.calls import MAX_BUFFERED, MAX_KEPT, MAX_PARKED, digest
from mcpbridge.core.eras.modern.parking import MAX_ROUNDS
from mcpbridge.core.eras.modern.visits import MAX_VISITS, stay
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Completed,
    Event,
    Failed,
    InputRequest,
    InputRequired,
    InputSupplied,
    InputWithdrawn,
    Logged,
    Notified,
    Progressed,
)
from tests.core.eras.modern.rigs import DONE, FORM, Client, raw

SAMPLE = {"messages": [{"role": "user", "content": {"type": "text", "text": "?"}}], "maxTokens": 5}
ACCEPTED = {"action": "accept", "content": {"name": "joe"}}
CANCELLED = raw({"action": "cancel"})


def elicitation(xid: int | None, key: str = "q1", params: Any = FORM) -> InputRequired:
    """A form, in an exchange."""
    return InputRequired(xid, {key: InputRequest("elicitation/create", raw(params))})


def roots(xid: int | None, key: str = "r1") -> InputRequired:
    """C{roots/list}."""
    return InputRequired(xid, {key: InputRequest("roots/list", None)})


def sampling(xid: int | None, key: str = "s1") -> InputRequired:
    """C{sampling/createMessage}."""
    return InputRequired(xid, {key: InputRequest("sampling/createMessage", raw(SAMPLE))})


def parked(question: InputRequired | None = None, **more: Any) -> Client:
    """A client whose call 102 was asked C{q1} as request 1, and is parked as C{h1}."""
    client = Client()
    client.calls(1, more=more)
    client.told(question or elicitation(102))
    client.fire(("coalesce", 102))
    client.said()
    client.crossed()
    return client


def supplied(events: list[Event]) -> list[tuple[int | None, dict[str, Any]]]:
    """The answers among these events."""
    return [(event.xid, dict(event.responses)) for event in events if isinstance(event, InputSupplied)]


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
        """The server did not need an answer after all: its result waits for the client."""
        client = parked()

        client.told(Completed(102, raw(DONE)))
        timers = dict(client.timers)
        client.calls(2, requestState="mcpbridge-h1", inputResponses={"q1": ACCEPTED})

        self.assertEqual({("forget", 102): 900.0}, timers)
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


class AttributionTests(SynchronousTestCase):
    """Which call a question is put to."""

    def test_its_own(self) -> None:
        """Where it is known whose question it is, it is asked there."""
        client = Client()
        client.calls(1)
        client.calls(2)

        client.told(elicitation(103))

        self.assertEqual([("coalesce", 103)], list(client.timers))

    def test_oldest_open(self) -> None:
        """Where it is not, the oldest that is open now; not one that was abandoned."""
        client = parked()
        client.calls(2)
        client.calls(3)

        client.told(elicitation(None, "q2"))
        client.fire(("coalesce", 103))

        self.assertEqual([(2, ["q2"])], [(said["id"], list(said["result"]["inputRequests"])) for said in client.said()])

    def test_only_parked_ones(self) -> None:
        """Where none is open, it waits for the next request of the client, whichever that is."""
        client = parked()
        client.told(elicitation(None, "q2"))
        timers = dict(client.timers)

        client.calls(2, "other")
        client.fire(("coalesce", 103))
        client.calls(3, "other", requestState="mcpbridge-h2", inputResponses={"q2": ACCEPTED})

        self.assertEqual(900.0, timers["deferred", "q2"])
        self.assertEqual(["q2"], list(client.said()[0]["result"]["inputRequests"]))
        self.assertEqual([(103, {"q2": raw(ACCEPTED)})], supplied(client.crossed()))

    def test_resumed_while_one_waits(self) -> None:
        """It may be the parked call itself that comes back."""
        client = parked()
        client.told(elicitation(None, "q2"))

        client.calls(2, requestState="mcpbridge-h1", inputResponses={"q1": ACCEPTED})
        client.fire(("coalesce", 102))

        self.assertEqual(["q2"], list(client.said()[0]["result"]["inputRequests"]))

    def test_nobody(self) -> None:
        """Where nobody can be asked, the server is told what is true."""
        client = Client()
        client.asks(1, "completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}})
        client.crossed()

        client.told(elicitation(None), sampling(None), elicitation(102, "q2"))

        (_, first), (_, second), (xid, third) = supplied(client.crossed())
        self.assertEqual(({"q1": CANCELLED}, {"q2": CANCELLED}, 102), (first, third, xid))
        self.assertEqual(-32603, second["s1"].code)

    def test_undeclared(self) -> None:
        """What the client cannot do is not asked, whatever the server thinks."""
        client = Client(capabilities={"elicitation": {"url": {}}})
        client.calls(1)
        client.crossed()

        client.told(elicitation(102), roots(102), sampling(102), InputRequired(102, {"x": InputRequest("x/y", None)}))

        codes = [[error.code for error in responses.values()] for _, responses in supplied(client.crossed())]
        self.assertEqual([[-32601]] * 4, codes)

    def test_forms_by_default(self) -> None:
        """Neither mode means forms; a mode that is none is not supported."""
        client = Client(capabilities={"elicitation": {}})
        client.calls(1)
        client.crossed()

        client.told(elicitation(102), elicitation(102, "q2", {**FORM, "mode": "url"}), elicitation(102, "q3", None))

        self.assertEqual([["q2"]], [list(responses) for _, responses in supplied(client.crossed())])

    def test_roots_wait(self) -> None:
        """Roots may be asked for before there is any call: they wait for one, and are remembered for the next time."""
        client = Client()
        client.told(roots(None))
        timers = dict(client.timers)
        client.calls(1)
        client.fire(("coalesce", 102))
        client.calls(2, requestState="mcpbridge-h1", inputResponses={"r1": {"roots": []}})
        client.told(Completed(102, raw(DONE)), roots(None, "r2"))

        self.assertEqual({("deferred", "r1"): 30.0}, timers)
        self.assertEqual(
            [(102, {"r1": raw({"roots": []})}), (None, {"r2": raw({"roots": []})})], supplied(client.crossed())
        )
        self.assertEqual(600.0, client.timers["roots"])

    def test_roots_wait_in_vain(self) -> None:
        """Not for ever; nor when the server takes it back."""
        client = Client()
        client.told(roots(None), roots(None, "r2"))

        client.told(InputWithdrawn("r2"))
        client.fire(("deferred", "r1"))

        self.assertEqual([["r1"]], [list(responses) for _, responses in supplied(client.crossed())])
        self.assertEqual({}, client.timers)

    def test_roots_grow_old(self) -> None:
        """After ten minutes they are asked for again."""
        client = parked(roots(102))
        client.calls(2, requestState="mcpbridge-h1", inputResponses={"r1": {"roots": []}})
        client.told(Completed(102, raw(DONE)))
        client.crossed()

        client.fire("roots")
        client.told(roots(None, "r2"))

        self.assertEqual([], client.crossed())

    def test_moved(self) -> None:
        """With another server nothing of this is left."""
        client = parked()
        client.told(elicitation(None, "q2"))

        client.do(client.peer.close("moved"))

        self.assertEqual(({}, [], []), (client.timers, client.said(), client.crossed()))


URL = {"url": "https://x.example/", "message": "log in", "elicitationId": "e1"}
FIRST = ErrorObject(-32042, "Log in first.", raw({"elicitations": [{**URL, "mode": "url"}]}))


def sent_away() -> Client:
    """A client whose call 102 wants a URL to be visited first, as C{h1}."""
    client = Client()
    client.calls(1)
    client.told(Failed(102, FIRST))
    client.crossed()
    return client


class VisitTests(SynchronousTestCase):
    """A server wants URLs to be visited before it does anything (-32042)."""

    def test_asked(self) -> None:
        """They are questions like any other, without the names that this era does not have."""
        client = sent_away()

        (said,) = client.said()
        params = {"url": URL["url"], "message": "log in", "mode": "url"}
        asked = {"url1": {"method": "elicitation/create", "params": params}}
        self.assertEqual((asked, "mcpbridge-h1"), (said["result"]["inputRequests"], said["result"]["requestState"]))

    def test_sent_again(self) -> None:
        """After a yes the call is sent as a new one, when the user has had time for it."""
        client = sent_away()
        client.calls(2, requestState="mcpbridge-h1", inputResponses={"url1": {"action": "accept"}})
        before = client.crossed()

        client.fire(("visit", 102))
        client.told(Completed(103, raw(DONE)))

        self.assertEqual([], before)
        self.assertEqual([103], [event.xid for event in client.crossed() if isinstance(event, Called)])
        self.assertEqual([1, 2], [said["id"] for said in client.said()])

    def test_server_says_when(self) -> None:
        """The server's word that it is done is not waited out, and not passed on: the era has none for it."""
        client = sent_away()
        client.calls(2, requestState="mcpbridge-h1", inputResponses={"url1": {"action": "accept"}})
        client.said()

        for name in ("e2", "e1", "e1", None):
            client.told(Notified(None, "notifications/elicitation/complete", raw({"elicitationId": name})))

        self.assertEqual([103], [event.xid for event in client.crossed() if isinstance(event, Called)])
        self.assertEqual([], client.said())

    def test_repeated_retry(self) -> None:
        """A retry that comes again, while it waits and after, is the same call."""
        client = sent_away()
        accepted: Any = {"requestState": "mcpbridge-h1", "inputResponses": {"url1": {"action": "accept"}}}
        client.calls(2, **accepted)
        client.calls(3, **accepted)
        client.fire(("visit", 102))
        client.calls(4, **accepted)

        client.told(Completed(103, raw(DONE)))
        client.calls(5, **accepted)

        self.assertEqual([1, 2, 3, 4, 5], [said["id"] for said in client.said()])
        self.assertEqual([103], [event.xid for event in client.crossed() if isinstance(event, Called)])

    def test_declined(self) -> None:
        """After a no there is nothing to send: the model is told."""
        client = sent_away()
        client.said()

        client.calls(2, requestState="mcpbridge-h1", inputResponses={"url1": {"action": "decline"}})

        self.assertEqual([(2, True)], [(said["id"], said["result"]["isError"]) for said in client.said()])
        self.assertEqual([], client.crossed())

    def test_declined_read(self) -> None:
        """Of what is no tool, it is an error."""
        client = Client()
        client.asks(1, "resources/read", {"uri": "a://b"})
        client.told(Failed(102, FIRST))

        again = {"uri": "a://b", "requestState": "mcpbridge-h1", "inputResponses": {"url1": {"action": "cancel"}}}
        client.asks(2, "resources/read", again)

        self.assertEqual("input_rejected", client.said()[-1]["error"]["data"]["mcpbridge"]["reason"])

    def test_missing(self) -> None:
        """Without an answer it is asked again."""
        client = sent_away()

        client.calls(2, requestState="mcpbridge-h1")
        client.fire(("coalesce", 102))

        self.assertEqual(["mcpbridge-h1", "mcpbridge-h2"], [said["result"]["requestState"] for said in client.said()])

    def test_cannot_show(self) -> None:
        """A client that cannot show URLs is told what it lacks."""
        client = Client(capabilities={"elicitation": {}})
        client.calls(1)

        client.told(Failed(102, FIRST))

        (said,) = client.said()
        needed: Any = {"requiredCapabilities": {"elicitation": {"url": {}}}}
        self.assertEqual((-32021, needed), (said["error"]["code"], said["error"]["data"]))

    def test_broken(self) -> None:
        """An error that names no URL is an error of no special kind."""
        client = Client()

        for number, data in enumerate((None, raw(5), raw({"elicitations": 5}), raw({"elicitations": []}))):
            client.calls(number)
            client.told(Failed(102 + number, ErrorObject(-32042, "?", data)))

        self.assertEqual([-32603] * 4, [said["error"]["code"] for said in client.said()])

    def test_again_and_again(self) -> None:
        """A server that is never content is believed at last; each time the user is given longer."""
        client = sent_away()
        for number in range(MAX_VISITS):
            xid = 102 + number
            state = f"mcpbridge-h{number + 1}"
            client.calls(10 + number, requestState=state, inputResponses={"url1": {"action": "accept"}})
            client.fire(("visit", xid))
            client.told(Failed(xid + 1, FIRST))

        last = client.said()[-1]
        self.assertEqual(-32603, last["error"]["code"])
        self.assertIn(URL["url"], last["error"]["message"])
        self.assertEqual([2.0, 4.0, 8.0, 16.0, 30.0, 30.0], [stay(number) for number in range(1, 7)])

    def test_after_a_question(self) -> None:
        """A call that was parked for something else is asked for the visit when its client comes back."""
        client = parked()

        client.told(Failed(102, FIRST))
        client.calls(2, requestState="mcpbridge-h1", inputResponses={"q1": ACCEPTED})
        client.fire(("coalesce", 102))

        self.assertEqual(["url1"], list(client.said()[0]["result"]["inputRequests"]))
        self.assertEqual([], client.crossed())

    def test_abandoned(self) -> None:
        """Nobody came back: there is nothing to cancel, since nothing runs."""
        client = sent_away()

        client.fire(("expire", 102))

        self.assertEqual(([], True), (client.crossed(), client.peer.idle()))
