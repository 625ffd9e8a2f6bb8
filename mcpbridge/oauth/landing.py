"""
The page where a browser lands after a login.

What it shows is constant: nothing that came in is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from mcpbridge.core.oauth.attempt import MAX_RESPONSE
from mcpbridge.core.oauth.errors import LoginRefused
from mcpbridge.oauth.errors import LoginFailed

#: What answers begin with for whoever reads them; browsers say where they think they are, which is not to be believed.
_PLACE: Final = "http://127.0.0.1/callback"

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


class _Landing(Resource):
    isLeaf = True
    _log = Logger()

    def __init__(self, paths: Container[str], answer: Answer) -> None:
        super().__init__()
        self._paths = paths
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
        is_here = path.decode("latin-1") in self._paths
        if request.method != b"GET" or not is_here or not query or len(query) > MAX_RESPONSE:
            return self._show(request, 404, _NOTHING)
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        # The URL is made anew, since what stands before the query is for the browser to say.
        answering = maybeDeferred(self._answer, f"{_PLACE}?{query.decode('latin-1')}")

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


def landing_site(reactor: Any, paths: Container[str], answer: Answer) -> WrappingFactory:
    """
    What listens on a port for browsers.

    @param paths: of the page; there may come more. There is nothing else.
    """
    return _Limited(_Site(_Landing(paths, answer), timeout=_IDLE, reactor=reactor))
