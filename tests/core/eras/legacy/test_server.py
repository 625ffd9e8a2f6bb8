"""
Tests for L{mcpbridge.core.eras.legacy.server}; what it asks its client is in
L{tests.core.eras.legacy.test_server_questions}, clients of old revisions are in
L{tests.core.eras.legacy.test_old_revisions}.
"""

from __future__ import annotations

import json

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core import jsonrpc
from mcpbridge.core.effects import Deliver, Emit, Forget
from mcpbridge.core.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR, ErrorObject
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Changed,
    Completed,
    Failed,
    InputRequest,
    InputRequired,
    LevelSet,
    Logged,
    Notified,
    Opened,
    Progressed,
    Ready,
    RootsChanged,
    Subscribed,
    Unsubscribed,
)
from mcpbridge.core.interfaces import IClientPeer, IServerPeer
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Notification, Request, Result
from tests.core.eras.legacy.peers import (
    client_peer,
    error,
    initialize,
    notification,
    raw,
    refusal,
    request,
    server_peer,
)


class DoorTests(SynchronousTestCase):
    """The peers are what they say."""

    def test_interfaces(self) -> None:
        """Each provides its door."""
        self.assertTrue(verifyObject(IServerPeer, server_peer()))
        self.assertTrue(verifyObject(IClientPeer, client_peer()))


class OpeningTests(SynchronousTestCase):
    """How a client's conversation begins."""

    def test_initialize(self) -> None:
        """It is the first exchange, and keeps what the client said of itself."""
        peer = server_peer(opened=False)
        params = {"protocolVersion": Raw(b'"2024-11-05"'), "x": Raw(b"[1, 1e400]"), "capabilities": Raw(b"{ }")}

        effects = peer.receive(Request(0, "initialize", jsonrpc.assemble(params)), None)

        self.assertEqual((Deliver(Opened(100, "2024-11-05", params)),), effects)
        self.assertEqual("2024-11-05", peer.version)

    def test_unknown_revision(self) -> None:
        """A client that asks for another one is offered our newest (Lifecycle, Version Negotiation)."""
        for version in ("2026-07-28", "1999-01-01", ""):
            peer = server_peer(opened=False)
            peer.receive(initialize(7, version), None)

            effects = peer.send(Completed(100, raw({"protocolVersion": "2024-11-05", "serverInfo": {"a": 1}})))

            answer = raw({"protocolVersion": "2025-11-25", "serverInfo": {"a": 1}})
            self.assertEqual((Emit(Result(7, answer), 7),), effects)

    def test_bad_initialize(self) -> None:
        """One without a revision is refused, and may be followed by a better one."""
        peer = server_peer(opened=False)

        found = [
            refusal(peer.receive(request(1, "initialize"), None)),
            refusal(peer.receive(request(2, "initialize", {"protocolVersion": 1}), None)),
        ]

        self.assertEqual([(1, INVALID_PARAMS, 1), (2, INVALID_PARAMS, 2)], found)
        self.assertIsInstance(peer.receive(initialize(3), None)[0], Deliver)

    def test_ready(self) -> None:
        """The client's notification says that it may be asked things."""
        peer = server_peer(opened=False)
        peer.receive(initialize(), None)

        self.assertEqual((Deliver(Ready()),), peer.receive(notification("notifications/initialized"), None))

    def test_before_initialize(self) -> None:
        """Only ping is answered; other requests are refused, notifications and answers ignored."""
        peer = server_peer(opened=False)

        self.assertEqual((Emit(Result("a", Raw(b"{}")), "a"),), peer.receive(request("a", "ping"), None))
        self.assertEqual((1, INVALID_REQUEST, 1), refusal(peer.receive(request(1, "tools/list"), None)))
        self.assertEqual((), peer.receive(notification("notifications/initialized"), None))
        self.assertEqual((), peer.receive(Result(1, Raw(b"{}")), None))

    def test_other_eras(self) -> None:
        """The probe of a dual-era client is turned down at once: silence would cost it seconds."""
        for peer in (server_peer(opened=False), server_peer()):
            found = [refusal(peer.receive(request(1, m), None)) for m in ("server/discover", "subscriptions/listen")]

            self.assertEqual([(1, METHOD_NOT_FOUND, 1)] * 2, found)

    def test_second_initialize(self) -> None:
        """It ends what went before and begins anew."""
        peer = server_peer()
        peer.receive(request("a", "tools/call", {"name": "x"}), None)
        peer.receive(request("b", "logging/setLevel", {"level": "info"}), None)

        effects = peer.receive(initialize(9, "2025-06-18"), None)

        text = "The client began anew with another initialize"
        self.assertEqual(
            [Emit(error("a", INVALID_REQUEST, text), "a"), Emit(error("b", INVALID_REQUEST, text), "b")],
            list(effects[:-1]),
        )
        self.assertEqual(Opened, type(effects[-1].event) if isinstance(effects[-1], Deliver) else None)
        self.assertEqual(b"null", bytes(jsonrpc.members(peer.memento())["level"]))
        self.assertEqual((), peer.send(Completed(101, Raw(b"{}"))))

    def test_failed_opening(self) -> None:
        """If the server cannot be opened the client may try again, as if for the first time."""
        peer = server_peer(opened=False)
        peer.receive(initialize(0), None)
        fault = ErrorObject(-32603, "down")

        self.assertEqual((Emit(Error(0, fault), 0),), peer.send(Failed(100, fault)))
        self.assertEqual((1, INVALID_REQUEST, 1), refusal(peer.receive(request(1, "tools/list"), None)))
        self.assertEqual(1, len(peer.receive(initialize(2), None)))


class RequestTests(SynchronousTestCase):
    """What a client asks."""

    def test_call(self) -> None:
        """A request becomes an exchange; its params are the bytes that came."""
        peer = server_peer()
        params = Raw(b'{"name":"a", "arguments":{"x":1e400}}')

        self.assertEqual(
            (Deliver(Called(101, "x/unknown", params)),), peer.receive(Request(1, "x/unknown", params), None)
        )

    def test_answers(self) -> None:
        """Each id gets its own answer, of its own type, and only one."""
        peer = server_peer()
        peer.receive(request(1, "tools/call", {}), None)
        peer.receive(request("1", "tools/call", {}), None)
        fault = ErrorObject(5, "m", Raw(b"[ ]"))

        self.assertEqual((Emit(Error("1", fault), "1"),), peer.send(Failed(102, fault)))
        self.assertEqual((Emit(Result(1, Raw(b"{ }")), 1),), peer.send(Completed(101, Raw(b"{ }"))))
        self.assertEqual((), peer.send(Completed(101, Raw(b"{}"))))
        self.assertEqual((), peer.send(Failed(102, fault)))
        self.assertEqual((), peer.send(Completed(999, Raw(b"{}"))))

    def test_duplicate_id(self) -> None:
        """An id that is open already is refused; when it is answered it may be used again."""
        peer = server_peer()
        peer.receive(request(1, "tools/call", {}), None)

        found = [refusal(peer.receive(request(1, method), None)) for method in ("tools/call", "ping", "initialize")]
        peer.send(Completed(101, Raw(b"{}")))

        self.assertEqual([(1, INVALID_REQUEST, 1)] * 3, found)
        self.assertEqual((Deliver(Called(102, "tools/call", None)),), peer.receive(request(1, "tools/call"), None))

    def test_ping(self) -> None:
        """It is answered here: it asks whether we are there."""
        self.assertEqual((Emit(Result(3, Raw(b"{}")), 3),), server_peer().receive(request(3, "ping"), None))

    def test_wishes(self) -> None:
        """Log level and subscriptions have events of their own."""
        peer = server_peer()
        uri = {"uri": "a://b", "_meta": {"x": 1}}

        effects = [
            *peer.receive(request(1, "logging/setLevel", {"level": "alert"}), None),
            *peer.receive(request(2, "resources/subscribe", uri), None),
            *peer.receive(request(3, "resources/unsubscribe", uri), None),
        ]

        self.assertEqual(
            [
                Deliver(LevelSet(101, "alert")),
                Deliver(Subscribed(102, "a://b", raw(uri))),
                Deliver(Unsubscribed(103, "a://b", raw(uri))),
            ],
            effects,
        )

    def test_bad_wishes(self) -> None:
        """Without a known level, or a uri, they are refused."""
        peer = server_peer()
        table = {
            "logging/setLevel": ({"level": "loud"}, {"level": 3}, {}, None),
            "resources/subscribe": ({}, {"uri": 1}, None),
            "resources/unsubscribe": ({}, {"uri": None}, None),
        }

        for method, bad in table.items():
            for params in bad:
                self.assertEqual((1, INVALID_PARAMS, 1), refusal(peer.receive(request(1, method, params), None)))

    def test_too_many_subscriptions(self) -> None:
        """What a client's relay has to remember is bounded; the ones it has may be said again."""
        peer = server_peer()
        for number in range(4):
            peer.receive(request(number, "resources/subscribe", {"uri": "x" * 6000 + str(number)}), None)

        refused = refusal(peer.receive(request(5, "resources/subscribe", {"uri": "y" * 20_000}), None))
        taken = peer.receive(request(6, "resources/subscribe", {"uri": "x" * 6000 + "0"}), None)

        self.assertEqual((5, INVALID_REQUEST, 5), refused)
        self.assertIsInstance(taken[0], Deliver)
        self.assertTrue(len(peer.memento()) < 256 * 1024)

    def test_progress(self) -> None:
        """The token is given back as it came, of its own type; C{_meta} is left for the other side."""
        for token in (Raw(b"0"), Raw(b'"0"'), Raw(b'"\\ud800"'), Raw(b"9007199254740993")):
            peer = server_peer()
            params = Raw(b'{"_meta":{"progressToken":' + bytes(token) + b'},"name":"a"}')

            called = peer.receive(Request(1, "tools/call", params), None)
            effects = peer.send(Progressed(101, {"progress": Raw(b"0.5"), "more": Raw(b"[ ]")}))

            said = jsonrpc.assemble({"progressToken": token, "progress": Raw(b"0.5"), "more": Raw(b"[ ]")})
            self.assertEqual((Deliver(Called(101, "tools/call", params, wants_progress=True)),), called)
            self.assertEqual((Emit(Notification("notifications/progress", said), 1),), effects)

    def test_progress_of_a_task(self) -> None:
        """The token of a call that became a task stays good (2025-11-25, Task Progress); that of another does not."""
        peer = server_peer()
        for number in (1, 2):
            peer.receive(request(number, "tools/call", {"_meta": {"progressToken": f"p{number}"}, "name": "a"}), None)
        peer.send(Completed(101, raw({"task": {"taskId": "t"}})))
        peer.send(Completed(102, raw({"content": [], "task": {}})))

        effects = [list(peer.send(Progressed(xid, {"progress": Raw(b"1")}))) for xid in (101, 102)]

        said = raw({"progressToken": "p1", "progress": 1})
        self.assertEqual([[Emit(Notification("notifications/progress", said))], []], effects)

    def test_escaped_token(self) -> None:
        """The name of the token may be spelt with escapes."""
        params = Raw(b'{"_\\u006deta":{"progress\\u0054oken":5}}')

        effects = server_peer().receive(Request(1, "tools/call", params), None)

        self.assertEqual((Deliver(Called(101, "tools/call", params, wants_progress=True)),), effects)

    def test_no_progress(self) -> None:
        """Without a token, or with one that is none, none is passed on; nor is any after the answer."""
        for meta in (b"{}", b'{"progressToken":1.0}', b'{"progressToken":null}', b'{"progressToken":true}', b"null"):
            peer = server_peer()
            params = Raw(b'{"_meta":' + meta + b',"progressToken":5}')

            called = peer.receive(Request(1, "tools/call", params), None)

            self.assertEqual((Deliver(Called(101, "tools/call", params)),), called)
            self.assertEqual((), peer.send(Progressed(101, {"progress": Raw(b"1")})))
        self.assertEqual((), peer.send(Progressed(999, {"progress": Raw(b"1")})))

    def test_cancel(self) -> None:
        """The exchange is over: no answer any more, and its id is free."""
        peer = server_peer()
        peer.receive(request("7", "tools/call", {}), None)

        effects = peer.receive(notification("notifications/cancelled", {"requestId": "7", "reason": "bored"}), None)

        self.assertEqual((Forget("7"), Deliver(Cancelled(101, "bored"))), effects)
        self.assertEqual((), peer.send(Completed(101, Raw(b"{}"))))
        self.assertEqual((Deliver(Called(102, "m", None)),), peer.receive(request("7", "m"), None))

    def test_cancel_of_nothing(self) -> None:
        """Unknown ids, ids of another type and initialize are not cancelled; broken notifications are ignored."""
        peer = server_peer(opened=False)
        peer.receive(initialize(0), None)
        peer.receive(request(1, "m"), None)

        for params in ({"requestId": 0}, {"requestId": "1"}, {"requestId": True}, {"requestId": 1.0}, {}, None):
            self.assertEqual((), peer.receive(notification("notifications/cancelled", params), None))

    def test_notifications(self) -> None:
        """Changed roots have an event of their own; what no rule names is passed on."""
        peer = server_peer()

        effects = [
            *peer.receive(notification("notifications/roots/list_changed", {"_meta": {}}), None),
            *peer.receive(Notification("x/y", Raw(b"{ }")), None),
        ]

        self.assertEqual(
            [Deliver(RootsChanged(raw({"_meta": {}}))), Deliver(Notified(None, "x/y", Raw(b"{ }")))], effects
        )

    def test_garbage(self) -> None:
        """It is answered with the id that it has, or none."""
        peer = server_peer()
        invalid = InvalidMessage(PARSE_ERROR, "no", request_id="a")

        self.assertEqual((Emit(error("a", PARSE_ERROR, "no")),), peer.receive_garbage(invalid))
        self.assertEqual(
            (Emit(Error(None, ErrorObject(PARSE_ERROR, "no"))),),
            peer.receive_garbage(InvalidMessage(PARSE_ERROR, "no")),
        )


class ToldTests(SynchronousTestCase):
    """What a client is told unasked."""

    def test_notifications(self) -> None:
        """In the words of the session era, on the stream of the request that they belong to."""
        peer = server_peer()
        peer.receive(request(5, "tools/call", {}), None)

        effects = [
            *peer.send(Logged(101, raw({"level": "info", "data": 1}))),
            *peer.send(Logged(None, raw({"level": "info", "data": 2}))),
            *peer.send(Notified(101, "x/y", None)),
            *peer.send(Changed("tools")),
            *peer.send(Changed("prompts", None, raw({"_meta": {}}))),
            *peer.send(Changed("resources", "a://b")),
            *peer.send(Changed("resources", "a://b", raw({"uri": "a://b", "title": "t"}))),
        ]

        self.assertEqual(
            [
                Emit(notification("notifications/message", {"level": "info", "data": 1}), 5),
                Emit(notification("notifications/message", {"level": "info", "data": 2})),
                Emit(notification("x/y"), 5),
                Emit(notification("notifications/tools/list_changed")),
                Emit(notification("notifications/prompts/list_changed", {"_meta": {}})),
                Emit(notification("notifications/resources/updated", {"uri": "a://b"})),
                Emit(notification("notifications/resources/updated", {"uri": "a://b", "title": "t"})),
            ],
            effects,
        )

    def test_what_is_not_for_clients(self) -> None:
        """Events of the other direction say nothing here."""
        self.assertEqual((), server_peer().send(Cancelled(1)))


class MementoTests(SynchronousTestCase):
    """Life after the daemon's death."""

    def test_nothing_to_remember(self) -> None:
        """Before a client has said who it is, there is nothing."""
        self.assertEqual(b"", server_peer(opened=False).memento())

    def test_restored(self) -> None:
        """Another peer goes on where this one ended, and tells the bridge all that the client had said."""
        peer = server_peer(capabilities={"roots": {}})
        peer.receive(request(1, "logging/setLevel", {"level": "error"}), None)
        for number, uri in enumerate(("a", "b", "c")):
            peer.receive(request(10 + number, "resources/subscribe", {"uri": uri}), None)
        peer.receive(request(20, "resources/unsubscribe", {"uri": "b"}), None)
        memento = peer.memento()
        other = server_peer(opened=False)

        effects = other.restore(memento)

        opening = {"protocolVersion": Raw(b'"2025-11-25"'), "capabilities": Raw(b'{"roots":{}}')}
        self.assertEqual(
            (
                Deliver(Opened(100, "2025-11-25", opening)),
                Deliver(Ready()),
                Deliver(LevelSet(101, "error", standing=True)),
                Deliver(Subscribed(102, "a", raw({"uri": "a"}), standing=True)),
                Deliver(Subscribed(103, "c", raw({"uri": "c"}), standing=True)),
            ),
            effects,
        )
        self.assertEqual(memento.replace(b'"life":0', b'"life":1'), other.memento())
        self.assertEqual((), other.send(Completed(100, Raw(b"{}"))))
        self.assertEqual((), other.send(Failed(101, ErrorObject(1, "m"))))
        self.assertEqual((Deliver(Called(104, "m", None)),), other.receive(request(1, "m"), None))

    def test_answer_to_a_dead_daemon(self) -> None:
        """It is not taken for the answer to a question of this one."""
        peer = server_peer()
        peer.send(InputRequired(None, {"old": InputRequest("roots/list", None)}))
        other = server_peer(opened=False)
        other.restore(peer.memento())

        (asked,) = other.send(InputRequired(None, {"new": InputRequest("roots/list", None)}))

        self.assertEqual(Emit(Request(1_000_001, "roots/list")), asked)
        self.assertEqual((), other.receive(Result(1, Raw(b"{}")), None))

    def test_restored_before_ready(self) -> None:
        """A client that was only half through is taken as that."""
        peer = server_peer(opened=False)
        peer.receive(initialize(), None)
        other = server_peer(opened=False)

        effects = other.restore(peer.memento())

        self.assertEqual([Opened], [type(effect.event) for effect in effects if isinstance(effect, Deliver)])

    def test_no_memento(self) -> None:
        """What is none is refused with the named exception."""
        good = json.loads(server_peer().memento())
        for bad in (
            b"",
            b"x",
            b"[]",
            b"{}",
            json.dumps({**good, "level": "loud"}).encode(),
            json.dumps({**good, "level": [1]}).encode(),
            json.dumps({**good, "initialize": {}}).encode(),
            json.dumps({**good, "subscriptions": []}).encode(),
            json.dumps({**good, "life": "1"}).encode(),
        ):
            self.assertRaises(ValueError, server_peer(opened=False).restore, bad)

    def test_close(self) -> None:
        """Every open exchange ends with an error; what comes later finds nothing."""
        peer = server_peer()
        peer.receive(request(1, "tools/call", {}), None)
        peer.send(InputRequired(None, {"k": InputRequest("roots/list", None)}))

        effects = peer.close("The end")

        self.assertEqual([Emit(error(1, INVALID_REQUEST, "The end"), 1)], list(effects))
        self.assertEqual((), peer.send(Completed(101, Raw(b"{}"))))
        self.assertEqual((), peer.receive(Result(1, Raw(b"{}")), None))
        self.assertEqual(b"", peer.memento())
