"""
Tests for L{mcpbridge.core.exchanges}, by way of the bridge.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.effects import Drop, Send, Tell
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import Called, Cancelled, Changed, Completed, Failed, LevelSet, Logged, Notified, Progressed
from mcpbridge.core.jsonrpc import Error, Notification
from tests.core.rigs import BUSY, Rig, call, errors, methods, raw, sent_call, tells, up


class CallTests(SynchronousTestCase):
    """Requests and their answers."""

    def test_call(self) -> None:
        """There and back; what comes late or twice is dropped."""
        rig = up()

        rig.deliver(1, call(11))
        rig.answers(1, 2, {"content": []})
        rig.answers(1, 2, {"content": [1]})

        self.assertEqual([sent_call(1, 2, 11), Tell(1, Completed(11, raw({"content": []})))], rig.taken())
        self.assertEqual(
            {"sessions": 1, "exchanges": 0, "conversations": 1, "questions": 0, "held": 0, "tasks": 0},
            rig.bridge.counts(),
        )
        self.assertFalse(rig.bridge.busy())

    def test_error(self) -> None:
        """The server's error is passed on as it came."""
        rig = up()
        rig.deliver(1, call(11))
        fault = ErrorObject(-32602, "Unknown tool", raw([1]))
        rig.taken()

        rig.says(1, Error(2, fault))

        self.assertEqual([Tell(1, Failed(11, fault))], rig.taken())

    def test_waits_for_the_server(self) -> None:
        """What is asked before it is up is sent when it is, in order, after its opening."""
        rig = Rig()
        rig.attach(1, ready=False)

        rig.deliver(1, call(11), Notified(None, "x/y", None), LevelSet(12, "info"))
        rig.opens(1)

        self.assertEqual(
            [
                (1, "initialize"),
                (1, "notifications/initialized"),
                (1, "x/y"),
                (1, "tools/call"),
                (1, "logging/setLevel"),
            ],
            methods(rig.taken()),
        )

    def test_progress_and_logs(self) -> None:
        """They reach the client whose call they belong to."""
        rig = up()
        rig.deliver(1, Called(11, "tools/call", raw({"_meta": {"progressToken": 5}}), wants_progress=True))
        rig.taken()
        log = raw({"level": "info"})

        rig.says(1, Notification("notifications/progress", raw({"progressToken": 2, "progress": 1})))
        rig.says(1, Notification("notifications/message", log), within=2)
        rig.says(1, Notification("x/y", None), within=2)
        rig.says(1, Notification("x/z", None))
        rig.says(1, Notification("notifications/resources/updated", raw({"uri": "a"})))

        self.assertEqual(
            [
                (1, Progressed(11, {"progress": Raw(b"1")})),
                (1, Logged(11, log)),
                (1, Notified(11, "x/y", None)),
                (1, Notified(None, "x/z", None)),
                (1, Changed("resources", "a", raw({"uri": "a"}))),
            ],
            tells(rig.taken()),
        )

    def test_cancel(self) -> None:
        """The server is told; what it still says of it is dropped."""
        rig = up()
        rig.deliver(1, call(11))
        rig.taken()

        rig.deliver(1, Cancelled(11, "bored"))
        rig.answers(1, 2)
        rig.deliver(1, Cancelled(11))

        cancelled = Notification("notifications/cancelled", raw({"requestId": 2, "reason": "bored"}))
        self.assertEqual([Send(1, cancelled), Drop(1, 2)], rig.taken())
        self.assertEqual(0, rig.bridge.counts()["exchanges"])

    def test_cancel_before_it_was_sent(self) -> None:
        """It is never sent."""
        rig = Rig()
        rig.attach(1)
        rig.deliver(1, call(11), Cancelled(11))

        rig.opens(1)

        self.assertEqual([(1, "initialize"), (1, "notifications/initialized")], methods(rig.taken()))

    def test_cancel_while_held(self) -> None:
        """Its timer stops."""
        rig = up()
        rig.deliver(1, call(11))
        rig.loses(1, 2, BUSY)
        before = dict(rig.timers)

        rig.deliver(1, Cancelled(11))

        self.assertEqual(20.0, before["retry", 11])
        self.assertNotIn(("retry", 11), rig.timers)

    def test_deadline(self) -> None:
        """A call that is not answered in time is cancelled, and may have run; a read is only late."""
        rig = up(call_timeout=3.0, read_timeout=3.0)
        rig.deliver(1, call(11), call(12, "resources/read"))
        rig.taken()

        rig.tick(3)
        early = rig.taken()
        rig.tick(1)

        effects = rig.taken()
        self.assertEqual([], early)
        self.assertEqual([(1, "notifications/cancelled")] * 2, methods(effects))
        self.assertEqual([(11, "upstream_timeout", False), (12, "upstream_timeout", False)], errors(effects))
        self.assertIn("Whether tools/call took effect is not known", str(tells(effects)[0]))

    def test_too_many(self) -> None:
        """What is over the bound is turned away at once."""
        rig = up(max_open=2)

        rig.deliver(1, call(11), call(12), call(13))

        self.assertEqual([(13, "overloaded", True)], errors(rig.taken()))

    def test_no_ticking_for_nothing(self) -> None:
        """With nothing to wait for, no timer runs."""
        rig = up()
        rig.tick(1)

        rig.fire("stable")

        self.assertEqual({}, rig.timers)
