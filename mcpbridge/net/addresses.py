"""
Which addresses a server may send us to.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TypeAlias
from urllib.parse import urlsplit

import attrs

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

#: RFC 6052, 2.1: an IPv4 address behind a translator.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

#: RFC 4291, 2.4, as IANA has given it out. What is beside it and called global by Python leads to translators of the
#: local network (64:ff9b:1::/48), to IPv4 in old disguises (::127.0.0.1), or nowhere.
_UNICAST = ipaddress.ip_network("2000::/3")


@attrs.frozen
class AddressRule:
    """
    Which addresses may be connected to, for one upstream.

    Public ones may. Others only if the upstream was configured by such an address itself (loopback for loopback,
    private for private), for the upstream's own host, and for hosts that the user lists.
    """

    upstream: str = attrs.field(repr=False)
    trusted_hosts: frozenset[str] = frozenset()

    def permits(self, host: str, address: str) -> bool:
        """
        @param host: as it stands in the URL.
        @param address: what it was resolved to.
        """
        try:
            found = _embedded(ipaddress.ip_address(address.partition("%")[0]))
        except ValueError:
            return False
        name = host.lower().rstrip(".")
        own = (urlsplit(self.upstream).hostname or "").rstrip(".")
        if name in self.trusted_hosts or name == own:
            return True
        if found.is_loopback:
            return _is_loopback(own)
        if found.is_private and not (found.is_link_local or found.is_unspecified or found.is_reserved):
            return _is_private(own)
        return found.is_global and not found.is_multicast and (found.version == 4 or found in _UNICAST)


def is_literal(host: str) -> bool:
    """Whether a host is an address and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def spelled_out(host: str) -> str:
    """An IPv4 address that is written in one of its old ways (C{127.1}, C{0x7f000001}) as usual; others as they are."""
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, ValueError):
        return host


def _embedded(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address.teredo is not None:
        inner = address.teredo[1]
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address if inner is None else inner


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_private(host: str) -> bool:
    try:
        address = _embedded(ipaddress.ip_address(host))
    except ValueError:
        # A name says nothing: whoever owns it has it resolve to what he likes.
        return False
    return address.is_private and not (address.is_loopback or address.is_link_local or address.is_unspecified)
