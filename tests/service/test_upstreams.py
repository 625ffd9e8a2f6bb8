"""
Tests for L{mcpbridge.service.upstreams}.
"""

import itertools

from msgspec import Raw
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.configuration import ChildUpstream, Settings, Sharing
from mcpbridge.core.bridge import Phase
from mcpbridge.core.errors import LimitExceeded, Reason
from mcpbridge.core.events import Event, Opened
from mcpbridge.service.links import Link
from mcpbridge.service.snapshots import SnapshotStore
from mcpbridge.service.upstreams import MAX_IDLE, UpstreamService
from tests.fakes import Server

PLAIN = {"protocolVersion": Raw(b'"2025-06-18"'), "capabilities": Raw(b"{}")}
WITH_ROOTS = {**PLAIN, "capabilities": Raw(b'{"roots":{}}')}


class Listener:
    """A session that only listens."""

    def told(self, event: Event) -> None:
        pass

    def hold(self) -> None:
        pass

    def go_on(self) -> None:
        pass

    def failed(self) -> None:
        pass


class UpstreamServiceTests(SynchronousTestCase):
    """Whose link a client gets."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = Server(self.clock)
        self.numbers = itertools.count(1)

    def make(self, settings: Settings | None = None, cwd: str | None = "/srv") -> UpstreamService:
        configured = ChildUpstream("s", "true", (), {}, cwd, settings or Settings())
        snapshots = SnapshotStore.in_memory()
        return UpstreamService(configured, self.clock, self.server.make, snapshots, self.numbers, lambda: 0.5)

    def use(self, service: UpstreamService, params: dict[str, Raw] = PLAIN, cwd: str = "/home") -> Link:
        """What a session does with a link: takes it, says that it has opened, waits until it is up."""
        opened = Opened(next(self.numbers), "2025-06-18", params)
        link = service.acquire(opened, cwd)
        link.attach(opened.xid, Listener())
        link.deliver(opened.xid, opened)
        self.clock.advance(0)
        self.clock.advance(0)
        self.last = opened.xid
        return link

    def leave(self, service: UpstreamService, link: Link) -> None:
        """What a session does when its client goes."""
        link.detach(self.last)
        service.release(link)

    def test_outlives_its_client(self) -> None:
        """The next client of the same capabilities takes the session over, and the server sees no second opening."""
        service = self.make()
        first = self.use(service)
        self.leave(service, first)

        second = self.use(service)

        self.assertIs(first, second)
        self.assertEqual(1, len(self.server.transports))
        self.assertEqual(Phase.READY, second.bridge.phase)

    def test_never_two_at_once(self) -> None:
        """While one client has a session the next gets one of its own."""
        service = self.make()

        first, second = self.use(service), self.use(service)

        self.assertIsNot(first, second)
        self.assertEqual(2, len(self.server.transports))

    def test_capabilities_keep_apart(self) -> None:
        """A client that can do something else does not get a session that was opened for another."""
        service = self.make()
        first = self.use(service)
        self.leave(service, first)

        second = self.use(service, WITH_ROOTS)

        self.assertIsNot(first, second)

    def test_folders_keep_apart(self) -> None:
        """A child without a folder of its own runs in its client's, so clients of another folder get another child."""
        service = self.make(cwd=None)
        first = self.use(service, cwd="/a")
        self.leave(service, first)

        elsewhere = self.use(service, cwd="/b")
        self.leave(service, elsewhere)
        again = self.use(service, cwd="/a")

        self.assertIsNot(first, elsewhere)
        self.assertIs(first, again)

    def test_per_client(self) -> None:
        """With C{per-client} the session ends with its client."""
        service = self.make(Settings(session=Sharing.PER_CLIENT))
        first = self.use(service)

        self.leave(service, first)

        self.assertEqual([True], [transport.is_disconnected for transport in self.server.transports])
        self.assertIsNot(first, self.use(service))

    def test_shared(self) -> None:
        """With C{shared} all have the same, whatever they can do; the server is told of no capability."""
        service = self.make(Settings(session=Sharing.SHARED), cwd=None)

        first, second = self.use(service), self.use(service, WITH_ROOTS, cwd="/elsewhere")

        self.assertIs(first, second)
        (transport,) = self.server.transports
        (opening,) = transport.requests("initialize")
        self.assertIn(b'"capabilities":{}', bytes(opening.params or b""))

    def test_surplus_idles_out(self) -> None:
        """Of two sessions of one kind that nobody uses, one goes after the idle time; the other stays."""
        service = self.make(Settings(idle_timeout=60.0))
        first = self.use(service)
        number = self.last
        second = self.use(service)
        self.leave(service, second)
        self.last = number
        self.leave(service, first)

        self.clock.advance(61)
        self.clock.advance(600)

        self.assertEqual([False, True], sorted(transport.is_disconnected for transport in self.server.transports))

    def test_used_again_in_time(self) -> None:
        """One that is taken over before its time is up does not idle out."""
        service = self.make(Settings(idle_timeout=60.0))
        first = self.use(service)
        self.leave(service, first)
        self.clock.advance(59)

        self.use(service)
        self.use(service)
        self.clock.advance(120)

        self.assertEqual([False, False], [transport.is_disconnected for transport in self.server.transports])

    def test_room_for_few_idle_ones(self) -> None:
        """Of many folders that were worked in once, only the last ones keep their process."""
        service = self.make(cwd=None)
        for folder in range(MAX_IDLE + 3):
            self.leave(service, self.use(service, cwd=f"/{folder}"))

        ended = [transport.is_disconnected for transport in self.server.transports]

        self.assertEqual([True] * 3 + [False] * MAX_IDLE, ended)

    def test_limit(self) -> None:
        """More clients at once than C{maxSessions} are refused with a sentence; an idle session makes room."""
        service = self.make(Settings(max_sessions=2), cwd=None)
        idle = self.use(service, cwd="/idle")
        self.leave(service, idle)
        self.use(service, cwd="/a")
        self.use(service, cwd="/b")

        error = self.assertRaises(LimitExceeded, self.use, service, PLAIN, "/c")

        self.assertIn("s: 2 clients use this server already", str(error))

    def test_remembers(self) -> None:
        """What one session has learned is there for the next, also in another one of the same profile."""
        service = self.make(Settings(session=Sharing.PER_CLIENT))
        self.leave(service, self.use(service))

        link = service.acquire(Opened(99, "2025-06-18", PLAIN), "/home")

        snapshot = link.bridge.snapshot()
        assert snapshot is not None
        self.assertIn(b'"listChanged":true', bytes(snapshot.opening))

    def test_stop(self) -> None:
        """Stopping ends every link, and waits for their transports."""
        service = self.make()
        self.use(service)
        self.use(service)

        stopped = service.stop(Reason.STOPPING, "the end")

        self.successResultOf(stopped)
        self.assertEqual([True, True], [transport.is_disconnected for transport in self.server.transports])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_status(self) -> None:
        """An operator sees the target, the policy and each link."""
        service = self.make()
        self.use(service)

        self.assertEqual(
            {
                "target": "true",
                "session": "persistent",
                "links": [
                    {"phase": "ready", "sessions": 1, "open_requests": 0, "last_error": None, "in_use": True},
                ],
            },
            service.status(),
        )
