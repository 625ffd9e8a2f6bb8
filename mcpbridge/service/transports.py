"""
How a transport to a configured server is made, and the ground that all of them stand on.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from mcpbridge.configuration import ChildUpstream, HTTPUpstream, Upstream
from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.interfaces import IMessageTransport
from mcpbridge.service.authorizers import Authorizers
from mcpbridge.service.coredumps import forbid_core_dumps
from mcpbridge.service.networks import network_for
from mcpbridge.service.reaper import Reaper, become_subreaper
from mcpbridge.upstream.child import ChildTransport
from mcpbridge.upstream.childprocess import ChildLimits
from mcpbridge.upstream.command import Command, Launcher
from mcpbridge.upstream.detect import TransportKind, http_transport
from mcpbridge.upstream.lineage import Lineage
from mcpbridge.upstream.stillbirths import Stillbirths


@attrs.define(eq=False)
class Transports:
    """
    See the top of this module.

    @ivar _state_dir: the folder that tells our processes from those of other daemons.
    @ivar _environment: what children inherit a little of.
    @ivar _kinds: by URL, which transport was found out to be spoken there.
    @ivar _stillbirths: by name, which servers' children die as soon as they are started.
    @ivar authorizers: what lets us in to servers behind a URL.
    """

    _reactor: Any
    _state_dir: str
    _environment: Mapping[str, str] = attrs.field(repr=False)
    _launcher: Launcher = attrs.field(factory=Launcher.find)
    _kinds: dict[str, TransportKind] = attrs.Factory(dict)
    _stillbirths: dict[str, Stillbirths] = attrs.Factory(dict)
    _lineage: Lineage = attrs.field(init=False)
    _reaper: Reaper = attrs.field(init=False)
    authorizers: Authorizers = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.authorizers = Authorizers(self._reactor, self._state_dir, self._environment)
        self._lineage = Lineage(self._state_dir)
        self._reaper = Reaper(self._reactor, self._lineage)

    def start(self) -> None:
        """Orphans come to us from now on, and what a daemon before us left behind is ended."""
        forbid_core_dumps()
        become_subreaper()
        self._reaper.startService()
        self._reaper.sweep()
        self.authorizers.start()

    def stop(self) -> Deferred[int]:
        """End whatever is left. Call it when all transports are disconnected."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> int:
        await self.authorizers.stop()
        return await self._reaper.stopService()

    def make(self, upstream: Upstream, cwd: str) -> IMessageTransport:
        """
        A transport that is not connected yet.

        @param cwd: where a child runs that has no folder of its own; if it is not there (a client in a container), the
            daemon's own.
        """
        if isinstance(upstream, ChildUpstream):
            return self._child(upstream, cwd)
        return self._http(upstream)

    def _child(self, upstream: ChildUpstream, cwd: str) -> ChildTransport:
        folder = upstream.cwd or (cwd if os.path.isdir(cwd) else None)
        command = Command((upstream.command, *upstream.args), upstream.env, folder)
        limits = ChildLimits(line=upstream.settings.max_message)
        stillbirths = self._stillbirths.setdefault(upstream.name, Stillbirths(self._reactor))
        return ChildTransport(
            self._reactor, upstream.name, command, self._lineage, self._launcher, self._environment, limits, stillbirths
        )

    def _http(self, upstream: HTTPUpstream) -> IMessageTransport:
        def found(kind: TransportKind) -> None:
            self._kinds[upstream.url] = kind

        kind = upstream.transport
        return http_transport(
            self._kinds.get(upstream.url, kind) if kind == "auto" else kind,
            self._reactor,
            network_for(upstream, self._environment).client(
                self._reactor, decorate=self.authorizers.decorate(upstream)
            ),
            upstream.url,
            upstream.headers,
            limits=HTTPLimits(max_message=upstream.settings.max_message),
            random=random.random,
            found=found,
            name=upstream.name,
        )
