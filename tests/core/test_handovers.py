"""
Tests for L{mcpbridge.core.handovers}, in the bridge that it belongs to.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.effects import Send, Tell
from mcpbridge.core.errors import Reason
from mcpbridge.core.events import Cancelled, InputRequest, InputRequired, InputSupplied, Ready
from mcpbridge.core.handovers import ANSWERED, ASKED, SETTLED
from mcpbridge.core.jsonrpc import Notification, Result
from tests.core.rigs import CRASHED, Rig, call, question, raw, sent_call, up

CHANGED = Send(1, Notification("notifications/roots/list_changed"))
TIMER = ("roots", 2)


def asked(key: str) -> Tell:
    """The second client is asked for its roots."""
    return Tell(2, InputRequired(None, {key: InputRequest("roots/list", None)}))


def handed_over() -> Rig:
    """The server knows the roots of a client that is gone, and another one has come."""
    rig = up()
    rig.says(1, question(5))
    rig.deliver(1, InputSupplied(None, {"1.q1": raw({"roots": []})}))
    rig.detach(1)
    rig.attach(2, ready=False)
    rig.taken()
    return rig


class HandoverTests(SynchronousTestCase):
    """The next client of a server that has asked for roots."""

    def test_asked_anew(self) -> None:
        """What the client wants waits for the server to have its roots."""
        rig = handed_over()

        rig.deliver(2, call(21))
        first, patience = rig.taken(), [rig.timers[TIMER]]
        rig.says(1, question(6))
        second = rig.taken()
        patience.append(rig.timers[TIMER])
        rig.deliver(2, InputSupplied(None, {"1.q2": raw({"roots": []})}))
        third = rig.taken()
        patience.append(rig.timers[TIMER])
        rig.fire(TIMER)

        self.assertEqual(
            ([CHANGED], [asked("1.q2")], [Send(1, Result(6, raw({"roots": []})), 6)], [sent_call(1, 2, 21)]),
            (first, second, third, rig.taken()),
        )
        self.assertEqual([ASKED, ANSWERED, SETTLED], patience)

    def test_asked_again_and_again(self) -> None:
        """Each wait comes once, however often the server asks, so that the client is not held up for ever."""
        rig = handed_over()
        rig.deliver(2, call(21))
        rig.says(1, question(6))
        rig.taken()
        waits = []

        for number in range(7, 10):
            rig.timers[TIMER] = 0.0
            rig.says(1, question(number))
            waits.append(rig.timers[TIMER])
            rig.deliver(2, InputSupplied(None, {f"1.q{number - 5}": raw({"roots": []})}))
            waits.append(rig.timers[TIMER])
        rig.taken()
        rig.fire(TIMER)

        self.assertEqual([0.0, SETTLED, 0.0, 0.0, 0.0, 0.0], waits)
        self.assertEqual([sent_call(1, 2, 21)], rig.taken())

    def test_not_asked(self) -> None:
        """A server that does not ask is not waited for for long; then everything goes on, in order."""
        rig = handed_over()
        rig.deliver(2, call(21), call(22))
        rig.taken()

        rig.fire(TIMER)
        waited = rig.taken()
        rig.deliver(2, call(23))

        self.assertEqual([sent_call(1, 2, 21), sent_call(1, 3, 22)], waited)
        self.assertEqual([sent_call(1, 4, 23)], rig.taken())

    def test_gone(self) -> None:
        """Nothing is left of a client that goes meanwhile, nor of a call that it cancels."""
        rig = handed_over()
        rig.deliver(2, call(21), call(22))
        rig.taken()

        rig.deliver(2, Cancelled(21, None))
        rig.detach(2)

        self.assertEqual([], rig.taken())
        self.assertNotIn(TIMER, rig.timers)

    def test_lost(self) -> None:
        """A server that starts anew knows no roots, and asks by itself: nothing waits any longer."""
        rig = handed_over()
        rig.deliver(2, call(21))
        rig.says(1, question(6))

        rig.ends(1, CRASHED)
        rig.fire("reconnect")
        rig.opens(2)

        self.assertEqual(sent_call(2, 2, 21), rig.taken()[-1])
        self.assertNotIn(TIMER, rig.timers)

    def test_patience(self) -> None:
        """A call that waits does not wait for a server that is away, though something got lost there before."""
        rig = up()
        rig.says(1, question(5))
        rig.deliver(1, call(11))
        rig.loses(1, 2, CRASHED)
        rig.detach(1)
        rig.attach(2)
        rig.deliver(2, call(21))
        rig.taken()

        rig.tick(9)

        self.assertEqual([], rig.taken())

    def test_closed(self) -> None:
        """No timer is left."""
        rig = handed_over()
        rig.deliver(2, call(21))

        rig.do(rig.bridge.close(Reason.STOPPING, "mcpbridge is stopping"))

        self.assertEqual({}, rig.timers)

    def test_asked_something_else(self) -> None:
        """What the server asked before the client was ready makes no difference, unless that was for its roots."""
        for method, expected in (("sampling/createMessage", [CHANGED]), ("roots/list", [sent_call(1, 2, 21)])):
            rig = handed_over()
            rig.says(1, question(6, method))
            rig.taken()

            rig.deliver(2, Ready(), call(21))

            self.assertEqual(expected, [effect for effect in rig.taken() if isinstance(effect, Send)])

    def test_within_a_call(self) -> None:
        """A server that asks when it needs them asks again, so nothing waits."""
        rig = up()
        rig.deliver(1, call(11))
        rig.says(1, question(5), within=2)
        rig.detach(1)
        rig.attach(2, ready=False)
        rig.taken()

        rig.deliver(2, call(21))

        self.assertEqual([CHANGED, sent_call(1, 3, 21)], rig.taken())

    def test_first_client(self) -> None:
        """The first client takes nothing over."""
        rig = up()
        rig.says(1, question(5))
        rig.taken()

        rig.deliver(1, Ready(), call(11))

        self.assertEqual([sent_call(1, 2, 11)], rig.taken())
