"""
What is known of each server, kept across restarts in the state database.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import attrs
from twisted.logger import Logger

from mcpbridge.core.catalog import Snapshot
from mcpbridge.core.negotiation import LEGACY
from mcpbridge.core.printable import printable
from mcpbridge.service.state import open_state, state_in_memory

#: Larger ones are not worth the time that it takes to write them: 1,000 tools are below 1 MiB.
_MAX_SNAPSHOT = 8 * 1024 * 1024

#: Of one server, over all profiles: a client that declares something new at each start must not fill the disk.
_MAX_PROFILES = 16

#: Seconds for which a server is taken to speak the session era only. It may be upgraded, and would never tell.
_LEGACY_FOR = 24 * 3600.0


@attrs.define(eq=False)
class SnapshotStore:
    """
    Snapshots by server (a digest of its configuration) and profile (of the client that it was shown to).

    Calls take some 50 microseconds and are made directly: WAL without a sync at each commit, since a snapshot that is
    lost with the power is fetched again.

    @ivar _now: the time, in seconds since the epoch.
    """

    _connection: sqlite3.Connection
    _now: Callable[[], float]
    _log = Logger()

    @classmethod
    def open(cls, folder: str, now: Callable[[], float]) -> SnapshotStore:
        """
        Open or make the database.

        @param folder: the state folder; made private to the user if it is not there.
        @raise ConfigurationError: it cannot be used, or there is a file that is not ours; nothing is overwritten.
        """
        return cls(open_state(folder), now)

    @classmethod
    def in_memory(cls, now: Callable[[], float] = lambda: 0.0) -> SnapshotStore:
        """One that nothing outlives."""
        return cls(state_in_memory(), now)

    def load(self, server: str, profile: str) -> Snapshot | None:
        """What is known, or L{None}. What cannot be read counts as not known and is logged."""
        try:
            row = self._connection.execute(
                "SELECT snapshot, saved FROM snapshots WHERE server = ? AND profile = ?", (server, profile)
            ).fetchone()
            if row is None:
                return None
            snapshot = Snapshot.from_bytes(row[0])
        except (sqlite3.Error, ValueError) as error:
            self._log.warn("A snapshot cannot be read: {error}", error=printable(str(error)))
            return None
        expired = snapshot.era == LEGACY and not 0 <= self._now() - row[1] < _LEGACY_FOR
        return attrs.evolve(snapshot, era=None) if expired else snapshot

    def save(self, server: str, profile: str, snapshot: Snapshot) -> None:
        """Keep it. A failure is logged; the next start is slower then, and nothing else."""
        data = snapshot.to_bytes()
        if len(data) > _MAX_SNAPSHOT:
            return
        try:
            self._connection.execute(
                "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)", (server, profile, data, self._now())
            )
            self._connection.execute(
                "DELETE FROM snapshots WHERE server = ?1 AND profile NOT IN "
                "(SELECT profile FROM snapshots WHERE server = ?1 ORDER BY saved DESC, profile = ?2 DESC LIMIT ?3)",
                (server, profile, _MAX_PROFILES),
            )
        except sqlite3.Error as error:
            self._log.warn("A snapshot cannot be written: {error}", error=printable(str(error)))

    def close(self) -> None:
        """No more."""
        self._connection.close()
