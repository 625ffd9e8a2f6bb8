"""
The socket that relays find the daemon by: who may reach it, and that there is one daemon to a socket.

Only our own user can enter the directory; a lock that is held for as long as the daemon lives says that it does, so
that a socket which a killed one left behind can be told from one that is in use.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Mapping, MutableMapping
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorUNIX
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from mcpbridge.core.errors import ConfigurationError
from mcpbridge.core.printable import printable
from mcpbridge.paths import MAX_SOCKET_PATH, secure_directory

#: Connections that wait to be accepted. Relays come by the dozen when an editor opens, and never wait long.
BACKLOG = 1024

_READY_FD = "MCPBRIDGE_READY_FD"


class Listener:
    """A socket that is listened at, and the lock that goes with it."""

    _log: ClassVar[Logger] = Logger()

    def __init__(self, port: IListeningPort, lock: int) -> None:
        self._port = port
        self._lock = lock
        self._stopped: Deferred[None] | None = None

    async def _stop(self) -> None:
        # The port removes the socket, while the lock still says that it is ours to remove.
        try:
            await maybeDeferred(self._port.stopListening)
        except FileNotFoundError:
            self._log.warn("somebody else has removed the socket already")
        os.close(self._lock)

    def stop(self) -> Deferred[None]:
        """Take no more connections, remove the socket, let another daemon have it. Idempotent."""
        if self._stopped is None:
            self._stopped = Deferred.fromCoroutine(self._stop())
            self._log.debug("the socket is closed")
        waiter: Deferred[None] = Deferred()
        self._stopped.chainDeferred(waiter)
        return waiter


def listen(reactor: IReactorUNIX, path: str, factory: ServerFactory[Any]) -> Listener:
    """
    Listen at a Unix socket that only our own user can reach.

    @param path: where; its directory is made, with access for nobody else, if it is not there.
    @raise ConfigurationError: another daemon listens there, or it would not be safe to; the text says what to do.
    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise ConfigurationError(
            f"the path of the socket has more than {MAX_SOCKET_PATH} bytes, which is all that a socket may have: "
            f"{printable(path)}; set MCPBRIDGE_SOCKET to a shorter one"
        )
    fault = secure_directory(os.path.dirname(os.path.abspath(path)))
    if fault:
        raise ConfigurationError(printable(fault))
    try:
        lock = _lock(path)
    except OSError as error:
        raise ConfigurationError(f"cannot listen at {printable(path)}: {error.strerror}") from error
    try:
        port = _bound(reactor, path, factory)
    except BaseException as error:
        os.close(lock)
        cause = error.socketError if isinstance(error, CannotListenError) else error
        if isinstance(cause, OSError):
            raise ConfigurationError(f"cannot listen at {printable(path)}: {cause.strerror}") from error
        raise
    return Listener(port, lock)


def tell_ready(environment: MutableMapping[str, str], sentence: str = "ready") -> None:
    """
    Tell the relay that started this daemon that it can connect, or why it never will. Does nothing if none did.

    @param environment: that of the process; what the relay put there is taken out.
    @param sentence: C{ready}, or what went wrong.
    """
    number = environment.pop(_READY_FD, "")
    if number.isascii() and number.isdigit():
        with contextlib.suppress(OSError):  # The relay may be gone, which does not concern the daemon.
            os.write(int(number), printable(sentence, 2000).encode("utf-8") + b"\n")
            os.close(int(number))


def starter_waits(environment: Mapping[str, str]) -> bool:
    """Whether a relay started this daemon and waits to be told."""
    return _READY_FD in environment


def _lock(path: str) -> int:
    lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = printable(os.pread(lock, 20, 0).strip()) or "unknown"
        os.close(lock)
        raise ConfigurationError(
            f"another mcpbridge daemon listens at {printable(path)} already (process {owner}); "
            "stop that one first, or set MCPBRIDGE_SOCKET to another path"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


def _bound(reactor: IReactorUNIX, path: str, factory: ServerFactory[Any]) -> IListeningPort:
    _remove_stale(path)
    # The mode is set once the socket is there; before that, this keeps it from being open.
    before = os.umask(0o177)
    try:
        return reactor.listenUNIX(path, factory, backlog=BACKLOG, mode=0o600)
    finally:
        os.umask(before)


def _remove_stale(path: str) -> None:
    """Under the lock, so whoever made it is dead."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigurationError(
            f"{printable(path)}, where the socket is to be, is something else, which is not ours to remove; "
            "remove it, or set MCPBRIDGE_SOCKET to another path"
        )
    os.unlink(path)
