"""
Where the key is that seals the store.

In this order: a file or a descriptor named by the environment, a systemd credential, the system's keyring, a file of
our own in the state folder. A key that exists goes before one that would have to be made.
"""

from __future__ import annotations

import binascii
import os
import stat
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Protocol

import attrs
from twisted.logger import Logger

from mcpbridge.oauth.errors import KeyUnusable
from mcpbridge.oauth.seal import KEY_SIZE, StoreKey

FILE_VARIABLE = "MCPBRIDGE_KEY_FILE"
DESCRIPTOR_VARIABLE = "MCPBRIDGE_KEY_FD"

#: In the folder that systemd names (systemd.exec, LoadCredential=).
CREDENTIAL = "mcpbridge-key"

#: In the state folder.
FILE = "key"

#: Bytes that are read of what should be a key.
_MAX_FILE = 1024

_MAKE = "make one with: openssl rand -hex 32"


class Keyring(Protocol):
    """The system's keyring. Its calls block; they are made in a thread, or before anything waits."""

    def load(self) -> bytes | None:
        """The key in it; L{None} if there is none, or no keyring."""

    def save(self, key: bytes) -> bool:
        """Keep this one; whether it did."""


@attrs.define(eq=False)
class KeyFinder:
    """
    See the top of this module.

    @ivar _folder: the state folder; it is there and private.
    @ivar _keyring: L{None}: there is none, or it is not to be asked.
    """

    _environment: Mapping[str, str] = attrs.field(repr=False)
    _folder: str
    _keyring: Keyring | None = None
    _random: Callable[[int], bytes] = os.urandom
    _log = Logger()

    def find(self) -> tuple[StoreKey, ...]:
        """
        The keys there are, the one to seal with first; made if there is none. May block for a moment.

        @raise KeyUnusable: one that was asked for by name cannot be used, or ours is open to others.
        """
        named = self._named()
        found = () if named is None else (named,)
        kept = self._keyring.load() if self._keyring is not None else None
        if kept is not None:
            found = (*found, StoreKey(_key(kept, "the keyring"), "the system's keyring"))
        own = self._own()
        if own is not None:
            found = (*found, own)
        return found or (self._make(),)

    def _named(self) -> StoreKey | None:
        descriptor = self._environment.get(DESCRIPTOR_VARIABLE)
        if descriptor:
            source = f"the descriptor {DESCRIPTOR_VARIABLE}"
            try:
                with os.fdopen(int(descriptor), "rb") as file:
                    return StoreKey(_key(file.read(_MAX_FILE), source), source)
            except (OSError, ValueError) as error:
                raise KeyUnusable(f"{source} cannot be read: {error}") from error
        path = self._environment.get(FILE_VARIABLE)
        if path:
            return _from_file(path, f"the file {path} ({FILE_VARIABLE})")
        folder = self._environment.get("CREDENTIALS_DIRECTORY")
        if folder and os.path.exists(os.path.join(folder, CREDENTIAL)):
            return _from_file(os.path.join(folder, CREDENTIAL), f"the systemd credential {CREDENTIAL}")
        return None

    def _own(self) -> StoreKey | None:
        path = os.path.join(self._folder, FILE)
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KeyUnusable(f"the key file {path} cannot be used: {error}") from error
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise KeyUnusable(
                f"the key file {path} is not a plain file of yours that nobody else can read; "
                f"see who could read it, then: chmod 600 {path}"
            )
        return _from_file(path, f"the file {path}")

    def _make(self) -> StoreKey:
        value = self._random(KEY_SIZE)
        if self._keyring is not None and self._keyring.save(value):
            self._log.info("made a key for the credentials in the system's keyring")
            return StoreKey(value, "the system's keyring")
        path = os.path.join(self._folder, FILE)
        _write_new(path, value.hex().encode("ascii") + b"\n")
        self._log.info(
            "made a key for the credentials in {path}; it keeps a copy of the database from being read, "
            "not this user's programs from reading both",
            path=path,
        )
        # Another daemon may have been quicker.
        return _from_file(path, f"the file {path}")


def _write_new(path: str, data: bytes) -> None:
    """All of it or nothing, and on the disk when this returns; a file that is there stays."""
    temporary = f"{path}.{os.getpid()}"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        finally:
            os.unlink(temporary)
        folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise KeyUnusable(f"no key can be kept in {path}: {error}") from error


def _from_file(path: str, source: str) -> StoreKey:
    try:
        with open(path, "rb") as file:
            return StoreKey(_key(file.read(_MAX_FILE), source), source)
    except OSError as error:
        raise KeyUnusable(f"{source} cannot be read: {error.strerror or error}; {_MAKE}") from error


def _key(data: bytes, source: str) -> bytes:
    """32 bytes as they are, in hexadecimal or in base64."""
    if len(data) == KEY_SIZE:
        return data
    text = data.strip()
    for decode in (bytes.fromhex, _base64):
        try:
            value = decode(text.decode("ascii"))
        except (ValueError, binascii.Error):
            continue
        if len(value) == KEY_SIZE:
            return value
    raise KeyUnusable(f"{source} holds no key of {KEY_SIZE} bytes (plain, in hexadecimal or in base64); {_MAKE}")


def _base64(text: str) -> bytes:
    return b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
