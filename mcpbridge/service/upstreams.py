"""
An upstream: one configured server, and the links to it that clients use, one after the other or at once.

Sessions outlive their clients here. A free link is handed to the next client of the same profile, never to two at a
time unless the user says that the server is to be shared.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Final

import attrs
from msgspec import Raw
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mcpbridge.configuration import ChildUpstream, Sharing, Upstream, digest
from mcpbridge.core import jsonrpc
from mcpbridge.core.bridge import Bridge, Phase, Policy
from mcpbridge.core.capabilities import TASKS_EXTENSION, profile
from mcpbridge.core.catalog import Snapshot
from mcpbridge.core.eras import legacy
from mcpbridge.core.errors import LimitExceeded, Reason
from mcpbridge.core.events import ExchangeId, Opened
from mcpbridge.core.negotiation import Negotiation, Verdict
from mcpbridge.core.printable import printable
from mcpbridge.core.tasks.desks import Desks
from mcpbridge.core.tasks.offer import Offer
from mcpbridge.interfaces import IMessageTransport
from mcpbridge.service.links import Link
from mcpbridge.service.snapshots import SnapshotStore
from mcpbridge.version import VERSION

#: Idle sessions of one server that are kept for clients to come, of all profiles and folders together. A developer has
#: a few clients and some dozen projects; each may mean a process.
MAX_IDLE: Final = 32


@attrs.define(eq=False, repr=False)
class _Lease:
    """A link of the pool."""

    link: Link
    key: Hashable
    users: int = 0
    expiry: IDelayedCall | None = None


@attrs.define(eq=False, repr=False)
class UpstreamService:
    """
    See the top of this module.

    @ivar configured: what the user wrote of it.
    @ivar _make_transport: a transport to it, for a client in this working directory.
    """

    configured: Upstream
    _clock: IReactorTime
    _make_transport: Callable[[Upstream, str], IMessageTransport]
    _snapshots: SnapshotStore
    _exchanges: Iterator[ExchangeId]
    _entropy: Callable[[], float]
    _verdict: Verdict = attrs.field(init=False)
    _leases: dict[Link, _Lease] = attrs.Factory(dict)
    _stopping: set[Deferred[None]] = attrs.Factory(set)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        era = self.configured.settings.era
        self._verdict = Verdict(era, era is not None)

    @property
    def name(self) -> str:
        """What the user calls it."""
        return self.configured.name

    def tools(self) -> Raw | None:
        """The C{tools/list} result, as far as it is known now; the same object for as long as it is the same list."""
        for lease in self._leases.values():
            snapshot = lease.link.bridge.snapshot()
            if snapshot is not None and "tools/list" in snapshot.lists:
                return snapshot.lists["tools/list"]
        return None

    def acquire(self, opened: Opened, cwd: str) -> Link:
        """
        A link for a client.

        @param opened: what the client says of itself.
        @param cwd: its working directory; a child without one of its own runs there.
        @raise LimitExceeded: C{maxSessions} are in use.
        """
        settings = self.configured.settings
        place = cwd if isinstance(self.configured, ChildUpstream) and self.configured.cwd is None else ""
        if settings.session is Sharing.SHARED:
            opened = _ourselves(opened)
            place = ""
        key = (profile(opened.version, opened.params), place)
        lease = self._free(key) if settings.session is not Sharing.PER_CLIENT else None
        if lease is None:
            lease = self._new(key, opened, place)
        lease.users += 1
        self._stop_expiry(lease)
        return lease.link

    def release(self, link: Link) -> None:
        """
        A client has done with a link. It stays for the next one; but one that is left over beside another of its
        kind goes after a while.
        """
        lease = self._leases.get(link)
        if lease is None:
            return
        lease.users -= 1
        if lease.users:
            return
        if self.configured.settings.session is Sharing.PER_CLIENT:
            self._stop(lease, Reason.STOPPING, f"{self.name}: the client is gone")
            return
        lease.expiry = self._clock.callLater(self.configured.settings.idle_timeout, self._expire, lease)
        # In order of last use: the first is the one that was idle for longest.
        self._leases[link] = self._leases.pop(link)
        idle = [other for other in self._leases.values() if not other.users]
        for surplus in idle[: max(0, len(idle) - MAX_IDLE)]:
            self._stop(surplus, Reason.STOPPING, f"{self.name}: nobody used this session any more")

    def stop(self, reason: Reason, text: str) -> Deferred[None]:
        """End every link. Fires when nothing is left of them."""
        for lease in list(self._leases.values()):
            self._stop(lease, reason, text)
        done: Deferred[None] = Deferred()
        DeferredList(list(self._stopping)).addCallback(lambda _: done.callback(None))
        return done

    def wake(self) -> None:
        """There is access to the server that was not there before."""
        for link in list(self._leases):
            link.wake()

    def busy(self) -> bool:
        """Whether a client waits for an answer."""
        return any(link.bridge.busy() for link in self._leases)

    def status(self) -> Mapping[str, object]:
        """For an operator, as plain values."""
        return {
            "target": self.configured.shown,
            "session": self.configured.settings.session.value,
            "links": [{**link.status(), "in_use": lease.users > 0} for link, lease in self._leases.items()],
        }

    def _free(self, key: Hashable) -> _Lease | None:
        shared = self.configured.settings.session is Sharing.SHARED
        fit = [lease for lease in self._leases.values() if lease.key == key and (shared or not lease.users)]
        # One that is up is better than one that is not, and the one that was used last is the warmest.
        return max(reversed(fit), key=lambda lease: lease.link.bridge.phase is Phase.READY, default=None)

    def _new(self, key: Hashable, opened: Opened, place: str) -> _Lease:
        settings = self.configured.settings
        if len(self._leases) >= settings.max_sessions:
            idle = next((lease for lease in self._leases.values() if not lease.users), None)
            if idle is None:
                raise LimitExceeded(
                    f"{self.name}: {settings.max_sessions} clients use this server already; "
                    "close one, or raise maxSessions in its configuration"
                )
            self._stop(idle, Reason.OVERLOADED, f"{self.name}: making room for another client")
        policy = _policy(self.configured)
        bridge = Bridge(
            self.name,
            opened,
            policy,
            lambda: Negotiation(self._verdict, self.name),
            self._exchanges,
            self._entropy,
            Desks(
                self._exchanges,
                secrets.token_urlsafe,
                self._timestamp,
                policy.exclusive,
                policy.call_timeout,
                Offer(name=self.name),
            ),
        )
        known_as = digest(self.configured), profile(opened.version, opened.params)
        snapshot = self._snapshots.load(*known_as) if settings.snapshot else None
        if snapshot is not None:
            bridge.remember(snapshot)
            if not self._verdict.fixed:
                self._verdict.era = self._verdict.era or snapshot.era

        def make_transport() -> IMessageTransport:
            return self._make_transport(self.configured, place)

        def save(snapshot: Snapshot) -> None:
            self._snapshots.save(*known_as, attrs.evolve(snapshot, era=self._verdict.era))

        lease = _Lease(Link(bridge, self._clock, make_transport, save), key)
        self._leases[lease.link] = lease
        return lease

    def _timestamp(self) -> str:
        # The reactor's clock says seconds since 1970.
        now = dt.datetime.fromtimestamp(self._clock.seconds(), dt.UTC)
        return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _expire(self, lease: _Lease) -> None:
        lease.expiry = None
        if any(other.key == lease.key and other is not lease and not other.users for other in self._leases.values()):
            self._log.info("{name}: a surplus session ends", name=printable(self.name))
            self._stop(lease, Reason.STOPPING, f"{self.name}: nobody used this session any more")

    def _stop_expiry(self, lease: _Lease) -> None:
        expiry, lease.expiry = lease.expiry, None
        if expiry is not None:
            expiry.cancel()

    def _stop(self, lease: _Lease, reason: Reason, text: str) -> None:
        self._stop_expiry(lease)
        del self._leases[lease.link]
        stopping = lease.link.stop(reason, text)
        self._stopping.add(stopping)
        stopping.addCallback(lambda _: self._stopping.discard(stopping))


def _policy(upstream: Upstream) -> Policy:
    settings = upstream.settings
    return Policy(
        exclusive=settings.session is not Sharing.SHARED,
        snapshot=settings.snapshot,
        call_timeout=settings.timeout,
        read_timeout=min(settings.timeout, Policy().read_timeout),
        opening_deadline=settings.initialize_deadline,
        has_pulse=isinstance(upstream, ChildUpstream),
    )


def _ourselves(opened: Opened) -> Opened:
    """How a shared server sees its clients: as mcpbridge, which can be asked nothing, and follows tasks for them."""
    params = {
        "protocolVersion": jsonrpc.value(legacy.VERSIONS[0]),
        "capabilities": jsonrpc.value({"extensions": {TASKS_EXTENSION: {}}}),
        "clientInfo": jsonrpc.value({"name": "mcpbridge", "version": VERSION}),
    }
    return attrs.evolve(opened, version=legacy.VERSIONS[0], params=params)
