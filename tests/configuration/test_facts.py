"""Tests of L{mcpbridge.configuration.facts}."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration.facts import ChildUpstream, HTTPUpstream, Settings, Sharing, Upstream, digest

HTTP = HTTPUpstream("linear", "https://host/mcp?key=s3cret", headers={"Authorization": "s3cret"})
CHILD = ChildUpstream("fs", "npx", ("-y", "s3cret"), {"KEY": "s3cret"}, "/srv")


class SecretsTests(SynchronousTestCase):
    """What is printed."""

    def test_no_secret_is_printed(self) -> None:
        """Neither C{repr} nor C{shown} shows a header, a query, an argument or a variable."""
        for upstream in (HTTP, CHILD):
            self.assertNotIn("s3cret", repr(upstream) + upstream.shown)

    def test_shown(self) -> None:
        """A human sees where a server is."""
        table = [HTTP.shown, CHILD.shown, attrs.evolve(CHILD, args=("-y",)).shown, attrs.evolve(CHILD, args=()).shown]

        self.assertEqual(["https://host/mcp", "npx (2 arguments)", "npx (1 argument)", "npx"], table)


class DigestTests(SynchronousTestCase):
    """L{digest}."""

    def test_stable(self) -> None:
        """It is the same in every process and for every order: snapshots on the disk are named by it."""
        swapped = attrs.evolve(HTTP, headers={"B": "2", "a": "1"}), attrs.evolve(HTTP, headers={"A": "1", "b": "2"})

        self.assertEqual("8af732a30b64b5d375774e5498d7b2cbbe27c10cac458a816a1b8a0cc117a60a", digest(HTTP))
        self.assertEqual(digest(swapped[0]), digest(swapped[1]))

    def test_what_does_not_count(self) -> None:
        """A new name or other settings do not make another server."""
        other = Settings(session=Sharing.SHARED)

        self.assertEqual(digest(HTTP), digest(attrs.evolve(HTTP, name="x", settings=other)))
        self.assertEqual(digest(CHILD), digest(attrs.evolve(CHILD, name="x", settings=other)))

    def test_what_counts(self) -> None:
        """Everything that reaches the server does."""
        changes: list[Callable[[], Upstream]] = [
            lambda: HTTP,
            lambda: attrs.evolve(HTTP, url="https://host/"),
            lambda: attrs.evolve(HTTP, transport="sse"),
            lambda: attrs.evolve(HTTP, headers={"Authorization": "other"}),
            lambda: attrs.evolve(HTTP, headers={"X-Key": "s3cret"}),
            lambda: CHILD,
            lambda: attrs.evolve(CHILD, command="uvx"),
            lambda: attrs.evolve(CHILD, args=("-y s3cret",)),
            lambda: attrs.evolve(CHILD, env={"KEY": "other"}),
            lambda: attrs.evolve(CHILD, env={"KEYs3cret": ""}),
            lambda: attrs.evolve(CHILD, cwd=None),
        ]

        self.assertEqual(len(changes), len({digest(change()) for change in changes}))

    def test_any_bytes_of_the_environment(self) -> None:
        """A variable that is not UTF-8 can be digested."""
        self.assertEqual(64, len(digest(attrs.evolve(CHILD, env={"KEY": "\udcff"}, args=("\udcff",)))))


class EqualityTests(SynchronousTestCase):
    """What a reload compares."""

    def test_by_value(self) -> None:
        """Equal facts are equal and hash alike, others are not equal."""
        twin = attrs.evolve(HTTP, headers=dict(HTTP.headers))

        self.assertEqual((HTTP, hash(HTTP)), (twin, hash(twin)))
        self.assertNotEqual(HTTP, attrs.evolve(HTTP, headers={}))
        self.assertNotEqual(HTTP, attrs.evolve(HTTP, settings=Settings(timeout=1.0)))
