"""
Credentials that are there already: a token from the configuration, or headers that a program prints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from mcpbridge.configuration.authorization import Secret
from mcpbridge.core.bindings.http import RESERVED
from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.oauth.documents import json_object
from mcpbridge.core.oauth.tokens import usable
from mcpbridge.oauth.flight import SingleFlight
from mcpbridge.oauth.programs import output_of
from mcpbridge.oauth.secrets import Secrets

#: Headers that one program may set.
_MAX_HEADERS = 64

_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_value = re.compile(r"[\t\x20-\x7e]*")


@attrs.define(eq=False)
class StaticHeaders:
    """
    The headers for one upstream. Kept until they are refused; then the file is read, the program run, again.

    @ivar _name: what the user calls the upstream, for the program.
    @ivar _reactor: starts processes and keeps time.
    """

    _name: str
    _url: str = attrs.field(repr=False)
    _bearer: Secret | None
    _helper: tuple[str, ...] | None = attrs.field(repr=False)
    _reactor: Any
    _environment: Mapping[str, str] = attrs.field(repr=False)
    _known: Mapping[bytes, bytes] | None = attrs.field(init=False, default=None, repr=False)
    _making: SingleFlight[Mapping[bytes, bytes]] = attrs.field(init=False, factory=SingleFlight)

    @property
    def changes(self) -> bool:
        """Whether asking again may bring others."""
        return self._helper is not None or (self._bearer is not None and self._bearer.text is None)

    def forget(self) -> None:
        """They were refused."""
        self._known = None

    async def headers(self) -> Mapping[bytes, bytes]:
        """
        What to send.

        @raise ConfigurationError: they are not to be had.
        """
        if self._known is not None:
            return self._known
        return await self._making.join(lambda: Deferred.fromCoroutine(self._make()))

    async def _make(self) -> Mapping[bytes, bytes]:
        made: dict[bytes, bytes] = {}
        if self._bearer is not None:
            token = await Secrets(self._reactor, self._environment).read(self._bearer, "bearerToken")
            if not usable(token):
                raise ConfigurationError("bearerToken has characters that no token has, or is too long")
            made[b"authorization"] = f"Bearer {token}".encode("ascii")
        if self._helper is not None:
            # Claude Code tells its helpers the same under names of its own.
            told = {
                f"{prefix}_{word}": value
                for prefix in ("MCP_SERVER", "CLAUDE_CODE_MCP_SERVER")
                for word, value in (("NAME", self._name), ("URL", self._url))
            }
            printed = await output_of(self._reactor, "headersHelper", self._helper, self._environment, told)
            made.update(_headers(printed))
        self._known = made
        return made


def _headers(printed: bytes) -> Mapping[bytes, bytes]:
    document = json_object(printed)
    if document is None or len(document) > _MAX_HEADERS:
        raise ConfigurationError(f"headersHelper has to print a JSON object of at most {_MAX_HEADERS} headers")
    made: dict[bytes, bytes] = {}
    for name, value in document.items():
        if not isinstance(value, str) or not _token.fullmatch(name) or not _value.fullmatch(value):
            # The value may be a secret, and the name may be garbage.
            raise ConfigurationError(
                "headersHelper prints something that is no header: names are words, values are texts"
            )
        if name.lower().encode("ascii") not in RESERVED:
            made[name.lower().encode("ascii")] = value.strip().encode("ascii")
    return made
