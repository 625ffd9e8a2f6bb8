"""
What is known of each server, kept across restarts in the state database.

The file is SQLite in the state folder. It says which project and which version of the tables it is
(C{application_id}, C{user_version}); a file that says otherwise is left alone.
"""

from __future__ import annotations

import os
import sqlite3

import attrs
from twisted.logger import Logger

from mcpbridge.core.catalog import Snapshot
from mcpbridge.core.errors import ConfigurationError

#: "mcpb" in ASCII.
_APPLICATION = 0x6D637062

#: One entry per version of the tables: what makes it of the one before.
_MIGRATIONS = (
    """
    CREATE TABLE snapshots (
        server TEXT NOT NULL,
        profile TEXT NOT NULL,
        snapshot BLOB NOT NULL,
        PRIMARY KEY (server, profile)
    ) WITHOUT ROWID
    """,
)

#: Larger ones are not worth the time that it takes to write them: 1,000 tools are below 1 MiB.
_MAX_SNAPSHOT = 8 * 1024 * 1024

#: Of one server, over all profiles: a client that declares something new at each start must not fill the disk.
_MAX_PROFILES = 16


@attrs.define(eq=False)
class SnapshotStore:
    """
    Snapshots by server (a digest of its configuration) and profile (of the client that it was shown to).

    Calls take some 50 microseconds and are made directly: WAL without a sync at each commit, since a snapshot that is
    lost with the power is fetched again.
    """

    _connection: sqlite3.Connection
    _log = Logger()

    @classmethod
    def open(cls, folder: str) -> SnapshotStore:
        """
        Open or make the database.

        @param folder: the state folder; made private to the user if it is not there.
        @raise ConfigurationError: it cannot be used, or there is a file that is not ours; nothing is overwritten.
        """
        path = os.path.join(folder, "state.sqlite3")
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"the state folder {folder} cannot be used: {error}") from error
        try:
            _prepare(connection)
        except (sqlite3.Error, ValueError) as error:
            connection.close()
            raise ConfigurationError(f"{path} is no state database of this mcpbridge: {error}; move it away") from error
        return cls(connection)

    @classmethod
    def in_memory(cls) -> SnapshotStore:
        """One that nothing outlives."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        _prepare(connection)
        return cls(connection)

    def load(self, server: str, profile: str) -> Snapshot | None:
        """What is known, or L{None}. What cannot be read counts as not known and is logged."""
        try:
            row = self._connection.execute(
                "SELECT snapshot FROM snapshots WHERE server = ? AND profile = ?", (server, profile)
            ).fetchone()
            return None if row is None else Snapshot.from_bytes(row[0])
        except (sqlite3.Error, ValueError) as error:
            self._log.warn("A snapshot cannot be read: {error}", error=str(error))
            return None

    def save(self, server: str, profile: str, snapshot: Snapshot) -> None:
        """Keep it. A failure is logged; the next start is slower then, and nothing else."""
        data = snapshot.to_bytes()
        if len(data) > _MAX_SNAPSHOT:
            return
        try:
            self._connection.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)", (server, profile, data))
            self._connection.execute(
                "DELETE FROM snapshots WHERE server = ?1 AND profile != ?2 AND profile NOT IN "
                "(SELECT profile FROM snapshots WHERE server = ?1 AND profile != ?2 LIMIT ?3)",
                (server, profile, _MAX_PROFILES - 1),
            )
        except sqlite3.Error as error:
            self._log.warn("A snapshot cannot be written: {error}", error=str(error))

    def close(self) -> None:
        """No more."""
        self._connection.close()


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA busy_timeout = 5000")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != _APPLICATION:
        raise ValueError("it belongs to another program")
    if version > len(_MIGRATIONS):
        raise ValueError(f"its tables are of version {version}, newer than {len(_MIGRATIONS)}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another daemon may have done it while we waited.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for number, migration in enumerate(_MIGRATIONS[version:], version + 1):
            connection.execute(migration)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
