"""
Who may speak to the local HTTP endpoint, and in what form (MCP, Transports, Security Warning): the rungs before a body
is looked at.

Browsers are the reason for most of it: a web page may send requests to loopback, and with a name of its own that
resolves there (DNS rebinding) even read the answers. Hence exact names in C{Host} and C{Origin}, a media type that no
form can send, and no CORS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from mcpbridge.core.bindings.param_headers import Fields
from mcpbridge.core.errors import INVALID_REQUEST, ErrorObject
from mcpbridge.core.jsonrpc import Error, RequestId

#: Names of this machine that a resolver cannot be made to lie about (RFC 6761, 6.3, and literals).
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")

_bearer = re.compile(r"bearer +([\x21-\x7e]+) *", re.IGNORECASE)
_quality = re.compile(r"q=0(?:\.0{0,3})?")

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"

_UTF8: Final = frozenset(("charset=utf-8", 'charset="utf-8"', "charset=utf8"))


@attrs.frozen
class Refusal:
    """
    What a request gets that goes no further.

    @ivar fields: header fields of the response.
    """

    status: int
    error: Error
    fields: tuple[tuple[bytes, bytes], ...] = ()


def refusal(
    status: int,
    text: str,
    *,
    code: int = INVALID_REQUEST,
    request_id: RequestId | None = None,
    fields: tuple[tuple[bytes, bytes], ...] = (),
) -> Refusal:
    """A refusal with a JSON-RPC error in its body, without an id where there is none (Streamable HTTP, Sending)."""
    return Refusal(status, Error(request_id, ErrorObject(code, text)), fields)


@attrs.frozen
class Accepted:
    """
    What a client can read.

    @ivar json: a JSON body.
    @ivar events: an event stream.
    """

    json: bool
    events: bool


@attrs.frozen
class Guard:
    """
    @ivar hosts: values of C{Host} by which we may be called, in lower case.
    @ivar origins: values of C{Origin} of pages that may call us, in lower case.
    @ivar authorizes: whether this token may; L{None} if nobody is asked for one.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    authorizes: Callable[[str], bool] | None = attrs.field(default=None, repr=False)

    def check_place(self, fields: Fields) -> Refusal | None:
        """Whether the request was meant for us, and does not come from a foreign web page."""
        hosts = fields.get("host", ())
        if len(hosts) != 1:
            # RFC 9112, 3.2: exactly one.
            return refusal(400, "Bad request: a request has one Host header")
        if hosts[0].lower() not in self.hosts:
            return refusal(403, "Forbidden: the Host header does not name this endpoint")
        if any(origin.lower() not in self.origins for origin in fields.get("origin", ())):
            return refusal(403, "Forbidden: requests of web pages of this Origin are not taken")
        return None

    def check_credentials(self, fields: Fields) -> Refusal | None:
        """Whether the client has shown the token."""
        if self.authorizes is None:
            return None
        shown = fields.get("authorization", ())
        if not shown:
            challenge = b'Bearer realm="mcpbridge"'
            text = "Unauthorized: send the token of this endpoint (its http-token file) as a Bearer token"
        elif len(shown) == 1 and (found := _bearer.fullmatch(shown[0])) and self.authorizes(found[1]):
            return None
        else:
            challenge = b'Bearer realm="mcpbridge", error="invalid_token"'
            text = "Unauthorized: this is not the token of the endpoint"
        return refusal(401, text, fields=((b"WWW-Authenticate", challenge),))


def guard(host: str, port: int, names: Iterable[str], authorizes: Callable[[str], bool] | None) -> Guard:
    """
    The guard of an endpoint.

    @param host: the address that it listens at, as in a URL: C{127.0.0.1}, C{[::1]}.
    @param names: by which it may be called besides, as they stand in C{Host}: with a port unless that is the usual one.
    """
    own = {f"{name}:{port}" for name in (*_LOOPBACK, host)}
    if port == 80:
        # RFC 9110, 4.2.3: clients leave out the usual port.
        own.update(_LOOPBACK, (host,))
    others = {name.lower() for name in names}
    origins = {f"http://{name}" for name in own | others} | {f"https://{name}" for name in others}
    return Guard(frozenset(own | others), frozenset(origins), authorizes)


def check_body_type(fields: Fields) -> Refusal | None:
    """Whether a body is JSON in UTF-8 and nothing else. No HTML form can say that."""
    types = fields.get("content-type", ())
    name, *parameters = (types[0] if len(types) == 1 else "").lower().split(";")
    charsets = [parameter.strip() for parameter in parameters if "charset" in parameter]
    if name.strip() != JSON or not _UTF8.issuperset(charsets):
        return refusal(415, "Unsupported media type: send application/json in UTF-8")
    if any(coding.strip().lower() not in ("", "identity") for coding in fields.get("content-encoding", ())):
        # RFC 9110, 12.5.3.
        plain = (b"Accept-Encoding", b"identity")
        return refusal(415, "Unsupported content coding: send the body as it is", fields=(plain,))
    return None


def accepted(fields: Fields) -> Accepted:
    """
    What the client can read. MCP clients say both; who says nothing, or a star, can read both as well.

    Only whether a type may come at all is looked at (RFC 9110, 12.5.1): the choice between the two is not the client's.
    """
    values = fields.get("accept")
    if not values:
        return Accepted(True, True)
    taken: set[str] = set()
    for part in ",".join(values).split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if not any(_quality.fullmatch(parameter) for parameter in parameters):
            taken.add(name)
    return Accepted(
        not taken.isdisjoint(("*/*", "application/*", JSON)),
        not taken.isdisjoint(("*/*", "text/*", EVENTS)),
    )
