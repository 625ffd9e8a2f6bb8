"""
The daemon: the one room that knows every other.

It starts what has to run and stops it in order: first nobody new is let in, then what is under way is answered or
failed, then the servers are let go, then the ground that they stood on.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

import attrs
from msgspec import Raw
from twisted.application import service
from twisted.internet import task
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from mcpbridge.configuration import Configuration, Upstream, ad_hoc, load, looks_like_url, unknown_server
from mcpbridge.core.effects import SessionId
from mcpbridge.core.errors import ConfigurationError, Reason
from mcpbridge.core.events import ExchangeId
from mcpbridge.core.printable import printable
from mcpbridge.downstream.http.settings import EndpointSettings
from mcpbridge.downstream.listening import Listener, listen, tell_ready
from mcpbridge.downstream.pipes import PipeTransport
from mcpbridge.downstream.relays import Hello, RelayFactory
from mcpbridge.interfaces import IClientTransport
from mcpbridge.service.allocator import return_large_blocks
from mcpbridge.service.receptions import Reception
from mcpbridge.service.snapshots import SnapshotStore
from mcpbridge.service.transports import Transports
from mcpbridge.service.upstreams import UpstreamService
from mcpbridge.version import VERSION

if TYPE_CHECKING:
    from mcpbridge.downstream.http.site import Site

#: A planned stop waits so long for what is under way, in seconds. Service managers kill after 10 to 90.
DRAIN = 8.0

_STOPPING = "mcpbridge is stopping, and the answer was not waited for any longer"


@attrs.frozen
class DaemonOptions:
    """
    What the daemon is told when it starts.

    @ivar config: the path of the configuration, L{None} for the default one.
    @ivar servers: servers given inline, as JSON; L{None} if there are none.
    @ivar environment: for C{${VAR}} in the configuration, and for what children inherit.
    @ivar http: the local HTTP endpoint; L{None} for none.
    """

    config: str | None
    servers: str | None
    socket: str
    state_dir: str
    environment: Mapping[str, str] = attrs.field(repr=False)
    http: EndpointSettings | None = None

    def load(self) -> Configuration:
        """
        Read the configuration.

        @raise ConfigurationError: says everything that is wrong with it.
        """
        return load(self.environment, path=self.config, inline=self.servers)


def daemon_service(reactor: Any, options: DaemonOptions) -> Daemon:
    """
    The whole daemon as one service.

    @raise ConfigurationError: the configuration cannot be used.
    """
    return Daemon(reactor, options, options.load())


# Its repr would be that of everything there is, and signal.getsignal makes one for each child that is spawned.
@attrs.define(eq=False, repr=False)
class Daemon(service.Service):
    """See the top of this module."""

    _reactor: Any
    _options: DaemonOptions
    _configuration: Configuration
    _upstreams: dict[str, UpstreamService] = attrs.Factory(dict)
    _receptions: set[Reception] = attrs.Factory(set)
    _session_numbers: Iterator[SessionId] = attrs.Factory(lambda: itertools.count(1))
    _exchanges: Iterator[ExchangeId] = attrs.Factory(lambda: itertools.count(1))
    _snapshots: SnapshotStore = attrs.field(init=False)
    _transports: Transports = attrs.field(init=False)
    _relays: RelayFactory = attrs.field(init=False)
    _listener: Listener = attrs.field(init=False)
    _site: Site | None = None
    _running: bool = False
    _impatient: bool = False
    _log = Logger()

    # Starting.

    def startService(self) -> None:
        """
        Begin to serve.

        @raise ConfigurationError: it cannot be, and why: another daemon has the socket, or its folder is not safe.
        """
        self._start()
        super().startService()
        self._running = True
        tell_ready(os.environ)

    def _start(self) -> None:
        _raise_descriptor_limit()
        return_large_blocks()
        if self._options.http is not None:
            # Few want it, and the others are spared its megabyte.
            from mcpbridge.downstream.http.site import open_site

            # Before the socket, which relays take for a daemon that serves them.
            self._site = open_site(
                self._reactor, self._options.http, self._options.state_dir, self._attach_http, tools=self._tools
            )
        self._relays = RelayFactory(self._reactor, self._attach, self._control)
        # The lock of the socket comes first: whoever has it may touch what other daemons left behind.
        self._listener = listen(self._reactor, self._options.socket, self._relays)
        try:
            self._snapshots = SnapshotStore.open(self._options.state_dir, time.time)
        except ConfigurationError as error:
            self._log.error("Nothing will be remembered: {error}", error=printable(str(error)))
            self._snapshots = SnapshotStore.in_memory()
        self._transports = Transports(self._reactor, self._options.state_dir, self._options.environment)
        self._transports.authorizers.logged_in = self._wake
        self._transports.start()
        self._transports.authorizers.serve(self._configuration.upstreams.values())
        for upstream in self._configuration.upstreams.values():
            self._upstreams[upstream.name] = self._serve(upstream)
        for warning in self._configuration.warnings:
            self._log.warn("{warning}", warning=printable(warning))
        signal.signal(signal.SIGHUP, self._hang_up_signalled)
        self._log.info(
            "mcpbridge {version} serves {servers} on {socket}",
            version=VERSION,
            servers=", ".join(self._upstreams) or "no configured server",
            socket=self._options.socket,
        )

    def _serve(self, upstream: Upstream) -> UpstreamService:
        return UpstreamService(
            upstream, self._reactor, self._transports.make, self._snapshots, self._exchanges, random.random
        )

    def _wake(self, name: str) -> None:
        upstream = self._upstreams.get(name)
        if upstream is not None:
            upstream.wake()

    # Clients.

    def _attach(self, hello: Hello, transport: PipeTransport) -> None:
        """
        A relay has come.

        @raise ConfigurationError: there is no such server.
        """
        upstream = self._find(hello.server)
        self.receive(transport, upstream, hello.cwd)

    def _attach_http(self, server: str, transport: IClientTransport) -> None:
        """
        A client has come by HTTP.

        @raise ConfigurationError: there is no such server.
        """
        self.receive(transport, self._find(server), "")

    def _tools(self, server: str) -> Raw | None:
        upstream = self._upstreams.get(server)
        return None if upstream is None else upstream.tools()

    def _find(self, server: str) -> UpstreamService:
        found = self._upstreams.get(server)
        if found is not None:
            return found
        if not looks_like_url(server):
            raise ConfigurationError(unknown_server(server, self._configuration))
        upstream = ad_hoc(server, self._configuration.defaults)
        found = self._upstreams.get(upstream.name)
        if found is None:
            found = self._upstreams[upstream.name] = self._serve(upstream)
        return found

    def receive(self, transport: IClientTransport, upstream: UpstreamService, cwd: str) -> None:
        """Serve one more client."""
        reception = Reception(
            upstream,
            cwd,
            transport,
            self._reactor,
            self._session_numbers,
            self._exchanges,
            self._receptions.discard,
        )
        self._receptions.add(reception)
        reception.start()

    # The operator.

    def _control(self, line: str) -> Deferred[str]:
        verb = line.strip()
        answers: Mapping[str, Callable[[], Mapping[str, object]]] = {
            "status": self._status,
            "reload": self._reload,
            "stop": self._stop_soon,
        }
        if verb not in answers:
            ordered = self._transports.authorizers.control(verb)
            if ordered is not None:
                return ordered.addCallback(_as_json)
            known = ", ".join((*answers, "login", "logout"))
            return succeed(json.dumps({"error": f"there is no command {printable(verb)!r}; there are {known}"}))
        return succeed(json.dumps(answers[verb]()))

    def _status(self) -> Mapping[str, object]:
        return {
            "version": VERSION,
            "pid": os.getpid(),
            "socket": self._options.socket,
            "sources": list(self._configuration.sources),
            "clients": len(self._receptions),
            "http": None if self._site is None else {"urls": list(self._site.urls), **self._site.counts()},
            "upstreams": {
                name: {**upstream.status(), "authorization": self._transports.authorizers.status(name)}
                for name, upstream in self._upstreams.items()
            },
        }

    def _stop_soon(self) -> Mapping[str, object]:
        self._reactor.callLater(0, self._reactor.stop)
        return {"stopping": True}

    def _hang_up_signalled(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._reload)

    def _reload(self) -> Mapping[str, object]:
        """Read the configuration again; what has not changed in it is not touched."""
        try:
            configuration = self._options.load()
        except ConfigurationError as error:
            self._log.error("The configuration was not reloaded: {error}", error=printable(str(error)))
            problems = list(getattr(error, "problems", ())) or [str(error)]
            return {"error": "the configuration is wrong, and nothing was changed", "problems": problems}
        before = self._configuration.upstreams
        self._configuration = configuration
        after = configuration.upstreams
        changed = [name for name in after if name in before and after[name] != before[name]]
        removed = [name for name in before if name not in after]
        added = [name for name in after if name not in before]
        self._transports.authorizers.serve(after.values())
        for name in changed + removed:
            self._replace(name, after.get(name))
        for name in added:
            self._upstreams[name] = self._serve(after[name])
        summary = {"added": added, "changed": changed, "removed": removed}
        self._log.info("The configuration was reloaded: {summary}", summary=json.dumps(summary))
        return {**summary, "warnings": list(configuration.warnings)}

    def _replace(self, name: str, by: Upstream | None) -> None:
        old = self._upstreams.pop(name)
        text = f"{name}: this server is not in the configuration any more" if by is None else ""
        new = None
        if by is not None:
            new = self._upstreams[name] = self._serve(by)
            text = f"{name}: the configuration of this server has changed"
        stopped = old.stop(Reason.REMOVED, text)
        stopped.addErrback(self._failed_to_stop)
        for reception in self._receptions:
            if reception.server is old:
                reception.move(new, text)

    # Stopping.

    def stopService(self) -> Deferred[None]:
        """Stop in order; fires when no process and no socket of ours is left."""
        stopped = super().stopService()
        assert stopped is None
        if not self._running:
            return succeed(None)
        self._running = False
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop_signalled)
        await self._listener.stop()
        self._relays.stopping()
        if self._site is not None:
            await self._site.stopping()
        await self._drain()
        stopping = [upstream.stop(Reason.STOPPING, _STOPPING) for upstream in self._upstreams.values()]
        for reception in self._receptions:
            reception.stop(_STOPPING)
        if self._site is not None:
            await self._site.stop()
        for transport in list(self._relays.transports):
            transport.disconnect().addErrback(self._failed_to_stop)
        await gatherResults(stopping)
        await self._relays.closed()
        await self._transports.stop()
        self._snapshots.close()

    def _stop_signalled(self, number: int, frame: FrameType | None) -> None:
        # A supervisor may signal us, then our whole group; an impatient operator presses Ctrl-C again.
        self._impatient = self._impatient or number == signal.SIGINT

    async def _drain(self) -> None:
        waited = 0.0
        while waited < DRAIN and not self._impatient and any(upstream.busy() for upstream in self._upstreams.values()):
            await task.deferLater(self._reactor, 0.05)
            waited += 0.05

    def _failed_to_stop(self, failure: Failure) -> None:
        self._log.failure("While stopping", failure)


def _as_json(answer: Mapping[str, object]) -> str:
    return json.dumps(answer)


def _raise_descriptor_limit() -> None:
    """Each client costs a handful of descriptors, and the usual soft limit of 1,024 is for programs that use select."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
