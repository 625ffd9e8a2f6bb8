"""
C{HOST:PORT}: where the endpoint listens, and by which names it may be called.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

import attrs

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.printable import printable

_form = re.compile(r"(?:(\[[0-9A-Fa-f:.]+\]|[^\[\]:]*):)?([0-9]{1,5})")
_name = re.compile(r"(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")


@attrs.frozen
class Address:
    """
    @ivar interfaces: IP addresses to listen at, in order; all but the first may be missing on this machine.
    @ivar port: 0 for any that is free.
    @ivar is_local: whether nobody outside this machine can connect.
    """

    interfaces: tuple[str, ...]
    port: int
    is_local: bool

    @property
    def host(self) -> str:
        """The first of the addresses, as in a URL."""
        return f"[{self.interfaces[0]}]" if ":" in self.interfaces[0] else self.interfaces[0]


def address(text: str) -> Address:
    """
    Read C{127.0.0.1:8808}, C{[::1]:8808}, C{localhost:8808}, or a port alone, which means this machine only.

    @raise ConfigurationError: it is none of these. Other names are not looked up: one that resolves to something else
        tomorrow is no safe place to listen at.
    """
    found = _form.fullmatch(text.strip())
    if found is None or int(found[2]) > 65535:
        raise ConfigurationError(
            f"the address of the HTTP endpoint is HOST:PORT, for one 127.0.0.1:8808; this is not: {printable(text)!r}"
        )
    host, port = (found[1] or "localhost").lower(), int(found[2])
    if host == "localhost":
        return Address(("127.0.0.1", "::1"), port, True)
    try:
        ip = ip_address(host.strip("[]"))
    except ValueError:
        raise ConfigurationError(
            f"the HTTP endpoint listens at an IP address or at localhost, not at {printable(host)!r}"
        ) from None
    if isinstance(ip, IPv6Address) != host.startswith("["):
        raise ConfigurationError("an IPv6 address is written in brackets, for one [::1]:8808")
    return Address((str(ip),), port, ip.is_loopback)


def names(text: str) -> tuple[str, ...]:
    """
    Read further names of the endpoint, separated by commas: C{mcp.example.com, bridge:8808}.

    @raise ConfigurationError: one of them cannot stand in a C{Host} header.
    """
    found = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    for name in found:
        if not _name.fullmatch(name):
            raise ConfigurationError(
                f"a name of the HTTP endpoint is HOST or HOST:PORT; this is not: {printable(name)!r}"
            )
    return found
