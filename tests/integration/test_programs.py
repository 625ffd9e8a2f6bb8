"""
Programs that print secrets and headers, for real.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from twisted.internet import reactor as global_reactor  # noqa: TID251 - a test of the real thing
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mcpbridge.configuration.authorization import Secret
from mcpbridge.core.errors import ConfigurationError
from mcpbridge.oauth.programs import MAX_OUTPUT, output_of
from mcpbridge.oauth.secrets import Secrets
from mcpbridge.oauth.static import StaticHeaders

reactor: Any = global_reactor

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "MCPBRIDGE_KEY_FILE": "/x",
    "CREDENTIALS_DIRECTORY": "/y",
    "OTHER": "kept",
}


class ProgramsTests(TestCase):
    """What they print, and what they do else."""

    timeout = 20

    def printed(self, *command: str, extra: Mapping[str, str] | None = None) -> Deferred[bytes]:
        return output_of(reactor, "it", command, _ENVIRONMENT, extra or {})

    async def test_prints(self) -> None:
        """All of it; its environment has nothing of ours."""
        printed = await self.printed("env", extra={"MCP_SERVER_NAME": "s"})

        names = {line.split("=")[0] for line in printed.decode().splitlines()}
        self.assertEqual({"PATH", "OTHER", "MCP_SERVER_NAME"}, names & {*_ENVIRONMENT, "MCP_SERVER_NAME"})

    async def test_fails(self) -> None:
        """The text has its status and its last words, made printable; no program waits for input."""
        for command, text in (
            (("sh", "-c", "printf '\\033[31mno\\n' >&2; exit 3"), "it exited with status 3: \\x1b[31mno"),
            (("no-such-program-here",), "it exited with status 127"),
            (("sh", "-c", "kill -9 $$"), "it was killed"),
            (("sh", "-c", "read x"), "it exited with status 1"),
        ):
            error = await self.assertFailure(self.printed(*command), ConfigurationError)
            self.assertIn(text, str(error))

    async def test_prints_too_much(self) -> None:
        """It is stopped."""
        error = await self.assertFailure(self.printed("yes"), ConfigurationError)

        self.assertIn(f"more than {MAX_OUTPUT} bytes", str(error))

    async def test_secrets(self) -> None:
        """From a text, a file, a program; white space around them is nobody's."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("  from a file\n")
        secrets = Secrets(reactor, _ENVIRONMENT)

        found = [
            await secrets.read(secret, "it")
            for secret in (Secret("a text"), Secret(file=path), Secret(command=("echo", "from a program")))
        ]

        self.assertEqual(["a text", "from a file", "from a program"], found)
        for secret in (Secret(file="/no/such/file"), Secret(command=("true",)), Secret(command=("printf", "\\377"))):
            await self.assertFailure(Deferred.fromCoroutine(secrets.read(secret, "it")), ConfigurationError)

    async def test_helper(self) -> None:
        """Headers, but for reserved ones; what is no header is an error that shows nothing."""

        def headers(printed: str) -> StaticHeaders:
            return StaticHeaders("s", "https://x/", None, ("printf", "%s", printed), reactor, _ENVIRONMENT)

        good = headers('{"X-Key": " k ", "Mcp-Session-Id": "evil", "Content-Length": "1"}')

        self.assertEqual({b"x-key": b"k"}, await good.headers())
        self.assertTrue(good.changes)
        for printed in ("hush", "[]", '{"X": 5}', '{"X": "hush\\r\\nY: 1"}', '{"X Y": "hush"}'):
            error = await self.assertFailure(Deferred.fromCoroutine(headers(printed).headers()), ConfigurationError)
            self.assertNotIn("hush", str(error))
