"""
Tests for L{mcpbridge.core.eras.legacy.client}; servers of old revisions are in
L{tests.core.eras.legacy.test_old_revisions}.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.effects import Abandon, Deliver, Emit
from mcpbridge.core.eras.legacy import VERSIONS
from mcpbridge.core.eras.legacy.dialect import MAX_TASKS
from mcpbridge.core.errors import INVALID_REQUEST, PARSE_ERROR, ErrorObject, Fate, Loss, Reason
from mcpbridge.core.events import (
    Called,
    Cancelled,
    Changed,
    Completed,
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
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Message, Notification, Request, RequestId, Result
from mcpbridge.core.levels import LEVELS
from tests.core.eras.legacy.peers import client_peer, error, notification, raw, refusal, request, server_peer

LOSS = Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, "the connection broke")


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
