"""
What has to be known of a client of the session era to go on with it after we have died.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs
from msgspec import Raw

from mcpbridge.core import jsonrpc
from mcpbridge.core.jsonrpc import InvalidMessage
from mcpbridge.core.levels import LEVELS

_EMPTY = Raw(b"{}")


@attrs.frozen
class Memento:
    """
    The client's handshake and standing wishes.

    @ivar params: of its C{initialize}.
    @ivar subscriptions: by uri, each with the params that it was made with.
    @ivar life: how many daemons have served it before the one that wrote this.
    """

    params: dict[str, Raw]
    ready: bool
    level: str | None
    subscriptions: Mapping[str, Raw | None]
    life: int

    @property
    def asked(self) -> str | None:
        """The revision that it asked for."""
        return jsonrpc.decode_string(self.params.get("protocolVersion"))

    def to_bytes(self) -> bytes:
        """As one JSON object."""
        known = {
            "era": Raw(b'"legacy"'),
            "initialize": jsonrpc.assemble(self.params),
            "ready": jsonrpc.value(self.ready),
            "level": jsonrpc.value(self.level),
            "subscriptions": jsonrpc.assemble({uri: params or _EMPTY for uri, params in self.subscriptions.items()}),
            "life": jsonrpc.value(self.life),
        }
        return bytes(jsonrpc.assemble(known))

    @classmethod
    def from_bytes(cls, data: bytes) -> Memento:
        """
        The inverse of L{to_bytes}.

        @raise ValueError: this is none.
        """
        try:
            known = jsonrpc.members(data)
            params = jsonrpc.members(known["initialize"])
            level = json.loads(bytes(known["level"]))
            subscriptions = jsonrpc.members(known["subscriptions"])
            life = jsonrpc.decode_id(known["life"])
            ready = bytes(known["ready"]) == b"true"
        except (KeyError, InvalidMessage) as error:
            raise ValueError(f"no memento of the session era: {error}") from error
        if not isinstance(life, int) or level not in (None, *LEVELS):
            raise ValueError("no memento of the session era")
        found = cls(params, ready, level, subscriptions, life)
        if found.asked is None:
            raise ValueError("no memento of the session era")
        return found
