"""
Tests for L{mcpbridge.core.eras.modern.listening}, through the peer that it is a part of.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.eras.modern.listening import MAX_LISTENS, MAX_TASKS
from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import Changed, Completed, Failed, Notified, Subscribed, TasksWatched, Unsubscribed
from tests.core.eras.modern.rigs import Client, raw

AGREED = raw({})
EXTENSION: Any = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
WITH_TASKS: Any = {"protocolVersion": "2026-07-28", "capabilities": EXTENSION}


def listening(*uris: str, client: Client | None = None, request_id: Any = "L", **lists: bool) -> Client:
    """A client that listens as C{L}."""
    client = client or Client()
    client.asks(request_id, "subscriptions/listen", {"notifications": {"resourceSubscriptions": list(uris), **lists}})
    return client


def acknowledged(client: Client) -> list[tuple[Any, Any]]:
    """What was acknowledged since the last time, by the id of the stream."""
    tag = "io.modelcontextprotocol/subscriptionId"
    return [
        (said["params"]["_meta"][tag], said["params"]["notifications"])
        for said in client.said()
        if said.get("method") == "notifications/subscriptions/acknowledged"
    ]


class ListenTests(SynchronousTestCase):
    """A client wants to hear what changes."""

    def test_lists(self) -> None:
        """What the server can tell of is honoured, and acknowledged at once."""
        client = listening(toolsListChanged=True, promptsListChanged=True, resourcesListChanged=False)

        self.assertEqual([("L", {"toolsListChanged": True})], acknowledged(client))

    def test_resources(self) -> None:
        """Each resource is subscribed to first; those that the server refuses are left out."""
        client = listening("a://1", "a://2", "a://1")
        wished = client.crossed()
        before = client.said()

        client.told(Failed(103, ErrorObject(-32602, "no")), Completed(102, AGREED))

        self.assertEqual([Subscribed(102, "a://1", None), Subscribed(103, "a://2", None)], wished)
        self.assertEqual(([], {}), (before, client.timers))
        self.assertEqual([("L", {"resourceSubscriptions": ["a://1"]})], acknowledged(client))

    def test_no_subscriptions(self) -> None:
        """A server that has no subscriptions is not asked for one."""
        client = listening("a://1", client=Client(opening={"capabilities": {"resources": {}}}))

        self.assertEqual(([("L", {})], []), (acknowledged(client), client.crossed()))

    def test_slow_server(self) -> None:
        """After ten seconds it is acknowledged without; what is agreed to later is taken back."""
        client = listening("a://1", "a://2")
        client.told(Completed(102, AGREED))
        timers = dict(client.timers)
        client.crossed()

        client.fire(("acknowledge", "L"))
        client.told(Completed(103, AGREED))

        self.assertEqual({("acknowledge", "L"): 10.0}, timers)
        self.assertEqual([("L", {"resourceSubscriptions": ["a://1"]})], acknowledged(client))
        self.assertEqual([Unsubscribed(104, "a://2", None)], client.crossed())

    def test_broken(self) -> None:
        """What is no filter is refused."""
        client = Client()

        for number, params in enumerate(
            (
                {},
                {"notifications": 5},
                {"notifications": {"resourceSubscriptions": "a://1"}},
                {"notifications": {"resourceSubscriptions": [5]}},
                {"notifications": {"resourceSubscriptions": ["a://1"] * 2000}},
            )
        ):
            client.asks(number, "subscriptions/listen", params)

        self.assertEqual([-32602] * 5, [said["error"]["code"] for said in client.said()])

    def test_bounded(self) -> None:
        """One client has no more than so many."""
        client = Client()

        for number in range(MAX_LISTENS + 1):
            listening(client=client, request_id=number)

        self.assertEqual(1, len([said for said in client.said() if "error" in said]))


class TaskTests(SynchronousTestCase):
    """Tasks that a client wants to hear of."""

    def listen(self, client: Client, request_id: Any, *task_ids: str) -> None:
        """Listen for changes of these."""
        client.asks(request_id, "subscriptions/listen", {"notifications": {"taskIds": list(task_ids)}})

    def test_wished(self) -> None:
        """All that any stream wants is wished for, and acknowledged at once; one that closes takes back its own."""
        client = Client(opening=WITH_TASKS, capabilities=EXTENSION)

        self.listen(client, "A", "t", "u")
        self.listen(client, "B", "u", "v")
        client.cancels("A")

        self.assertEqual([("A", {"taskIds": ["t", "u"]}), ("B", {"taskIds": ["u", "v"]})], acknowledged(client))
        self.assertEqual(
            [TasksWatched(frozenset(ids)) for ids in (("t", "u"), ("t", "u", "v"), ("u", "v"))], client.crossed()
        )

    def test_told(self) -> None:
        """A change is told on the streams that want it, whole, with the tag of each."""
        client = Client(opening=WITH_TASKS, capabilities=EXTENSION)
        self.listen(client, "A", "t")
        self.listen(client, "B", "u")
        client.said()

        for task_id in ("t", "v"):
            client.told(Notified(None, "notifications/tasks", raw({"taskId": task_id, "status": "working"})))

        tag = "io.modelcontextprotocol/subscriptionId"
        (said,) = client.said()
        self.assertEqual("notifications/tasks", said["method"])
        self.assertEqual({"taskId": "t", "status": "working", "_meta": {tag: "A"}}, said["params"])

    def test_not_capable(self) -> None:
        """A client must declare the extension (Task Status Notifications); a server without tasks is not asked."""
        client, other = Client(opening=WITH_TASKS), Client(capabilities=EXTENSION)

        self.listen(client, "A", "t")
        self.listen(other, "A", "t")

        (refused,) = client.said()
        needed: Any = {"requiredCapabilities": EXTENSION}
        self.assertEqual((-32021, needed), (refused["error"]["code"], refused["error"]["data"]))
        self.assertEqual(([("A", {})], []), (acknowledged(other), other.crossed()))

    def test_broken(self) -> None:
        """Task ids are texts, and not too many."""
        client = Client(opening=WITH_TASKS, capabilities=EXTENSION)

        for number, wrong in enumerate(("t", [1], ["t"] * (MAX_TASKS + 1))):
            client.asks(number, "subscriptions/listen", {"notifications": {"taskIds": wrong}})

        self.assertEqual([-32602] * 3, [said["error"]["code"] for said in client.said()])


class ChangeTests(SynchronousTestCase):
    """Something changes."""

    def test_fan_out(self) -> None:
        """Each stream that wants to hear of it gets a copy with its own id, typed as it is."""
        client = listening("a://1", toolsListChanged=True)
        client.told(Completed(102, AGREED))
        listening(client=client, request_id=1, toolsListChanged=True)
        listening(client=client, request_id="1")
        client.said()

        client.told(
            Changed("tools"), Changed("prompts"), Changed("resources", "a://1/x", raw({"uri": "a://1/x", "_meta": 5}))
        )

        tag = "io.modelcontextprotocol/subscriptionId"
        said = [(each["method"], each["params"]) for each in client.said()]
        self.assertEqual(
            [
                ("notifications/tools/list_changed", {"_meta": {tag: "L"}}),
                ("notifications/tools/list_changed", {"_meta": {tag: 1}}),
                ("notifications/resources/updated", {"uri": "a://1/x", "_meta": {tag: "L"}}),
            ],
            said,
        )

    def test_acknowledged_first(self) -> None:
        """Nothing is told on a stream before it is acknowledged (Subscriptions, Acknowledgment)."""
        client = listening("a://1", toolsListChanged=True)

        client.told(Changed("tools"), Changed("resources", "a://1"))

        self.assertEqual([], client.said())

    def test_two_streams_one_subscription(self) -> None:
        """A resource is subscribed to once, and until nobody listens."""
        client = listening("a://1")
        listening("a://1", client=client, request_id="M")
        client.told(Completed(102, AGREED))
        listening("a://1", client=client, request_id="N")
        both = acknowledged(client)

        client.cancels("L")
        client.cancels("M")
        before = client.crossed()
        client.cancels("N")

        self.assertEqual(["L", "M", "N"], [stream for stream, _ in both])
        self.assertEqual([Subscribed(102, "a://1", None)], before)
        self.assertEqual([Unsubscribed(103, "a://1", None)], client.crossed())
        self.assertEqual((["L", "M", "N"], {}), (client.forgotten, client.timers))

    def test_gone_before_it_was_agreed(self) -> None:
        """It is taken back once, when it is there."""
        client = listening("a://1")
        client.crossed()

        client.cancels("L")
        before = client.crossed()
        client.told(Completed(102, AGREED))

        self.assertEqual(([], [Unsubscribed(103, "a://1", None)]), (before, client.crossed()))
        self.assertEqual(({}, []), (client.timers, client.said()))

    def test_no_more(self) -> None:
        """When the client says nothing more, streams end with their result; later ones at once."""
        client = listening("a://1")
        client.do(client.peer.no_more())

        listening(client=client, request_id=2)

        said = client.said()
        tag = "io.modelcontextprotocol/subscriptionId"
        self.assertEqual([("L", "L"), (2, 2)], [(each["id"], each["result"]["_meta"][tag]) for each in said])
        self.assertEqual({}, client.timers)

    def test_waits_for_the_opening(self) -> None:
        """What the server can tell of is not known before."""
        client = listening(client=Client(opening=None), toolsListChanged=True)
        before = client.said()

        client.open()

        self.assertEqual(([], [("L", {"toolsListChanged": True})]), (before, acknowledged(client)))
