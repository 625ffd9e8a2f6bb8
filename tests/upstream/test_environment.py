"""
Tests for L{mcpbridge.upstream.environment}.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.upstream.environment import child_environment


class ChildEnvironmentTests(SynchronousTestCase):
    """What a child gets to see."""

    def test_inherited(self) -> None:
        """What programs need is passed on."""
        own = {
            "PATH": "/bin",
            "HOME": "/home/me",
            "LC_MESSAGES": "de",
            "XDG_CACHE_HOME": "/c",
            "SSL_CERT_FILE": "/p.pem",
            "https_proxy": "http://proxy",
        }

        self.assertEqual(own | {"MCPBRIDGE_INSTANCE": "m"}, child_environment(own, {}, "m"))

    def test_not_inherited(self) -> None:
        """Nothing else is: no keys, nothing of ours, nothing that changes what a program loads."""
        own = dict.fromkeys(
            (
                "ANTHROPIC_API_KEY",
                "AWS_SECRET_ACCESS_KEY",
                "MCPBRIDGE_SERVERS",
                "MCPBRIDGE_INSTANCE",
                "LD_PRELOAD",
                "PYTHONPATH",
                "NODE_OPTIONS",
                "SSH_AUTH_SOCK",
                "XDG_SESSION_ID",
                "PATHOLOGICAL",
                "",
            ),
            "x",
        )

        self.assertEqual({"PATH": os.defpath, "MCPBRIDGE_INSTANCE": "m"}, child_environment(own, {}, "m"))

    def test_shell_functions(self) -> None:
        """A function that bash exported under a good name is not passed on."""
        self.assertNotIn("LC_X", child_environment({"LC_X": "() { :; }; evil"}, {}, "m"))

    def test_configured(self) -> None:
        """What the user set wins, whatever it is, except over the marker."""
        configured = {"PATH": "/mine", "TOKEN": "t", "LD_PRELOAD": "x", "MCPBRIDGE_INSTANCE": "forged"}

        self.assertEqual(
            configured | {"MCPBRIDGE_INSTANCE": "m", "HOME": "/"},
            child_environment({"PATH": "/bin", "HOME": "/"}, configured, "m"),
        )

    def test_marker_comes_last(self) -> None:
        """A program that writes a long title over the start of its environment does not lose it."""
        self.assertEqual("MCPBRIDGE_INSTANCE", list(child_environment({"PATH": "/bin"}, {"A": "b"}, "m"))[-1])
