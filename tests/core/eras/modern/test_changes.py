"""
Tests for L{mcpbridge.core.eras.modern.changes}, through the peer that it is a part of.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ErrorObject, Fate, Loss, Reason
from mcpbridge.core.events import Changed, Completed, Failed, Lost, Notified, Subscribed, TasksWatched, Unsubscribed
from mcpbridge.core.jsonrpc import Error, RequestId
from tests.core.eras.modern.rigs import Server, discover, raw

LOSS = Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "it broke")
DONE = raw({})
TAG = "io.modelcontextprotocol/subscriptionId"


def announcing(**capabilities: Any) -> Server:
    """A server whose tools may change; our stream to it is request 2."""
    return Server(discover(tools={"listChanged": True}, resources={"subscribe": True}, **capabilities))


def acknowledge(server: Server, request_id: RequestId, *uris: str, within: RequestId | None = None) -> None:
    """The server agrees to the stream."""
    params = {"notifications": {"resourceSubscriptions": list(uris)}, "_meta": {TAG: request_id}}
    server.notes("notifications/subscriptions/acknowledged", params, within)


def filters(server: Server) -> list[tuple[Any, Any]]:
    """The streams that were asked for since the last time, and what was cancelled."""
    said = server.said()
    return [
        (each["id"], each["params"]["notifications"])
        if each["method"] == "subscriptions/listen"
        else ("cancel", each["params"]["requestId"])
        for each in said
    ]


class ChangesTests(SynchronousTestCase):
    """What changes is told on one stream."""

    def test_opened(self) -> None:
        """It is for the lists that may change; where none may, and nobody asks, there is no stream."""
        server = Server(False)
        server.said()

        server.answers(1, discover(tools={"listChanged": True}, prompts={"listChanged": False}))

        self.assertEqual([(2, {"toolsListChanged": True})], filters(server))
        self.assertEqual([], filters(Server()))

    def test_told(self) -> None:
        """Changes cross without the tag of our stream; unknown resources and what has no uri do not."""
        server = announcing()
        acknowledge(server, 2)

        server.notes("notifications/tools/list_changed", {"_meta": {TAG: 2, "k": 1}})
        server.notes("notifications/tools/list_changed")
        server.notes("notifications/resources/updated", {"uri": "a://1", "_meta": {TAG: 2}})
        server.notes("notifications/resources/updated", {"_meta": {TAG: 2}})

        expected = [
            Changed("tools", None, raw({"_meta": {"k": 1}})),
            Changed("tools"),
            Changed("resources", "a://1", raw({"uri": "a://1"})),
        ]
        self.assertEqual(expected, server.crossed())

    def test_subscribed(self) -> None:
        """A larger stream is opened before the old one is closed; whoever subscribed waits for the server's word."""
        server = announcing()
        acknowledge(server, 2)

        server.sends(Subscribed(5, "a://1", None), Subscribed(6, "a://2", None))
        opened = filters(server)
        acknowledge(server, 4, "a://1")

        both = {"toolsListChanged": True, "resourceSubscriptions": ["a://1", "a://2"]}
        self.assertEqual((4, both), opened[-1])
        self.assertEqual([("cancel", 2), ("cancel", 3)], filters(server))
        first, second = server.crossed()
        assert isinstance(second, Failed)
        self.assertEqual((Completed(5, DONE), -32602), (first, second.error.code))

    def test_tasks(self) -> None:
        """Tasks are asked for by their ids on a stream for all that is wanted, and told of as they are."""
        server = announcing()
        acknowledge(server, 2)
        server.said()

        server.sends(TasksWatched(frozenset(("u", "t"))), TasksWatched(frozenset(("t", "u"))))
        acknowledge(server, 3)
        server.notes("notifications/tasks", {"taskId": "t", "_meta": {TAG: 3}}, 3)
        server.sends(TasksWatched(frozenset()))

        self.assertEqual(
            [(3, {"toolsListChanged": True, "taskIds": ["t", "u"]}), ("cancel", 2), (4, {"toolsListChanged": True})],
            filters(server),
        )
        self.assertEqual([Notified(None, "notifications/tasks", raw({"taskId": "t"}))], server.crossed())

    def test_tasks_only(self) -> None:
        """Nothing else need be wanted; when that is not wanted any more either, there is no stream."""
        server = Server()
        server.said()

        server.sends(TasksWatched(frozenset("t")))
        acknowledge(server, 2)
        server.sends(TasksWatched(frozenset()))

        self.assertEqual([(2, {"taskIds": ["t"]}), ("cancel", 2)], filters(server))

    def test_both_streams(self) -> None:
        """While both are open nothing is missed; what comes late on the closed one is told on the other as well."""
        server = announcing()
        acknowledge(server, 2)
        server.sends(Subscribed(5, "a://1", None))
        told = {"uri": "a://1", "_meta": {TAG: 2}}

        server.notes("notifications/resources/updated", told)
        acknowledge(server, 3, "a://1")
        server.notes("notifications/resources/updated", told)

        self.assertEqual([Changed, Completed], [type(event) for event in server.crossed()])

    def test_already(self) -> None:
        """What the stream is for already needs no other."""
        server = announcing()
        server.sends(Subscribed(5, "a://1", None))
        acknowledge(server, 3, "a://1")
        filters(server)

        server.sends(Subscribed(6, "a://1", None))

        self.assertEqual([], filters(server))
        self.assertEqual([Completed(5, DONE), Completed(6, DONE)], server.crossed())

    def test_unsubscribed(self) -> None:
        """With the last wish the stream goes."""
        server = Server(discover(resources={"subscribe": True}))
        server.sends(Subscribed(5, "a://1", None))
        acknowledge(server, 2, "a://1")
        filters(server)
        server.crossed()

        server.sends(Unsubscribed(6, "a://1", None), Unsubscribed(7, "a://1", None))

        self.assertEqual([("cancel", 2)], filters(server))
        self.assertEqual(([2], [Completed(6, DONE), Completed(7, DONE)]), (server.abandoned, server.crossed()))

    def test_unsubscribed_before_it_was_agreed(self) -> None:
        """Whoever had subscribed is answered all the same."""
        server = Server(discover(resources={"subscribe": True}))

        server.sends(Subscribed(5, "a://1", None), Unsubscribed(6, "a://1", None))

        self.assertEqual([Completed(5, DONE), Completed(6, DONE)], server.crossed())

    def test_unheard(self) -> None:
        """A stream that is never acknowledged is given up, and another one opened after a while."""
        server = announcing()
        server.sends(Subscribed(5, "a://1", None))
        filters(server)

        server.fire("unheard")
        given_up = filters(server), server.crossed()
        server.fire("listen")
        asked = filters(server)
        acknowledge(server, 4)

        ((cancelled, (lost,)),) = [given_up]
        self.assertEqual([("cancel", 3)], cancelled)
        assert isinstance(lost, Lost)
        self.assertEqual((5, Reason.UPSTREAM_TIMEOUT), (lost.xid, lost.loss.reason))
        self.assertEqual([(4, {"toolsListChanged": True})], asked)
        self.assertNotIn("unheard", server.timers)

    def test_ended(self) -> None:
        """A stream that ends is opened anew, later each time; what may have changed meanwhile is suspected."""
        server = announcing()
        acknowledge(server, 2)
        filters(server)

        pauses = []
        for request_id in range(2, 10):
            server.answers(request_id, {"resultType": "complete"})
            pauses.append(server.timers["listen"])
            server.fire("listen")
        acknowledge(server, 10)

        self.assertEqual([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0], pauses)
        self.assertEqual(list(range(3, 11)), [request_id for request_id, _ in filters(server)])
        self.assertEqual([Changed("tools", suspected=True)], server.crossed())

    def test_steady(self) -> None:
        """One that has lasted for a minute is opened anew soon."""
        server = announcing()
        acknowledge(server, 2)
        server.do(server.peer.lost(2, LOSS))
        server.fire("listen")
        acknowledge(server, 3)

        server.fire("steady")
        server.notes("notifications/cancelled", {"requestId": 3})

        self.assertEqual(1.0, server.timers["listen"])

    def test_broken_stream(self) -> None:
        """Whoever waits for it has lost: the bridge may ask again for them."""
        server = announcing()
        server.sends(Subscribed(5, "a://1", None))

        server.do(server.peer.lost(3, LOSS))

        self.assertEqual(([Lost(5, LOSS)], 1.0), (server.crossed(), server.timers["listen"]))

    def test_ways_to_end(self) -> None:
        """By a result, an error, garbage, a cancellation: whoever waits is told."""
        for end in (
            lambda server: server.answers(3, {}),
            lambda server: server.says(Error(3, ErrorObject(-5, "no"))),
            lambda server: server.answers(3, 5),
            lambda server: server.notes("notifications/cancelled", {"requestId": 3}),
        ):
            server = announcing()
            server.sends(Subscribed(5, "a://1", None))

            end(server)

            self.assertEqual([Failed], [type(event) for event in server.crossed()])
            self.assertEqual(1.0, server.timers["listen"])

    def test_not_there(self) -> None:
        """A server that knows no such request is not asked again and again."""
        server = announcing()
        filters(server)

        server.says(Error(2, ErrorObject(-32601, "Method not found")))
        server.sends(Subscribed(5, "a://1", None), Unsubscribed(6, "a://1", None))

        self.assertEqual(([], {}), (filters(server), server.timers))
        self.assertEqual([Failed, Completed], [type(event) for event in server.crossed()])

    def test_broken_acknowledgement(self) -> None:
        """One that honours nothing readable honours nothing; another's is nobody's."""
        server = announcing()
        server.sends(Subscribed(5, "a://1", None))

        server.notes("notifications/subscriptions/acknowledged", {"_meta": {TAG: 99}})
        before = server.crossed()
        server.notes("notifications/subscriptions/acknowledged", {"notifications": 5}, within=3)

        self.assertEqual(([], [Failed]), (before, [type(event) for event in server.crossed()]))

    def test_channel_gone(self) -> None:
        """Whoever waits has lost."""
        server = announcing()
        server.sends(Subscribed(5, "a://1", None))

        server.do(server.peer.close(LOSS))

        self.assertEqual([Lost(5, LOSS)], server.crossed())
