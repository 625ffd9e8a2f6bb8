"""
Rules of Streamable HTTP in the session era: 2025-03-26, 2025-06-18 and 2025-11-25 (basic/transports, "Streamable
HTTP"). Those of the stateless era are in L{modern_http}.

One L{StreamableHTTP} is one session with one server: what every request has to say in its headers, and what all have
learnt together. What a single request may meet is in L{streamable_request}, L{streamable_notice} and
L{streamable_stream}. Nothing here opens a connection; see L{mcpbridge.upstream.streamable_http} for that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import attrs

from mcpbridge.core.bindings.http import (
    HeaderFields,
    HTTPLimits,
    HTTPRequest,
    ResponseHead,
    header_fields,
    moved_for_good,
    secrets_in,
    secrets_of,
    status_loss,
    visible_ascii,
)
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import InvalidMessage, Message, Notification, Result, decode_string, encode, members

#: The first revision whose requests name it in a header.
_VERSION_HEADER_SINCE = "2025-06-18"

#: A session id is a token of a few dozen characters, or a signed one of some hundred.
_MAX_SESSION_ID = 4096

_POSTS: HeaderFields = (
    (b"Accept", b"application/json, text/event-stream"),
    (b"Content-Type", b"application/json"),
)

_revision = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@attrs.define(eq=False)
class StreamableHTTP:
    """
    A session.

    @ivar limits: how much we put up with.
    @ivar random: numbers from 0 to 1, for jitter.
    @ivar session_id: L{None} before C{initialize} was answered, and for ever with a server that has no sessions.
    @ivar version: the negotiated revision; L{None} before.
    @ivar lost: set when the server turned out not to know our session any more; then nothing can be sent.
    @ivar not_spoken: set when C{initialize} was refused in a way that says that the server may speak HTTP+SSE instead
        (2025-03-26, "Backwards Compatibility").
    @ivar stream_due: set when the shared stream may be opened: C{notifications/initialized} was accepted.
    """

    _url: str = attrs.field(repr=False)
    _configured: HeaderFields = attrs.field(repr=False)
    limits: HTTPLimits
    random: Callable[[], float] = attrs.field(repr=False)
    session_id: str | None = attrs.field(init=False, default=None, repr=False)
    version: str | None = attrs.field(init=False, default=None)
    lost: Loss | None = attrs.field(init=False, default=None)
    not_spoken: bool = attrs.field(init=False, default=False)
    stream_due: bool = attrs.field(init=False, default=False)
    _posting: HeaderFields = attrs.field(init=False, repr=False)
    _getting: HeaderFields = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._update()

    @classmethod
    def make(
        cls, url: str, headers: Mapping[str, str], limits: HTTPLimits, random: Callable[[], float]
    ) -> StreamableHTTP:
        """
        @param headers: as configured; sent with every request to the origin of C{url}, and nowhere else.
        @raise ConfigurationError: a header cannot be sent.
        """
        return cls(url, header_fields(headers), limits, random)

    def post(self, message: Message) -> HTTPRequest:
        """The request that carries a message (Sending Messages to the Server, 1 to 4)."""
        return HTTPRequest("POST", self._url, self._posting, encode(message))

    def post_alone(self, message: Message, fields: HeaderFields, more: HeaderFields) -> HTTPRequest:
        """
        The request that carries a message of the stateless era: nothing of the session goes along.

        @param fields: what it says of itself, and many others too.
        @param more: what it alone does.
        """
        return HTTPRequest("POST", self._url, (*_POSTS, *fields, *self._configured), encode(message), more)

    def get(self, last_event_id: str = "") -> HTTPRequest:
        """The request for a stream: the shared one, or the rest of one that broke off (Resumability and Redelivery)."""
        headers = self._getting
        if last_event_id:
            headers = (*headers, (b"Last-Event-ID", last_event_id.encode("utf-8")))
        return HTTPRequest("GET", self._url, headers)

    def delete(self) -> HTTPRequest:
        """The request that ends the session (Session Management, 5)."""
        return HTTPRequest("DELETE", self._url, self._getting)

    def moved(self, head: ResponseHead, url: str, target: str) -> None:
        """A request was redirected within the origin."""
        if url == self._url and moved_for_good(head, url, target):
            self._url = target

    def initialize_sent(self) -> None:
        """What an earlier C{initialize} brought does not go along with the next one."""
        self.session_id = self.version = None
        self._update()

    def initialize_answered(self, head: ResponseHead) -> Loss | None:
        """Take the session id (Session Management, 1); a L{Loss} if it cannot be one."""
        session_id = head.fields.get("mcp-session-id")
        if session_id is None:
            return None
        if not visible_ascii(session_id, _MAX_SESSION_ID):
            text = "the server gave a session id that is not made of visible ASCII characters"
            return Loss(Fate.FAILED, Reason.MALFORMED, text)
        self.session_id = session_id
        self._update()
        return None

    def initialized_with(self, result: Result) -> None:
        """Take the revision from the result of C{initialize}."""
        try:
            version = decode_string(members(result.result).get("protocolVersion"))
        except InvalidMessage:
            version = None
        # Only what looks like a revision becomes a header; the owner judges the rest.
        self.version = version if version is not None and _revision.fullmatch(version) else None
        self._update()

    def accepted(self, message: Message) -> None:
        """The server took a message that wants no answer."""
        if isinstance(message, Notification) and message.method == "notifications/initialized":
            self.stream_due = True

    def session_lost(self, status: int) -> Loss:
        """The server does not know our session."""
        text = f"the server answered HTTP {status}: it does not know our session any more"
        self.lost = Loss(Fate.SESSION_LOST, Reason.SESSION_LOST, text)
        return self.lost

    def status_loss(self, head: ResponseHead) -> Loss:
        """See L{mcpbridge.core.bindings.http.status_loss}."""
        return status_loss(head, authorized=any(name.lower() == b"authorization" for name, _ in self._configured))

    def secrets(self) -> list[str]:
        """What a server that echoes its requests may not make us print."""
        found = secrets_of(self._url)
        for name, value in self._configured:
            if name.lower() != b"user-agent":
                found += secrets_in(value.decode("utf-8", "replace"))
        if self.session_id is not None:
            found.append(self.session_id)
        return found

    def _update(self) -> None:
        session: HeaderFields = ()
        if self.session_id is not None:
            session += ((b"Mcp-Session-Id", self.session_id.encode("ascii")),)
        if self.version is not None and self.version >= _VERSION_HEADER_SINCE:
            session += ((b"MCP-Protocol-Version", self.version.encode("ascii")),)
        self._posting = (*_POSTS, *session, *self._configured)
        self._getting = ((b"Accept", b"text/event-stream"), *session, *self._configured)
