"""
Tests for L{mcpbridge.core.eras.legacy.server}: what a server asks its client.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.effects import Abandon, Deliver, Emit
from mcpbridge.core.errors import INVALID_REQUEST, METHOD_NOT_FOUND, ErrorObject
from mcpbridge.core.events import InputProgressed, InputRequest, InputRequired, InputSupplied, InputWithdrawn
from mcpbridge.core.jsonrpc import Error, InvalidMessage, Request, Result
from tests.core.eras.legacy.peers import notification, raw, request, server_peer


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
