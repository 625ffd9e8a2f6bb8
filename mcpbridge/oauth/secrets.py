"""
Getting at secrets that the configuration only refers to.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import attrs

from mcpbridge.configuration.authorization import Secret
from mcpbridge.core.errors import ConfigurationError
from mcpbridge.oauth.programs import MAX_OUTPUT, output_of


@attrs.define(eq=False)
class Secrets:
    """
    Reads each anew whenever it is needed: what is rotated is picked up, and nothing is kept that need not be.

    @ivar _reactor: starts processes and keeps time.
    """

    _reactor: Any
    _environment: Mapping[str, str] = attrs.field(repr=False)

    async def read(self, secret: Secret, what: str) -> str:
        """
        @param what: for errors, such as C{oauth.clientSecret}.
        @return: the secret, without white space around it.
        @raise ConfigurationError: it is not to be had, or empty.
        """
        if secret.command is not None:
            data = await output_of(self._reactor, what, secret.command, self._environment, {})
        elif secret.file is not None:
            data = _file(secret.file, what)
        else:
            data = (secret.text or "").encode("utf-8")
        try:
            text = data.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise ConfigurationError(f"{what} is no text") from None
        if not text:
            raise ConfigurationError(f"{what} is empty")
        return text


def _file(path: str, what: str) -> bytes:
    try:
        with open(os.path.expanduser(path), "rb") as file:
            return file.read(MAX_OUTPUT)
    except OSError as error:
        raise ConfigurationError(f"{what}: the file {path} cannot be read: {error.strerror or error}") from None
