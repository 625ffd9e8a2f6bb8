"""
Tests for L{mcpbridge.service.snapshots}.
"""

import os
import sqlite3
import stat

import attrs
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.catalog import Snapshot
from mcpbridge.core.errors import ConfigurationError
from mcpbridge.service.snapshots import SnapshotStore

SNAPSHOT = Snapshot(Raw(b'{"capabilities":{}}'), {"tools/list": Raw(b'{"tools":[]}')})


class SnapshotStoreTests(SynchronousTestCase):
    """The state file."""

    def setUp(self) -> None:
        self.folder = os.path.join(self.mktemp(), "state")
        self.path = os.path.join(self.folder, "state.sqlite3")
        self.time = 1_000_000.0

    def clock(self) -> float:
        return self.time

    def test_survives(self) -> None:
        """What was saved is there when the file is opened again; other servers and profiles have their own."""
        store = SnapshotStore.open(self.folder, self.clock)
        store.save("s", "p", SNAPSHOT)
        store.close()

        again = SnapshotStore.open(self.folder, self.clock)

        self.assertEqual(SNAPSHOT, again.load("s", "p"))
        self.assertEqual([None, None], [again.load("s", "q"), again.load("t", "p")])
        again.close()

    def test_era_expires(self) -> None:
        """That a server speaks the older era only is believed for a day; what it said is kept."""
        store = SnapshotStore.open(self.folder, self.clock)
        store.save("old", "p", attrs.evolve(SNAPSHOT, era="legacy"))
        store.save("new", "p", attrs.evolve(SNAPSHOT, era="modern"))

        self.time += 23 * 3600
        before = store.load("old", "p")
        self.time += 2 * 3600

        self.assertEqual(attrs.evolve(SNAPSHOT, era="legacy"), before)
        self.assertEqual(SNAPSHOT, store.load("old", "p"))
        self.assertEqual(attrs.evolve(SNAPSHOT, era="modern"), store.load("new", "p"))
        store.close()

    def test_private(self) -> None:
        """The folder and the file are for their owner only, also under a generous umask."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)

        SnapshotStore.open(self.folder, self.clock).close()

        self.assertEqual(0o700, stat.S_IMODE(os.stat(self.folder).st_mode))
        self.assertEqual(0o600, stat.S_IMODE(os.stat(self.path).st_mode))

    def test_foreign(self) -> None:
        """The database of another program is left as it is, and named in the error."""
        os.makedirs(self.folder)
        other = sqlite3.connect(self.path)
        other.execute("CREATE TABLE theirs (x)")
        other.commit()
        other.close()

        error = self.assertRaises(ConfigurationError, SnapshotStore.open, self.folder, self.clock)

        self.assertIn("it belongs to another program; move it away", str(error))
        self.assertIn(self.path, str(error))

    def test_damaged(self) -> None:
        """A file that is no database is left as it is."""
        os.makedirs(self.folder)
        with open(self.path, "wb") as file:
            file.write(b"not a database at all, but long enough to be taken for one" * 100)

        self.assertRaises(ConfigurationError, SnapshotStore.open, self.folder, self.clock)

        with open(self.path, "rb") as file:
            self.assertEqual(b"not a database", file.read(14))

    def test_newer(self) -> None:
        """A file of a newer mcpbridge is left as it is."""
        SnapshotStore.open(self.folder, self.clock).close()
        newer = sqlite3.connect(self.path)
        newer.execute("PRAGMA user_version = 1000")
        newer.close()

        error = self.assertRaises(ConfigurationError, SnapshotStore.open, self.folder, self.clock)

        self.assertIn("of version 1000, newer than", str(error))

    def test_no_folder(self) -> None:
        """A state folder that cannot be made is an error that says why."""
        with open(self.mktemp(), "w") as file:
            blocked = os.path.join(os.path.abspath(file.name), "state")

        error = self.assertRaises(ConfigurationError, SnapshotStore.open, blocked, self.clock)

        self.assertIn("cannot be used", str(error))

    def test_unreadable_snapshot(self) -> None:
        """A row that is no snapshot counts as none."""
        store = SnapshotStore.open(self.folder, self.clock)
        other = sqlite3.connect(self.path)
        other.execute("INSERT INTO snapshots VALUES ('s', 'p', x'00', 0)")
        other.commit()
        other.close()

        self.assertIsNone(store.load("s", "p"))
        store.close()

    def test_few_profiles(self) -> None:
        """A client that declares something new each time does not fill the disk; the last one is kept."""
        store = SnapshotStore.in_memory()

        for number in range(40):
            store.save("s", str(number), SNAPSHOT)

        kept = [number for number in range(40) if store.load("s", str(number)) is not None]
        self.assertEqual(16, len(kept))
        self.assertIn(39, kept)
