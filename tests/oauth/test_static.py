"""
Tests of L{mcpbridge.oauth.static}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.authorization import Secret
from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.oauth.tokens import MAX_TOKEN
from mcpbridge.oauth.static import StaticHeaders
from tests.oauth.programs import FakePrograms

_URL = "https://mcp.example.com/key-in-path"


class StaticHeadersTests(SynchronousTestCase):
    """Credentials that are there already."""

    def setUp(self) -> None:
        self.reactor = FakePrograms()

    def static(self, bearer: Secret | None = None, helper: tuple[str, ...] | None = None) -> StaticHeaders:
        return StaticHeaders("it", _URL, bearer, helper, self.reactor, {"PATH": "/bin"})

    def asked(self, static: StaticHeaders) -> Deferred[Mapping[bytes, bytes]]:
        return Deferred.fromCoroutine(static.headers())

    def printed(self, text: str) -> Deferred[Mapping[bytes, bytes]]:
        """What becomes of what a helper prints."""
        waiting = self.asked(self.static(helper=("helper",)))
        self.reactor.program.prints(text.encode())
        self.reactor.program.ends()
        return waiting

    def test_token(self) -> None:
        """A token of the configuration goes where tokens go; there is no other to be had."""
        static = self.static(Secret("secret"))

        self.assertEqual({b"authorization": b"Bearer secret"}, self.successResultOf(self.asked(static)))
        self.assertFalse(static.changes)
        self.assertNotIn("key-in-path", repr(static))

    def test_token_in_a_file(self) -> None:
        """It is kept until it is refused; then the file may have another."""
        path = self.mktemp()
        static = self.static(Secret(file=path))
        found = []

        for text, refused in (("first", False), ("second", False), ("third", True)):
            with open(path, "w") as file:
                file.write(text)
            if refused:
                static.forget()
            found.append(self.successResultOf(self.asked(static))[b"authorization"])

        self.assertEqual([b"Bearer first", b"Bearer first", b"Bearer third"], found)
        self.assertTrue(static.changes)

    def test_no_token(self) -> None:
        """What would be a header of its own, or too much for one, is not sent, and not shown."""
        for text in ("hush hush", "hush\r\nx: y", "hüsh", "hush" * MAX_TOKEN):
            error = self.failureResultOf(self.asked(self.static(Secret(text))), ConfigurationError)

            self.assertIn("bearerToken has characters that no token has", str(error.value))
            self.assertNotIn("hush", str(error.value))

    def test_helper(self) -> None:
        """It is told for whom, under the names that it may know from elsewhere, and run once for all who wait."""
        static = self.static(helper=("helper",))
        waiting = [self.asked(static) for _ in range(3)]
        program = self.reactor.program

        program.prints(b'{"X-Key": " k "}')
        program.ends()

        self.assertEqual([{b"x-key": b"k"}] * 3, [self.successResultOf(one) for one in waiting])
        self.assertEqual(
            {
                "PATH": "/bin",
                "MCP_SERVER_NAME": "it",
                "MCP_SERVER_URL": _URL,
                "CLAUDE_CODE_MCP_SERVER_NAME": "it",
                "CLAUDE_CODE_MCP_SERVER_URL": _URL,
            },
            program.environment,
        )
        self.successResultOf(self.asked(static))
        self.assertEqual((1, True), (len(self.reactor.started), static.changes))

    def test_helper_runs_again(self) -> None:
        """When it has failed, or what it printed was refused."""
        static = self.static(helper=("helper",))
        found = []

        for status in (1, 0, 0):
            waiting = self.asked(static)
            self.reactor.program.prints(b"{}")
            self.reactor.program.ends(status)
            if status:
                self.failureResultOf(waiting, ConfigurationError)
            else:
                found.append(self.successResultOf(waiting))
                static.forget()

        self.assertEqual(([{}, {}], 3), (found, len(self.reactor.started)))

    def test_both(self) -> None:
        """Where both say how we are let in, the program has the last word."""
        static = self.static(Secret("secret"), ("helper",))
        waiting = self.asked(static)

        self.reactor.program.prints(b'{"Authorization": "Basic eDp5"}')
        self.reactor.program.ends()

        self.assertEqual({b"authorization": b"Basic eDp5"}, self.successResultOf(waiting))

    def test_reserved(self) -> None:
        """What the protocol and the connection need is not a program's affair."""
        said = json.dumps({"mcp-SESSION-id": "evil", "Content-Length": "1", "Connection": "close", "x": "y"})

        self.assertEqual({b"x": b"y"}, self.successResultOf(self.printed(said)))

    def test_no_headers(self) -> None:
        """What is no header is an error that shows nothing of it."""
        for said in (
            "hush",
            '["hush"]',
            json.dumps({f"x{number}": "hush" for number in range(65)}),
            '{"X": 5}',
            '{"X": "hush\\r\\nY: 1"}',
            '{"X Y": "hush"}',
            '{"": "hush"}',
            '{"X": "hüsh"}',
        ):
            error = self.failureResultOf(self.printed(said), ConfigurationError)

            self.assertIn("headersHelper", str(error.value))
            self.assertNotIn("hush", str(error.value))
