"""
Tests of L{mcpbridge.oauth.keys}.
"""

from __future__ import annotations

import os
import stat
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping

import attrs
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.oauth.errors import KeyUnusable
from mcpbridge.oauth.keys import CREDENTIAL, FILE, KeyFinder
from mcpbridge.oauth.seal import StoreKey

_KEY = bytes(range(32))


@attrs.define
class _Ring:
    """A keyring in memory."""

    key: bytes | None = None
    works: bool = True

    def load(self) -> bytes | None:
        return self.key if self.works else None

    def save(self, key: bytes) -> bool:
        if self.works:
            self.key = key.hex().encode()
        return self.works


class FindTests(SynchronousTestCase):
    """Which key is used."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder, 0o700)

    def _find(self, environment: Mapping[str, str] | None = None, ring: _Ring | None = None) -> tuple[StoreKey, ...]:
        return KeyFinder(environment or {}, self.folder, ring, lambda size: b"r" * size).find()

    def _write(self, name: str, data: bytes, mode: int = 0o600) -> str:
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, mode)
        return path

    def test_made(self) -> None:
        """The first time a file is made, for us alone; the next time it is found."""
        made = self._find()
        found = self._find()

        path = os.path.join(self.folder, FILE)
        self.assertEqual((StoreKey(b"r" * 32, f"the file {path}"),), made)
        self.assertEqual(made, found)
        self.assertEqual(0o600, stat.S_IMODE(os.stat(path).st_mode))
        self.assertEqual([FILE], os.listdir(self.folder))

    def test_forms(self) -> None:
        """As it is, in hexadecimal, in base64 of both kinds."""
        for data in (
            _KEY,
            _KEY.hex().encode() + b"\n",
            b64encode(_KEY),
            urlsafe_b64encode(b"\xff" * 32).rstrip(b"=") + b"\n",
        ):
            path = self._write("k", data)
            (key,) = self._find({"MCPBRIDGE_KEY_FILE": path})
            self.assertIn(key.value, (_KEY, b"\xff" * 32))

    def test_order(self) -> None:
        """Named by the environment, then systemd, then the keyring, then ours; all there are can open."""
        own = self._write(FILE, b"4" * 32)
        self._write(CREDENTIAL, b"2" * 32)
        named = self._write("named", b"1" * 32)
        ring = _Ring(b"33" * 32)
        systemd = {"CREDENTIALS_DIRECTORY": self.folder}

        self.assertEqual([b"4" * 32], [key.value for key in self._find()])
        self.assertEqual([b"3" * 32, b"4" * 32], [key.value for key in self._find(ring=ring)])
        self.assertEqual([b"2" * 32, b"3" * 32, b"4" * 32], [key.value for key in self._find(systemd, ring)])
        self.assertEqual(
            [f"the file {named} (MCPBRIDGE_KEY_FILE)", "the system's keyring", f"the file {own}"],
            [key.source for key in self._find({**systemd, "MCPBRIDGE_KEY_FILE": named}, ring)],
        )

    def test_descriptor(self) -> None:
        """A descriptor is read and closed."""
        reader, writer = os.pipe()
        os.write(writer, _KEY)
        os.close(writer)

        (key,) = self._find({"MCPBRIDGE_KEY_FD": str(reader)})

        self.assertEqual(_KEY, key.value)
        self.assertRaises(OSError, os.fstat, reader)

    def test_keyring_first(self) -> None:
        """A new key goes to the keyring if there is one, else to the file; one that exists is not left."""
        ring = _Ring()

        self.assertEqual("the system's keyring", self._find(ring=ring)[0].source)
        self.assertEqual([], os.listdir(self.folder))
        self.assertTrue(self._find(ring=_Ring(works=False))[0].source.startswith("the file"))
        self.assertTrue(self._find(ring=_Ring())[0].source.startswith("the file"))

    def test_open_to_others(self) -> None:
        """Our own file must be ours alone."""
        for mode in (0o640, 0o604, 0o660):
            self._write(FILE, _KEY, mode)
            self.assertIn("chmod 600", str(self.assertRaises(KeyUnusable, self._find)))

    def test_unusable(self) -> None:
        """What is asked for by name is used or is an error, never passed over; no error shows what was there."""
        for environment in (
            {"MCPBRIDGE_KEY_FILE": os.path.join(self.folder, "nowhere")},
            {"MCPBRIDGE_KEY_FILE": self._write("short", b"hush")},
            {"MCPBRIDGE_KEY_FILE": self._write("empty", b"")},
            {"MCPBRIDGE_KEY_FILE": self._write("long", b"a" * 2000)},
            {"MCPBRIDGE_KEY_FD": "x"},
            {"MCPBRIDGE_KEY_FD": "999"},
        ):
            error = self.assertRaises(KeyUnusable, self._find, environment)
            self.assertNotIn("hush", str(error))
        self.assertNotIn(FILE, os.listdir(self.folder))

    def test_link(self) -> None:
        """A link in the place of our file is not followed."""
        os.symlink(self._write("other", _KEY), os.path.join(self.folder, FILE))

        self.assertRaises(KeyUnusable, self._find)

    def test_unwritable(self) -> None:
        """Where no key can be kept there is none."""
        self.folder = os.path.join(self.folder, "nowhere")

        self.assertRaises(KeyUnusable, self._find)
