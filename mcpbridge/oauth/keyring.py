"""
The system's keyring, where the package C{keyring} is installed and has one.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import attrs
from twisted.logger import Logger

_SERVICE = "mcpbridge"


@attrs.define(eq=False)
class SystemKeyring:
    """
    One key per state folder.

    Whatever goes wrong in there (no D-Bus, a locked ring, a refusal) counts as: there is none. It is logged.

    @ivar _name: tells the keys of several state folders apart.
    """

    _name: str
    _log = Logger()

    def load(self) -> bytes | None:
        """The key in it."""
        ring = self._ring()
        if ring is None:
            return None
        try:
            found = ring.get_password(_SERVICE, self._name)
        except Exception as error:  # noqa: BLE001 - a backend may raise anything
            self._log.warn("the keyring cannot be read: {error}", error=type(error).__name__)
            return None
        return None if found is None else str(found).encode("ascii", "replace")

    def save(self, key: bytes) -> bool:
        """Keep it."""
        ring = self._ring()
        if ring is None:
            return False
        try:
            ring.set_password(_SERVICE, self._name, key.hex())
            return bool(ring.get_password(_SERVICE, self._name) == key.hex())
        except Exception as error:  # noqa: BLE001 - a backend may raise anything
            self._log.warn("the keyring takes no key: {error}", error=type(error).__name__)
            return False

    def _ring(self) -> Any | None:
        try:
            ring = import_module("keyring").get_keyring()
        except Exception:  # noqa: BLE001 - not installed, or its backend fails on being looked for
            return None
        # Plain-text, null and fail backends have a priority below one.
        return ring if getattr(ring, "priority", 0) >= 1 else None
