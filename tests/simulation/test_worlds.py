"""
Whole worlds from a seed: clients, a daemon, a server, and all that can go wrong between them.

The daemon's own sessions, links and bridges run here, with only the bytes simulated. C{MCPBRIDGE_SEED=n} replays one
world, C{MCPBRIDGE_SEEDS=n} runs so many.
"""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.configuration import ChildUpstream, HTTPUpstream, Settings, Sharing, Upstream
from mcpbridge.core.errors import Reason
from mcpbridge.core.events import Opened
from mcpbridge.core.pulse import TAKEN_OVER
from mcpbridge.interfaces import IClientTransport, IMessageTransport
from mcpbridge.service.links import Link
from mcpbridge.service.receptions import Reception
from mcpbridge.service.snapshots import SnapshotStore
from mcpbridge.service.upstreams import UpstreamService
from tests.simulation.clients import Client
from tests.simulation.promises import Log
from tests.simulation.servers import Machine
from tests.simulation.stateless_clients import StatelessClient
from tests.simulation.tasks import TERMINAL
from tests.simulation.transports import Transport, transport_to
from tests.simulation.world import LONGEST, TIMEOUT, Life, World

#: Worlds in one run of the tests: a few seconds of time.
SEEDS = 200

#: So long it takes to start a server anew, and to open, in seconds.
_OPENS = 3.0

#: So long it takes until it is known that a call has become a task, in seconds. What is let go meanwhile may go on: a
#: client that is gone, and one of the stateless era, cannot learn the name of a task that it does not want.
CROSSING = 4.0


@attrs.define(eq=False)
class Daemon:
    """The part of the daemon that is proved here: sessions, links, bridges, peers."""

    _world: World
    _machine: Machine
    _snapshots: SnapshotStore
    _settings: Settings
    _numbers: Iterator[int]
    _life: Life = attrs.field(init=False)
    _service: UpstreamService = attrs.field(init=False)
    _sessions: set[Reception] = attrs.Factory(set)
    _transports: list[Transport] = attrs.Factory(list)
    _links: set[Link] = attrs.Factory(set)
    name: str = "up"

    def __attrs_post_init__(self) -> None:
        self._life = Life(self._world.clock)
        chance = random.Random(self._world.seed + 1)
        upstream: Upstream = HTTPUpstream("up", "http://up/", settings=self._settings)
        if self._machine.kind == "pipe":
            upstream = ChildUpstream("up", "up", settings=self._settings)
        self._service = UpstreamService(
            upstream,
            self._life,
            self._make_transport,
            self._snapshots,
            self._numbers,
            chance.random,
        )

    def _make_transport(self, upstream: Upstream, cwd: str) -> Transport:
        transport = transport_to(self._machine)
        self._transports.append(transport)
        return transport

    def acquire(self, opened: Opened, cwd: str) -> Link:
        """See L{mcpbridge.service.sessions.Server}."""
        link = self._service.acquire(opened, cwd)
        self._links.add(link)
        return link

    def release(self, link: Link) -> None:
        """See L{mcpbridge.service.sessions.Server}."""
        self._service.release(link)

    def serve(self, client: Client) -> None:
        """A client's relay has come."""
        session = Reception(self, "", client.pipe, self._life, self._numbers, self._numbers, self._sessions.discard)
        self._sessions.add(session)
        session.start()

    def kill(self, clients: Sequence[Client]) -> None:
        """C{kill -9}."""
        self._life.end()
        for transport in self._transports:
            transport.orphan()
        for client in clients:
            client.pipe.let_go()

    def stop(self) -> Deferred[None]:
        """In good order."""
        stopping = self._service.stop(Reason.STOPPING, "mcpbridge is stopping")
        for session in list(self._sessions):
            session.stop("mcpbridge is stopping")
        return stopping

    def left(self) -> dict[str, int]:
        """What is in the tables of all that was ever there."""
        counts = {"sessions of the daemon": len(self._sessions), "timers": len(self._life.getDelayedCalls())}
        for link in self._links:
            for what, count in link.bridge.counts().items():
                counts[what] = counts.get(what, 0) + count
        return {what: count for what, count in counts.items() if count}


@attrs.define(eq=False)
class Story:
    """One world from its beginning to its end."""

    seed: int
    world: World = attrs.field(init=False)
    machine: Machine = attrs.field(init=False)
    clients: list[Client] = attrs.field(init=False)
    daemon: Daemon | None = None
    _over: bool = False
    _hangs_for_good: bool = False
    _settings: Settings = attrs.field(init=False)
    _snapshots: SnapshotStore = attrs.Factory(SnapshotStore.in_memory)
    _numbers: Iterator[int] = attrs.Factory(lambda: itertools.count(1))

    def __attrs_post_init__(self) -> None:
        self.world = World(self.seed)
        chance = self.world.chance
        kinds: Sequence[Literal["pipe", "http"]] = ("pipe", "http")
        # The first worlds are as they were before there was a stateless era.
        eras: Sequence[Literal["session", "stateless", "both"]] = ("session", "stateless", "both")
        era = "session" if self.seed % 2 else eras[self.seed // 2 % 3]
        self.machine = Machine(self.world, chance.choice(kinds), self.world.maybe(0.5), self.world.maybe(0.5), era)
        if self.world.tasks.random() < 0.5:
            self.machine.take_tasks()
        self.machine.rooted = era != "stateless" and self.world.roots.random() < (0.2 if self.seed % 2 else 0.4)
        hangs = self.world.hangs.random()
        self._hangs_for_good, self.machine.slow = hangs < 0.1, 0.1 <= hangs < 0.2
        sharing = chance.choice(list(Sharing))
        self._settings = Settings(session=sharing, snapshot=self.world.maybe(0.8), timeout=TIMEOUT)
        exclusive = sharing is not Sharing.SHARED
        self.clients = [self._client(f"c{number}", exclusive) for number in range(chance.randrange(1, 6))]

    def _client(self, name: str, exclusive: bool) -> Client:
        world = self.world
        kind = Client if self.seed % 2 or world.maybe(0.4) else StatelessClient
        client = kind(
            name,
            world,
            self.machine,
            exclusive,
            actions=world.chance.randrange(2, 14),
            patient=world.maybe(0.7),
            whole=self._settings.snapshot,
        )
        if isinstance(client, StatelessClient):
            client.both = world.maybe(0.3)
            client.knows_tasks = self.machine.tasks is not None and world.tasks.random() < 0.6
        if self.machine.tasks is not None and world.tasks.random() < 0.3:
            client.version = "2025-06-18"
        return client

    def run(self) -> Story:
        """All of it."""
        log = Log(self.machine)
        globalLogPublisher.addObserver(log)
        try:
            return self._run()
        finally:
            globalLogPublisher.removeObserver(log)

    def _run(self) -> Story:
        self._new_daemon()
        for client in self.clients:
            if self.machine.rooted:
                self._come_in_turn(client)
            else:
                self.world.later(15.0, self._come, client)
        if self._hangs_for_good:
            self.world.clock.callLater(self.world.hangs.uniform(3.0, 40.0), self.machine.hang_for_good)
        else:
            for _ in range(self.world.chance.choice((0, 1, 3, 8))):
                self.world.later(40.0, self._disturb)
        if self.machine.tasks is not None and self.world.tasks.random() < 0.1:
            self._stop_early()
        elif not self.world.run_until(self._all_gone):
            for client in self.clients:
                if not client.done:
                    self.world.wrong(f"{client.name} still waits for {client.open}")
        elif self._hangs_for_good and self.machine.kind == "pipe":
            self._see_the_next()
        self._stop()
        return self

    def _new_daemon(self) -> None:
        self.daemon = Daemon(self.world, self.machine, self._snapshots, self._settings, self._numbers)
        for client in self.clients:
            if client.pipe.began and not client.done:
                self.daemon.serve(client)

    def _come(self, client: Client) -> None:
        client.pipe.began = True
        if self.daemon is not None:
            self.daemon.serve(client)
        client.start()

    def _come_in_turn(self, client: Client) -> None:
        """Most are gone when the next one comes."""
        client.patient = self.world.roots.random() < 0.2
        self.world.clock.callLater(self.world.roots.uniform(0.0, 60.0), self._come, client)

    def _see_the_next(self) -> None:
        """Who comes after the last has gone gets a server that works, if that one did not answer the last."""
        client = self._client("next", self.clients[0].exclusive)
        client.actions, client.patient = 60, True
        self.clients.append(client)
        world = self.world
        world.run_until(lambda: self.machine.hung_at is not None)
        world.clock.callLater(world.hangs.choice((0.0, 1.0, 10.0)) * world.hangs.uniform(1.0, 40.0), self._come, client)
        world.run_until(lambda: client.pipe.began)
        hung = [transport for transport in self.machine.hung if transport.connected]
        if all(transport.is_doubted for transport in hung):
            client.trusting = client.came + TAKEN_OVER + _OPENS
        if not world.run_until(lambda: client.done):
            world.wrong(f"{client.name} still waits for {client.open}")

    def _disturb(self) -> None:
        machine, chance = self.machine, self.world.chance
        match chance.randrange(8):
            case 0:
                machine.crash(chance.choice((0.1, 3.0, 30.0)))
            case 1:
                machine.cut()
            case 2:
                machine.forget()
            case 3:
                machine.hang(chance.choice((1.0, 200.0)))
            case 4 | 5:
                machine.change()
            case 6:
                machine.flood()
            case 7:
                self._kill()

    def _kill(self) -> None:
        if self._over:
            return
        daemon, self.daemon = self.daemon, None
        if daemon is not None:
            if self.machine.tasks is not None:
                self.machine.tasks.orphaned = self.world.clock.seconds()
            daemon.kill(self.clients)
            self.world.later(3.0, self._new_daemon)

    def _all_gone(self) -> bool:
        return self.daemon is not None and all(client.done for client in self.clients)

    def _look_at_tasks(self) -> None:
        """A task that nobody but its call knows of ends with it."""
        tasks = self.machine.tasks
        if tasks is None:
            return
        since = max(tasks.orphaned, self.machine.troubled)
        let_go = {
            token: call
            for client in self.clients
            for token, call in client.let_go.items()
            if call.request_id not in client.given
        }
        for task in tasks.ever.values():
            call = let_go.get(task.token)
            if call is None or task.at < since or task.is_over:
                continue
            if (task.owner is not None and call.is_cancelled) or call.at > task.at + CROSSING:
                self.world.wrong(f"{task} goes on, and nobody knows of it")

    def _stop_early(self) -> None:
        """In good order, while there are clients: they are told."""
        end = self.world.clock.seconds() + self.world.tasks.uniform(5.0, 30.0)
        self.world.run_until(lambda: self.world.clock.seconds() >= end and self.daemon is not None)
        # Whatever is lost from now on is lost with good reason.
        self.machine.troubled = end = self.world.clock.seconds()
        self.machine.troubled += LONGEST
        self._over = True
        assert self.daemon is not None
        self.daemon.stop()
        self.world.clock.callLater(10.0, int)
        self.world.run_until(lambda: self.world.clock.seconds() >= end + 10.0)
        for client in self.clients:
            waits = [asked for asked in client.open.values() if asked.at < end and asked.held is None]
            if client.pipe.began and not client.done and waits:
                self.world.wrong(f"{client.name} was not told that the daemon stops: {waits}")
            if not client.done:
                client.leave()

    def _stop(self) -> None:
        daemon, self.daemon = self.daemon, None
        assert daemon is not None
        self.world.run_until(lambda: not daemon._sessions)
        self.world.clock.callLater(5.0, int)
        # A stream of changes that is ended is opened anew, for as long as there is a daemon.
        late = self.world.clock.seconds() + 1200.0
        self.world.run_until(lambda: not self.world.clock.getDelayedCalls() or self.world.clock.seconds() > late)
        for question in self.machine.waits():
            self.world.wrong(f"{question} was never answered")
        self._look_at_tasks()
        stopped: list[None] = []
        daemon.stop().addCallback(stopped.append)
        self.world.run_until(lambda: bool(stopped))
        if not stopped:
            self.world.wrong("the daemon does not stop")
        left = daemon.left()
        if self._over:
            # Who was there when the bridges were closed is not in use of them any more.
            left.pop("sessions", None)
        if left:
            self.world.wrong(f"the daemon left {left}")
        self.world.run_until(lambda: False)
        if self.machine.transports:
            self.world.wrong("connections were left")
        twice = {token: count for token, count in self.machine.ledger.items() if count > 1}
        if twice:
            self.world.wrong(f"run more than once: {twice}")


def seeds() -> Sequence[int]:
    """Which worlds to run."""
    if "MCPBRIDGE_SEED" in os.environ:
        return (int(os.environ["MCPBRIDGE_SEED"]),)
    return range(int(os.environ.get("MCPBRIDGE_SEEDS", SEEDS)))


class WorldTests(SynchronousTestCase):
    """What is promised to clients holds in every world."""

    def test_promises(self) -> None:
        """
        Each request is answered once, by its own answer, in time; no message goes astray; no call runs twice, or in
        roots of somebody else; what hangs is ended, and nothing else; nothing is left.
        """
        broken = {}
        for seed in seeds():
            story = Story(seed).run()
            if story.world.wrongs:
                broken[seed] = story.world.wrongs

        text = "\n".join(f"MCPBRIDGE_SEED={seed}: {'; '.join(wrongs[:5])}" for seed, wrongs in broken.items())
        self.assertEqual({}, broken, text)

    def test_worlds_are_worth_running(self) -> None:
        """In most worlds most calls are answered well, and in some things go wrong: or nothing would be proved."""
        stories = [Story(seed).run() for seed in range(40)]

        answered = sum(client.answered for story in stories for client in story.clients)
        failed = sum(len(client.errors) for story in stories for client in story.clients)
        ran = sum(story.machine.ledger.total() for story in stories)
        tasks = Counter(
            (task.owner is None, task.status)
            for story in stories
            if story.machine.tasks is not None
            for task in story.machine.tasks.ever.values()
        )
        self.assertTrue(0.02 * answered < failed < 0.5 * answered, (answered, failed))
        self.assertTrue(ran > 100, ran)
        self.assertTrue(any(client.trusting for story in stories for client in story.clients))
        self.assertTrue(any(transport.ended_at > 0.0 for story in stories for transport in story.machine.hung))
        self.assertTrue(any(story.machine.rooted for story in stories) and any(story.machine.slow for story in stories))
        self.assertTrue({(era, status) for era in (False, True) for status in TERMINAL} <= tasks.keys(), tasks)

    def test_same_seed_same_world(self) -> None:
        """Or a failure could not be found again."""
        first, second = (
            [(client.answered, client.errors, client.over) for client in story.clients]
            for story in (Story(7).run(), Story(7).run())
        )

        self.assertEqual(first, second)

    def test_doors(self) -> None:
        """The transports of these worlds are what the daemon's are."""
        story = Story(0)

        self.assertTrue(verifyObject(IClientTransport, story.clients[0].pipe))
        self.assertTrue(verifyObject(IMessageTransport, transport_to(story.machine)))
