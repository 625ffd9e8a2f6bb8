"""
Tests for L{mcpbridge.core.front}.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.eras.modern.envelope import Facts
from mcpbridge.core.front import Modern, classify
from mcpbridge.core.jsonrpc import Error, Message, Notification, Request, Result
from mcpbridge.core.negotiation import VERSIONS
from tests.core.eras.modern.rigs import CAPABILITIES, INFO, VERSION, meta, raw

PREFIX = "io.modelcontextprotocol/"


def request(found: Any, method: str = "tools/call") -> Request:
    """A request with this C{_meta}."""
    return Request(1, method, raw({"name": "t", "_meta": found}))


def code(message: Message) -> int | None:
    """Of the error that it is to be answered with."""
    found = classify(message)
    return found.error.code if isinstance(found, Error) else None


class ClassifyTests(SynchronousTestCase):
    """Each message on its own."""

    def test_stateless(self) -> None:
        """
        A message whose C{_meta} names a revision of the stateless era is of it; what it says of its client is read.
        """
        for message in (request(meta()), Notification("x/note", raw({"_meta": meta()}))):
            found = classify(message)

            assert isinstance(found, Modern)
            self.assertEqual(Facts(VERSION, raw(CAPABILITIES), raw(INFO)), found.facts)

    def test_session(self) -> None:
        """Everything else is of the session era: also what only looks like it, and C{initialize} in any case."""
        messages = (
            Request(1, "tools/call"),
            Request(1, "initialize", raw({"protocolVersion": VERSION, "_meta": meta()})),
            Notification("notifications/cancelled", raw({"requestId": 1, "_meta": meta()})),
            Result(1, raw({"_meta": meta()})),
            Request(1, "tools/call", raw({"name": PREFIX + "protocolVersion"})),
            request({PREFIX + "related-task": {"taskId": "x"}}),
            request({PREFIX + "clientInfo": INFO}),
            request(5),
            Notification("x/note", raw({"_meta": {PREFIX + "protocolVersion": VERSION}})),
            Notification("x/note", raw({"_meta": meta(5)})),
            Notification("x/note", raw({"_meta": {**meta(), PREFIX + "protocolVersion": "2099-01-01"}})),
        )

        self.assertEqual([None] * len(messages), [classify(message) for message in messages])

    def test_escapes(self) -> None:
        """The name may be spelt with escapes."""
        text = bytes(request(meta()).params or b"").replace(b"io.model", b"\\u0069o\\u002emodel")

        self.assertIsInstance(classify(Request(1, "x", Raw(text))), Modern)

    def test_unknown_version(self) -> None:
        """A revision that we do not know, or that has sessions, is refused; the client is told which there are."""
        for version in ("2099-01-01", "2025-11-25", ""):
            answer = classify(request({**meta(), PREFIX + "protocolVersion": version}))

            assert isinstance(answer, Error)
            assert answer.error.data is not None
            data = {"supported": list(VERSIONS), "requested": version}
            self.assertEqual((1, -32022, data), (answer.id, answer.error.code, jsonrpc.read(answer.error.data)))

    def test_broken(self) -> None:
        """What is missing or of the wrong kind is named."""
        broken: tuple[Any, ...] = (
            {**meta(), PREFIX + "protocolVersion": 5},
            {PREFIX + "protocolVersion": VERSION},
            {PREFIX + "clientCapabilities": {}},
            meta([]),
            {**meta(), PREFIX + "clientInfo": "me"},
        )

        self.assertEqual([-32602] * len(broken), [code(request(found)) for found in broken])

    def test_no_name(self) -> None:
        """C{clientInfo} may be left out; in a notification one that is none counts as left out."""
        nameless = meta()
        del nameless[PREFIX + "clientInfo"]
        strange = {**meta(), PREFIX + "clientInfo": 5}

        found = [classify(request(nameless)), classify(Notification("x", raw({"_meta": strange})))]

        self.assertEqual([None, None], [each.facts.info for each in found if isinstance(each, Modern)])

    def test_buckets(self) -> None:
        """Clients that can do the same things share a bucket, in whatever order they say so; others do not."""
        large = {"experimental": {"x": "y" * 5000}}

        def bucket(capabilities: Any) -> str:
            found = classify(request(meta(capabilities)))
            assert isinstance(found, Modern)
            return found.bucket

        self.assertEqual(bucket({"a": {"x": 1, "y": 2}, "b": {}}), bucket({"b": {}, "a": {"y": 2, "x": 1}}))
        self.assertEqual(bucket(large), bucket(large))
        self.assertEqual(3, len({bucket({}), bucket({"roots": {}}), bucket(large)}))

    def test_too_deep(self) -> None:
        """Capabilities that nobody can read are refused, or the message is not read at all; nothing is raised."""
        deep = b'{"a":' * 5000 + b"{}" + b"}" * 5000
        text = bytes(request(meta()).params or b"").replace(bytes(raw(CAPABILITIES)), deep)
        assert deep in text

        message = Request(1, "x", Raw(text))

        self.assertIn(code(message), (-32602, None))
