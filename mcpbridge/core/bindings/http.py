"""
What HTTP says about a message, whichever binding asks: requests and response heads as facts, and the loss each
status means.

It opens no connection and knows no clock. Nothing that a counterpart sends is put into a text unescaped, and nothing
that was configured as a header is put into one at all.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias
from urllib.parse import parse_qsl, urljoin, urlsplit

import attrs

from mcpbridge.core.errors import ConfigurationError, Fate, Loss, Reason

HeaderFields: TypeAlias = tuple[tuple[bytes, bytes], ...]

#: What our own rules decide; a configured header of that name is left out (RFC 9110, 7.6.1 for the hop-by-hop ones).
RESERVED = frozenset(
    (
        b"accept",
        b"accept-encoding",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"keep-alive",
        b"last-event-id",
        b"mcp-method",
        b"mcp-name",
        b"mcp-protocol-version",
        b"mcp-session-id",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

#: How the headers begin that repeat arguments of a tool (2026-07-28); they are ours to decide too.
_MIRRORED = b"mcp-param-"

#: Seconds. Who is asked to wait longer than this is better told so; the person at the far end is waiting too.
MAX_RETRY_AFTER = 30.0

#: More than one hop is rare (a slash, a canonical path); RFC 9110, 15.4 wants a bound, five was once usual.
MAX_REDIRECTS = 3

#: Bytes of an error's body that are looked at. JSON-RPC errors and problem documents have a few hundred.
COMPLAINT_LIMIT = 64 * 1024

#: Characters of foreign text in one of ours.
_EXCERPT = 200

#: Characters. Shorter values are no secrets, and replacing them would spoil a text; "streamable-http" is a path.
SECRET, _SECRET_SEGMENT = 8, 16

#: A URL that a counterpart sends us; servers refuse request lines of 8 KiB.
MAX_URL = 8192

#: Statuses that may go away by themselves. A server that has not yet noticed the end of the last stream answers 409.
PASSING = frozenset((408, 409, 425, 429, 500, 502, 503, 504))

_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_http_date = re.compile(
    r"[A-Z][a-z]{2}, ([0-9]{2}) (" + "|".join(_MONTHS) + r") ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_controls = re.compile(r"[\x00-\x20\x7f]")


@attrs.frozen
class HTTPLimits:
    """
    How much of an upstream we put up with.

    @ivar max_message: bytes of one message, in a body or in an event.
    @ivar max_posts: requests of ours that are with the server at once. A browser opens six; servers of one user take
        this.
    @ivar max_waiting: messages that may wait for their turn; what comes then is lost as overloaded.
    @ivar max_waiting_bytes: the same in bytes.
    @ivar max_lingering: streams that the server keeps open though it has answered; the oldest are closed.
    @ivar stream_idle: seconds of silence after which a response stream is given up; L{None} leaves that to TCP
        keep-alive, which tells a dead peer from a silent one.
    @ivar endpoint_deadline: seconds until an HTTP+SSE server must have named its endpoint.
    @ivar notice_deadline: seconds until a notification must have been accepted.
    @ivar order_patience: seconds that one notification waits for the one before it to be accepted.
    @ivar initialized_patience: seconds that requests wait for C{notifications/initialized} to be accepted.
    @ivar stream_patience: seconds that requests which make a server act wait for the shared stream to be there.
    @ivar head_deadline: seconds until the shared stream must have answered with a head; some send it with the first
        event.
    @ivar complaint_deadline: seconds for the body of an error.
    @ivar farewell_deadline: seconds for the end of a session.
    @ivar survey_deadline: seconds that calls wait for the lists of tools that say what their headers must be.
    """

    max_message: int = 64 * 1024 * 1024
    max_posts: int = 64
    max_waiting: int = 1024
    max_waiting_bytes: int = 64 * 1024 * 1024
    max_lingering: int = 16
    stream_idle: float | None = None
    endpoint_deadline: float = 15.0
    notice_deadline: float = 30.0
    order_patience: float = 1.0
    initialized_patience: float = 10.0
    stream_patience: float = 0.25
    head_deadline: float = 300.0
    complaint_deadline: float = 5.0
    farewell_deadline: float = 5.0
    survey_deadline: float = 10.0


@attrs.frozen
class HTTPRequest:
    """
    One request to make.

    @ivar headers: in the order to send them; they may hold secrets. Many requests have the same.
    @ivar more: further headers, which hardly any other request has.
    """

    method: str
    url: str = attrs.field(repr=False)
    headers: HeaderFields = attrs.field(repr=False)
    body: bytes | None = attrs.field(default=None, repr=False)
    more: HeaderFields = attrs.field(default=(), repr=False)


@attrs.frozen
class ResponseHead:
    """
    What a response says before its body.

    @ivar length: bytes of the body, L{None} if unknown.
    @ivar fields: header values by lower-case name, repeated ones joined with a comma.
    @ivar shown: what of its request the server may not make us print. Told of refusals, which may quote it.
    """

    status: int
    fields: Mapping[str, str] = attrs.field(factory=dict)
    length: int | None = None
    shown: tuple[str, ...] = attrs.field(default=(), repr=False)

    @property
    def media_type(self) -> str:
        """The type without its parameters, in lower case; empty if there is none."""
        return self.fields.get("content-type", "").partition(";")[0].strip().lower()


class MediaType(enum.StrEnum):
    """The types that matter here."""

    JSON = "application/json"
    EVENTS = "text/event-stream"


def header_fields(configured: Mapping[str, str]) -> HeaderFields:
    """
    The configured headers that may be sent, without those that are ours to decide.

    @raise ConfigurationError: a name is no token or a value has characters that no header may have (RFC 9110, 5.1
        and 5.5).
    """
    fields: list[tuple[bytes, bytes]] = []
    for name, value in configured.items():
        stripped = value.strip(" \t")
        if not _token.fullmatch(name):
            raise ConfigurationError(f"{printable(name)!r} is no name for an HTTP header")
        if "\x7f" in stripped or not all(part == "\t" or part >= " " for part in stripped):
            raise ConfigurationError(f"the value of the HTTP header {name} has control characters")
        lowered = name.lower().encode("ascii")
        if lowered not in RESERVED and not lowered.startswith(_MIRRORED):
            fields.append((name.encode("ascii"), stripped.encode("utf-8")))
    if not any(name.lower() == b"user-agent" for name, _ in fields):
        # Some front ends answer 403 to requests without one.
        fields.append((b"User-Agent", b"mcpbridge"))
    return tuple(fields)


def visible_ascii(text: str, limit: int) -> bool:
    """Whether text may be a token of ours in a header: one visible ASCII character at least, no space, not too long."""
    return 0 < len(text) <= limit and all("!" <= character <= "~" for character in text)


def origin(url: str) -> tuple[str, str, int]:
    """
    Scheme, host and port of an absolute http or https URL (RFC 6454, section 4).

    @raise ValueError: it is none, names a user, or has characters that no URL has.
    """
    if _controls.search(url) or len(url) > MAX_URL:
        raise ValueError("not a URL")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("not an http or https URL without a user name")
    return parts.scheme, parts.hostname.lower(), parts.port or (443 if parts.scheme == "https" else 80)


def resolve(base: str, reference: str) -> str | None:
    """
    A reference made absolute, if it stays on the origin of C{base}; L{None} if it leaves it or is no URL.

    The query and the fragment of C{base} never go along.
    """
    if _controls.search(reference) or not reference.isascii():
        return None
    try:
        found = urljoin(base, reference).partition("#")[0]
        return found if origin(found) == origin(base) else None
    except ValueError:
        return None


def shown(url: str) -> str:
    """
    The origin of a URL, for a human. The rest of it may be secret: many hosted servers have their key in the path.
    """
    try:
        scheme, host, port = origin(url)
    except ValueError:
        return "something that is no URL"
    return printable(f"{scheme}://{host}:{port}")


def secrets_of(url: str) -> list[str]:
    """The parts of a URL that may be a key: long segments of its path, and the values of its query."""
    parts = urlsplit(url)
    found = [segment for segment in parts.path.split("/") if len(segment) >= _SECRET_SEGMENT]
    return found + [text for _, text in parse_qsl(parts.query) if len(text) >= SECRET]


def secrets_in(value: str) -> list[str]:
    """What of a header's value may be a key: all of it, and its words."""
    return [part for part in dict.fromkeys((value, *value.split())) if len(part) >= SECRET]


def printable(text: str) -> str:
    """Foreign text on one line, without characters that move a cursor or hide others."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def masked(text: str, secrets: Iterable[str]) -> str:
    """Foreign text without these."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def excerpt(text: str, secrets: Iterable[str] = ()) -> str:
    """
    The beginning of foreign text, printable.

    @param secrets: are replaced wherever they appear.
    """
    text = printable(" ".join(masked(text, secrets).split()))
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "\N{HORIZONTAL ELLIPSIS}"


def retry_after(head: ResponseHead) -> float | None:
    """
    How many seconds the server asks us to wait (RFC 9110, 10.2.3); L{None} if it does not say.

    A date counts from the server's own C{Date}: two clocks need not agree.
    """
    text = head.fields.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    until, now = _seconds(text), _seconds(head.fields.get("date", "").strip())
    return None if until is None or now is None else float(max(0, until - now))


def _seconds(date: str) -> int | None:
    """
    An HTTP date, in the one form that is still made (RFC 9110, 5.6.7), as seconds since the year 0; L{None} if it is
    none.
    """
    found = _http_date.fullmatch(date)
    if found is None:
        return None
    day, year = int(found[1]), int(found[3])
    month = _MONTHS.index(found[2]) + 1
    # Years that begin in March have their odd day at the end.
    years, months = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = 365 * years + years // 4 - years // 100 + years // 400 + (153 * months + 2) // 5 + day
    return ((days * 24 + int(found[4])) * 60 + int(found[5])) * 60 + int(found[6])


def status_loss(head: ResponseHead, *, authorized: bool) -> Loss:
    """
    What becomes of a request that was answered with an error status and nothing better in the body.

    Session errors are not told apart here: what a 404 means depends on the binding.

    @param authorized: whether an C{Authorization} header was configured.
    """
    status = head.status
    answered = f"the server answered HTTP {status}"
    if status == 401:
        if authorized:
            advice = "it does not accept the configured Authorization header; check that the token is valid"
        else:
            advice = 'it wants authorization; configure an "Authorization" header for it'
        return Loss(Fate.REJECTED, Reason.AUTH_REQUIRED, f"{answered}: {advice}")
    if status == 403:
        if "insufficient_scope" in head.fields.get("www-authenticate", ""):
            return Loss(Fate.FAILED, Reason.INSUFFICIENT_SCOPE, f"{answered}: the token lacks a scope that this needs")
        return Loss(Fate.FAILED, Reason.AUTH_FAILED, f"{answered}: access denied")
    if status in (429, 503):
        return _busy(head, answered)
    if status == 408:
        return Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, f"{answered}: it gave up waiting for the request")
    if status in (404, 405, 410):
        return Loss(
            Fate.FAILED, Reason.UPSTREAM_UNREACHABLE, f"{answered}: there is no MCP endpoint at this URL; check it"
        )
    if status in (501, 505, 511) or status < 500:
        return Loss(Fate.FAILED, Reason.MALFORMED, answered)
    return Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, f"{answered}; it may or may not have run the request")


def _busy(head: ResponseHead, answered: str) -> Loss:
    wait = retry_after(head)
    if wait is None and head.status == 503:
        # Only a server that names a time says that it turned the request away. A gateway whose backend died under the
        # request answers 503 as well.
        return Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, f"{answered}; it may or may not have run the request")
    if wait is not None and wait > MAX_RETRY_AFTER:
        return Loss(Fate.FAILED, Reason.OVERLOADED, f"{answered}: it wants no request for the next {wait:g} s")
    return Loss(Fate.REJECTED, Reason.OVERLOADED, f"{answered}: it is overloaded; try again later", wait)


def redirect_loss(head: ResponseHead, url: str) -> Loss:
    """What becomes of a request that was sent elsewhere, where we do not follow."""
    location = head.fields.get("location", "")
    if location and resolve(url, location) is not None:
        target = "another path of the same server"
    else:
        target = shown(location)
    answered = f"the server answered HTTP {head.status}, a redirect to {target}, which is not followed"
    return Loss(Fate.FAILED, Reason.MALFORMED, f"{answered}; configure the final URL")


def redirect_target(head: ResponseHead, url: str) -> str | None:
    """
    Where to send the same request again: only on 307 and 308, and only on the same origin, since configured headers
    and the message itself are meant for that origin alone. L{None}: do not follow.
    """
    if head.status not in (307, 308):
        return None
    location = head.fields.get("location", "")
    return resolve(url, location) if location else None


def moved_for_good(head: ResponseHead, url: str, target: str) -> bool:
    """
    Whether later requests may go to the target at once: 308 says so; a 307 that only adds or takes a final slash is a
    framework's habit, met on every single request.
    """
    return head.status == 308 or url.rstrip("/") == target.rstrip("/")
