"""
Tests for L{mcpbridge.core.eras.modern.parking}: to whose request a question belongs.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.events import Completed, InputRequest, InputRequired, InputWithdrawn
from tests.core.eras.modern.parked import ACCEPTED, CANCELLED, elicitation, parked, roots, sampling, supplied
from tests.core.eras.modern.rigs import DONE, FORM, Client, raw


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

    def test_of_another_call(self) -> None:
        """What was put to a call that is over may be another's, which would wait for its answer in vain."""
        client = Client()
        client.calls(1)
        client.calls(2)
        client.told(elicitation(None))
        client.crossed()

        client.told(Completed(102, raw(DONE)))

        self.assertEqual([(102, {"q1": CANCELLED})], supplied(client.crossed()))

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
