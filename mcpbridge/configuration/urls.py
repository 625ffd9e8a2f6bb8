"""
Which URLs a server may have.

One spelling comes out, in ASCII, so that nothing behind this door needs to think about it again.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit, urlunsplit

#: Longer than any address; RFC 9110, section 4.1 asks for at least 8000 to be supported.
MAX_URL = 8192

#: Controls, white space, and what programs disagree about (RFC 3986 has no backslash).
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]")
#: RFC 3986, 2.2 and 2.3, and the percent sign of what is encoded already.
_SAFE = "!$&'()*+,;=:@/?%-._~[]"
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+")


def looks_like_url(text: str) -> bool:
    """Whether a server's "name" is meant as a URL."""
    return "://" in text


def checked_url(text: str) -> str:
    """
    Make sure that this is the absolute URL of a server.

    @return: the same URL in ASCII: the scheme and the host in lower case, other characters percent-encoded.
    @raise ValueError: it is not; a clause that completes "this URL", showing nothing of it but a scheme.
    """
    if len(text) > MAX_URL:
        raise ValueError(f"is longer than {MAX_URL} characters")
    if _FORBIDDEN.search(text):
        raise ValueError("holds white space, a control character or a backslash")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("has a host or a port that cannot be read") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("must begin with https:// or http://")
    if "@" in parts.netloc:
        raise ValueError('holds a user name or a password; send them in "headers" as Authorization')
    if "#" in text:
        raise ValueError("has a fragment (#...), which is never sent to a server; leave it out")
    host = _ascii_host(parts.netloc[: parts.netloc.rindex(":")] if _has_port(parts.netloc) else parts.netloc)
    place = host if port is None else f"{host}:{port}"
    return urlunsplit((parts.scheme, place, quote(parts.path or "/", _SAFE), quote(parts.query, _SAFE), ""))


def _has_port(netloc: str) -> bool:
    return ":" in netloc.rpartition("]")[2]


def _ascii_host(host: str) -> str:
    try:
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError("has a host that is no name") from None
    if not name:
        raise ValueError("has no host")
    if not _HOST.fullmatch(name):
        raise ValueError("has a host that is no name")
    return name.lower()
