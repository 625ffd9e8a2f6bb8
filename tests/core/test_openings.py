"""
Tests for L{mcpbridge.core.openings}, by way of the bridge.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.bridge import Phase
from mcpbridge.core.catalog import Snapshot
from mcpbridge.core.effects import Connect, Hangup, Save, Send, Tell
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import Called, Changed, Completed, Failed
from mcpbridge.core.jsonrpc import Error, Notification, Request
from tests.core.rigs import (
    ANNOUNCING,
    CRASHED,
    DENIED,
    PARAMS,
    SILENT,
    Rig,
    call,
    errors,
    raw,
    sends,
    sent_call,
    tells,
    tools,
    up,
)

SHOWN = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": True}, "logging": {}}}


class OpeningTests(SynchronousTestCase):
    """A client comes."""

    def test_first_client(self) -> None:
        """It waits for the server, which is told what the client said of itself."""
        rig = Rig()

        rig.attach(1, ready=False)
        first = rig.taken()
        rig.connected(1)
        second = rig.taken()
        rig.answers(1, 1, ANNOUNCING)

        self.assertEqual([Connect(1)], first)
        self.assertEqual([Send(1, Request(1, "initialize", jsonrpc.assemble(PARAMS)))], second)
        self.assertEqual(
            [Send(1, Notification("notifications/initialized")), Save(), Tell(1, Completed(10, raw(SHOWN)))],
            rig.taken(),
        )
        self.assertEqual((Phase.READY, None), (rig.bridge.phase, rig.bridge.last_loss))
        self.assertEqual({"stable", "tick"}, set(rig.timers))

    def test_from_memory(self) -> None:
        """Once known, the server's opening and lists are given at once, while it is still being reached."""
        rig = Rig(known=Snapshot(raw(SILENT), {"tools/list": tools("a")}))

        rig.attach(1)
        rig.deliver(1, Called(11, "tools/list", None))

        offered = {"tools": {"listChanged": True}, "resources": {"listChanged": True}}
        self.assertEqual(
            [
                Tell(1, Completed(10, raw({**SILENT, "capabilities": offered}))),
                Connect(1),
                Tell(1, Completed(11, tools("a"))),
            ],
            rig.taken(),
        )

    def test_without_snapshot(self) -> None:
        """Where the user does not want that, the server's own words are waited for, and not touched."""
        rig = Rig(known=Snapshot(raw(ANNOUNCING), {"tools/list": tools("a")}), snapshot=False)

        rig.attach(1)
        first = rig.taken()
        rig.opens(1, SILENT)
        rig.deliver(1, Called(11, "tools/list", raw({"cursor": "x"})))

        self.assertEqual([Connect(1)], first)
        effects = rig.taken()
        self.assertIn(Tell(1, Completed(10, raw(SILENT))), effects)
        self.assertEqual(Send(1, Request(3, "tools/list", raw({"cursor": "x"}))), effects[-1])

    def test_taken_over(self) -> None:
        """The next client goes on in the conversation of the one before."""
        rig = up()
        rig.detach(1)

        rig.attach(2)
        rig.deliver(2, call(21))

        self.assertEqual([Tell(2, Completed(20, raw(SHOWN))), sent_call(1, 2, 21)], rig.taken())

    def test_nobody_answers(self) -> None:
        """The opening has a deadline."""
        rig = Rig(opening_deadline=5.0)
        rig.attach(1)

        rig.tick(6)

        self.assertEqual([(10, "upstream_timeout", True)], errors(rig.taken()))
        self.assertEqual(0, rig.bridge.counts()["exchanges"])

    def test_opening_not_answered(self) -> None:
        """A server that does not answer initialize is hung up on and tried again."""
        rig = Rig()
        rig.attach(1)
        rig.connected(1)
        rig.taken()

        self.assertEqual(25.0, rig.timers["opening"])
        rig.fire("opening")
        first = rig.taken()
        rig.fire("reconnect")

        self.assertEqual([Hangup(1)], first)
        self.assertEqual([Connect(2)], rig.taken())

    def test_refused(self) -> None:
        """A server that answers initialize with an error gives the client that very error, and is not asked again."""
        rig = Rig()
        rig.attach(1)
        rig.deliver(1, call(11))
        rig.connected(1)
        rig.taken()
        fault = ErrorObject(-32000, "no licence", raw({"x": 1}))

        rig.says(1, Error(1, fault))

        self.assertEqual([Tell(1, Failed(10, fault)), Tell(1, Failed(11, fault)), Hangup(1)], rig.taken())
        self.assertEqual(Phase.IDLE, rig.bridge.phase)
        self.assertNotIn("reconnect", rig.timers)

    def test_foreign_revision(self) -> None:
        """One that speaks another revision cannot be used; the next request tries again."""
        rig = Rig()
        rig.attach(1)
        rig.connected(1)
        rig.taken()

        rig.answers(1, 1, {"protocolVersion": "2026-07-28"})
        first = rig.taken()
        rig.deliver(1, call(12))

        self.assertEqual([(10, "upstream_version_refused", True)], errors(first))
        self.assertIn(Hangup(1), first)
        self.assertEqual([Connect(2)], rig.taken())

    def test_opening_lost(self) -> None:
        """The stream of initialize breaks: another connection is tried."""
        rig = Rig()
        rig.attach(1)
        rig.connected(1)
        rig.taken()

        rig.loses(1, 1, CRASHED)

        self.assertEqual([Hangup(1)], rig.taken())
        self.assertEqual(Phase.WAITING, rig.bridge.phase)

    def test_stray_connection(self) -> None:
        """A connection that nobody waits for any more is ended."""
        rig = up()

        rig.connected(7)

        self.assertEqual([Hangup(7)], rig.taken())


class LoginTests(SynchronousTestCase):
    """A server that wants a login first: a state, not a failure."""

    def locked(self) -> Rig:
        rig = Rig()
        rig.attach(1)
        rig.connected(1)
        rig.taken()
        rig.loses(1, 1, DENIED)
        return rig

    def test_let_in(self) -> None:
        """A client that comes is let in, and finds lists that are empty so far."""
        rig = self.locked()

        opened = tells(rig.taken())
        rig.deliver(1, Called(11, "tools/list", None))

        ((_, answer),) = opened
        assert isinstance(answer, Completed)
        self.assertIn("tools", jsonrpc.read(answer.result)["capabilities"])
        self.assertEqual([(1, Completed(11, tools()))], tells(rig.taken()))

    def test_call(self) -> None:
        """A call is told at once what to do."""
        rig = self.locked()
        rig.taken()

        rig.deliver(1, call(12))
        rig.connected(2)
        rig.loses(2, 1, DENIED)

        self.assertEqual([(12, "auth_required", True)], errors(rig.taken()))

    def test_after_the_login(self) -> None:
        """After the login the same client is told that there is something now, and gets it."""
        rig = self.locked()
        rig.deliver(1, Called(11, "tools/list", None))
        rig.connected(2)
        rig.loses(2, 1, DENIED)
        rig.taken()

        rig.do(rig.bridge.wake())
        conversation = max(effect.conversation for effect in rig.taken() if isinstance(effect, Connect))
        rig.opens(conversation)
        asked = {message.method: message.id for _, message in sends(rig.taken()) if isinstance(message, Request)}
        rig.answers(conversation, asked["tools/list"], tools("a"))
        told = tells(rig.taken())
        rig.deliver(1, Called(13, "tools/list", None))

        self.assertEqual([(1, Changed("tools"))], told)
        self.assertEqual([(1, Completed(13, tools("a")))], tells(rig.taken()))

    def test_nothing_is_remembered(self) -> None:
        """What was made up meanwhile is not kept for the next time."""
        rig = self.locked()

        self.assertIsNone(rig.bridge.snapshot())

    def test_without_snapshot(self) -> None:
        """Where the user wants the server's own words only, the opening fails with the reason."""
        rig = Rig(snapshot=False)
        rig.attach(1)
        rig.connected(1)
        rig.taken()

        rig.loses(1, 1, DENIED)

        self.assertEqual([(10, "auth_required", True)], errors(rig.taken()))

    def test_nobody_to_wake(self) -> None:
        """A login that nobody waited for opens nothing."""
        rig = Rig()

        rig.do(rig.bridge.wake())

        self.assertEqual([], rig.taken())
