"""
Tests of L{mcpbridge.service.state}.
"""

from __future__ import annotations

import os
import sqlite3
import stat

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.service import state
from mcpbridge.service.state import APPLICATION, FILE, MIGRATIONS, open_state


class StateTests(SynchronousTestCase):
    """Which database is opened, and which is left alone."""

    def setUp(self) -> None:
        self.folder = self.mktemp()

    def _open(self) -> sqlite3.Connection:
        connection = open_state(self.folder)
        self.addCleanup(connection.close)
        return connection

    def _facts(self, connection: sqlite3.Connection) -> tuple[int, int, list[str]]:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        tables = connection.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
        return application, version, [row[0] for row in tables]

    def test_made(self) -> None:
        """Folder and file are ours alone, and the tables are there."""
        connection = self._open()

        self.assertEqual((APPLICATION, len(MIGRATIONS), ["secrets", "snapshots"]), self._facts(connection))
        self.assertEqual(0o700, stat.S_IMODE(os.stat(self.folder).st_mode))
        for name in os.listdir(self.folder):
            self.assertEqual(0o600, stat.S_IMODE(os.stat(os.path.join(self.folder, name)).st_mode), name)

    def test_migrated(self) -> None:
        """A database of each earlier version keeps what is in it and gets the rest."""
        connection = self._open()
        connection.execute("INSERT INTO snapshots VALUES ('a', 'b', x'00', 0)")
        connection.execute("DROP TABLE secrets")
        connection.execute("PRAGMA user_version = 1")
        connection.close()

        again = self._open()

        self.assertEqual((APPLICATION, len(MIGRATIONS), ["secrets", "snapshots"]), self._facts(again))
        self.assertEqual([("a",)], again.execute("SELECT server FROM snapshots").fetchall())

    def test_several(self) -> None:
        """Several users of it have a connection each."""
        first, second = self._open(), self._open()

        first.execute("INSERT INTO snapshots VALUES ('a', 'b', x'00', 0)")

        self.assertEqual([("a",)], second.execute("SELECT server FROM snapshots").fetchall())

    def test_durable(self) -> None:
        """A commit is on the disk where that was asked for."""
        connection = open_state(self.folder, durable=True)
        self.addCleanup(connection.close)

        self.assertEqual(("wal",), connection.execute("PRAGMA journal_mode").fetchone())
        self.assertEqual((2,), connection.execute("PRAGMA synchronous").fetchone())
        self.assertEqual((1,), self._open().execute("PRAGMA synchronous").fetchone())

    def test_foreign(self) -> None:
        """What is not ours, newer, or no database, is left as it is."""
        os.mkdir(self.folder)
        path = os.path.join(self.folder, FILE)

        def foreign() -> None:
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE theirs (x)")

        def newer() -> None:
            self._open().execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")

        def garbage() -> None:
            with open(path, "wb") as file:
                file.write(b"not a database" * 1000)

        for make in (foreign, newer, garbage):
            make()
            with open(path, "rb") as file:
                before = file.read()
            error = self.assertRaises(ConfigurationError, open_state, self.folder)
            with open(path, "rb") as file:
                self.assertEqual(before, file.read())
            self.assertIn("move it away", str(error))
            for name in os.listdir(self.folder):
                os.unlink(os.path.join(self.folder, name))

    def test_locked(self) -> None:
        """Nobody is told to move away a database with which nothing is wrong, be it locked or the disk full."""
        other = self._open()
        other.execute("BEGIN IMMEDIATE")
        self.patch(state, "_PATIENCE", 0.01)

        error = self.assertRaises(ConfigurationError, open_state, self.folder)

        self.assertEqual(f"{self.folder}/{FILE} cannot be used: database is locked", str(error))

    def test_readable_file(self) -> None:
        """A file that others could read is closed to them."""
        self._open()
        path = os.path.join(self.folder, FILE)
        os.chmod(path, 0o644)

        self._open()

        self.assertEqual(0o600, stat.S_IMODE(os.stat(path).st_mode))

    def test_unsafe_folder(self) -> None:
        """A folder in which others can put their file in the place of ours is not used, and not changed."""
        os.mkdir(self.folder)
        os.chmod(self.folder, 0o777)

        self.assertRaises(ConfigurationError, open_state, self.folder)
        self.assertEqual(0o777, stat.S_IMODE(os.stat(self.folder).st_mode))

    def test_link(self) -> None:
        """A link in the place of the file is not followed."""
        os.mkdir(self.folder)
        os.symlink("/dev/null", os.path.join(self.folder, FILE))

        self.assertRaises(ConfigurationError, open_state, self.folder)
