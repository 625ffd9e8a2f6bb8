"""
The request that asks for a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse


def open_with(
    client: HTTPClient,
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    clock: IReactorTime,
) -> Callable[[str], Deferred[IResponse]]:
    """
    Make the C{open} of a L{txsse.ReconnectingEventSource} from a treq client.

    Redirects are not followed: a client would carry the headers given here, and the secrets in them, to wherever a
    server points.

    @param client: makes the requests, with its pool, its TLS and its cookies.
    @param url: of the stream.
    @param headers: to send along, for instance C{Authorization}. They win over those that are set here.
    @param clock: handed to treq, which would else reach for the global reactor.
    @return: takes the last event id, makes one GET, and gives the response as soon as its head is there. Cancelling the
        Deferred closes the connection.
    """

    def open(last_event_id: str) -> Deferred[IResponse]:
        sent = Headers({"Accept": ["text/event-stream"], "Cache-Control": ["no-store"]})
        if last_event_id:
            # UTF-8, as WHATWG HTML 9.2.3 has it, though HTTP itself would have header values be ASCII.
            sent.setRawHeaders(b"Last-Event-ID", [last_event_id.encode("utf-8")])
        for name, value in (headers or {}).items():
            sent.setRawHeaders(name, [value])
        # treq's types ask for a whole reactor, of which it uses the time, and without C{timeout} not even that.
        reactor = cast(Any, clock)
        response = client.get(url, headers=sent, allow_redirects=False, unbuffered=True, reactor=reactor)
        return cast("Deferred[IResponse]", response)

    return open
