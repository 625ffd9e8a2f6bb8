"""
Tests of L{mcpbridge.oauth.holding}; the rest is in L{tests.oauth.test_authorizer}.
"""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.oauth.records import Credentials
from mcpbridge.core.oauth.tokens import TokenSet
from mcpbridge.oauth.holding import Holding, is_same
from mcpbridge.oauth.standing import Standing
from tests.core.oauth.facts import CLIENT, ISSUER, NOW, SERVER, UPSTREAM
from tests.oauth.test_store import memory_store

_FIRST = Credentials(SERVER, CLIENT, UPSTREAM, ("mcp",), TokenSet("a1", NOW, NOW + 9, "r1"), 3)
_SECOND = attrs.evolve(_FIRST, tokens=TokenSet("a2", NOW, NOW + 9, "r2"), generation=1)


class HoldingTests(SynchronousTestCase):
    """What is in use, and what is in the store."""

    def setUp(self) -> None:
        self.store = memory_store()
        self.changes = 0
        self.holding = Holding(UPSTREAM, "default", self.store, Standing("it"))
        self.holding.changed = self.change

    def change(self) -> None:
        self.changes += 1

    def keep(self, credentials: Credentials) -> None:
        """Somebody else writes to the store."""
        self.successResultOf(self.store.save(self.holding.key(ISSUER), credentials, None))

    def adopt(self, before: Credentials | None) -> bool:
        return self.successResultOf(Deferred.fromCoroutine(self.holding.adopt(before)))

    def test_adopt(self) -> None:
        """Whatever is in the store and is something else is newer, whatever its number."""
        nothing = self.adopt(None)
        self.keep(_FIRST)
        first, again = self.adopt(None), self.adopt(_FIRST)
        self.keep(_SECOND)
        second = self.adopt(_FIRST)

        self.assertEqual((False, True, False, True), (nothing, first, again, second))
        self.assertEqual((_SECOND, 2), (self.holding.current, self.changes))

    def test_adopted_meanwhile(self) -> None:
        """What was taken over while somebody waited is news to him, but to nobody else."""
        self.keep(_SECOND)
        self.holding.use(_SECOND)

        self.assertEqual((True, 1), (self.adopt(_FIRST), self.changes))

    def test_logged_out_elsewhere(self) -> None:
        """That there is nothing in the store is no reason to let go of what may still be good."""
        self.holding.use(_FIRST)

        self.assertEqual((False, _FIRST), (self.adopt(_FIRST), self.holding.current))

    def test_same(self) -> None:
        """One access token given twice with another refresh token is another set; another number is not."""
        renewed = attrs.evolve(_FIRST, tokens=attrs.evolve(_FIRST.tokens, refresh_token="r2"))

        self.assertEqual(
            [True, True, False, False],
            [
                is_same(None, None),
                is_same(_FIRST, attrs.evolve(_FIRST, generation=9)),
                is_same(_FIRST, renewed),
                is_same(_FIRST, None),
            ],
        )
        self.assertNotIn("a1", repr(self.holding))
