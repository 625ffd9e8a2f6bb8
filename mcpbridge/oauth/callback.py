"""
The redirect listener: where a browser on this machine, or behind a forwarded port, brings the answer of a login.

It listens on loopback only, and only while a login waits. What it shows is constant: nothing that came in is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from mcpbridge.core.oauth.attempt import MAX_RESPONSE
from mcpbridge.core.oauth.errors import LoginRefused
from mcpbridge.oauth.errors import LoginFailed

_LOOPBACK = "127.0.0.1"

#: The path of redirect URIs that we make ourselves.
PATH = "/callback"

#: Seconds that a browser may be silent.
_IDLE = 15.0

#: Connections at once. Browsers open two or three, some of them in advance.
_MAX_CONNECTIONS = 16

_PAGE = '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>mcpbridge</title><body><p>%s</p></body></html>'
_DONE = _PAGE % "You are logged in. You can close this page."
_FAILED = _PAGE % "This did not work. The terminal and the log of mcpbridge say why. You can close this page."
_NOTHING = _PAGE % "There is nothing here."

#: What is done with an answer: it is given the whole URL, and says whether that was a login.
Answer = Callable[[str], Deferred[object]]


class _Callback(Resource):
    isLeaf = True
    _log = Logger()

    def __init__(self, path: bytes, answer: Answer) -> None:
        super().__init__()
        self._path = path
        self._answer = answer

    def render(self, request: Request) -> Any:
        """A browser comes."""
        for name, value in (
            (b"Content-Type", b"text/html; charset=utf-8"),
            (b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'"),
            (b"Cache-Control", b"no-store"),
            (b"Referrer-Policy", b"no-referrer"),
            (b"X-Content-Type-Options", b"nosniff"),
            (b"Connection", b"close"),
        ):
            request.setHeader(name, value)
        path, _, query = request.uri.partition(b"?")
        if request.method != b"GET" or path != self._path or not query or len(query) > MAX_RESPONSE:
            return self._show(request, 404, _NOTHING)
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        # The URL is made anew, since what stands before the query is for the browser to say.
        answering = maybeDeferred(self._answer, f"http://{_LOOPBACK}{PATH}?{query.decode('latin-1')}")

        def show(page: tuple[int, str]) -> None:
            if not gone:
                self._finish(request, *page)

        answering.addCallbacks(self._done, self._failed).addCallback(show).addErrback(self._broken)
        return NOT_DONE_YET

    def _done(self, _: object) -> tuple[int, str]:
        return 200, _DONE

    def _failed(self, failure: Failure) -> tuple[int, str]:
        if failure.check(LoginRefused, LoginFailed):
            self._log.warn("a login did not come about: {error}", error=str(failure.value))
        else:
            self._log.failure("a login did not come about", failure)
        return 400, _FAILED

    def _broken(self, failure: Failure) -> None:
        self._log.failure("the page after a login could not be shown", failure)

    def _finish(self, request: Request, status: int, page: str) -> None:
        request.write(self._show(request, status, page))
        request.finish()

    def _show(self, request: Request, status: int, page: str) -> bytes:
        body = page.encode("utf-8")
        request.setResponseCode(status)
        request.setHeader(b"Content-Length", str(len(body)).encode("ascii"))
        return body


class _Site(Site):
    """Quiet: the URLs that come here are no business of a log."""

    noisy = False

    def log(self, request: Any) -> None:
        """Nothing."""


class _Limited(WrappingFactory):
    """Turns away whoever comes when there are many."""

    noisy = False

    def buildProtocol(self, addr: Any) -> Any:
        """A browser connects."""
        return super().buildProtocol(addr) if len(self.protocols) < _MAX_CONNECTIONS else None


def _site(reactor: Any, path: str, answer: Answer) -> WrappingFactory:
    return _Limited(_Site(_Callback(path.encode("ascii"), answer), timeout=_IDLE, reactor=reactor))


@attrs.define(eq=False)
class Callback:
    """
    One listener, shared by all logins that wait on its port.

    @ivar _reactor: listens.
    """

    _reactor: Any
    _answer: Answer
    _ports: dict[int, IListeningPort] = attrs.Factory(dict)
    _users: dict[object, int] = attrs.Factory(dict)
    _log = Logger()

    def redirect_uri(self, user: object, port: int | None, public: str | None, preferred: str | None) -> str:
        """
        Listen for a user of this, and say where a browser has to be sent.

        @param port: the one that was configured; L{None}: any.
        @param public: a URL that was configured; who asks for it ends up at the port here, or has to paste it.
        @param preferred: the redirect URI that was used last; its port is taken if it is free.
        """
        before = self._users.pop(user, None)
        try:
            return self._place(user, port, public, preferred)
        finally:
            # Not sooner: a port that is closed is free only some turns of the reactor later, and may be wanted again.
            self._close_unused(before)

    def release(self, user: object) -> None:
        """This user's login is over. The port is closed when nobody uses it any more."""
        self._close_unused(self._users.pop(user, None))

    def close(self) -> None:
        """Listen no more."""
        for user in list(self._users):
            self.release(user)

    def _place(self, user: object, port: int | None, public: str | None, preferred: str | None) -> str:
        if public is not None:
            # Without a port nobody can come here: it is for pasting.
            wanted = port or (urlsplit(public).port if public.startswith("http://") else None)
            if wanted is not None:
                self._listen(user, wanted, urlsplit(public).path or "/")
            return public
        last = urlsplit(preferred).port if preferred is not None and preferred.startswith("http://127.0.0.1:") else None
        found = self._listen(user, port or last or 0, PATH)
        if found is None and port is None:
            found = self._listen(user, 0, PATH)
        # Where nobody can listen the human still can paste what the browser shows in its address line.
        return f"http://{_LOOPBACK}:{found or port or last or 1}{PATH}"

    def _close_unused(self, port: int | None) -> None:
        if port is not None and port not in self._users.values():
            maybeDeferred(self._ports.pop(port).stopListening).addErrback(self._not_closed)

    def _listen(self, user: object, port: int, path: str) -> int | None:
        if port in self._ports:
            self._users[user] = port
            return port
        try:
            listening: Any = self._reactor.listenTCP(
                port, _site(self._reactor, path, self._answer), interface=_LOOPBACK
            )
        except CannotListenError as error:
            self._log.info("no login can come to port {port}: {error}", port=port, error=str(error.socketError))
            return None
        number = int(listening.getHost().port)
        self._ports[number] = listening
        self._users[user] = number
        return number

    def _not_closed(self, failure: Failure) -> None:
        self._log.failure("the port for logins could not be closed", failure)
