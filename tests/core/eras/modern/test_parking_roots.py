"""
Tests for L{mcpbridge.core.eras.modern.parking}: roots, which servers ask for in no call.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.events import Called, Completed, InputSupplied, InputWithdrawn, RootsChanged
from tests.core.eras.modern.parked import elicitation, roots
from tests.core.eras.modern.rigs import DONE, Client, raw

ROOTS = {"roots": [{"uri": "file:///here"}]}
SUPPLIED = InputSupplied(102, {"r1": raw(ROOTS)})


def kinds(client: Client) -> list[str]:
    """What crossed since the last time, in a word each."""
    return [type(event).__name__ for event in client.crossed()]


def owed() -> Client:
    """A client whose server has asked for roots long before the first call."""
    client = Client()
    client.told(roots(None))
    client.fire(("deferred", "r1"))
    client.crossed()
    return client


class FirstTests(SynchronousTestCase):
    """The server is told the roots before it gets the call that they are asked for in."""

    def test_before_the_call(self) -> None:
        """It would go by none otherwise, however fast it is."""
        client = Client()
        client.told(roots(None))

        client.calls(1)
        before = client.crossed()
        client.fire(("coalesce", 102))
        client.calls(2, requestState="mcpbridge-h1", inputResponses={"r1": ROOTS})
        told = client.crossed()
        client.fire(("await", 102))

        self.assertEqual(([], [SUPPLIED], ["Called"]), (before, told, kinds(client)))

    def test_a_moment(self) -> None:
        """The server may have to look at the folders before the roots are its own."""
        client = Client()
        client.told(roots(None))
        client.calls(1)
        client.fire(("coalesce", 102))

        client.calls(2, requestState="mcpbridge-h1", inputResponses={"r1": ROOTS})

        self.assertEqual(0.1, client.timers["await", 102])

    def test_the_call_is_the_clients(self) -> None:
        """It goes on as if nothing had been asked."""
        client = Client()
        client.told(roots(None))
        client.calls(1)
        client.fire(("coalesce", 102))
        client.said()

        client.calls(2, requestState="mcpbridge-h1", inputResponses={"r1": ROOTS})
        client.fire(("await", 102))
        client.told(Completed(102, raw(DONE)))

        self.assertEqual([(2, "complete")], [(said["id"], said["result"]["resultType"]) for said in client.said()])

    def test_calls_at_once(self) -> None:
        """None of several calls gets there before the roots; who answers first answers for all."""
        client = Client()
        client.told(roots(None))

        client.calls(1)
        client.calls(2)
        client.fire(("coalesce", 102))
        client.fire(("coalesce", 103))
        client.calls(3, requestState="mcpbridge-h2", inputResponses={"r1": ROOTS})
        client.fire(("await", 103))
        first = client.crossed()
        client.calls(4, requestState="mcpbridge-h1", inputResponses={"r1": ROOTS})
        client.fire(("await", 102))
        second = client.crossed()

        self.assertEqual([InputSupplied(103, {"r1": raw(ROOTS)})], [e for e in first if isinstance(e, InputSupplied)])
        self.assertEqual([[103], [102]], [[e.xid for e in them if isinstance(e, Called)] for them in (first, second)])

    def test_taken_back(self) -> None:
        """When the server does not want them any more, it gets the call."""
        client = Client()
        client.told(roots(None))
        client.calls(1)

        client.told(InputWithdrawn("r1"))

        self.assertEqual(["Called"], kinds(client))

    def test_something_else_taken_back(self) -> None:
        """That has nothing to do with a call that waits for the server to ask."""
        client = owed()
        client.calls(1)
        client.crossed()

        client.told(InputWithdrawn("q9"))

        self.assertEqual([], kinds(client))

    def test_not_roots(self) -> None:
        """What else is asked in a call that waits is asked in no other."""
        client = owed()
        client.calls(1)
        client.told(elicitation(None))

        client.calls(2)

        self.assertEqual({("coalesce", 102), ("await", 102), ("await", 103)}, set(client.timers))

    def test_abandoned(self) -> None:
        """A call that the server never got is not cancelled there."""
        client = Client()
        client.told(roots(None))
        client.calls(1)
        client.fire(("coalesce", 102))

        client.fire(("expire", 102))

        self.assertEqual(["InputSupplied"], kinds(client))

    def test_no_more(self) -> None:
        """A client that says nothing more has what it asked for all the same; the server gets no roots."""
        client = Client()
        client.told(roots(None))
        client.calls(1)
        client.crossed()

        client.do(client.peer.no_more())

        self.assertEqual(["InputSupplied", "Called"], kinds(client))
        self.assertEqual({}, {key: seconds for key, seconds in client.timers.items() if key != "roots"})

    def test_other_requests(self) -> None:
        """What a client cannot be asked in is handed on."""
        client = Client()
        client.told(roots(None))

        client.asks(1, "tools/list")

        self.assertEqual(["Called"], kinds(client))


class OwedTests(SynchronousTestCase):
    """The server has given up asking before there was a call."""

    def test_asked_to_ask_again(self) -> None:
        """It is told that there are other roots, and asks; then it gets the call."""
        client = owed()

        client.calls(1)
        first = kinds(client)
        client.told(roots(None, "r2"))
        client.fire(("coalesce", 102))
        client.calls(2, requestState="mcpbridge-h1", inputResponses={"r2": ROOTS})
        client.fire(("await", 102))

        self.assertEqual((["RootsChanged"], ["InputSupplied", "Called"]), (first, kinds(client)))

    def test_withdrawn(self) -> None:
        """So it is when its own patience ended."""
        client = Client()
        client.told(roots(None), InputWithdrawn("r1"))

        client.calls(1)

        self.assertEqual([RootsChanged()], client.crossed())

    def test_withdrawn_from_a_call(self) -> None:
        """So it is when that was while a call waited for them."""
        client = Client()
        client.told(roots(None))
        client.calls(1)
        client.told(InputWithdrawn("r1"))
        client.crossed()

        client.calls(2)

        self.assertEqual([RootsChanged()], client.crossed())

    def test_too_late(self) -> None:
        """A call that is over before its client could be asked is too late; the next one is in time."""
        client = Client()
        client.calls(1)
        client.told(roots(None), Completed(102, raw(DONE)))
        first = kinds(client)

        client.calls(2)

        self.assertEqual((["Called", "InputSupplied"], ["RootsChanged"]), (first, kinds(client)))

    def test_not_asked(self) -> None:
        """A server that does not ask again gets the call after a moment, and the next one at once."""
        client = owed()

        client.calls(1)
        waits = client.timers[("await", 102)]
        client.fire(("await", 102))
        client.calls(2)

        self.assertEqual((0.25, ["RootsChanged", "Called", "Called"]), (waits, kinds(client)))

    def test_calls_at_once(self) -> None:
        """It is told once, and all wait."""
        client = owed()

        client.calls(1)
        client.calls(2)
        client.told(roots(None, "r2"))

        self.assertEqual(["RootsChanged"], kinds(client))
        self.assertEqual([("coalesce", 102), ("coalesce", 103)], sorted(client.timers))
