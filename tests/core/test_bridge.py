"""
Tests for L{mcpbridge.core.bridge}: what happens, and what is done about it. That is in several modules, by what it is
about: L{tests.core.test_openings}, L{tests.core.test_exchanges}, C{tests.core.test_bridge_...}; here is who shares a
server, and how it ends.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.catalog import Snapshot
from mcpbridge.core.effects import BridgeEffect, Hangup, SessionId, Tell
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Changed,
    Completed,
    Failed,
    InputRequest,
    InputRequired,
    Introduced,
    LevelSet,
    Logged,
    Notified,
    Opened,
    Subscribed,
    Unsubscribed,
)
from mcpbridge.core.jsonrpc import Error, Notification, Request
from tests.core.rigs import (
    ANNOUNCING,
    BUSY,
    CRASHED,
    FORGOTTEN,
    PARAMS,
    Rig,
    call,
    errors,
    methods,
    question,
    raw,
    sends,
    tells,
    tools,
    up,
)


class SharedTests(SynchronousTestCase):
    """One conversation for several clients."""

    def shared(self, *sessions: SessionId) -> Rig:
        """A rig that serves these clients at once."""
        rig = up(exclusive=False, session=sessions[0])
        for session in sessions[1:]:
            rig.attach(session)
        rig.taken()
        return rig

    def test_calls(self) -> None:
        """Each gets its own answers."""
        rig = self.shared(1, 2)

        rig.deliver(1, call(11))
        rig.deliver(2, call(21))
        rig.answers(1, 3, {"for": 2})
        rig.answers(1, 2, {"for": 1})

        self.assertEqual([(2, Completed(21, raw({"for": 2}))), (1, Completed(11, raw({"for": 1})))], tells(rig.taken()))

    def test_own_opening(self) -> None:
        """The server is shown one face, whoever comes."""
        rig = Rig(exclusive=False)
        rig.bridge.attach(1)
        rig.deliver(1, Opened(10, "2024-11-05", {"secret": Raw(b"1")}))

        rig.connected(1)

        self.assertEqual([(1, Request(1, "initialize", jsonrpc.assemble(PARAMS)))], sends(rig.taken()))

    def test_levels(self) -> None:
        """The server sends what the most curious wants; each hears what it wants."""
        rig = self.shared(1, 2)
        rig.deliver(1, LevelSet(11, "debug"))
        rig.answers(1, 2)
        rig.deliver(2, LevelSet(21, "error"))
        rig.answers(1, 3)

        rig.says(1, Notification("notifications/message", raw({"level": "info"})))
        rig.says(1, Notification("notifications/message", raw({"level": "critical"})))
        rig.says(1, Notification("notifications/message", Raw(b"[]")))
        rig.detach(1)

        effects = rig.taken()
        levels = [message.params for _, message in sends(effects) if isinstance(message, Request)]
        self.assertEqual([raw({"level": level}) for level in ("debug", "debug", "error")], levels)
        info, critical = Logged(None, raw({"level": "info"})), Logged(None, raw({"level": "critical"}))
        self.assertEqual(
            [(1, info), (1, critical), (2, critical)],
            [told for told in tells(effects) if isinstance(told[1], Logged)],
        )

    def test_levels_under_way(self) -> None:
        """One that has been asked for, but not answered yet, counts as well."""
        rig = self.shared(1, 2)

        rig.deliver(1, LevelSet(11, "debug"))
        rig.deliver(2, LevelSet(21, "error"))

        levels = [message.params for _, message in sends(rig.taken()) if isinstance(message, Request)]
        self.assertEqual([raw({"level": "debug"})] * 2, levels)

    def test_logs_of_a_call(self) -> None:
        """They go to whoever called."""
        rig = self.shared(1, 2)
        rig.deliver(2, call(21))
        rig.taken()

        rig.says(1, Notification("notifications/message", raw({"level": "debug"})), within=2)

        self.assertEqual([(2, Logged(21, raw({"level": "debug"})))], tells(rig.taken()))

    def test_subscriptions(self) -> None:
        """They are counted: the server hears of the first and of the last."""
        rig = self.shared(1, 2)

        rig.deliver(1, Subscribed(11, "a", None))
        rig.answers(1, 2)
        rig.deliver(2, Subscribed(21, "a", None))
        rig.deliver(1, Unsubscribed(12, "a", None))
        rig.says(1, Notification("notifications/resources/updated", raw({"uri": "a/b"})))
        rig.says(1, Notification("notifications/resources/updated", raw({"uri": "ab"})))
        rig.deliver(2, Unsubscribed(22, "a", None))
        rig.answers(1, 3)

        effects = rig.taken()
        self.assertEqual([(1, "resources/subscribe"), (1, "resources/unsubscribe")], methods(effects))
        self.assertEqual(
            [
                (1, Completed(11, Raw(b"{}"))),
                (2, Completed(21, Raw(b"{}"))),
                (1, Completed(12, Raw(b"{}"))),
                (2, Changed("resources", "a/b", raw({"uri": "a/b"}))),
                (2, Completed(22, Raw(b"{}"))),
            ],
            tells(effects),
        )

    def test_subscribe_while_another_unsubscribes(self) -> None:
        """The server is asked again: what is on its way undoes what was."""
        rig = self.shared(1, 2)
        rig.deliver(1, Subscribed(11, "a", None))
        rig.answers(1, 2)
        rig.taken()

        rig.deliver(1, Unsubscribed(12, "a", None))
        rig.deliver(2, Subscribed(21, "a", None))

        self.assertEqual([(1, "resources/unsubscribe"), (1, "resources/subscribe")], methods(rig.taken()))

    def test_unsubscribe_while_another_subscribes(self) -> None:
        """The server is not asked: it would undo what is on its way."""
        rig = self.shared(1, 2)
        rig.deliver(1, Subscribed(11, "a", None))
        rig.deliver(2, Subscribed(21, "a", None))
        rig.answers(1, 2)
        rig.taken()

        rig.deliver(1, Unsubscribed(12, "a", None))

        self.assertEqual([Tell(1, Completed(12, Raw(b"{}")))], rig.taken())

    def test_subscribe_while_an_unsubscribe_waits(self) -> None:
        """One that the server has put off is not sent after a subscribe that it would undo; it is answered."""
        rig = self.shared(1, 2)
        rig.deliver(1, Subscribed(11, "a", None))
        rig.answers(1, 2)
        rig.deliver(1, Unsubscribed(12, "a", None))
        rig.loses(1, 3, BUSY)
        rig.deliver(2, Subscribed(21, "a", None))
        rig.answers(1, 4)
        rig.taken()

        rig.fire(("retry", 12))

        self.assertEqual([Tell(1, Completed(12, Raw(b"{}")))], rig.taken())

    def test_subscribed_by_one_that_leaves(self) -> None:
        """What it had only asked for is undone too, unless another wants it."""
        rig = self.shared(1, 2)
        rig.deliver(1, Subscribed(11, "a", None), Subscribed(12, "b", None))
        rig.deliver(2, Subscribed(21, "b", None))
        rig.taken()

        rig.detach(1)

        undone = [message.params for _, message in sends(rig.taken()) if isinstance(message, Request)]
        self.assertEqual([raw({"uri": "a"})], undone)

    def test_questions(self) -> None:
        """A question within a call goes to its client; one of nobody's is refused."""
        rig = self.shared(1, 2)
        rig.deliver(2, call(21))
        rig.taken()

        rig.says(1, question(5), within=2)
        rig.says(1, question(6))

        effects = rig.taken()
        self.assertEqual([(2, InputRequired(21, {"1.q1": InputRequest("roots/list", None)}))], tells(effects))
        self.assertEqual([6], [message.id for _, message in sends(effects) if isinstance(message, Error)])

    def test_changes(self) -> None:
        """All are told, and all notifications of nobody's go to all."""
        rig = self.shared(1, 2)

        rig.says(1, Notification("notifications/tools/list_changed"), Notification("x/y"))

        told = tells(rig.taken())
        self.assertEqual(
            [
                (1, Changed("tools")),
                (2, Changed("tools")),
                (1, Notified(None, "x/y", None)),
                (2, Notified(None, "x/y", None)),
            ],
            told,
        )


class CloseTests(SynchronousTestCase):
    """The end of a bridge."""

    def test_close(self) -> None:
        """Whoever waits is told, everything is hung up, no timer is left."""
        rig = up()
        rig.deliver(1, call(11), Called(12, "tools/list", None), call(13))
        rig.loses(1, 4, FORGOTTEN)
        rig.loses(1, 2, BUSY)
        rig.says(1, question(5))
        rig.taken()

        rig.do(rig.bridge.close(Reason.STOPPING, "mcpbridge is stopping"))

        effects = rig.taken()
        self.assertEqual(
            [(11, "bridge_stopping", True), (12, "bridge_stopping", True), (13, "bridge_stopping", True)],
            errors(effects),
        )
        self.assertEqual([Hangup(1), Hangup(2)], [effect for effect in effects if isinstance(effect, Hangup)])
        self.assertEqual({}, rig.timers)
        self.assertEqual(
            {"sessions": 1, "exchanges": 0, "conversations": 0, "questions": 0, "held": 0, "tasks": 0},
            rig.bridge.counts(),
        )

    def test_close_in_mid_call(self) -> None:
        """What may have run is not said to be safe to repeat; what only reads is."""
        rig = up()
        rig.deliver(1, call(11), call(12, "resources/read"))
        rig.taken()

        rig.do(rig.bridge.close(Reason.STOPPING, "mcpbridge is stopping"))

        effects = rig.taken()
        self.assertEqual([(11, "bridge_stopping", False), (12, "bridge_stopping", True)], errors(effects))
        failed = [event for _, event in tells(effects) if isinstance(event, Failed)]
        self.assertIn("Whether tools/call took effect is not known", failed[0].error.message)

    def test_after_close(self) -> None:
        """Requests are turned away at once; nothing begins again."""
        rig = up()
        rig.do(rig.bridge.close(Reason.REMOVED, "it was removed"))
        rig.taken()

        rig.deliver(1, call(11), Notified(None, "x/y", None), Opened(12, "2025-11-25", PARAMS), Cancelled(11))
        rig.connected(1)
        rig.detach(1)

        effects = rig.taken()
        self.assertEqual([(11, "upstream_removed", True), (12, "upstream_removed", True)], errors(effects))
        self.assertEqual([Hangup(1)], [effect for effect in effects if not isinstance(effect, Tell)])
        self.assertEqual({}, rig.timers)
        self.assertEqual(0, sum(rig.bridge.counts().values()))

    def test_same_effects(self) -> None:
        """The same happenings have the same effects."""

        def story() -> list[BridgeEffect]:
            rig = up()
            rig.deliver(1, call(11), Called(12, "tools/list", None))
            rig.ends(1, CRASHED)
            rig.fire("reconnect")
            rig.opens(2)
            return rig.taken()

        self.assertEqual(story(), story())

    def test_snapshot(self) -> None:
        """What is known is handed out, and taken by another bridge."""
        rig = up()
        rig.deliver(1, Called(11, "tools/list", None))
        rig.answers(1, 2, tools("a"))

        snapshot = rig.bridge.snapshot()

        self.assertEqual(Snapshot(raw(ANNOUNCING), {"tools/list": tools("a")}), snapshot)
        self.assertIsNone(Rig().bridge.snapshot())


class StatelessTests(SynchronousTestCase):
    """What only servers of the stateless era say."""

    def known(self) -> Rig:
        """A rig whose client has the list of tools."""
        rig = up()
        rig.deliver(1, Called(20, "tools/list", None))
        rig.answers(1, 2, tools("a"))
        rig.taken()
        return rig

    def test_suspected(self) -> None:
        """A list that may have changed is looked up, and the client told if it has."""
        rig = self.known()

        rig.bridge._said(1, Changed("tools", suspected=True))
        rig.do(rig.bridge._take())
        before = rig.taken()
        rig.fire("revalidate")
        rig.answers(1, 3, tools("a", "b"))

        self.assertEqual([], before)
        self.assertIn((1, Changed("tools")), tells(rig.taken()))

    def test_introduced(self) -> None:
        """Clients that were answered from memory hear what the server says of itself when that is different."""
        rig = Rig(known=Snapshot(raw({"capabilities": {"prompts": {}}}), {}))
        rig.attach(1)
        rig.taken()

        rig.opens(1)
        told = [event for _, event in tells(rig.taken()) if isinstance(event, Introduced)]
        rig.ends(1, Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "gone"))
        rig.fire("reconnect")
        rig.opens(2)

        self.assertEqual(1, len(told))
        self.assertEqual([], [event for _, event in tells(rig.taken()) if isinstance(event, Introduced)])

    def test_people_are_slow(self) -> None:
        """While a client is asked something, nothing of it is given up for being slow."""
        rig = up(read_timeout=5.0, call_timeout=100.0)
        rig.deliver(1, call(20, "prompts/get"))
        rig.says(1, question(7, "elicitation/create"))
        rig.taken()

        rig.tick(50)
        before = rig.taken()
        rig.tick(60)

        self.assertEqual(([], [(20, "upstream_timeout", False)]), (before, errors(rig.taken())))

    def test_version_refused(self) -> None:
        """A call that was refused for its revision is sent once more, in a new conversation."""
        refused = Loss(Fate.SESSION_LOST, Reason.VERSION_REFUSED, "no")
        rig = up()
        rig.deliver(1, call(20))

        rig.loses(1, 2, refused)
        rig.opens(2)
        rig.loses(2, 2, refused)

        self.assertEqual([(20, "upstream_version_refused", True)], errors(rig.taken()))

    def test_unsubscribed_at_once(self) -> None:
        """Who unsubscribes before the server has agreed does not want it after a restart either."""
        rig = up()
        rig.deliver(1, Subscribed(20, "a://1", None), Unsubscribed(21, "a://1", None))
        rig.answers(1, 2)
        rig.answers(1, 3)
        rig.taken()

        rig.ends(1, Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "gone"))
        rig.fire("reconnect")
        rig.opens(2)

        self.assertEqual([], [what for _, what in methods(rig.taken()) if what == "resources/subscribe"])
