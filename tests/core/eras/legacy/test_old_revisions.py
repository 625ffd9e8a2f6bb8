"""
Tests for both peers of L{mcpbridge.core.eras.legacy}, with clients and servers of old revisions of that era.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.effects import Deliver, Emit
from mcpbridge.core.eras.legacy import VERSIONS, ClientPeer, ServerPeer
from mcpbridge.core.errors import INTERNAL_ERROR, INVALID_PARAMS, ErrorObject
from mcpbridge.core.events import (
    Called,
    Completed,
    Envelope,
    Failed,
    InputRequest,
    InputRequired,
    InputSupplied,
    Opened,
)
from mcpbridge.core.jsonrpc import Error, Request, Result
from tests.core.eras.legacy.peers import (
    CAPABILITIES,
    client_peer,
    initialize,
    notification,
    raw,
    refusal,
    request,
    server_peer,
)


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
