"""
One at a time, among all processes that share a state folder: a standalone relay beside the daemon, two daemons.

The kernel takes a lock back from whoever dies, so nobody waits for the dead.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from hashlib import sha256
from typing import TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from mcpbridge.oauth.errors import StoreFailure

#: Seconds between two looks at whether it is free, and the most that is waited: a refresh has a deadline of ten.
_LOOK, _PATIENCE = 0.05, 15.0

Release: TypeAlias = Callable[[], None]


@attrs.define(eq=False)
class Leases:
    """
    @ivar _folder: the state folder.
    """

    _folder: str
    _clock: IReactorTime

    def take(self, name: str) -> Deferred[Release]:
        """
        Wait until nobody else has it.

        @param name: of what is leased.
        @return: what gives it back.
        @raise StoreFailure: (through the Deferred) it cannot be had.
        """
        return Deferred.fromCoroutine(self._take(name))

    async def _take(self, name: str) -> Release:
        mark = sha256(name.encode("utf-8")).hexdigest()[:16]
        # A few for each upstream; they are empty and stay, since removing a locked file lets two have it.
        path = os.path.join(self._folder, f"lease-{mark}")
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StoreFailure(f"the state folder {self._folder} cannot be used: {error.strerror}") from error
        try:
            await self._lock(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise
        return lambda: os.close(descriptor)

    async def _lock(self, descriptor: int, path: str) -> None:
        end = self._clock.seconds() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EINTR):
                    raise StoreFailure(f"{path} cannot be locked: {error.strerror}") from error
            if self._clock.seconds() >= end:
                raise StoreFailure("another process has been renewing this access for too long")
            await deferLater(self._clock, _LOOK)
