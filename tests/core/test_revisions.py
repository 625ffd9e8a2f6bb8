"""
Tests for L{mcpbridge.core.revisions}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core import revisions
from mcpbridge.core.eras import legacy, modern


class RevisionTests(SynchronousTestCase):
    """What came when."""

    def test_known(self) -> None:
        """Everything came with a revision that is spoken; nothing with the first, which is what all others add to."""
        spoken = {*modern.VERSIONS, *legacy.VERSIONS} - {legacy.VERSIONS[-1]}

        found = {value for name, value in vars(revisions).items() if name.isupper()}

        self.assertEqual(spoken, found)

    def test_order(self) -> None:
        """As texts they are in the order in which they were published."""
        newest_first = [*modern.VERSIONS, *legacy.VERSIONS]

        self.assertEqual(newest_first, sorted(newest_first, reverse=True))

    def test_eras(self) -> None:
        """All of the stateless era, and none of the session era, come with it or later."""
        self.assertEqual(
            [True] * len(modern.VERSIONS) + [False] * len(legacy.VERSIONS),
            [version >= revisions.STATELESS for version in (*modern.VERSIONS, *legacy.VERSIONS)],
        )
