"""Tests of L{mcpbridge.check}."""

from __future__ import annotations

import io
import os

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.check import check


class CheckTests(SynchronousTestCase):
    """L{check}."""

    def run_check(self, servers: str) -> tuple[int, list[str], list[str]]:
        """@return: the exit status and the lines on both streams."""
        out, err = io.StringIO(), io.StringIO()
        environment = {"HOME": os.path.abspath(self.mktemp()), "MCPBRIDGE_SERVERS": servers}
        status = check(environment, out, err)
        return status, out.getvalue().splitlines(), err.getvalue().splitlines()

    def test_servers(self) -> None:
        """Each server is a line, what was tolerated a warning; no secret is shown."""
        servers = """{
            "linear": {"url": "https://mcp.linear.app/mcp?key=s3cret", "headers": {"X-Key": "s3cret"}},
            "old": {"url": "https://x/sse", "type": "sse", "session": "shared", "description": "s3cret"},
            "fs": {"command": "npx", "args": ["-y", "s3cret"], "env": {"KEY": "s3cret"}, "snapshot": false},
        }"""

        self.assertEqual(
            (
                0,
                [
                    "3 servers from MCPBRIDGE_SERVERS",
                    "  linear  http   https://mcp.linear.app/mcp  persistent",
                    "  old     sse    https://x/sse               shared",
                    "  fs      stdio  npx (2 arguments)           persistent, no snapshot",
                ],
                ["warning: MCPBRIDGE_SERVERS: mcpServers.old.description: is the client's business; ignored"],
            ),
            self.run_check(servers),
        )

    def test_mistakes(self) -> None:
        """Each mistake is a line, and the exit status tells."""
        place = "error: MCPBRIDGE_SERVERS: mcpServers"

        self.assertEqual(
            (
                1,
                [],
                [
                    f"{place}.b: must be an object, not null",
                    f'{place}.a: needs "command" (a program to start) or "url" (a server to call)',
                    f'{place}.a.comand: unknown key; did you mean "command"?',
                ],
            ),
            self.run_check('{"a": {"comand": 1}, "b": null}'),
        )

    def test_none(self) -> None:
        """No server at all is no mistake."""
        self.assertEqual((0, ["0 servers from MCPBRIDGE_SERVERS"], []), self.run_check("{}"))
