"""
Tests for L{mcpbridge.core.pulse}, in the bridge that it belongs to.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.effects import Hangup, Tell
from mcpbridge.core.events import Called, Cancelled, Failed
from mcpbridge.core.jsonrpc import Notification, Request, Result
from mcpbridge.core.pulse import SILENT, TAKEN_OVER
from tests.core.rigs import CRASHED, Rig, call, methods, raw, sends, up


def given_up(**policy: Any) -> Rig:
    """A server that has said nothing since a call was given up."""
    rig = up(has_pulse=True, **policy)
    rig.deliver(1, call(11), Cancelled(11, None))
    rig.taken()
    return rig


class PulseTests(SynchronousTestCase):
    """A server that may hang."""

    def test_hangs(self) -> None:
        """It is asked for a sign of life; without one it is ended, and what waits for it is told so."""
        rig = given_up()
        rig.deliver(1, call(12))
        rig.taken()

        patience = rig.timers["pulse"]
        rig.fire("pulse")
        done = rig.taken()

        self.assertEqual(SILENT, patience)
        self.assertEqual([Hangup(1)], [effect for effect in done if isinstance(effect, Hangup)])
        (told,) = (effect.event for effect in done if isinstance(effect, Tell))
        assert isinstance(told, Failed)
        self.assertIn("it hangs", told.error.message)
        self.assertNotIn("pulse", rig.timers)

    def test_alive(self) -> None:
        """Whatever it says will do: an answer, a word of its own, or the end of what was given up."""
        for message in (
            Result(3, Raw(b"{}")),
            Notification("notifications/message", raw({"level": "info", "data": "x"})),
            Result(2, Raw(b"{}")),
        ):
            rig = given_up()

            rig.says(1, message)

            self.assertNotIn("pulse", rig.timers)

    def test_asked_at_once(self) -> None:
        """The question is ahead of what clients want next, which may keep the server busy."""
        rig = up(has_pulse=True)

        rig.deliver(1, call(11), Cancelled(11, None), call(12))

        expected = [(1, "tools/call"), (1, "notifications/cancelled"), (1, "ping"), (1, "tools/call")]
        self.assertEqual(expected, methods(rig.taken()))

    def test_busy(self) -> None:
        """It is let be as long as somebody waits for what was asked before, and has all of its time from then on."""
        rig = up(has_pulse=True)
        rig.attach(2)
        rig.deliver(1, call(11), call(12), Cancelled(11, None))
        rig.attach(3)
        before = "pulse" in rig.timers

        rig.deliver(1, Cancelled(12, None))

        self.assertEqual((False, TAKEN_OVER), (before, rig.timers["pulse"]))

    def test_given_up_later(self) -> None:
        """What was asked of it since, and given up as well, does not give it more time."""
        rig = given_up()
        rig.timers["pulse"] = 1.0

        rig.deliver(1, call(12), Cancelled(12, None))

        self.assertEqual(1.0, rig.timers["pulse"])

    def test_timed_out(self) -> None:
        """What the client does not give up by itself is given up at its deadline."""
        rig = up(has_pulse=True, call_timeout=5.0)
        rig.deliver(1, call(11))

        rig.tick(6)

        self.assertEqual(SILENT, rig.timers["pulse"])

    def test_taken_over(self) -> None:
        """The next client need not wait that long."""
        rig = given_up()
        rig.detach(1)
        rig.taken()

        rig.attach(2)
        patience = rig.timers["pulse"]
        rig.fire("pulse")

        self.assertEqual(TAKEN_OVER, patience)
        self.assertIn(Hangup(1), rig.taken())

    def test_taken_over_again(self) -> None:
        """Clients that come and go one after the other do not keep it from being found out."""
        rig = given_up()
        rig.detach(1)
        rig.attach(2)
        rig.detach(2)
        rig.timers["pulse"] = 1.0

        rig.attach(3)

        self.assertEqual(1.0, rig.timers["pulse"])

    def test_answers_no_ping(self) -> None:
        """Once it has said something else, its answer is not waited for."""
        rig = given_up()
        rig.says(1, Notification("notifications/message", raw({"level": "info", "data": "x"})))

        rig.tick(100)

        self.assertEqual(0, rig.bridge.counts()["exchanges"])
        self.assertNotIn("pulse", rig.timers)

    def test_nobody_left(self) -> None:
        """One that hangs when nobody uses it is not started again before somebody does."""
        rig = given_up()
        rig.detach(1)

        rig.fire("pulse")

        self.assertEqual(0, rig.bridge.counts()["exchanges"])
        self.assertNotIn("reconnect", rig.timers)

    def test_lost(self) -> None:
        """The next conversation is trusted."""
        rig = given_up()

        rig.ends(1, CRASHED)
        rig.fire("reconnect")
        rig.taken()
        rig.opens(2)

        self.assertEqual({"stable"}, rig.timers.keys() - {"tick"})
        self.assertEqual([], [message for _, message in sends(rig.taken()) if message == Request(2, "ping")])

    def test_not_for_all(self) -> None:
        """Only who owns its process can end a server that hangs."""
        rig = up()
        rig.deliver(1, call(11), Cancelled(11, None))

        self.assertNotIn("pulse", rig.timers)

    def test_waits_to_be_sent(self) -> None:
        """A request that the server never got says nothing of it."""
        rig = Rig(has_pulse=True)
        rig.attach(1)

        rig.deliver(1, Called(11, "tools/call", None), Cancelled(11, None))

        self.assertNotIn("pulse", rig.timers)
