"""
What to make of a response, or of a failure: read it, try again, or give up.

All of it is advice that L{txsse.ReconnectingEventSource} takes; who knows better hands in another judge.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TypeAlias

import attrs
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from txsse._errors import EventTooLarge, UnexpectedResponse


@attrs.frozen
class Accept:
    """This is the stream: read it."""


@attrs.frozen
class TryAgain:
    """
    Not this time.

    @ivar after: wait just so many seconds; L{None} leaves it to the reconnection time and the retry policy.
    """

    after: float | None = None


@attrs.frozen
class GiveUp:
    """
    Never again.

    @ivar error: why; L{None} when this is how it should end.
    """

    error: BaseException | None = None


Verdict: TypeAlias = Accept | TryAgain | GiveUp

MAX_RETRY_AFTER = 3600.0
"""
Seconds. A server may say come back in a year; a client that is to be there when it is well again asks once an hour.
"""

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
# Codes that speak of the moment and not of the request (RFC 9110 15.5.9, 15.6; RFC 8470 5.2; RFC 6585 4).


def judge_strictly(response: IResponse) -> Verdict:
    """
    WHATWG HTML 9.2.2, the response steps of the constructor: 200 with the right type is a stream, and everything else
    is the end. 204 is how a server says so (9.2.1), hence no error.
    """
    if response.code == 200 and _essence(response) == "text/event-stream":
        return Accept()
    if response.code == 204:
        return GiveUp()
    return GiveUp(UnexpectedResponse(response.code, _header(response, "content-type")))


def judge_patiently(response: IResponse) -> Verdict:
    """
    Like L{judge_strictly}, save for codes that a server or a proxy sends while it is overloaded or being restarted.
    These are tried again, after C{Retry-After} if there is one (RFC 9110 10.2.3).
    """
    if response.code in _PASSING:
        return TryAgain(_retry_after(response))
    return judge_strictly(response)


def judge_failure(failure: Failure) -> TryAgain | GiveUp:
    """
    Every failure of a connection is tried again. An event over the limit is not: the server would send it again.
    """
    if failure.check(EventTooLarge):
        return GiveUp(failure.value)
    return TryAgain()


def _header(response: IResponse, name: str) -> str:
    values = response.headers.getRawHeaders(name)
    return values[-1] if values else ""


def _essence(response: IResponse) -> str:
    return _header(response, "content-type").partition(";")[0].strip().lower()


def _retry_after(response: IResponse) -> float | None:
    value = _header(response, "retry-after").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), MAX_RETRY_AFTER)
    # A date is read against the server's own, so that no clock has to agree with another.
    until, now = _timestamp(value), _timestamp(_header(response, "date"))
    if until is None or now is None:
        return None
    return min(max(until - now, 0.0), MAX_RETRY_AFTER)


def _timestamp(date: str) -> float | None:
    try:
        parsed = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
