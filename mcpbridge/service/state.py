"""
The state database: one SQLite file in the state folder, for everything that outlives the daemon.

The file says which project and which version of the tables it is (C{application_id}, C{user_version}); a file that says
otherwise is left alone. Its path has no version in it, so that an upgrade loses nothing.
"""

from __future__ import annotations

import os
import sqlite3
import stat

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.oauth.store import SCHEMA as SECRETS

#: "mcpb" in ASCII.
APPLICATION = 0x6D637062

#: One entry per version of the tables: what makes it of the one before. Never changed once released, only added to.
MIGRATIONS = (
    """
    CREATE TABLE snapshots (
        server TEXT NOT NULL,
        profile TEXT NOT NULL,
        snapshot BLOB NOT NULL,
        saved REAL NOT NULL,
        PRIMARY KEY (server, profile)
    ) WITHOUT ROWID
    """,
    SECRETS,
)

FILE = "state.sqlite3"

#: Seconds that one process waits for another's transaction; these take milliseconds.
_PATIENCE = 5.0


def open_state(folder: str, *, durable: bool = False, threads: bool = False) -> sqlite3.Connection:
    """
    Open or make the database. Each user of it has its own connection.

    @param folder: the state folder; made private to the user if it is not there.
    @param durable: whether a commit is to survive a power cut, at some milliseconds each.
    @param threads: whether the connection is used in another thread than this one (in one at a time).
    @raise ConfigurationError: it cannot be used, or there is a file that is not ours; nothing is overwritten.
    """
    path = os.path.join(folder, FILE)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        _check_folder(folder)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        os.chmod(path, 0o600)
        connection = sqlite3.connect(path, isolation_level=None, timeout=_PATIENCE, check_same_thread=not threads)
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(f"the state folder {folder} cannot be used: {error}") from error
    try:
        prepare(connection)
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    except sqlite3.OperationalError as error:
        # The disk is full, or cannot be written, or somebody else has the database: it may be as good as ever.
        connection.close()
        raise ConfigurationError(f"{path} cannot be used: {error}") from error
    except (sqlite3.Error, ValueError) as error:
        connection.close()
        raise ConfigurationError(f"{path} is no state database of this mcpbridge: {error}; move it away") from error
    return connection


def state_in_memory() -> sqlite3.Connection:
    """One that nothing outlives."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    prepare(connection)
    return connection


def prepare(connection: sqlite3.Connection) -> None:
    """
    Bring the tables up to date.

    @raise ValueError: the database is another's, or of a later version.
    @raise sqlite3.Error: it is no database, or damaged.
    """
    connection.execute(f"PRAGMA busy_timeout = {int(_PATIENCE * 1000)}")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION:
        raise ValueError("it belongs to another program")
    if version > len(MIGRATIONS):
        raise ValueError(f"its tables are of version {version}, newer than {len(MIGRATIONS)}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another daemon may have done it while we waited.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for number, migration in enumerate(MIGRATIONS[version:], version + 1):
            connection.execute(migration)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _check_folder(folder: str) -> None:
    """Nobody else may put a file of his in the place of ours."""
    status = os.stat(folder)
    if status.st_uid not in (os.geteuid(), 0):
        raise PermissionError("it belongs to another user")
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        raise PermissionError("others may write there")
