"""
Tests for L{mcpbridge.core.eras.modern.server}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Completed,
    Failed,
    InputWithdrawn,
    Introduced,
    LevelSet,
    Logged,
    Native,
    Notified,
    Opened,
    Progressed,
    Ready,
)
from mcpbridge.core.interfaces import IServerPeer
from mcpbridge.core.jsonrpc import InvalidMessage, Notification, Result
from tests.core.eras.modern.rigs import CAPABILITIES, DONE, INFO, MODERN, OPENING, SERVER, VERSION, Client, raw

CALL = Called(102, "tools/call", raw({"name": "t", "arguments": {"a": 1}}), False, Native())


class OpeningTests(SynchronousTestCase):
    """The first request opens the conversation in the client's name."""

    def test_interface(self) -> None:
        """It provides its door."""
        self.assertTrue(verifyObject(IServerPeer, Client().peer))

    def test_first_request(self) -> None:
        """The bridge hears who asks before it hears what; only once."""
        client = Client(opening=None)

        client.asks(1, "resources/read", {"uri": "x:/"})
        client.asks(2, "resources/read", {"uri": "x:/"})

        opened, ready, first, second = client.crossed()
        params = {"protocolVersion": raw(VERSION), "capabilities": raw(CAPABILITIES), "clientInfo": raw(INFO)}
        self.assertEqual((Opened(100, VERSION, params), Ready()), (opened, ready))
        self.assertEqual([101, 102], [event.xid for event in (first, second) if isinstance(event, Called)])

    def test_first_call(self) -> None:
        """A call of a tool waits until it is known what the server is: it may have to become a task there."""
        client = Client(opening=None)

        client.calls(1)
        before = client.crossed()
        client.told(Completed(100, raw(OPENING)))

        self.assertEqual([Opened, Ready], [type(event) for event in before])
        self.assertEqual([Called], [type(event) for event in client.crossed()])

    def test_no_name(self) -> None:
        """A client that does not say who it is gets no name from us."""
        client = Client(opening=None, info=None)

        client.calls(1)

        opened = client.crossed()[0]
        assert isinstance(opened, Opened)
        self.assertNotIn("clientInfo", opened.params)

    def test_capabilities_of_the_era(self) -> None:
        """What this era has no words for is not claimed; an empty elicitation means forms."""
        client = Client(opening=None, capabilities={"roots": {"listChanged": True}, "elicitation": {}, "tasks": {}})

        client.calls(1)

        opened = client.crossed()[0]
        assert isinstance(opened, Opened)
        self.assertEqual(raw({"roots": {}, "elicitation": {"form": {}}}), opened.params["capabilities"])

    def test_discover(self) -> None:
        """C{server/discover} waits for the server's opening, and claims every revision that mcpbridge serves."""
        client = Client(opening=None)

        client.asks("d", "server/discover")
        before = client.said()
        client.open({**OPENING, "instructions": "be nice"})

        self.assertEqual([], before)
        (answer,) = client.said()
        self.assertEqual(
            {
                "supportedVersions": [VERSION, "2025-11-25"],
                "capabilities": OPENING["capabilities"],
                "instructions": "be nice",
                "resultType": "complete",
                "ttlMs": 0,
                "cacheScope": "private",
                "_meta": SERVER,
            },
            answer["result"],
        )

    def test_not_opened(self) -> None:
        """What waits gets the error; the next request tries anew."""
        client = Client(opening=None)
        client.asks("d", "server/discover")

        client.told(Failed(100, ErrorObject(-32603, "down")))
        client.crossed()
        client.asks("e", "server/discover")

        self.assertEqual([("d", -32603)], [(said["id"], said["error"]["code"]) for said in client.said()])
        self.assertEqual([Opened, Ready], [type(event) for event in client.crossed()])

    def test_introduced(self) -> None:
        """When the server turns out to be different, the next discover says so."""
        client = Client()

        client.told(Introduced(raw({**OPENING, "capabilities": {"prompts": {}}})))
        client.asks("d", "server/discover")

        self.assertEqual({"prompts": {}}, client.said()[0]["result"]["capabilities"])

    def test_bounded(self) -> None:
        """A client cannot pile up requests while the server is away."""
        client = Client(opening=None)

        for number in range(300):
            client.asks(number, "server/discover")

        self.assertEqual(44, len(client.said()))

    def test_id_in_use(self) -> None:
        """An id is used once at a time: by calls, by streams, and by what waits for the opening."""
        client = Client(opening=None)
        client.asks(1, "server/discover")
        client.asks(2, "subscriptions/listen", {"notifications": {}})
        client.calls(3)

        for request_id in (1, 2, 3):
            client.calls(request_id)
        client.calls("3")

        refused = [(said["id"], said["error"]["code"]) for said in client.said()]
        self.assertEqual([(1, -32600), (2, -32600), (3, -32600)], refused)

    def test_removed(self) -> None:
        """What the era does not have is not found, and the text says which revisions have it."""
        client = Client()

        for method in ("ping", "logging/setLevel", "resources/subscribe", "tasks/list", "tasks/result"):
            client.asks(method, method)

        self.assertEqual([-32601] * 5, [said["error"]["code"] for said in client.said()])

    def test_tasks_extension(self) -> None:
        """Requests of an extension that the client has not declared are refused with what it would need."""
        client = Client()

        client.asks(1, "tasks/get", {"taskId": "x"})

        needed: Any = {"requiredCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}}}
        (said,) = client.said()
        self.assertEqual((-32021, needed), (said["error"]["code"], said["error"]["data"]))

    def test_tasks(self) -> None:
        """Between two that know tasks their requests pass; a server of the session era has none of this client."""
        capable: Any = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
        native, other = Client(MODERN, capable), Client(OPENING, capable)

        for client in (native, other):
            client.asks(1, "tasks/get", {"taskId": "x"})

        self.assertEqual([Called(102, "tasks/get", raw({"taskId": "x"}), False, Native())], native.crossed())
        self.assertEqual(([], -32602), (other.crossed(), other.said()[0]["error"]["code"]))

    def test_unknown_method(self) -> None:
        """Whatever we do not know passes, without what the era says of the client."""
        client = Client()

        client.asks(1, "x/unknown", {"q": 1}, traceparent="00-1")

        params = raw({"q": 1, "_meta": {"traceparent": "00-1"}})
        self.assertEqual([Called(102, "x/unknown", params, False, Native())], client.crossed())

    def test_notifications(self) -> None:
        """Unknown ones pass; those of the session era do not, and answers are nobody's."""
        client = Client()

        client.notes("x/note", {"a": 1, "_meta": {"k": 1}})
        client.notes("notifications/initialized")
        client.notes("notifications/roots/list_changed")
        client.notes("x/note", {"_meta": 5})
        client.do(client.peer.receive(Result(7, raw({})), None))

        self.assertEqual([Notified(None, "x/note", raw({"a": 1, "_meta": {"k": 1}}))], client.crossed())
        self.assertEqual([], client.said())

    def test_garbage(self) -> None:
        """Bytes that are no message are answered as far as they can be."""
        client = Client()

        client.do(client.peer.receive_garbage(InvalidMessage(-32700, "Parse error", 5)))

        self.assertEqual([(5, -32700)], [(said["id"], said["error"]["code"]) for said in client.said()])


class CancelTests(SynchronousTestCase):
    """The client does not want an answer any more."""

    def test_call(self) -> None:
        """The call is cancelled, and gets no answer."""
        client = Client()
        client.calls(1)

        client.cancels(1)
        client.told(Completed(102, raw(DONE)))

        self.assertEqual([CALL, Cancelled(102, "no")], client.crossed())
        self.assertEqual(([1], []), (client.forgotten, client.said()))

    def test_waiting(self) -> None:
        """What waits for the opening is dropped."""
        client = Client(opening=None)
        client.asks(1, "server/discover")

        client.cancels(1)
        client.open()

        self.assertEqual(([1], []), (client.forgotten, client.said()))

    def test_unknown(self) -> None:
        """What is not open, and what cannot be read, is ignored."""
        client = Client()
        client.calls(1)
        client.crossed()

        client.cancels("1")
        client.notes("notifications/cancelled")
        client.notes("notifications/cancelled", {"requestId": None})

        self.assertEqual(([], [], []), (client.crossed(), client.said(), client.forgotten))


class NoteTests(SynchronousTestCase):
    """Progress and log messages."""

    def test_progress(self) -> None:
        """It goes with its call under the client's own token, typed as it was, and to nobody else."""
        client = Client()
        client.calls(1, more={"progressToken": "p"})
        client.calls(2)

        client.told(Progressed(102, {"progress": raw(1)}), Progressed(103, {"progress": raw(1)}))

        said = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "p", "progress": 1}}
        self.assertEqual([1], client.within)
        self.assertEqual([said], client.said())

    def test_no_token(self) -> None:
        """What is no token asks for no progress."""
        client = Client()

        tokens: tuple[Any, ...] = (None, 1.5, True, {})
        for number, token in enumerate(tokens):
            client.calls(number, more={"progressToken": token})

        self.assertEqual([False] * 4, [event.wants_progress for event in client.crossed() if isinstance(event, Called)])

    def test_log_level(self) -> None:
        """The server's level is the least that an open call wants; messages go to calls that want them, or to none."""
        client = Client()
        client.calls(1)
        client.calls(2, more={"io.modelcontextprotocol/logLevel": "warning"})
        client.calls(3, more={"io.modelcontextprotocol/logLevel": "error"})

        client.told(Logged(None, raw({"level": "info", "data": 1})))
        client.told(Logged(None, raw({"level": "error", "data": 2})))
        client.told(Logged(102, raw({"level": "error", "data": 3})))
        client.told(Logged(105, raw({"level": "error", "data": 4})))
        client.told(Logged(None, raw({"data": 5})), Logged(None, None))

        levels = [event for event in client.crossed() if isinstance(event, LevelSet)]
        self.assertEqual(["warning"], [event.level for event in levels])
        self.assertEqual([2, 3], client.within)
        self.assertEqual([2, 4], [said["params"]["data"] for said in client.said()])

    def test_no_logging(self) -> None:
        """A server that does not log is not told to."""
        client = Client(opening={"capabilities": {"tools": {}}, "instructions": "logging"})

        client.calls(1, more={"io.modelcontextprotocol/logLevel": "debug"})

        self.assertEqual([Called], [type(event) for event in client.crossed()])

    def test_level_before_the_opening(self) -> None:
        """A call that wants log messages waits until it is known whether there are any; then the level goes first."""
        client = Client(opening=None)
        client.calls(1, more={"io.modelcontextprotocol/logLevel": "debug"})
        client.crossed()

        client.open()

        self.assertEqual([LevelSet, Called], [type(event) for event in client.crossed()])

    def test_unknown_level(self) -> None:
        """There are eight."""
        client = Client()

        client.calls(1, more={"io.modelcontextprotocol/logLevel": "loud"})
        client.calls(2, more={"io.modelcontextprotocol/logLevel": 5})

        self.assertEqual([-32602, -32602], [said["error"]["code"] for said in client.said()])

    def test_unknown_notification(self) -> None:
        """One that came with a call goes with it; there is no stream for others."""
        client = Client()
        client.calls(1)

        client.told(Notified(102, "x/note", raw({"a": 1})))
        client.told(Notified(None, "x/note", None), Notified(77, "x/note", None))
        client.told(InputWithdrawn("q1"))

        self.assertEqual([1], client.within)
        self.assertEqual([{"a": 1}], [said["params"] for said in client.said()])


class EndTests(SynchronousTestCase):
    """The end, and what comes after."""

    def test_close(self) -> None:
        """Whatever is open ends with an error, streams with their result; then it may begin anew."""
        client = Client()
        client.calls(1)
        client.asks(2, "subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        client.crossed()
        client.said()

        client.do(client.peer.close("moved"))
        client.calls(1)

        ended, failed = client.said()
        self.assertEqual((2, "complete"), (ended["id"], ended["result"]["resultType"]))
        self.assertEqual((1, "moved"), (failed["id"], failed["error"]["message"]))
        self.assertEqual([Opened, Ready], [type(event) for event in client.crossed()])

    def test_nothing_to_remember(self) -> None:
        """There is no handshake that could be restored."""
        peer = Client().peer

        self.assertEqual(b"", peer.memento())
        self.assertRaises(ValueError, peer.restore, b"{}")

    def test_concerns(self) -> None:
        """A cancellation is for whoever has the request."""
        client = Client()
        client.calls(1)

        concerned = [
            client.peer.concerns(Notification("notifications/cancelled", raw({"requestId": request_id})))
            for request_id in (1, "1", None)
        ]
        other = client.peer.concerns(Notification("x/note", raw({"requestId": 1})))

        self.assertEqual(([True, False, False], False), (concerned, other))
