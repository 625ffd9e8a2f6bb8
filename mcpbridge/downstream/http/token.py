"""
The token that clients of the endpoint show: one for the user, in a file that only the user can read.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from hmac import compare_digest

import attrs

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.printable import printable

_NAME = "http-token"

#: Bytes of randomness. 128 bits cannot be guessed; the rest costs nothing.
_ENTROPY = 32

_form = re.compile(r"[A-Za-z0-9._~+/=-]{16,512}")


@attrs.frozen
class Token:
    """
    @ivar path: of its file.
    """

    path: str
    _secret: str = attrs.field(repr=False)

    def matches(self, shown: str) -> bool:
        """Whether this is the token; takes as long for one that nearly is as for one that is not at all."""
        return compare_digest(shown.encode("utf-8", "surrogatepass"), self._secret.encode("ascii"))


def token(state_dir: str) -> Token:
    """
    The user's token, made when it is asked for first.

    The user may write one of their own into the file: at least 16 characters that a header can carry.

    @param state_dir: the state folder; made if it is not there.
    @raise ConfigurationError: the file cannot be used, or others can read it; says what to do.
    """
    path = os.path.join(state_dir, _NAME)
    try:
        os.makedirs(state_dir, mode=0o700, exist_ok=True)
        if not os.path.lexists(path):
            _make(path)
        return Token(path, _read(path))
    except OSError as error:
        raise ConfigurationError(
            f"the token of the HTTP endpoint in {printable(path)} cannot be used: {error.strerror}"
        ) from error


def _make(path: str) -> None:
    """Whole or not at all, and never in place of one that somebody else has made meanwhile."""
    draft = f"{path}.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(_ENTROPY) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)


def _read(path: str) -> str:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), encoding="ascii") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise ConfigurationError(f"{printable(path)} is no file of this user; remove it, and a new token is made")
        if found.st_mode & 0o077:
            raise ConfigurationError(
                f"{printable(path)} holds the token of the HTTP endpoint and is open to other users; "
                "remove it, and a new one is made"
            )
        try:
            text = file.read(1024).strip()
        except UnicodeDecodeError:
            text = ""
    if not _form.fullmatch(text):
        raise ConfigurationError(
            f"{printable(path)} holds no token: at least 16 letters, digits or any of ._~+/=- in one line; "
            "remove it, and a new one is made"
        )
    return text
