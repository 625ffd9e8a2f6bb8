"""
Tests for L{mcpbridge.core.eras.legacy}.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core import jsonrpc
from mcpbridge.core.effects import Abandon, Deliver, Emit, Forget, PeerEffect
from mcpbridge.core.eras.legacy import VERSIONS, ClientPeer, ServerPeer
from mcpbridge.core.eras.legacy.dialect import MAX_TASKS
from mcpbridge.core.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    ErrorObject,
    Fate,
    Loss,
    Reason,
)
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Changed,
    Completed,
    Envelope,
    Failed,
    InputProgressed,
    InputRequest,
    InputRequired,
    InputSupplied,
    InputWithdrawn,
    LevelSet,
    Logged,
    Lost,
    Notified,
    Opened,
    Progressed,
    Ready,
    RootsChanged,
    Subscribed,
    Unsubscribed,
)
from mcpbridge.core.interfaces import IClientPeer, IServerPeer
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result
from mcpbridge.core.levels import LEVELS

CAPABILITIES = {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}}
LOSS = Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "the connection broke")


def raw(value: Any) -> Raw:
    """Plain Python as JSON."""
    return jsonrpc.value(value)


def request(request_id: RequestId, method: str, params: Any = None) -> Request:
    """A request as it comes from the wire."""
    return Request(request_id, method, None if params is None else raw(params))


def notification(method: str, params: Any = None) -> Notification:
    """A notification as it comes from the wire."""
    return Notification(method, None if params is None else raw(params))


def error(request_id: RequestId, code: int, message: str) -> Error:
    """An error response."""
    return Error(request_id, ErrorObject(code, message))


def initialize(request_id: RequestId = 0, version: str = VERSIONS[0], capabilities: Any = None) -> Request:
    """A client's opening."""
    params = {"protocolVersion": version, "capabilities": CAPABILITIES if capabilities is None else capabilities}
    return request(request_id, "initialize", params)


def server_peer(*, opened: bool = True, capabilities: Any = None) -> ServerPeer:
    """A peer that faces a client, which has said who it is if C{opened}; exchanges count from 100."""
    peer = ServerPeer(itertools.count(100))
    if opened:
        peer.receive(initialize(capabilities=capabilities), None)
        peer.send(Completed(100, raw({"capabilities": {}})))
        peer.receive(notification("notifications/initialized"), None)
    return peer


def client_peer(*sent: Any) -> ClientPeer:
    """A peer that faces a server, to which these events have been sent; its requests count from 1."""
    peer = ClientPeer()
    for event in sent:
        peer.send(event)
    return peer


def refusal(effects: Sequence[PeerEffect]) -> tuple[RequestId | None, int, RequestId | None]:
    """The id and the code of the error that is all that is done, and what it belongs to."""
    (effect,) = effects
    assert isinstance(effect, Emit), effect
    assert isinstance(effect.message, Error), effect
    return (effect.message.id, effect.message.error.code, effect.within)


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


class QuestionTests(SynchronousTestCase):
    """What a server asks a client, through the server peer."""

    def test_question(self) -> None:
        """It is asked under an id of our own, in the exchange that caused it; the answer goes back by its key."""
        peer = server_peer()
        peer.receive(request(1, "tools/call", {}), None)
        asked = InputRequired(101, {"k": InputRequest("elicitation/create", Raw(b'{"message": "?"}'))})

        effects = peer.send(asked)
        answered = peer.receive(Result(1, Raw(b'{"action": "accept"}')), None)

        self.assertEqual((Emit(Request(1, "elicitation/create", Raw(b'{"message": "?"}')), 1),), tuple(effects))
        self.assertEqual((Deliver(InputSupplied(101, {"k": Raw(b'{"action": "accept"}')})),), answered)
        self.assertEqual((), peer.receive(Result(1, Raw(b"{}")), None))

    def test_several(self) -> None:
        """What is asked together is answered together."""
        peer = server_peer()
        fault = ErrorObject(-1, "no")
        peer.send(InputRequired(None, {"a": InputRequest("roots/list", None), "b": InputRequest("x/new", None)}))

        first = peer.receive(Error(2, fault), None)
        second = peer.receive(Result(1, Raw(b"{}")), None)

        self.assertEqual((), first)
        self.assertEqual((Deliver(InputSupplied(None, {"b": fault, "a": Raw(b"{}")})),), second)

    def test_undeclared(self) -> None:
        """A client is not asked what it cannot answer; what is unknown it may refuse itself."""
        peer = server_peer(capabilities={"sampling": {}})
        fault = ErrorObject(METHOD_NOT_FOUND, "The client does not support elicitation/create, roots/list")
        requests = {
            name: InputRequest(name, None) for name in ("roots/list", "sampling/createMessage", "elicitation/create")
        }

        refused = peer.send(InputRequired(None, requests))
        asked = peer.send(InputRequired(None, {"k": InputRequest("x/new", None)}))

        self.assertEqual((Deliver(InputSupplied(None, dict.fromkeys(requests, fault))),), tuple(refused))
        self.assertEqual([Emit(Request(1, "x/new", None))], list(asked))

    def test_odd_capabilities(self) -> None:
        """Capabilities that are no object declare nothing."""
        peer = server_peer(capabilities=[1])

        (effect,) = peer.send(InputRequired(None, {"k": InputRequest("roots/list", None)}))

        self.assertIsInstance(effect, Deliver)

    def test_too_many(self) -> None:
        """A client that answers nothing is not asked without end."""
        peer = server_peer()
        asked = {f"k{number}": InputRequest("roots/list", None) for number in range(256)}
        peer.send(InputRequired(None, asked))

        (effect,) = peer.send(InputRequired(None, {"more": InputRequest("roots/list", None)}))

        assert isinstance(effect, Deliver)
        assert isinstance(effect.event, InputSupplied)
        self.assertIsInstance(effect.event.responses["more"], ErrorObject)

    def test_progress(self) -> None:
        """The client's progress goes back by the key, without its token."""
        peer = server_peer()
        asked = InputRequest("sampling/createMessage", raw({"_meta": {"progressToken": "s"}}), wants_progress=True)

        effects = peer.send(InputRequired(None, {"k": asked}))
        progress = {"progressToken": 1, "progress": 2}
        progressed = peer.receive(notification("notifications/progress", progress), None)
        stray = peer.receive(notification("notifications/progress", {"progressToken": 2, "progress": 2}), None)

        self.assertEqual([Emit(request(1, "sampling/createMessage", {"_meta": {"progressToken": 1}}))], list(effects))
        self.assertEqual((Deliver(InputProgressed("k", {"progress": Raw(b"2")})),), progressed)
        self.assertEqual((), stray)

    def test_withdrawn(self) -> None:
        """The client is told that nobody waits; its late answer is ignored."""
        peer = server_peer()
        peer.send(InputRequired(None, {"k": InputRequest("roots/list", None)}))

        effects = peer.send(InputWithdrawn("k", "gone"))

        cancelled = notification("notifications/cancelled", {"requestId": 1, "reason": "gone"})
        self.assertEqual((Abandon(1), Emit(cancelled)), effects)
        self.assertEqual((), peer.receive(Result(1, Raw(b"{}")), None))
        self.assertEqual((), peer.send(InputWithdrawn("k")))

    def test_the_last_one_withdrawn(self) -> None:
        """What was answered beside it is not held back."""
        peer = server_peer()
        peer.send(InputRequired(None, {"a": InputRequest("roots/list", None), "b": InputRequest("roots/list", None)}))
        peer.receive(Result(1, Raw(b"{}")), None)

        effects = peer.send(InputWithdrawn("b"))

        self.assertEqual(Deliver(InputSupplied(None, {"a": Raw(b"{}")})), effects[-1])

    def test_broken_answer(self) -> None:
        """It counts as the client's failure to answer; other broken answers are nobody's."""
        peer = server_peer()
        peer.send(InputRequired(None, {"k": InputRequest("roots/list", None)}))

        effects = peer.receive_garbage(InvalidMessage(INVALID_REQUEST, "broken", response_id=1))

        self.assertEqual((Deliver(InputSupplied(None, {"k": ErrorObject(INVALID_REQUEST, "broken")})),), effects)

    def test_error_without_id(self) -> None:
        """It answers nothing."""
        self.assertEqual((), server_peer().receive(Error(None, ErrorObject(1, "m")), None))


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


class ClientPeerTests(SynchronousTestCase):
    """What a server is told."""

    def test_events(self) -> None:
        """Each event in the era's words, under ids of our own."""
        peer = client_peer()
        opening = {"protocolVersion": Raw(b'"1999"'), "x": Raw(b"[ ]")}

        effects = [
            *peer.send(Opened(7, "2025-06-18", opening)),
            *peer.send(Called(8, "tools/call", Raw(b'{"name": "a"}'))),
            *peer.send(LevelSet(9, "info")),
            *peer.send(Subscribed(10, "a://b", None)),
            *peer.send(Unsubscribed(11, "a://b", raw({"uri": "a://b", "x": 1}))),
            *peer.send(Notified(None, "x/y", None)),
            *peer.send(RootsChanged(None)),
            *peer.send(Ready()),
        ]

        self.assertEqual(
            [
                Emit(Request(1, "initialize", Raw(b'{"protocolVersion":"2025-06-18","x":[ ]}'))),
                Emit(Request(2, "tools/call", Raw(b'{"name": "a"}'))),
                Emit(request(3, "logging/setLevel", {"level": "info"})),
                Emit(request(4, "resources/subscribe", {"uri": "a://b"})),
                Emit(request(5, "resources/unsubscribe", {"uri": "a://b", "x": 1})),
                Emit(notification("x/y")),
                Emit(notification("notifications/roots/list_changed")),
            ],
            effects,
        )
        self.assertTrue(peer.busy())

    def test_progress_of_a_task(self) -> None:
        """It goes on being told under the token of the call, for as many tasks as are kept in mind."""
        peer = client_peer()
        for number in range(MAX_TASKS + 2):
            peer.send(Called(number, "tools/call", raw({"name": "a"}), wants_progress=number > 0))
            peer.receive(Result(number + 1, raw({"task": {"taskId": f"t{number}"}})), None)

        heard = [
            peer.receive(notification("notifications/progress", {"progressToken": token, "progress": 1}), None)
            for token in (1, 2, 3, MAX_TASKS + 2)
        ]

        told = [(Deliver(Progressed(xid, {"progress": Raw(b"1")})),) for xid in (2, MAX_TASKS + 1)]
        self.assertEqual([(), (), *told], [tuple(each) for each in heard])

    def test_progress_token(self) -> None:
        """It is our request's own id; the rest of C{_meta}, and all params, stay as they are and where they are."""
        params = Raw(b'{"z":[ 1 ],"_meta":{"a": 1,"progressToken":"c","b":2},"y":1e400}')

        (effect,) = client_peer().send(Called(7, "tools/call", params, wants_progress=True))

        expected = Raw(b'{"z":[ 1 ],"_meta":{"a":1,"progressToken":1,"b":2},"y":1e400}')
        self.assertEqual(Emit(Request(1, "tools/call", expected)), effect)

    def test_cancel(self) -> None:
        """The server is told, and a late answer is ignored."""
        peer = client_peer(Called(7, "tools/call", None))

        effects = peer.send(Cancelled(7, "bored"))

        cancelled = notification("notifications/cancelled", {"requestId": 1, "reason": "bored"})
        self.assertEqual((Emit(cancelled), Abandon(1)), effects)
        self.assertEqual((), peer.receive(Result(1, Raw(b"{}")), None))
        self.assertEqual((), peer.send(Cancelled(7)))
        self.assertFalse(peer.busy())

    def test_initialize_is_not_cancelled(self) -> None:
        """The specification forbids it (Cancellation, Behavior Requirements)."""
        peer = client_peer(Opened(7, VERSIONS[0], {}))

        self.assertEqual((), peer.send(Cancelled(7)))
        self.assertTrue(peer.busy())

    def test_forget(self) -> None:
        """What comes for it is ignored, and the server is not told."""
        peer = client_peer(Called(7, "tools/call", None))

        peer.forget(7)
        peer.forget(8)

        self.assertEqual((), peer.receive(Result(1, Raw(b"{}")), None))
        self.assertFalse(peer.busy())


class HeardTests(SynchronousTestCase):
    """What a server says."""

    def test_answers(self) -> None:
        """They end the exchange that they belong to: once, and by an id of the right type."""
        peer = client_peer(Called(7, "a", None), Called(8, "b", None))
        fault = ErrorObject(-5, "m", Raw(b"{ }"))

        self.assertEqual((), peer.receive(Result("1", Raw(b"{}")), None))
        self.assertEqual((Deliver(Completed(7, Raw(b'{"a": 1}'))),), peer.receive(Result(1, Raw(b'{"a": 1}')), None))
        self.assertEqual((), peer.receive(Result(1, Raw(b"{}")), None))
        self.assertEqual((Deliver(Failed(8, fault)),), peer.receive(Error(2, fault), None))
        self.assertEqual((), peer.receive(Error(2, fault), None))
        self.assertEqual((), peer.receive(Result(99, Raw(b"[]")), None))

    def test_error_without_id(self) -> None:
        """On the stream of one request of ours there is only one it can mean."""
        peer = client_peer(Called(7, "a", None))
        fault = ErrorObject(-32700, "parse error")

        self.assertEqual((), peer.receive(Error(None, fault), None))
        self.assertEqual((Deliver(Failed(7, fault)),), peer.receive(Error(None, fault), 1))

    def test_opened(self) -> None:
        """The answer to initialize is confirmed; its revision counts from then on."""
        peer = client_peer(Opened(7, VERSIONS[0], {}))
        result = raw({"protocolVersion": "2024-11-05", "capabilities": {}})

        effects = peer.receive(Result(1, result), 1)

        self.assertEqual((Emit(Notification("notifications/initialized")), Deliver(Completed(7, result))), effects)
        self.assertEqual("2024-11-05", peer.version)

    def test_foreign_revision(self) -> None:
        """A server that speaks another revision cannot be used."""
        for result in ({"protocolVersion": "2026-07-28"}, {"protocolVersion": 5}, {}):
            peer = client_peer(Opened(7, VERSIONS[0], {}))

            (effect,) = peer.receive(Result(1, raw(result)), None)

            assert isinstance(effect, Deliver)
            assert isinstance(effect.event, Lost)
            self.assertEqual((Fate.FAILED, Reason.VERSION_REFUSED), (effect.event.loss.fate, effect.event.loss.reason))
            self.assertFalse(peer.busy())

    def test_huge_opening(self) -> None:
        """What has to be looked into has a bound: each of its members costs many times its size."""
        peer = client_peer(Opened(7, VERSIONS[0], {}))
        huge = Raw(b'{"protocolVersion":"2025-11-25","x":"' + b"y" * 1024 * 1024 + b'"}')

        (effect,) = peer.receive(Result(1, huge), None)

        assert isinstance(effect, Deliver)
        self.assertIsInstance(effect.event, Lost)
        self.assertEqual((), peer.receive(Notification("notifications/cancelled", huge), None))

    def test_broken_answers(self) -> None:
        """They end the exchange: asking again would not help."""
        peer = client_peer(Called(7, "a", None), Called(8, "b", None))
        loss = Loss(Fate.FAILED, Reason.MALFORMED, "it sent a broken answer: a result must be an object")
        other = Loss(Fate.FAILED, Reason.MALFORMED, "it sent a broken answer: why")

        self.assertEqual((Deliver(Lost(7, loss)),), peer.receive(Result(1, Raw(b"[]")), None))
        self.assertEqual(
            (Deliver(Lost(8, other)),), peer.receive_garbage(InvalidMessage(INVALID_REQUEST, "why", response_id=2))
        )

    def test_garbage(self) -> None:
        """A broken request is answered; the rest is nobody's."""
        peer = client_peer()
        invalid = InvalidMessage(INVALID_REQUEST, "why", request_id=5, response_id=5)

        self.assertEqual((Emit(error(5, INVALID_REQUEST, "why")),), peer.receive_garbage(invalid))
        self.assertEqual((), peer.receive_garbage(InvalidMessage(PARSE_ERROR, "no")))

    def test_notifications(self) -> None:
        """Each becomes its event; those on the stream of a request belong to its exchange."""
        peer = client_peer(Called(7, "a", None, wants_progress=True))
        log = raw({"level": "info"})
        updated = raw({"uri": "a://b", "x": 1})
        table: list[tuple[Message, RequestId | None, Any]] = [
            (
                notification("notifications/progress", {"progress": 1, "progressToken": 1}),
                None,
                Progressed(7, {"progress": Raw(b"1")}),
            ),
            (Notification("notifications/message", log), 1, Logged(7, log)),
            (Notification("notifications/message", log), None, Logged(None, log)),
            (Notification("notifications/resources/updated", updated), None, Changed("resources", "a://b", updated)),
            (notification("notifications/tools/list_changed"), None, Changed("tools")),
            (notification("notifications/prompts/list_changed"), None, Changed("prompts")),
            (notification("notifications/resources/list_changed"), 1, Changed("resources")),
            (notification("x/y", {}), 1, Notified(7, "x/y", Raw(b"{}"))),
            (notification("x/y"), None, Notified(None, "x/y", None)),
        ]

        found = [peer.receive(message, within) for message, within, _ in table]

        self.assertEqual([(Deliver(event),) for _, _, event in table], found)

    def test_stray_notifications(self) -> None:
        """Tokens, questions and resources that are none are ignored."""
        peer = client_peer(Called(7, "a", None))

        for message in (
            notification("notifications/progress", {"progress": 1, "progressToken": 2}),
            notification("notifications/progress", {"progress": 1, "progressToken": "1"}),
            notification("notifications/progress", {"progress": 1}),
            notification("notifications/progress"),
            notification("notifications/resources/updated", {"uri": 5}),
            notification("notifications/resources/updated"),
            notification("notifications/cancelled", {"requestId": 1}),
            notification("notifications/cancelled"),
        ):
            self.assertEqual((), peer.receive(message, None))

    def test_ping(self) -> None:
        """It is answered here."""
        self.assertEqual((Emit(Result("p", Raw(b"{}")), "p"),), client_peer().receive(request("p", "ping"), None))

    def test_question(self) -> None:
        """It belongs to the exchange on whose stream it came; its answer bears the server's own id."""
        peer = client_peer(Called(7, "a", None))

        effects = peer.receive(Request("s", "sampling/createMessage", Raw(b"{ }")), 1)
        answered = peer.send(InputSupplied(7, {"q1": Raw(b'{"a": 1}')}))

        asked = InputRequest("sampling/createMessage", Raw(b"{ }"))
        self.assertEqual((Deliver(InputRequired(7, {"q1": asked})),), effects)
        self.assertEqual([Emit(Result("s", Raw(b'{"a": 1}')), "s")], list(answered))
        self.assertEqual([], list(peer.send(InputSupplied(7, {"q1": Raw(b"{}")}))))

    def test_question_on_a_shared_channel(self) -> None:
        """Whose exchange it belongs to is not known; a refusal goes back as an error."""
        peer = client_peer(Called(7, "a", None))
        fault = ErrorObject(-1, "no")

        effects = peer.receive(request(1, "roots/list"), None)
        answered = peer.send(InputSupplied(None, {"q1": fault}))

        self.assertEqual((Deliver(InputRequired(None, {"q1": InputRequest("roots/list", None)})),), effects)
        self.assertEqual([Emit(Error(1, fault), 1)], list(answered))

    def test_question_of_a_request_that_is_over(self) -> None:
        """It was meant for somebody who waits no more: nobody else is asked in its place."""
        peer = client_peer(Called(7, "a", None))
        peer.send(Cancelled(7))

        self.assertEqual((5, INVALID_REQUEST, 5), refusal(peer.receive(request(5, "elicitation/create"), 1)))

    def test_question_progress(self) -> None:
        """The client's progress goes out with the server's token."""
        peer = client_peer()
        params = {"_meta": {"progressToken": "t"}}
        effects = peer.receive(request(5, "sampling/createMessage", params), None)

        progressed = peer.send(InputProgressed("q1", {"progress": Raw(b"1")}))

        asked = InputRequest("sampling/createMessage", raw(params), wants_progress=True)
        self.assertEqual((Deliver(InputRequired(None, {"q1": asked})),), effects)
        said = notification("notifications/progress", {"progressToken": "t", "progress": 1})
        self.assertEqual((Emit(said, 5),), progressed)
        self.assertEqual((), peer.send(InputProgressed("q9", {})))

    def test_question_withdrawn(self) -> None:
        """Its answer is not wanted any more, and its id is free again."""
        peer = client_peer()
        peer.receive(request(5, "roots/list"), None)

        effects = peer.receive(notification("notifications/cancelled", {"requestId": 5, "reason": "r"}), None)

        self.assertEqual((Deliver(InputWithdrawn("q1", "r")),), effects)
        self.assertEqual([], list(peer.send(InputSupplied(None, {"q1": Raw(b"{}")}))))
        self.assertEqual(1, len(peer.receive(request(5, "roots/list"), None)))

    def test_question_id_in_use(self) -> None:
        """A second question of the same id is refused; of another type it is another id."""
        peer = client_peer()
        peer.receive(request(5, "roots/list"), None)

        self.assertEqual((5, INVALID_REQUEST, 5), refusal(peer.receive(request(5, "roots/list"), None)))
        self.assertIsInstance(peer.receive(request("5", "roots/list"), None)[0], Deliver)

    def test_too_many_questions(self) -> None:
        """A server may not ask without end."""
        peer = client_peer()
        for number in range(256):
            peer.receive(request(number, "roots/list"), None)

        self.assertEqual((256, INVALID_REQUEST, 256), refusal(peer.receive(request(256, "roots/list"), None)))

    def test_lost(self) -> None:
        """A broken stream ends one exchange, once."""
        peer = client_peer(Called(7, "a", None), Called(8, "b", None))

        self.assertEqual((Deliver(Lost(7, LOSS)),), peer.lost(1, LOSS))
        self.assertEqual((), peer.lost(1, LOSS))
        self.assertTrue(peer.busy())

    def test_close(self) -> None:
        """Everything open is lost, every question withdrawn."""
        peer = client_peer(Called(7, "a", None), Called(8, "b", None))
        peer.receive(request(5, "roots/list"), None)

        effects = peer.close(LOSS)

        withdrawn = Deliver(InputWithdrawn("q1", "the connection to the server was lost"))
        self.assertEqual([Deliver(Lost(7, LOSS)), Deliver(Lost(8, LOSS)), withdrawn], list(effects))
        self.assertEqual([], list(peer.close(LOSS)))
        self.assertFalse(peer.busy())

    def test_every_level(self) -> None:
        """All eight severities are known (MCP server/utilities/logging)."""
        peer = server_peer()

        found = [peer.receive(request(n, "logging/setLevel", {"level": level}), None) for n, level in enumerate(LEVELS)]

        self.assertEqual([(Deliver(LevelSet(101 + n, level)),) for n, level in enumerate(LEVELS)], found)


def old_client(version: str, capabilities: Any = None, *, source: str = "2026-07-28") -> ServerPeer:
    """A peer that faces a client of this revision, before a server of another; exchanges count from 101."""
    peer = ServerPeer(itertools.count(100))
    peer.receive(initialize(0, version, capabilities), None)
    peer.send(Completed(100, raw({"protocolVersion": source, "capabilities": {}})))
    peer.receive(notification("notifications/initialized"), None)
    return peer


def old_server(version: str) -> ClientPeer:
    """A peer that faces a server of this revision; requests count from 2."""
    peer = client_peer(Opened(1, VERSIONS[0], {"capabilities": raw(CAPABILITIES)}))
    peer.receive(Result(1, raw({"protocolVersion": version, "capabilities": {}})), None)
    return peer


class ToOldClientTests(SynchronousTestCase):
    """What a server says, in the words of the client's revision (L{mcpbridge.core.conversion})."""

    def answer(self, peer: ServerPeer, asked: Request, result: Any, envelope: Envelope | None = None) -> Any:
        """What the client gets for this request when the server answers like this."""
        deliver = peer.receive(asked, None)[0]
        assert isinstance(deliver, Deliver)
        assert isinstance(deliver.event, Called)
        (emit,) = peer.send(Completed(deliver.event.xid, raw(result), envelope))
        assert isinstance(emit, Emit)
        assert isinstance(emit.message, Result)
        return jsonrpc.read(emit.message.result)

    def test_content(self) -> None:
        """Kinds of content that it does not know."""
        peer = old_client("2025-03-26")
        result = {"content": [{"type": "resource_link", "uri": "x:y", "name": "n"}]}

        found = self.answer(peer, request(1, "tools/call", {"name": "a"}), result)

        self.assertEqual({"content": [{"type": "text", "text": "n <x:y>"}]}, found)

    def test_listed(self) -> None:
        """A tool that is listed as one that answers with objects does, whatever its server means by it."""
        peer = old_client("2025-11-25")
        strange = {"name": "a", "outputSchema": {"anyOf": [{"type": "object"}, {"type": "string"}]}}
        result = {"content": [], "structuredContent": {"x": 1}}

        before = self.answer(peer, request(1, "tools/call", {"name": "a"}), result)
        listed = self.answer(peer, request(2, "tools/list"), {"tools": [strange], "nextCursor": "c"})
        self.answer(peer, request(3, "tools/list", {"cursor": "c"}), {"tools": []})
        after = [self.answer(peer, request(4, "tools/call", {"name": name}), result) for name in ("a", "b")]
        self.answer(peer, request(5, "tools/list"), {"tools": []})
        again = self.answer(peer, request(6, "tools/call", {"name": "a"}), result)

        self.assertEqual("object", listed["tools"][0]["outputSchema"]["type"])
        self.assertEqual(
            [{"x": 1}, {"result": {"x": 1}}, {"x": 1}, {"x": 1}],
            [found["structuredContent"] for found in (before, *after, again)],
        )

    def test_nothing(self) -> None:
        """Null is a value if it comes from a server of the stateless era."""
        peer = old_client("2025-11-25", source="2025-11-25")
        result: Any = {"content": [], "structuredContent": None}

        found = [
            self.answer(peer, request(1, "tools/call", {"name": "a"}), result, envelope)
            for envelope in (None, Envelope(raw("complete")))
        ]

        self.assertEqual([None, {"result": None}], [one["structuredContent"] for one in found])

    def test_left_out(self) -> None:
        """What the server's revision let it leave out is there."""
        peer = old_client("2025-11-25", source="2024-11-05")

        self.assertEqual({"x": 1, "content": []}, self.answer(peer, request(1, "tools/call", {"name": "a"}), {"x": 1}))

    def test_errors(self) -> None:
        """Codes of the stateless era."""
        peer = old_client("2025-11-25")
        peer.receive(request(1, "resources/read", {"uri": "x:y"}), None)
        gone = ErrorObject(INVALID_PARAMS, "gone", raw({"uri": "x:y"}))

        self.assertEqual(
            (Emit(Error(1, ErrorObject(-32002, "gone", raw({"uri": "x:y"}))), 1),), peer.send(Failed(101, gone))
        )

    def test_opening(self) -> None:
        """What it is told of the server."""
        peer = server_peer(opened=False)
        peer.receive(initialize(0, "2025-06-18"), None)

        effects = peer.send(Completed(100, raw({"protocolVersion": "2025-11-25", "capabilities": {"tasks": {}}})))

        self.assertEqual((Emit(Result(0, raw({"protocolVersion": "2025-06-18", "capabilities": {}})), 0),), effects)

    def test_form(self) -> None:
        """A question in words that it knows."""
        peer = old_client("2025-06-18")
        question = InputRequest("elicitation/create", raw({"mode": "form", "message": "m"}))

        self.assertEqual(
            [Emit(request(1, "elicitation/create", {"message": "m"}))],
            peer.send(InputRequired(None, {"q": question})),
        )

    def test_named(self) -> None:
        """An elicitation by URL has a name, each its own."""
        peer = old_client("2025-11-25")
        question = InputRequest("elicitation/create", raw({"mode": "url", "message": "m", "url": "https://a.example/"}))

        effects = peer.send(InputRequired(101, {"a": question, "b": question}))

        names = {json.loads(jsonrpc.encode(one.message))["params"]["elicitationId"] for one in effects}  # type: ignore[union-attr]  # all are
        self.assertEqual(2, len(names))

    def test_impossible(self) -> None:
        """A question that it cannot be asked is answered in its place, with the answers to those beside it."""
        peer = old_client("2025-06-18")
        by_url = InputRequest("elicitation/create", raw({"mode": "url"}))
        roots = InputRequest("roots/list", None)
        why = "The client speaks protocol version 2025-06-18, in which nobody can send the user to a URL"
        impossible = ErrorObject(INVALID_PARAMS, why)

        alone = peer.send(InputRequired(101, {"a": by_url}))
        asked = peer.send(InputRequired(102, {"b": by_url, "c": roots}))
        supplied = peer.receive(Result(3, raw({"roots": []})), None)

        self.assertEqual((Deliver(InputSupplied(101, {"a": impossible})),), alone)
        self.assertEqual([Emit(request(3, "roots/list"))], asked)
        self.assertEqual((Deliver(InputSupplied(102, {"b": impossible, "c": raw({"roots": []})})),), supplied)


class ToOldServerTests(SynchronousTestCase):
    """What a client says, in the words of the server's revision."""

    def test_request(self) -> None:
        """Params that it does not know."""
        params: Any = {"argument": {}, "context": {}}

        for version, expected in (("2025-06-18", params), ("2025-03-26", {"argument": {}})):
            peer = old_server(version)
            self.assertEqual(
                (Emit(request(2, "completion/complete", expected)),),
                peer.send(Called(2, "completion/complete", raw(params))),
            )

    def test_answer(self) -> None:
        """The words of a model."""
        peer = old_server("2025-06-18")
        peer.receive(request("s", "sampling/createMessage", {"messages": []}), None)
        said = [{"type": "text", "text": text} for text in "ab"]

        effects = peer.send(InputSupplied(None, {"q1": raw({"content": said})}))

        self.assertEqual([Emit(Result("s", raw({"content": {"type": "text", "text": "ab"}})), "s")], effects)

    def test_impossible_answer(self) -> None:
        """An answer that it does not understand is an error, so that it does not wait."""
        peer = old_server("2025-06-18")
        peer.receive(request("s", "sampling/createMessage", {"messages": []}), None)

        effects = peer.send(InputSupplied(None, {"q1": raw({"content": [{"type": "image"}, {"type": "image"}]})}))

        self.assertEqual(("s", INTERNAL_ERROR, "s"), refusal(effects))

    def test_opening(self) -> None:
        """Capabilities that belong to a later revision than the client's own are not claimed."""
        params = {"capabilities": raw({"elicitation": {"form": {}}, "tasks": {}, "x": 1}), "y": Raw(b"[ ]")}

        effects = client_peer().send(Opened(1, "2025-06-18", params))

        told = Raw(b'{"capabilities":{"elicitation":{},"x":1},"y":[ ],"protocolVersion":"2025-06-18"}')
        self.assertEqual((Emit(Request(1, "initialize", told)),), effects)

    def test_silent_client(self) -> None:
        """A client of the stateless era does not tell of changed roots, so it is not said to."""
        params = {"protocolVersion": raw("2026-07-28"), "capabilities": raw({"roots": {"listChanged": True}})}

        effects = client_peer().send(Opened(1, "2025-11-25", params))

        told = raw({"protocolVersion": "2025-11-25", "capabilities": {"roots": {}}})
        self.assertEqual((Emit(Request(1, "initialize", told)),), effects)
