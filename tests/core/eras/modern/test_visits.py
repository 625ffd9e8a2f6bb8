"""
Tests for L{mcpbridge.core.eras.modern.visits}, by way of the peer.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.eras.modern.visits import MAX_VISITS, stay
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import Called, Completed, Failed, Notified
from tests.core.eras.modern.parked import ACCEPTED, CANCELLED, parked, supplied
from tests.core.eras.modern.rigs import DONE, Client, raw

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
        """A call that was parked for something else is asked for the visit instead when its client comes back."""
        client = parked()

        client.told(Failed(102, FIRST))
        client.calls(2, requestState="mcpbridge-h1", inputResponses={"q1": ACCEPTED})
        client.fire(("coalesce", 102))

        self.assertEqual(["url1"], list(client.said()[0]["result"]["inputRequests"]))
        self.assertEqual([(102, {"q1": CANCELLED})], supplied(client.crossed()))

    def test_abandoned(self) -> None:
        """Nobody came back: there is nothing to cancel, since nothing runs."""
        client = sent_away()

        client.fire(("expire", 102))

        self.assertEqual(([], True), (client.crossed(), client.peer.idle()))
