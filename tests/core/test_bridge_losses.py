"""
Tests for L{mcpbridge.core.bridge}: connections, sessions and requests that are lost.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bridge import Phase
from mcpbridge.core.effects import Connect, Hangup, Send, Tell
from mcpbridge.core.events import Completed, LevelSet, Notified
from mcpbridge.core.jsonrpc import InvalidMessage
from tests.core.rigs import (
    BUSY,
    CRASHED,
    DENIED,
    FORGOTTEN,
    REFUSED,
    Rig,
    call,
    errors,
    methods,
    question,
    raw,
    sent_call,
    up,
)


class LossTests(SynchronousTestCase):
    """What becomes of requests when a server, or a part of the way to it, is lost."""

    def test_unreachable(self) -> None:
        """A request waits for a server that is down, then fails, and each try is later than the one before."""
        rig = Rig(unreachable_deadline=3.0)
        rig.attach(1)
        rig.deliver(1, call(11))
        waits = []

        for conversation in (1, 2, 3):
            rig.do(rig.bridge.connect_failed(conversation, REFUSED))
            waits.append(rig.timers["reconnect"])
            rig.fire("reconnect")
        early = errors(rig.taken())
        rig.tick(4)

        self.assertEqual([0.1, 0.2, 0.4], waits)
        self.assertEqual([], early)
        self.assertEqual([(11, "upstream_unreachable", True)], errors(rig.taken()))

    def test_unreachable_for_long(self) -> None:
        """Nobody waits for it any more, but each request has it looked up again, soon."""
        rig = up(unreachable_deadline=3.0)
        rig.ends(1, CRASHED)
        rig.fire("reconnect")
        rig.tick(5)
        for conversation in range(2, 12):
            rig.do(rig.bridge.connect_failed(conversation, REFUSED))
            rig.fire("reconnect")
        rig.do(rig.bridge.connect_failed(12, REFUSED))
        rig.taken()
        slow = rig.timers["reconnect"]

        rig.deliver(1, call(11))
        quick = rig.timers["reconnect"]
        rig.fire("reconnect")
        rig.do(rig.bridge.connect_failed(13, REFUSED))

        self.assertEqual((15.0, 0.1), (slow, quick))
        self.assertEqual([(11, "upstream_unreachable", True)], errors(rig.taken()))

    def test_up_again(self) -> None:
        """A server that came back is waited for again as if it had never been away."""
        rig = up(unreachable_deadline=3.0)
        rig.ends(1, CRASHED)
        rig.tick(30)
        rig.fire("reconnect")
        rig.opens(2)

        rig.ends(2, CRASHED)
        rig.deliver(1, call(11))
        rig.fire("reconnect")
        rig.do(rig.bridge.connect_failed(3, REFUSED))

        self.assertEqual([], errors(rig.taken()))

    def test_told_to_come_back(self) -> None:
        """A server that says when is not asked before, and whoever waits is patient until then; but not for ever."""
        rig = Rig(unreachable_deadline=3.0, opening_deadline=100.0)
        rig.attach(1)
        rig.deliver(1, call(11))
        waits = []

        for conversation in (1, 2, 3):
            rig.do(rig.bridge.connect_failed(conversation, BUSY))
            rig.tick(20)
            rig.deliver(1, Notified(None, "x/y", None))
            waits.append(rig.timers["reconnect"])
            rig.fire("reconnect")
        early = errors(rig.taken())
        rig.do(rig.bridge.connect_failed(4, BUSY))
        rig.tick(5)

        self.assertEqual([20.0] * 3, waits)
        self.assertEqual([], early)
        self.assertEqual([(11, "upstream_unreachable", True)], errors(rig.taken()))

    def test_hopeless(self) -> None:
        """Where trying again would not help, requests fail at once and nothing is tried unasked."""
        rig = Rig(snapshot=False)
        rig.attach(1)
        rig.taken()

        rig.do(rig.bridge.connect_failed(1, DENIED))

        self.assertEqual([(10, "auth_required", True)], errors(rig.taken()))
        self.assertEqual(Phase.IDLE, rig.bridge.phase)
        self.assertNotIn("reconnect", rig.timers)

    def test_crash(self) -> None:
        """A call that may have run fails and is not sent again; a read is, once; the server is reached at once."""
        rig = up()
        rig.deliver(1, call(11), call(12, "resources/read"), call(13, "x/unknown"))
        rig.taken()

        rig.ends(1, CRASHED)
        first = rig.taken()
        waits = {key: rig.timers[key] for key in ("reconnect", ("retry", 12))}
        rig.fire("reconnect")
        rig.opens(2)
        rig.taken()
        rig.fire(("retry", 12))
        second = rig.taken()
        rig.ends(2, CRASHED)

        unknown = "upstream_lost_outcome_unknown"
        self.assertEqual([(11, unknown, False), (13, unknown, False)], errors(first))
        self.assertEqual({"reconnect": 0.0, ("retry", 12): 0.1}, waits)
        self.assertEqual([sent_call(2, 2, 12, "resources/read")], second)
        self.assertEqual([(12, "upstream_unreachable", True)], errors(rig.taken()))

    def test_read_waits_for_a_slow_restart(self) -> None:
        """A read that was under way for long when the server crashed has its full patience for the next one."""
        rig = up(read_timeout=120.0)
        rig.deliver(1, call(11, "resources/read"))
        rig.tick(60)

        rig.ends(1, CRASHED)
        rig.fire(("retry", 11))
        rig.fire("reconnect")
        rig.tick(5)
        early = errors(rig.taken())
        rig.opens(2)

        self.assertEqual([], early)
        self.assertIn(sent_call(2, 2, 11, "resources/read"), rig.taken())

    def test_crash_loop(self) -> None:
        """A server that crashes as soon as it is up is started more and more slowly, until it stays up."""
        rig = up()
        waits = []

        for conversation in range(1, 6):
            rig.ends(conversation, CRASHED)
            waits.append(rig.timers["reconnect"])
            rig.fire("reconnect")
            rig.opens(conversation + 1)
        rig.fire("stable")
        rig.ends(6, CRASHED)

        self.assertEqual([0.0, 0.1, 0.2, 0.4, 0.8], waits)
        self.assertEqual(0.0, rig.timers["reconnect"])

    def test_back_from_far_away(self) -> None:
        """How long it was away says nothing of how soon it is tried again when it is lost the next time."""
        rig = up()
        rig.ends(1, CRASHED)
        for conversation in range(2, 12):
            rig.fire("reconnect")
            rig.do(rig.bridge.connect_failed(conversation, REFUSED))
        rig.fire("reconnect")
        rig.opens(12)

        rig.ends(12, CRASHED)

        self.assertEqual(0.1, rig.timers["reconnect"])

    def test_session_lost(self) -> None:
        """All calls under way are sent again, once each, in a new conversation; the old one ends."""
        rig = up()
        rig.deliver(1, *(call(xid) for xid in (11, 12, 13)))
        rig.taken()

        for request_id in (2, 3, 4):
            rig.loses(1, request_id, FORGOTTEN)
        first = rig.taken()
        rig.opens(2)

        self.assertEqual([Connect(2), Hangup(1)], first)
        calls = [effect for effect in rig.taken() if isinstance(effect, Send)][2:]
        self.assertEqual([sent_call(2, 2, 11), sent_call(2, 3, 12), sent_call(2, 4, 13)], calls)
        self.assertEqual(1, rig.bridge.counts()["conversations"])

    def test_retired(self) -> None:
        """What a server still answers in a conversation that it has forgotten is taken; the rest is lost later."""
        rig = up()
        rig.deliver(1, call(11), call(12), call(13))
        rig.loses(1, 2, FORGOTTEN)
        rig.opens(2)
        rig.taken()

        rig.answers(1, 3)
        first = rig.taken()
        self.assertEqual(5.0, rig.timers["retire", 1])
        rig.fire(("retire", 1))

        effects = rig.taken()
        self.assertEqual([Tell(1, Completed(12, Raw(b"{}")))], first)
        self.assertEqual([(13, "upstream_lost_outcome_unknown", False)], errors(effects))
        self.assertEqual(Hangup(1), effects[0])
        self.assertEqual(Phase.READY, rig.bridge.phase)

    def test_every_session_lost(self) -> None:
        """A server that forgets each session at once is not asked without end, nor without a pause."""
        rig = up()
        rig.deliver(1, call(11))
        rig.taken()
        waits = []

        for conversation in range(1, 5):
            rig.loses(conversation, 2, FORGOTTEN)
            if rig.bridge.phase is Phase.WAITING:
                waits.append(rig.timers["reconnect"])
                rig.fire("reconnect")
            rig.opens(conversation + 1)

        self.assertEqual([0.1, 0.2, 0.4], waits)
        self.assertEqual([(11, "session_lost", True)], errors(rig.taken()))

    def test_wishes_of_a_server_that_forgets(self) -> None:
        """Our own requests are no reason to open one session after the other without a pause."""
        rig = up()
        rig.deliver(1, LevelSet(11, "info"))
        rig.answers(1, 2)

        rig.deliver(1, call(12))
        rig.loses(1, 3, FORGOTTEN)
        rig.opens(2)
        rig.loses(2, 2, FORGOTTEN)

        self.assertEqual(Phase.WAITING, rig.bridge.phase)

    def test_session_lost_by_the_connection(self) -> None:
        """Where it is the whole connection that learns of it, what was under way may have run."""
        rig = up()
        rig.deliver(1, call(11), call(12, "resources/read"))
        rig.taken()

        rig.ends(1, FORGOTTEN)

        self.assertEqual([(11, "upstream_lost_outcome_unknown", False)], errors(rig.taken()))
        self.assertEqual({"reconnect": 0.0, ("retry", 12): 0.1, "tick": 1.0}, rig.timers)

    def test_rejected(self) -> None:
        """A server that is busy is asked again when it said, and no other time; four times in all."""
        rig = up(unreachable_deadline=3.0)
        rig.deliver(1, call(11))
        waits = []

        for request_id in (2, 3, 4):
            rig.loses(1, request_id, BUSY)
            waits.append(rig.timers["retry", 11])
            rig.tick(20)
            rig.fire(("retry", 11))
        rig.loses(1, 5, BUSY)

        self.assertEqual([20.0] * 3, waits)
        effects = rig.taken()
        self.assertEqual([(1, "tools/call")] * 4, methods(effects))
        self.assertEqual([(11, "upstream_unreachable", True)], errors(effects))

    def test_restart_behind_http(self) -> None:
        """First it cannot be reached, again and again, then it knows no session: the call is sent all the same."""
        rig = up()
        rig.deliver(1, call(11))
        for request_id in range(2, 8):
            rig.loses(1, request_id, REFUSED)
            rig.fire(("retry", 11))

        rig.loses(1, 8, FORGOTTEN)
        rig.opens(2)

        effects = rig.taken()
        self.assertEqual([], errors(effects))
        self.assertEqual(sent_call(2, 2, 11), effects[-1])

    def test_refused_after_a_long_wait(self) -> None:
        """A request that waited because it was told to has its patience from then on."""
        rig = up(unreachable_deadline=3.0)
        rig.deliver(1, call(11))
        rig.loses(1, 2, BUSY)
        rig.tick(20)
        rig.fire(("retry", 11))

        rig.loses(1, 3, REFUSED)

        self.assertEqual([], errors(rig.taken()))
        self.assertEqual(0.1, rig.timers["retry", 11])

    def test_denied(self) -> None:
        """What a server will not let us do fails at once."""
        rig = up()
        rig.deliver(1, call(11))

        rig.loses(1, 2, DENIED)

        self.assertEqual([(11, "auth_required", True)], errors(rig.taken()))

    def test_never_sent(self) -> None:
        """A call that never left may be sent again until its patience is over, not longer."""
        rig = up(unreachable_deadline=3.0)
        rig.deliver(1, call(11))

        for request_id in (2, 3, 4):
            rig.loses(1, request_id, REFUSED)
            rig.tick(1)
            rig.fire(("retry", 11))
        early = errors(rig.taken())
        rig.tick(1)
        rig.loses(1, 5, REFUSED)

        self.assertEqual([], early)
        self.assertEqual([(11, "upstream_unreachable", True)], errors(rig.taken()))

    def test_malformed(self) -> None:
        """A broken answer is an answer."""
        rig = up()
        rig.deliver(1, call(11), call(12))
        invalid = InvalidMessage(-32600, "broken", response_id=3)

        rig.answers(1, 2, raw([]))
        rig.do(rig.bridge.received_garbage(1, invalid))

        self.assertEqual([(11, "upstream_malformed", False), (12, "upstream_malformed", False)], errors(rig.taken()))

    def test_after_the_end(self) -> None:
        """What a conversation says that is over is not heard."""
        rig = up()
        rig.ends(1, CRASHED)
        rig.taken()

        rig.says(1, question(1))
        rig.do(rig.bridge.received_garbage(1, InvalidMessage(-32700, "x")))
        rig.loses(1, 1, CRASHED)
        rig.ends(1, CRASHED)

        self.assertEqual([], rig.taken())

    def test_nobody_left(self) -> None:
        """Without a client and with nothing to do, a server that is away is left alone."""
        rig = up()
        rig.ends(1, CRASHED)

        rig.detach(1)

        self.assertEqual(Phase.IDLE, rig.bridge.phase)
        self.assertNotIn("reconnect", rig.timers)

    def test_nobody_there(self) -> None:
        """The same when nobody was there in the first place."""
        rig = up()
        rig.detach(1)

        rig.ends(1, CRASHED)

        self.assertEqual(Phase.IDLE, rig.bridge.phase)
