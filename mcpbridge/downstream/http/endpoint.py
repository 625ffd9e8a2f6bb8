"""
The endpoint: one URL for each server, C{/mcp/NAME}, in both eras.

It knows who may come in and which client a request belongs to; what the request is says the ladder.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from urllib.parse import unquote_to_bytes

import attrs
from msgspec import Raw
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mcpbridge.core.bindings.http_guards import Guard, Refusal, refusal
from mcpbridge.core.bindings.http_ladder import check_params, classify, tool_name
from mcpbridge.core.bindings.http_verdicts import (
    ModernCall,
    ModernClient,
    ModernNotice,
    Opening,
    SessionEnd,
    SessionPost,
    SessionStream,
)
from mcpbridge.core.bindings.param_headers import Fields, ParamHeader, index
from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.jsonrpc import Request, RequestId
from mcpbridge.core.printable import printable
from mcpbridge.downstream.http import request as http
from mcpbridge.downstream.http.limits import EndpointLimits
from mcpbridge.downstream.http.roster import Roster
from mcpbridge.downstream.http.session import HTTPSession, Owner
from mcpbridge.downstream.http.stateless import StatelessClient
from mcpbridge.interfaces import IClientTransport

_PREFIX = b"/mcp/"
_RETRY_SOON = ((b"Retry-After", b"1"),)

#: Hexadecimal digits are visible ASCII, as ids of sessions have to be; 128 bits.
_SESSION_ID_BYTES = 16


@attrs.frozen
class _ClientKey:
    owner: Owner
    client: ModernClient


class Endpoint:
    """See the top of this module. Provides L{http.Door}."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        guard: Guard,
        attach: Callable[[str, IClientTransport], None],
        limits: EndpointLimits,
        *,
        tools: Callable[[str], Raw | None] = lambda server: None,
    ) -> None:
        """
        @param attach: serves a client of a server by this name; calls C{transport.connect(link)}, now or soon.
            Raises L{ConfigurationError} if there is no such server.
        @param tools: the C{tools/list} result of a server as far as it is known, whose schemas say which arguments are
            repeated in headers.
        """
        self._clock = clock
        self._guard = guard
        self._attach = attach
        self._limits = limits
        self._tools = tools
        self._indexed: dict[str, tuple[Raw, Mapping[str, tuple[ParamHeader, ...]]]] = {}
        self._stopping = False
        self._sessions: Roster[str, HTTPSession] = Roster(clock, limits.sessions, limits.evictable)
        # A call that waits for input does not show here, so nobody is let go before the time.
        self._clients: Roster[_ClientKey, StatelessClient] = Roster(clock, limits.sessions, limits.client_idle)

    def counts(self) -> Mapping[str, int]:
        """How much of everything there is, for an operator."""
        return {"sessions": len(self._sessions), "stateless_clients": len(self._clients)}

    def stopping(self) -> None:
        """Requests are taken up no more; what is under way goes on."""
        self._stopping = True

    def close(self) -> None:
        """Let all clients go."""
        for guest in (*self._sessions, *self._clients):
            guest.close("mcpbridge is stopping")

    # Door

    def check_head(self, target: bytes, fields: Fields) -> Refusal | None:
        """See L{http.Door}."""
        refused = self._guard.check_place(fields)
        if refused is None and _server(target) is None:
            # Before anybody is asked for a token: clients look for OAuth metadata here, and must not take us for a
            # server that has some. Those that were told 401 try to register, and show their user this text.
            refused = refusal(
                404, "Not found: servers are at /mcp/NAME; there is no login, clients send the http-token"
            )
        return refused or self._guard.check_credentials(fields)

    def take(self, request: http.Request) -> None:
        """See L{http.Door}."""
        server = _server(request.path)
        assert server is not None
        owner = Owner("anybody" if self._guard.authorizes is None else "token", server)
        verdict = classify(request.method.decode("ascii"), request.fields, request.body)
        request.body = b""
        match verdict:
            case Refusal():
                request.refuse(verdict)
            case ModernCall():
                self._call(owner, verdict, request)
            case ModernNotice():
                self._notice(owner, verdict, request)
            case Opening():
                self._open(owner, verdict, request)
            case SessionPost():
                self._post(owner, verdict, request)
            case SessionStream():
                session = self._find(owner, verdict.session_id, request)
                if session is not None:
                    session.listen(verdict, request)
            case SessionEnd():
                session = self._find(owner, verdict.session_id, request)
                if session is not None:
                    session.end()
                    request.respond(200)

    # The stateless era.

    def _call(self, owner: Owner, call: ModernCall, request: http.Request) -> None:
        refused = check_params(call, self._declared(owner.server, call), request.fields)
        if refused is not None:
            request.refuse(refused)
            return
        if self._is_turned_away(call.request.id, request):
            return
        key = _ClientKey(owner, call.client)
        client = self._clients.get(key)
        if client is None:
            if not self._clients.has_room():
                self._refuse_full(call.request.id, request)
                return
            client = StatelessClient(self._clock, self._limits, lambda: self._clients.remove(key))
            if not self._introduce(owner.server, client, call.request.id, request):
                return
            self._clients.add(key, client)
        client.call(call, request)

    def _notice(self, owner: Owner, notice: ModernNotice, request: http.Request) -> None:
        request.respond(202)
        client = None if notice.client is None else self._clients.get(_ClientKey(owner, notice.client))
        if client is None:
            self._log.debug("A notification of no client in particular: {method}", method=notice.notification.method)
        else:
            client.notice(notice.notification)

    def _declared(self, server: str, call: ModernCall) -> tuple[ParamHeader, ...]:
        if call.request.method != "tools/call":
            return ()
        tools = self._tools(server)
        if tools is None:
            return ()
        known = self._indexed.get(server)
        if known is None or known[0] is not tools:
            known = self._indexed[server] = (tools, index(tools))
        name = tool_name(call) if known[1] else None
        return () if name is None else known[1].get(name, ())

    # The session era.

    def _open(self, owner: Owner, opening: Opening, request: http.Request) -> None:
        if self._is_turned_away(opening.request.id, request):
            return
        before = None if opening.session_id is None else self._sessions.get(opening.session_id)
        if before is not None and before.owner == owner:
            before.post(SessionPost(before.session_id, (opening.request,), False, opening.accepted), request)
            return
        if not self._sessions.has_room():
            self._refuse_full(opening.request.id, request)
            return
        session_id = secrets.token_hex(_SESSION_ID_BYTES)
        session = HTTPSession(self._clock, self._limits, lambda: self._sessions.remove(session_id), session_id, owner)
        if self._introduce(owner.server, session, opening.request.id, request):
            self._sessions.add(session_id, session)
            session.open(opening, request)

    def _post(self, owner: Owner, post: SessionPost, request: http.Request) -> None:
        asked = next((message.id for message in post.messages if isinstance(message, Request)), None)
        if asked is not None and self._is_turned_away(asked, request):
            return
        session = self._find(owner, post.session_id, request, asked)
        if session is not None:
            session.post(post, request)

    def _find(
        self, owner: Owner, session_id: str, request: http.Request, asked: RequestId | None = None
    ) -> HTTPSession | None:
        session = self._sessions.get(session_id)
        if session is not None and session.owner == owner:
            return session
        # The same whether there is none or it is another's: ids are not to be tried out.
        request.refuse(refusal(404, "Session not found: send initialize to open a new one", request_id=asked))
        return None

    # Both.

    def _introduce(self, server: str, transport: IClientTransport, asked: RequestId, request: http.Request) -> bool:
        try:
            self._attach(server, transport)
        except ConfigurationError as error:
            request.refuse(refusal(404, f"Not found: {error}", request_id=asked))
            return False
        self._log.info("A client of {server} came in by HTTP", server=printable(server))
        return True

    def _is_turned_away(self, asked: RequestId, request: http.Request) -> bool:
        if self._stopping:
            text = "Service unavailable: mcpbridge is stopping; ask again when it runs"
            request.refuse(refusal(503, text, request_id=asked, fields=_RETRY_SOON))
        return self._stopping

    def _refuse_full(self, asked: RequestId, request: http.Request) -> None:
        text = "Too many clients: the endpoint serves no more at once; end a session, or ask again later"
        request.refuse(refusal(429, text, request_id=asked, fields=((b"Retry-After", b"30"),)))


def _server(target: bytes) -> str | None:
    """
    The name in the path of a request; L{None} if it is no path of ours.

    A URL is no name here, unlike in the command of a relay: whoever can send a request to the endpoint would have it
    connect anywhere.
    """
    path = target.partition(b"?")[0]
    if not path.startswith(_PREFIX):
        return None
    try:
        name = unquote_to_bytes(path.removeprefix(_PREFIX).removesuffix(b"/")).decode("utf-8")
    except UnicodeDecodeError:
        return None
    return name if name and "://" not in name else None
