"""
Tests of L{mcpbridge.others}.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import McpbridgeError
from mcpbridge.others import find_tokens

_URL = "https://mcp.example.com/mcp"


class OthersTests(SynchronousTestCase):
    """Where other programs keep their tokens."""

    def setUp(self) -> None:
        self.home = os.path.abspath(self.mktemp())
        self.environment = {"HOME": self.home, "MCPBRIDGE_SERVERS": json.dumps({"s": {"url": _URL}})}

    def _write(self, path: str, document: Any) -> str:
        full = os.path.join(self.home, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w") as file:
            json.dump(document, file)
        return full

    def _find(self, source: str, server: str = "s", typed: str = "") -> dict[str, Any]:
        return dict(find_tokens(source, server, self.environment, io.StringIO(typed)))

    def test_file(self) -> None:
        """As it is; times that JavaScript wrote are in milliseconds."""
        path = self._write("t.json", {"access_token": "a", "expires_at": 1_800_000_000_000})

        self.assertEqual({"access_token": "a", "expires_at": 1_800_000_000}, self._find(path))
        self.assertEqual({"access_token": "b"}, self._find("-", typed='{"access_token": "b"}'))

    def test_mcp_remote(self) -> None:
        """By the hash of the URL, of all versions the newest, with the client."""
        mark = hashlib.md5(_URL.encode(), usedforsecurity=False).hexdigest()
        old = self._write(f".mcp-auth/mcp-remote-0.1.0/{mark}_tokens.json", {"access_token": "old", "expires_in": 60})
        os.utime(old, (1000, 1000))
        new = self._write(
            f".mcp-auth/mcp-remote-0.2.0/{mark}_tokens.json",
            {"access_token": "new", "refresh_token": "r", "expires_in": 60},
        )
        os.utime(new, (2000, 2000))
        client = {"client_id": "c", "client_secret": "s", "token_endpoint_auth_method": "client_secret_post"}
        self._write(f".mcp-auth/mcp-remote-0.2.0/{mark}_client_info.json", {**client, "redirect_uris": []})

        expected = {"access_token": "new", "refresh_token": "r", "expires_at": 2060.0, **client}
        self.assertEqual([expected, expected], [self._find("mcp-remote"), self._find("mcp-remote", _URL)])

    def test_no_end(self) -> None:
        """Some do not say until when, or not as a number: then others are taken to be newer."""
        mark = hashlib.md5(_URL.encode(), usedforsecurity=False).hexdigest()
        for version, end in (("1", 1000.0), ("2", "soon"), ("3", None)):
            path = f".mcp-auth/mcp-remote-{version}/{mark}_tokens.json"
            self._write(path, {"access_token": f"from-{version}", "expires_at": end})

        self.assertEqual({"access_token": "from-1", "expires_at": 1000.0}, self._find("mcp-remote"))

    def test_claude_code(self) -> None:
        """By the URL, whatever the server is called there."""
        entry = {"serverUrl": _URL, "clientId": "c", "accessToken": "a", "refreshToken": "r", "expiresAt": 2_000_000}
        others = {"x|1": {"serverUrl": "https://other/"}, "x|2": {"serverUrl": None}, "x|3": 7}
        self._write(".claude/.credentials.json", {"mcpOAuth": {**others, "y|2": entry}})

        self.assertEqual(
            {"access_token": "a", "refresh_token": "r", "client_id": "c", "expires_at": 2000.0},
            self._find("claude-code"),
        )

    def test_nothing(self) -> None:
        """What is not there, is no JSON, or belongs to a program, is said in a sentence."""
        bad = self._write("bad.json", [1])
        for source in ("mcp-remote", "claude-code", os.path.join(self.home, "nowhere"), bad):
            self.assertRaises(McpbridgeError, self._find, source)
        self.environment["MCPBRIDGE_SERVERS"] = json.dumps({"s": {"command": "x"}})
        self.assertRaises(McpbridgeError, self._find, "mcp-remote")
