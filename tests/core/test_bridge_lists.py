"""
Tests for L{mcpbridge.core.bridge}: lists that are remembered, and what servers say of them.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.catalog import Snapshot
from mcpbridge.core.effects import Save, Send, Tell
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import Called, Cancelled, Changed, Completed, Failed
from mcpbridge.core.jsonrpc import Error, Notification, Request
from tests.core.rigs import ANNOUNCING, CRASHED, SILENT, Rig, call, errors, raw, tells, tools, up


class ListTests(SynchronousTestCase):
    """The lists of a server."""

    def listed(self, *names: str, opening: Any = None, **policy: Any) -> Rig:
        """A rig whose client has been given these tools."""
        rig = up(opening=opening, **policy)
        rig.deliver(1, Called(11, "tools/list", None))
        rig.answers(1, 2, tools(*names))
        rig.taken()
        return rig

    def test_fetched(self) -> None:
        """A list that is not known is fetched, all its pages, and given whole."""
        rig = up()

        rig.deliver(1, Called(11, "tools/list", raw({"cursor": None})))
        rig.deliver(1, Called(12, "tools/list", None))
        rig.answers(1, 2, {"tools": [1], "nextCursor": "c", "x": 1})
        rig.answers(1, 3, {"tools": [2]})

        merged = raw({"tools": [1, 2], "x": 1})
        self.assertEqual(
            [
                Send(1, Request(2, "tools/list")),
                Send(1, Request(3, "tools/list", raw({"cursor": "c"}))),
                Tell(1, Completed(11, merged)),
                Tell(1, Completed(12, merged)),
                Save(),
            ],
            rig.taken(),
        )

    def test_trusted(self) -> None:
        """Nothing has happened since: it is given from memory."""
        rig = self.listed("a")

        rig.deliver(1, Called(12, "tools/list", raw({})))

        self.assertEqual([Tell(1, Completed(12, tools("a")))], rig.taken())
        self.assertNotIn("revalidate", rig.timers)

    def test_cursors(self) -> None:
        """There are none: a list is given whole."""
        rig = self.listed("a")

        rig.deliver(1, Called(12, "tools/list", raw({"cursor": "x"})))

        (effect,) = rig.taken()
        assert isinstance(effect, Tell)
        assert isinstance(effect.event, Failed)
        self.assertEqual(-32602, effect.event.error.code)

    def test_doubtful(self) -> None:
        """A new conversation may have new lists: they are looked up, and the client is told if they are."""
        rig = self.listed("a")
        rig.ends(1, CRASHED)
        rig.fire("reconnect")

        rig.opens(2)
        first = rig.taken()
        rig.answers(2, 2, tools("a", "b"))

        self.assertEqual(Send(2, Request(2, "tools/list")), first[-1])
        self.assertEqual([Save(), Tell(1, Changed("tools"))], rig.taken())

    def test_unchanged(self) -> None:
        """Where nothing is new, nobody is told."""
        rig = self.listed("a")
        rig.ends(1, CRASHED)
        rig.fire("reconnect")
        rig.opens(2)
        rig.taken()

        rig.answers(2, 2, tools("a"))

        self.assertEqual([], rig.taken())

    def test_served_untrusted(self) -> None:
        """A list from an earlier life is given at once and looked up a little later."""
        rig = Rig(known=Snapshot(raw(ANNOUNCING), {"tools/list": tools("old")}))
        rig.attach(1)
        rig.opens(1)
        rig.deliver(1, Called(11, "tools/list", None))

        rig.answers(1, 2, tools("new"))

        self.assertIn(Tell(1, Completed(11, tools("old"))), rig.news)
        self.assertEqual([Save(), Tell(1, Changed("tools"))], rig.taken()[-2:])

    def test_announced(self) -> None:
        """After the server says so, the list is fetched anew when the client asks."""
        rig = self.listed("a")

        rig.says(1, Notification("notifications/tools/list_changed"))
        rig.deliver(1, Called(12, "tools/list", None))
        rig.answers(1, 3, tools("b"))
        rig.deliver(1, Called(13, "tools/list", None))

        self.assertEqual(
            [
                Tell(1, Changed("tools")),
                Send(1, Request(3, "tools/list")),
                Tell(1, Completed(12, tools("b"))),
                Save(),
                Tell(1, Completed(13, tools("b"))),
            ],
            rig.taken(),
        )

    def test_announced_while_it_is_fetched(self) -> None:
        """What comes then may be the old one: the client that waits is given the new one."""
        rig = up()
        rig.deliver(1, Called(11, "tools/list", None))
        rig.says(1, Notification("notifications/tools/list_changed"))
        rig.answers(1, 2, tools("old"))
        first = rig.taken()

        rig.answers(1, 3, tools("new"))
        rig.deliver(1, Called(12, "tools/list", None))

        self.assertEqual(
            [Send(1, Request(2, "tools/list")), Tell(1, Changed("tools")), Send(1, Request(3, "tools/list")), Save()],
            first,
        )
        self.assertEqual([(1, Completed(11, tools("new"))), (1, Completed(12, tools("new")))], tells(rig.taken())[-2:])

    def test_announced_without_end(self) -> None:
        """A server that announces a change with every answer is not waited for a third time."""
        rig = up()
        rig.deliver(1, Called(11, "tools/list", None))
        for request_id in (2, 3):
            rig.says(1, Notification("notifications/tools/list_changed"))
            rig.answers(1, request_id, tools(str(request_id)))

        self.assertEqual((1, Completed(11, tools("3"))), tells(rig.taken())[-1])
        self.assertEqual(1.0, rig.timers["revalidate"])

    def test_announced_to_nobody(self) -> None:
        """Without a client it is fetched for the next one, but not faster than the clock."""
        rig = self.listed("a")
        rig.detach(1)
        rig.says(1, Notification("notifications/tools/list_changed"))
        first = rig.taken()

        rig.fire("revalidate")

        self.assertEqual([], first)
        self.assertEqual([Send(1, Request(3, "tools/list"))], rig.taken())

    def test_not_yet_ready(self) -> None:
        """A client that has not finished its opening has seen no list that could change."""
        rig = self.listed("a")
        rig.detach(1)
        rig.attach(2, ready=False)
        rig.taken()

        rig.says(1, Notification("notifications/tools/list_changed"))

        self.assertEqual([], rig.taken())

    def test_changed_by_a_call(self) -> None:
        """Where the server does not announce changes, a call may have made one."""
        rig = self.listed("a", opening=SILENT)

        rig.deliver(1, call(12))
        rig.answers(1, 3)
        rig.deliver(1, Called(13, "tools/list", None))

        self.assertEqual(Send(1, Request(4, "tools/list")), rig.taken()[-1])

    def test_not_changed_by_a_call(self) -> None:
        """Where it does, a call is no reason for doubt; nor is a read anywhere."""
        announced = self.listed("a")
        silent = self.listed("a", opening=SILENT)

        announced.deliver(1, call(12))
        announced.answers(1, 3)
        silent.deliver(1, call(12, "resources/read"))
        silent.answers(1, 3)

        for rig in (announced, silent):
            rig.deliver(1, Called(13, "tools/list", None))
            self.assertEqual(Tell(1, Completed(13, tools("a"))), rig.taken()[-1])

    def test_failed(self) -> None:
        """The server's error is the client's; the next time it is asked again."""
        rig = up()
        fault = ErrorObject(-32601, "no tools")
        rig.deliver(1, Called(11, "tools/list", None))

        rig.says(1, Error(2, fault))
        rig.deliver(1, Called(12, "tools/list", None))

        self.assertEqual(
            [Send(1, Request(2, "tools/list")), Tell(1, Failed(11, fault)), Send(1, Request(3, "tools/list"))],
            rig.taken(),
        )

    def test_fallback(self) -> None:
        """A list that cannot be had is given as it was last known."""
        rig = self.listed("a")
        rig.says(1, Notification("notifications/tools/list_changed"))
        rig.deliver(1, Called(12, "tools/list", None))
        rig.taken()

        rig.says(1, Error(3, ErrorObject(-32000, "database down")))

        self.assertEqual([Tell(1, Completed(12, tools("a")))], rig.taken())

    def test_broken(self) -> None:
        """What is no list fails whoever waits."""
        rig = up()
        rig.deliver(1, Called(11, "tools/list", None))

        rig.answers(1, 2, {"tools": {}})

        self.assertEqual([(11, "upstream_malformed", True)], errors(rig.taken()))
        self.assertEqual(0, rig.bridge.counts()["exchanges"])

    def test_cancelled(self) -> None:
        """The client waits no more; the list is fetched to the end for the next one."""
        rig = up()
        rig.deliver(1, Called(11, "tools/list", None), Cancelled(11))
        rig.taken()

        rig.answers(1, 2, tools("a"))

        self.assertEqual([Save()], rig.taken())

    def test_bad_params(self) -> None:
        """Params that are no object are the client's fault."""
        rig = up()

        rig.deliver(1, Called(11, "tools/list", Raw(b"[]")))

        self.assertIsInstance(tells(rig.taken())[0][1], Failed)
