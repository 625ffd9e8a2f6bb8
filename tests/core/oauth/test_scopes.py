"""
Tests of L{mcpbridge.core.oauth.scopes}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.scopes import MAX_SCOPES, initial_scopes, parse_scopes, union, valid_scopes


class ScopeTests(SynchronousTestCase):
    """Which scopes are asked for."""

    def test_choice(self) -> None:
        """The challenge before the resource's list before nothing; the user before all."""
        table = [
            (("a",), ("b", "c"), (), None, ("a",)),
            (None, ("b", "c"), (), None, ("b", "c")),
            (None, None, ("x", "y"), None, None),
            (("a",), ("b",), (), ("mine",), ("mine",)),
        ]

        for challenged, resource, server, configured, expected in table:
            self.assertEqual(expected, initial_scopes(challenged, resource, server, configured))

    def test_offline_access(self) -> None:
        """It is added where the authorization server lists it, to something, and never to the user's own choice."""
        offline = ("openid", "offline_access")

        self.assertEqual(("a", "offline_access"), initial_scopes(("a",), None, offline))
        self.assertEqual(None, initial_scopes(None, None, offline))
        self.assertEqual(("mine",), initial_scopes(("a",), None, offline, ("mine",)))

    def test_union(self) -> None:
        """Nothing is lost and nothing doubled."""
        self.assertEqual(("a", "b", "c"), union(("a", "b"), ("b", "c")))

    def test_invalid(self) -> None:
        """What cannot be a scope is left out; what is left is bounded."""
        self.assertEqual(("a",), parse_scopes('a "b" c\\ d\u00e9'))
        self.assertEqual(("a",), valid_scopes(["a", 1, None, "", "x y", "a"]))
        self.assertEqual(MAX_SCOPES, len(valid_scopes(map(str, range(10_000)))))
