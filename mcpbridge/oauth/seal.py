"""
Sealing what is written to disk: AES-256-GCM, which keeps it secret and notices when it was changed or moved.

What it protects: a copy of the database (a backup, a stolen disk, a reader of the table) is of no use without the key.
It does not protect from programs that run as the same user and can read the key.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from os import urandom

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mcpbridge.oauth.errors import StoreFailure

#: Bytes of a key.
KEY_SIZE = 32

#: NIST SP 800-38D, 8.2.2: random nonces of 96 bits are safe for 2^32 sealings with one key; this is a few a day.
_NONCE = 12

#: Says how it is sealed, should that ever change.
_FORMAT = b"\x01"


@attrs.frozen
class StoreKey:
    """
    A key.

    @ivar source: where it came from, for humans.
    """

    value: bytes = attrs.field(repr=False)
    source: str

    @property
    def id(self) -> str:
        """Tells keys apart, and nothing about them."""
        return sha256(b"mcpbridge store key\0" + self.value).hexdigest()[:16]


@attrs.define(eq=False)
class Seal:
    """
    Seals with one key, and opens with each that there is.

    @ivar _keys: the first one seals.
    """

    _keys: tuple[StoreKey, ...]
    _random: Callable[[int], bytes] = urandom

    @property
    def key_id(self) -> str:
        """Of the key that seals."""
        return self._keys[0].id

    @property
    def source(self) -> str:
        """Where that key is from."""
        return self._keys[0].source

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """
        @param context: what it is, such as its table and row; it opens nowhere else.
        """
        nonce = self._random(_NONCE)
        return _FORMAT + nonce + AESGCM(self._keys[0].value).encrypt(nonce, plain, _FORMAT + context)

    def can_open(self, key_id: str) -> bool:
        """Whether we have the key with this id."""
        return any(key.id == key_id for key in self._keys)

    def opened(self, sealed: bytes, context: bytes, key_id: str) -> bytes:
        """
        @param key_id: of the key that sealed it.
        @raise StoreFailure: we have not got that key, or it was changed.
        """
        key = next((key for key in self._keys if key.id == key_id), None)
        if key is None:
            raise StoreFailure(
                f"it was sealed with another key (id {key_id[:16]!r}) than the one from {self.source} "
                f"(id {self.key_id!r}); bring that key back, or log out to forget it"
            )
        if sealed[:1] != _FORMAT:
            raise StoreFailure("it was written by a newer mcpbridge; use that one, or log out to forget it")
        nonce, text = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            return AESGCM(key.value).decrypt(nonce, text, _FORMAT + context)
        except (InvalidTag, ValueError):
            raise StoreFailure(
                "it is damaged, or was changed by somebody; log out to forget it, then log in again"
            ) from None
