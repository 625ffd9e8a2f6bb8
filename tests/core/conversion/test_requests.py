"""
Tests for L{mcpbridge.core.conversion.requests}.
"""

from __future__ import annotations

from mcp_types import methods
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import jsonrpc
from mcpbridge.core.conversion.requests import request_for
from mcpbridge.core.eras import legacy, modern

VERSIONS = (*modern.VERSIONS, *legacy.VERSIONS)

COMPLETION = {
    "ref": {"type": "ref/prompt", "name": "context"},
    "argument": {"name": "context", "value": "v"},
    "context": {"arguments": {"a": "b"}},
}


class CompletionTests(SynchronousTestCase):
    """What a completion depends on."""

    def test_context(self) -> None:
        """Servers before 2025-06-18 are not told; the hint is lost, and nothing else of that name."""
        params = jsonrpc.value(COMPLETION)
        rest = {name: value for name, value in COMPLETION.items() if name != "context"}

        for version in VERSIONS:
            expected = rest if version < "2025-06-18" else COMPLETION
            converted = request_for(version, "completion/complete", params)
            assert converted is not None
            self.assertEqual(expected, jsonrpc.read(converted))
            if version in legacy.VERSIONS:
                methods.validate_client_request("completion/complete", version, jsonrpc.read(converted))
            self.assertEqual(converted, request_for(version, "completion/complete", converted))


class TaskTests(SynchronousTestCase):
    """A call as a task of the session era."""

    def test_task(self) -> None:
        """In the stateless era it is the server that decides; arguments are nobody's business."""
        params = Raw(b'{"name":"a","task":{"ttl":1},"arguments":{"task": 1e400}}')

        self.assertEqual(
            Raw(b'{"name":"a","arguments":{"task": 1e400}}'), request_for("2026-07-28", "tools/call", params)
        )
        self.assertTrue(all(request_for(version, "tools/call", params) is params for version in legacy.VERSIONS))


class OtherTests(SynchronousTestCase):
    """All the rest."""

    def test_untouched(self) -> None:
        """Other methods, params without such a member, and no params at all."""
        table = [
            ("prompts/get", Raw(b'{"context":1,"task":1}')),
            ("x/unknown", Raw(b'{"context":1,"task":1}')),
            ("completion/complete", Raw(b'{"argument":{"context":1}}')),
            ("tools/call", Raw(b'{"arguments":{"task":1}}')),
            ("tools/call", Raw(b'{"arguments": {}}')),
            ("tools/call", None),
        ]

        for version in VERSIONS:
            self.assertEqual([params for _, params in table], [request_for(version, *one) for one in table])
            self.assertTrue(all(request_for(version, method, params) is params for method, params in table))
