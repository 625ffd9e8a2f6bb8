"""
What is kept of an authorization, as bytes: one record has all that a refresh needs, so that it needs no discovery.
"""

from __future__ import annotations

from typing import TypeVar

import attrs
import msgspec

from mcpbridge.core.oauth.clients import Client
from mcpbridge.core.oauth.metadata import ServerMetadata
from mcpbridge.core.oauth.scopes import Scopes
from mcpbridge.core.oauth.tokens import TokenSet

_Record = TypeVar("_Record")


@attrs.frozen
class Key:
    """
    Whose credentials these are. They are shown to no other issuer and used for no other upstream.

    @ivar upstream: the canonical URI of the resource as configured.
    @ivar issuer: the authorization server's.
    @ivar principal: the account, one of several that the user has there; C{default} if there is one.
    """

    upstream: str
    issuer: str
    principal: str = "default"


@attrs.frozen
class Credentials:
    """
    What we have from an authorization server.

    @ivar resource: what to send as C{resource}; L{None}: nothing.
    @ivar requested: the scopes that were asked for.
    @ivar generation: counts up with every set of tokens.
    """

    server: ServerMetadata
    client: Client
    resource: str | None
    requested: Scopes | None
    tokens: TokenSet
    generation: int = 1


def to_bytes(record: object) -> bytes:
    """JSON of a record of this package."""
    return msgspec.json.encode(record)


def from_bytes(data: bytes, kind: type[_Record]) -> _Record:
    """
    The record again.

    @raise ValueError: it is not one.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"not a record of {kind.__name__}: {error}") from error
