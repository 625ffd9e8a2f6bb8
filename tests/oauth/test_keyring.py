"""
Tests of L{mcpbridge.oauth.keyring}.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import attrs
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.oauth.keyring import SystemKeyring


@attrs.define(eq=False)
class FakeRing:
    """
    What a desktop has.

    @ivar trouble: what is raised whenever it is used.
    @ivar forgets: takes everything and keeps nothing, as some do.
    """

    priority: float = 5.0
    trouble: Exception | None = None
    forgets: bool = False
    kept: dict[tuple[str, str], str] = attrs.Factory(dict)

    def get_password(self, service: str, name: str) -> str | None:
        if self.trouble is not None:
            raise self.trouble
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, password: str) -> None:
        if self.trouble is not None:
            raise self.trouble
        if not self.forgets:
            self.kept[service, name] = password


class SystemKeyringTests(SynchronousTestCase):
    """A key there, or none."""

    def install(self, get_keyring: Any) -> None:
        """As if the package were installed, for this test; L{None}: as if it were not."""
        module: Any = None
        if get_keyring is not None:
            module = ModuleType("keyring")
            module.get_keyring = get_keyring
        before = {name: found for name, found in sys.modules.items() if name == "keyring"}
        sys.modules["keyring"] = module

        def restore() -> None:
            sys.modules.pop("keyring", None)
            sys.modules.update(before)

        self.addCleanup(restore)

    def test_kept(self) -> None:
        """What is saved is found, in a form that any backend can hold; another state folder has its own."""
        ring = FakeRing()
        self.install(lambda: ring)

        saved = SystemKeyring("/state").save(b"\x00\xff" * 16)

        self.assertEqual((True, {("mcpbridge", "/state"): "00ff" * 16}), (saved, ring.kept))
        self.assertEqual(b"00ff" * 16, SystemKeyring("/state").load())
        self.assertIsNone(SystemKeyring("/other").load())

    def test_none(self) -> None:
        """No package, a backend that fails on being looked for, and backends that keep plain text or nothing."""

        def broken() -> FakeRing:
            raise RuntimeError("no D-Bus")

        for get_keyring in (None, broken, lambda: FakeRing(priority=0.5), object):
            self.install(get_keyring)

            self.assertEqual((None, False), (SystemKeyring("x").load(), SystemKeyring("x").save(b"k")))

    def test_trouble(self) -> None:
        """A ring that is locked, or refuses, counts as none; the log says of which kind the trouble was, no more."""
        self.install(lambda: FakeRing(trouble=PermissionError("secret words")))

        with capturedLogs() as logs:
            found = SystemKeyring("x").load(), SystemKeyring("x").save(b"k")

        self.assertEqual((None, False), found)
        self.assertEqual(
            [(LogLevel.warn, "PermissionError")] * 2, [(event["log_level"], event["error"]) for event in logs]
        )

    def test_forgetful(self) -> None:
        """What cannot be read back was not saved: a key that is lost would lose the store."""
        self.install(lambda: FakeRing(forgets=True))

        self.assertFalse(SystemKeyring("x").save(b"k"))

    def test_odd(self) -> None:
        """Something else under our name is given as it is, for who asked to refuse it."""
        self.install(lambda: FakeRing(kept={("mcpbridge", "x"): "né"}))

        self.assertEqual(b"n?", SystemKeyring("x").load())
