"""
The redirect listener: where a browser on this machine, or behind a forwarded port, brings the answer of a login.

It listens on loopback only, and only while a login waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from mcpbridge.oauth.landing import Answer

_LOOPBACK = "127.0.0.1"

#: The path of redirect URIs that we make ourselves.
PATH = "/callback"


@attrs.define(eq=False)
class Callback:
    """
    One listener, shared by all logins that wait on its port.

    @ivar _reactor: listens.
    """

    _reactor: Any
    _answer: Answer
    _ports: dict[int, IListeningPort] = attrs.Factory(dict)
    _paths: dict[int, set[str]] = attrs.Factory(dict)
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
            del self._paths[port]
            maybeDeferred(self._ports.pop(port).stopListening).addErrback(self._not_closed)

    def _listen(self, user: object, port: int, path: str) -> int | None:
        if port in self._ports:
            # Whose login it is says the answer, and not the path.
            self._paths[port].add(path)
            self._users[user] = port
            return port
        # Most daemons see no login for weeks, and are spared the megabyte of a web server.
        from mcpbridge.oauth.landing import landing_site

        paths = {path}
        try:
            listening: Any = self._reactor.listenTCP(
                port, landing_site(self._reactor, paths, self._answer), interface=_LOOPBACK
            )
        except CannotListenError as error:
            self._log.info("no login can come to port {port}: {error}", port=port, error=str(error.socketError))
            return None
        number = int(listening.getHost().port)
        self._ports[number], self._paths[number] = listening, paths
        self._users[user] = number
        return number

    def _not_closed(self, failure: Failure) -> None:
        self._log.failure("the port for logins could not be closed", failure)
