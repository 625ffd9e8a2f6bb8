"""
Tests for L{mcpbridge.downstream.http.token}.
"""

from __future__ import annotations

import os
import stat

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.downstream.http.token import token


class TokenTests(SynchronousTestCase):
    """The file of the token."""

    def setUp(self) -> None:
        self.folder = os.path.join(self.mktemp(), "state")
        self.path = os.path.join(self.folder, "http-token")

    def write(self, text: str, mode: int = 0o600) -> None:
        os.makedirs(self.folder)
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path, mode)

    def test_made(self) -> None:
        """It is made when it is asked for first, for the user's eyes, and is the same from then on."""
        first = token(self.folder)
        with open(self.path, encoding="ascii") as file:
            text = file.read().strip()

        self.assertTrue(first.matches(text) and token(self.folder).matches(text))
        self.assertGreaterEqual(len(text), 43)
        self.assertEqual(
            (0o600, 0o700), tuple(stat.S_IMODE(os.stat(each).st_mode) for each in (self.path, self.folder))
        )
        self.assertEqual(["http-token"], os.listdir(self.folder))
        self.assertNotIn(text, repr(first))

    def test_matches(self) -> None:
        """Only itself, whatever is shown."""
        self.write("a-token-of-the-user\n")
        found = token(self.folder)

        shown = ["a-token-of-the-user", "a-token-of-the-use", "a-token-of-the-user ", "", "\u00e9\ud800"]

        self.assertEqual(["a-token-of-the-user"], [each for each in shown if found.matches(each)])

    def test_unusable(self) -> None:
        """What others can read, or is no token, is refused, and is not replaced."""
        for text, mode in (
            ("a-token-of-the-user", 0o640),
            ("a-token-of-the-user", 0o604),
            ("short", 0o600),
            ("", 0o600),
            ("two-lines-of-a-token\ntwo-lines-of-a-token", 0o600),
            ("t\u00f6ken-t\u00f6ken-t\u00f6ken", 0o600),
        ):
            self.write(text, mode)
            error = self.assertRaises(ConfigurationError, token, self.folder)
            self.assertIn("remove it", str(error))
            self.assertFalse(text and text in str(error))
            os.unlink(self.path)
            os.rmdir(self.folder)

    def test_no_file(self) -> None:
        """A link, a folder, and a place where nothing can be written."""
        os.makedirs(self.path)
        self.assertRaises(ConfigurationError, token, self.folder)
        os.rmdir(self.path)
        os.symlink("/etc/hostname", self.path)
        self.assertRaises(ConfigurationError, token, self.folder)
        self.assertRaises(ConfigurationError, token, "/dev/null/state")
