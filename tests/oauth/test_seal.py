"""
Tests of L{mcpbridge.oauth.seal}.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.oauth.errors import StoreFailure
from mcpbridge.oauth.seal import Seal, StoreKey

_one, _two = StoreKey(b"1" * 32, "the first"), StoreKey(b"2" * 32, "the second")


class SealTests(SynchronousTestCase):
    """What is sealed, and when it opens."""

    def test_round_trip(self) -> None:
        """It opens with the key and in the place it was sealed for, and does not show what is in it."""
        seal = Seal((_one,))

        sealed = seal.seal(b"the token", b"here")

        self.assertEqual(b"the token", seal.opened(sealed, b"here", _one.id))
        self.assertNotIn(b"token", sealed)
        self.assertNotEqual(sealed, seal.seal(b"the token", b"here"))

    def test_elsewhere(self) -> None:
        """A row that was moved does not open."""
        seal = Seal((_one,))

        self.assertRaises(StoreFailure, seal.opened, seal.seal(b"x", b"here"), b"there", _one.id)

    @settings(max_examples=100, derandomize=True)
    @given(st.integers(0, 37), st.integers(1, 255))
    def test_changed(self, index: int, difference: int) -> None:
        """Neither does one of which a single byte is another."""
        seal = Seal((_one,))
        sealed = bytearray(seal.seal(b"the token", b"here"))
        sealed[index] ^= difference

        self.assertRaises(StoreFailure, seal.opened, bytes(sealed), b"here", _one.id)

    def test_short(self) -> None:
        """Nor one that is cut."""
        seal = Seal((_one,))
        sealed = seal.seal(b"the token", b"here")

        for length in range(len(sealed)):
            self.assertRaises(StoreFailure, seal.opened, sealed[:length], b"here", _one.id)

    def test_rotation(self) -> None:
        """The first key seals; each opens what it sealed."""
        old, new = Seal((_one,)), Seal((_two, _one))

        self.assertEqual(b"x", new.opened(old.seal(b"x", b""), b"", _one.id))
        self.assertEqual(_two.id, new.key_id)
        self.assertTrue(new.can_open(_one.id) and not old.can_open(_two.id))

    def test_missing_key(self) -> None:
        """The text says which key is missing, which there is, and what can be done."""
        error = self.assertRaises(StoreFailure, Seal((_one,)).opened, b"", b"", _two.id)

        for part in (_one.id, _two.id, "the first", "log out"):
            self.assertIn(part, str(error))

    def test_key_is_not_shown(self) -> None:
        """Neither by its repr nor by its id."""
        self.assertNotIn("1111", repr(_one) + _one.id)
