"""
The whole bridge in one process, on its own stdin and stdout: for places where no daemon may live.

Nothing outlives it but what is remembered of the servers. Starting it costs what starting Twisted costs.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from typing import Any

import attrs
from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python.failure import Failure

from mcpbridge import paths
from mcpbridge.configuration import Upstream, ad_hoc, load, looks_like_url, unknown_server
from mcpbridge.core.errors import ConfigurationError, Reason
from mcpbridge.downstream.stream import StreamTransport
from mcpbridge.downstream.unread import unread_of
from mcpbridge.service.receptions import Reception
from mcpbridge.service.snapshots import SnapshotStore
from mcpbridge.service.transports import Transports
from mcpbridge.service.upstreams import UpstreamService


def main(server: str) -> int:
    """
    Serve one client on stdin and stdout until it closes them.

    @param server: the name of a configured server, or an http or https URL.
    @return: the exit status.
    """
    from twisted.internet import reactor  # Importing it installs it: only where it is to run.

    globalLogBeginner.beginLoggingTo([_log_to_stderr()], redirectStandardIO=False)
    try:
        upstream = _find(server)
        snapshots = SnapshotStore.open(paths.state_directory(), time.time)
    except ConfigurationError as error:
        print(f"mcpbridge: {error}", file=sys.stderr)
        return 1
    bridge = _Standalone(reactor, upstream, snapshots)
    reactor.callWhenRunning(bridge.start)
    reactor.run()
    return 0


def _find(server: str) -> Upstream:
    configuration = load(os.environ)
    found = configuration.upstreams.get(server)
    if found is not None:
        return found
    if looks_like_url(server):
        return ad_hoc(server, configuration.defaults)
    raise ConfigurationError(unknown_server(server, configuration))


def _log_to_stderr() -> FilteringLogObserver:
    level = LogLevel.levelWithName(os.environ.get("MCPBRIDGE_LOG_LEVEL", "warn"))
    return FilteringLogObserver(textFileLogObserver(sys.stderr), [LogLevelFilterPredicate(level)])


@attrs.define(eq=False)
class _Standalone:
    """One client, one server, and the end of both."""

    _reactor: Any
    _upstream: Upstream
    _snapshots: SnapshotStore
    _stopping: bool = False
    _service: UpstreamService = attrs.field(init=False)
    _transports: Transports = attrs.field(init=False)

    def start(self) -> None:
        """Open the session on stdin and stdout."""
        self._transports = Transports(self._reactor, paths.state_directory(), os.environ)
        self._transports.start()
        exchanges = itertools.count(1)
        self._service = UpstreamService(
            self._upstream, self._reactor, self._transports.make, self._snapshots, exchanges, random.random
        )
        transport = StreamTransport(self._reactor, unread=unread_of(1))
        numbers = itertools.count(1)
        Reception(self._service, os.getcwd(), transport, self._reactor, numbers, exchanges, self._ended).start()
        stdio.StandardIO(transport, reactor=self._reactor)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._reactor.callFromThread(self._stop))

    def _ended(self, reception: Reception) -> None:
        self._stop()

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            Deferred.fromCoroutine(self._end()).addErrback(self._failed).addBoth(lambda _: self._reactor.stop())

    async def _end(self) -> None:
        await self._service.stop(Reason.STOPPING, "mcpbridge is stopping")
        await self._transports.stop()
        self._snapshots.close()

    def _failed(self, failure: Failure) -> None:
        print(f"mcpbridge: while stopping: {failure.getErrorMessage()}", file=sys.stderr)
