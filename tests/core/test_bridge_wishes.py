"""
Tests for L{mcpbridge.core.bridge}: what clients want of a server for longer than one call.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.catalog import Snapshot
from mcpbridge.core.effects import Drop, Note, Send
from mcpbridge.core.events import Changed, LevelSet, Notified, RootsChanged, Subscribed, Unsubscribed
from mcpbridge.core.jsonrpc import Notification, Request
from tests.core.rigs import ANNOUNCING, CRASHED, REFUSED, Rig, call, methods, raw, sends, tells, up


class WishTests(SynchronousTestCase):
    """Log levels and subscriptions."""

    def test_restored(self) -> None:
        """A new conversation is told of them, and the client that it may have missed something."""
        rig = up()
        rig.deliver(1, LevelSet(11, "error"), Subscribed(12, "a", raw({"uri": "a"})), Subscribed(13, "b", None))
        for request_id in (2, 3, 4):
            rig.answers(1, request_id)
        rig.deliver(1, Unsubscribed(14, "b", None))
        rig.answers(1, 5)
        rig.ends(1, CRASHED)
        rig.fire("reconnect")
        rig.taken()

        rig.opens(2)

        effects = rig.taken()
        self.assertEqual(
            [
                (2, Request(2, "logging/setLevel", raw({"level": "error"}))),
                (2, Request(3, "resources/subscribe", raw({"uri": "a"}))),
            ],
            sends(effects)[2:],
        )
        self.assertEqual([(1, Changed("resources", "a"))], tells(effects))

    def test_standing(self) -> None:
        """Wishes from an earlier life of the daemon are kept, however long the server is away."""
        rig = Rig(known=Snapshot(raw(ANNOUNCING), {}), unreachable_deadline=3.0)
        rig.attach(1)
        rig.deliver(1, LevelSet(11, "error", standing=True), Subscribed(12, "a", raw({"uri": "a"}), standing=True))
        rig.tick(30)
        for conversation in range(1, 9):
            rig.do(rig.bridge.connect_failed(conversation, REFUSED))
            rig.fire("reconnect")
        rig.taken()

        rig.opens(9)

        effects = rig.taken()
        self.assertEqual([(9, "logging/setLevel"), (9, "resources/subscribe")], methods(effects)[-2:])
        self.assertEqual([(1, Changed("resources", "a"))], tells(effects))

    def test_standing_on_a_server_that_is_up(self) -> None:
        """It is told at once."""
        rig = up()

        rig.deliver(1, LevelSet(11, "error", standing=True), Subscribed(12, "a", raw({"uri": "a"}), standing=True))

        self.assertEqual([(1, "logging/setLevel"), (1, "resources/subscribe")], methods(rig.taken()))

    def test_undone(self) -> None:
        """The next client finds neither the subscriptions nor the log level of the one before."""
        rig = up()
        rig.deliver(1, LevelSet(11, "debug"), Subscribed(12, "a", None), Subscribed(13, "b", None))
        for request_id in (2, 3):
            rig.answers(1, request_id)
        rig.taken()

        rig.detach(1)

        self.assertEqual(
            [
                (1, Notification("notifications/cancelled", raw({"requestId": 4, "reason": "the client is gone"}))),
                (1, Request(5, "resources/unsubscribe", raw({"uri": "a"}))),
                (1, Request(6, "resources/unsubscribe", raw({"uri": "b"}))),
                (1, Request(7, "logging/setLevel", raw({"level": "info"}))),
            ],
            sends(rig.taken()),
        )

    def test_calls_of_a_client_that_is_gone(self) -> None:
        """They are cancelled."""
        rig = up()
        rig.deliver(1, call(11))
        rig.taken()

        rig.detach(1)

        gone = Notification("notifications/cancelled", raw({"requestId": 2, "reason": "the client is gone"}))
        self.assertEqual([Send(1, gone), Drop(1, 2)], rig.taken())
        self.assertEqual(0, rig.bridge.counts()["exchanges"])

    def test_notifications_of_a_client_that_is_gone(self) -> None:
        """What still waits for the server is forgotten."""
        rig = Rig()
        rig.attach(1)
        rig.deliver(1, Notified(None, "x/y", None))
        held = rig.bridge.counts()["held"]

        rig.detach(1)

        self.assertEqual((1, 0), (held, rig.bridge.counts()["held"]))

    def test_too_many_notifications(self) -> None:
        """Not more than a few wait for a server."""
        rig = Rig()
        rig.attach(1)

        rig.deliver(1, *[Notified(None, "x/y", None)] * 70)

        self.assertEqual(64, rig.bridge.counts()["held"])
        self.assertEqual(6, sum(isinstance(effect, Note) for effect in rig.news))

    def test_roots(self) -> None:
        """Changed roots are told at once; a server that is not up asks by itself when it is."""
        rig = Rig()
        rig.attach(1)
        rig.deliver(1, RootsChanged(None))
        rig.opens(1)
        rig.taken()

        rig.deliver(1, RootsChanged(None))

        self.assertEqual([Send(1, Notification("notifications/roots/list_changed"))], rig.taken())

    def test_detach_twice(self) -> None:
        """The second time there is nothing to do."""
        rig = up()
        rig.detach(1)
        rig.taken()

        rig.detach(1)

        self.assertEqual([], rig.taken())
