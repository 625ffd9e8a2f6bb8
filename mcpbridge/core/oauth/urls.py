"""
Which URLs that a server names may be used at all, and in which spelling.

The address behind a host name is checked when it is known, in L{mcpbridge.net.guard}.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, urlsplit, urlunsplit

import attrs

from mcpbridge.core.oauth.errors import UntrustedURL

#: Servers refuse request lines of 8 KiB; an authorization URL of ours has 1 to 2.
MAX_URL = 8192

_forbidden = re.compile(r"[^\x21-\x7e]|\\")
#: RFC 3986, 2.2 and 2.3, and the percent sign of what is encoded already.
_SAFE = "!$&'()*+,;=:@/?%-._~"
_host = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?\.?")


@attrs.frozen
class URLPolicy:
    """
    Which URLs are acceptable for one upstream.

    @ivar upstream: the configured URL; what it is, its user has decided.
    """

    upstream: str = attrs.field(repr=False)

    def endpoint(self, url: object) -> str:
        """
        A URL that we send a request to, or show to the user to open.

        @return: the same URL, serialised anew: scheme and host in lower case, odd characters percent-encoded.
        @raise UntrustedURL: not https (or http on loopback for an upstream on loopback), a user name, a fragment,
            control characters, or no URL at all.
        """
        return _checked(url, loopback=is_loopback(self.upstream))

    def document(self, url: object) -> str:
        """
        A URL that a document about the upstream is fetched from: as L{endpoint}, but on the origin of the upstream its
        own scheme is good enough.
        """
        if isinstance(url, str) and not _forbidden.search(url) and same_origin(url, self.upstream):
            return _checked(url, loopback=True, plain=True)
        return self.endpoint(url)


def same_origin(first: str, second: str) -> bool:
    """Whether scheme, host and port are the same (RFC 6454, 5)."""
    try:
        return origin(first) == origin(second)
    except ValueError:
        return False


def origin(url: str) -> str:
    """
    C{https://host} or C{https://host:port}, without the default port.

    @raise ValueError: not an http or https URL with a host.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("not an http or https URL")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = 443 if parts.scheme == "https" else 80
    return f"{parts.scheme}://{host}" + ("" if parts.port in (None, default) else f":{parts.port}")


def is_loopback(url: str) -> bool:
    """Whether the host of a URL is this machine, by its name or address alone."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def shown(url: str) -> str:
    """A checked URL for a human, without its query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


def _checked(url: object, *, loopback: bool, plain: bool = False) -> str:
    if not isinstance(url, str) or not url:
        raise UntrustedURL("is no text")
    if len(url) > MAX_URL:
        raise UntrustedURL(f"is longer than {MAX_URL} characters")
    if _forbidden.search(url):
        raise UntrustedURL("holds white space, a control character, a backslash or a character that is not ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UntrustedURL("has a host or a port that cannot be read") from None
    if parts.scheme not in ("http", "https"):
        raise UntrustedURL("does not begin with https://")
    if "@" in parts.netloc:
        raise UntrustedURL("holds a user name")
    if "#" in url:
        raise UntrustedURL("has a fragment")
    bare = parts.netloc.rpartition(":")[0] if port is not None else parts.netloc.removesuffix(":")
    if not _host.fullmatch(bare):
        raise UntrustedURL("has a host that is no name")
    if parts.scheme == "http" and not plain and not (loopback and is_loopback(url)):
        raise UntrustedURL("is not https")
    place = bare.lower() if port is None else f"{bare.lower()}:{port}"
    return urlunsplit((parts.scheme, place, quote(parts.path, _SAFE), quote(parts.query, _SAFE), ""))
