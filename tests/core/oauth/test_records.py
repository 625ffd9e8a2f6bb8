"""
Tests of L{mcpbridge.core.oauth.records}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.attempt import Attempt
from mcpbridge.core.oauth.records import Credentials, from_bytes, to_bytes
from mcpbridge.core.oauth.tokens import TokenSet
from tests.core.oauth.facts import ATTEMPT, CLIENT, NOW, SERVER


class RecordTests(SynchronousTestCase):
    """What is kept."""

    def test_round_trip(self) -> None:
        """It comes back as it was."""
        credentials = Credentials(SERVER, CLIENT, None, ("a",), TokenSet("t", NOW, NOW + 1, "r", ("a",)), 7)

        self.assertEqual(credentials, from_bytes(to_bytes(credentials), Credentials))
        self.assertEqual(ATTEMPT, from_bytes(to_bytes(ATTEMPT), Attempt))

    def test_newer(self) -> None:
        """Members of a later version are passed over."""
        data = to_bytes(ATTEMPT).replace(b'{"client":', b'{"new": 1, "client":', 1)

        self.assertEqual(ATTEMPT, from_bytes(data, Attempt))

    @settings(max_examples=100, derandomize=True)
    @given(st.binary(max_size=40) | st.just(b"[" * 100_000))
    def test_garbage(self, data: bytes) -> None:
        """What is none is said to be none."""
        self.assertRaises(ValueError, from_bytes, data, Credentials)

    def test_errors_show_nothing(self) -> None:
        """The error says what is wrong, not what was there."""
        error = self.assertRaises(ValueError, from_bytes, b'{"server": "hush"}', Credentials)

        self.assertNotIn("hush", str(error))
