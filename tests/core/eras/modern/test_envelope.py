"""
Tests for L{mcpbridge.core.eras.modern.envelope}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.eras.modern.envelope import (
    close_params,
    close_result,
    open_params,
    open_result,
    subscription_of,
    tagged,
    untagged,
    with_meta,
)
from mcpbridge.core.events import Envelope
from mcpbridge.core.jsonrpc import InvalidMessage
from tests.core.eras.modern.rigs import meta, raw

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text() | st.sampled_from(("_meta", "resultType", "ttlMs", "cacheScope")), JSON, max_size=5)


class EnvelopeTests(SynchronousTestCase):
    """Put on and taken off."""

    def test_params(self) -> None:
        """What is said of the client goes; the rest stays, in its bytes."""
        params = with_meta(Raw(b'{"a": [1 ],"_meta":{"k":1e400}}'), {name: raw(of) for name, of in meta().items()})

        found, said = open_params(params)

        self.assertEqual(b'{"a":[1 ],"_meta":{"k":1e400}}', bytes(close_params(found) or b""))
        self.assertEqual(meta().keys() | {"k"}, said.keys())

    def test_nothing_left(self) -> None:
        """Params that were there for the envelope only go with it."""
        found, _ = open_params(with_meta(None, {name: raw(of) for name, of in meta().items()}))

        self.assertEqual(None, close_params(found))

    def test_broken_params(self) -> None:
        """A C{_meta} that is no object is an error where it is read, and makes way where it is written."""
        self.assertRaises(InvalidMessage, open_params, Raw(b'{"_meta":5}'))
        self.assertEqual({"_meta": {"k": 1}}, jsonrpc.read(with_meta(Raw(b'{"_meta":5}'), {"k": raw(1)})))

    def test_broken_result(self) -> None:
        """What is no object is no result."""
        self.assertRaises(InvalidMessage, open_result, "tools/call", raw([]))
        self.assertRaises(InvalidMessage, close_result, "tools/call", raw(5), None, None)

    def test_tag(self) -> None:
        """The id of a stream keeps its type; what is no id is none."""
        found = [subscription_of(tagged(None, request_id)) for request_id in (1, "1")]
        none = [subscription_of(None), subscription_of(Raw(b'{"_meta":5}')), subscription_of(Raw(b"[]"))]

        self.assertEqual(([1, "1"], [None] * 3), (found, none))

    def test_untagged(self) -> None:
        """Without the tag it is what it was before; untagged params are not touched."""
        params = Raw(b'{ "uri" : "a" }')

        self.assertEqual((None, Raw(b'{"uri":"a"}')), (untagged(tagged(None, 1)), untagged(tagged(params, 1))))
        self.assertTrue(untagged(params) is params)

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(OBJECTS)
    def test_round_trip(self, result: dict[str, object]) -> None:
        """A result that is opened and closed says the same; closing never fails on an object."""
        before = {**result, "resultType": "complete"}

        neutral, envelope = open_result("tools/call", raw(before))
        after = jsonrpc.read(close_result("tools/call", neutral, envelope, None))

        for name in ("ttlMs", "cacheScope"):
            before.pop(name, None)
        if not isinstance(before.get("_meta", {}), dict):
            del before["_meta"]
        self.assertEqual(before, after)

    def test_own_duration(self) -> None:
        """How long a task is kept is part of the task: a result that nobody may keep has no such envelope."""
        task = {"taskId": "t", "ttlMs": 5}

        created, _ = open_result("tools/call", raw({**task, "resultType": "task"}))
        seen, _ = open_result("tasks/get", raw({**task, "resultType": "complete"}))

        self.assertEqual([task, task], [jsonrpc.read(created), jsonrpc.read(seen)])

    def test_given_envelope(self) -> None:
        """What the server said goes before what is known of it."""
        given = Envelope(raw("complete"), raw(0), raw("public"), raw({"name": "a", "version": "1"}))

        closed = jsonrpc.read(close_result("resources/read", raw({"contents": []}), given, raw({"name": "b"})))

        self.assertEqual("a", closed["_meta"]["io.modelcontextprotocol/serverInfo"]["name"])
        self.assertEqual((0, "public"), (closed["ttlMs"], closed["cacheScope"]))
