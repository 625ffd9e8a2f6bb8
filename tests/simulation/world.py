"""
A world in one thread and no time: a clock, chance from a seed, wires with latency, and a daemon that can be killed.

The same seed gives the same world, step by step.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from zope.interface import implementer

#: What a message needs at most to get to the other side, in seconds.
LATENCY = 0.05

#: No world needs longer. Virtual seconds.
LONGEST = 3 * 3600.0

#: How long a call may take, in seconds: so long that most are answered, so short that what hangs is seen.
TIMEOUT = 120.0


@attrs.define(eq=False)
class World:
    """
    Time, chance, and what was seen to be wrong.

    @ivar wrongs: promises that were broken, in words.
    @ivar gone: the names of clients that have left.
    @ivar tasks: chance for all that has to do with tasks: without any, a world is what it was before there were some.
    @ivar tales: the same for servers that tell of their tasks more often than they need.
    @ivar roots: the same for servers that go by roots.
    @ivar hangs: the same for servers that hang for good, or are slow.
    """

    seed: int
    clock: Clock = attrs.Factory(Clock)
    wrongs: list[str] = attrs.Factory(list)
    gone: set[str] = attrs.Factory(set)
    chance: random.Random = attrs.field(init=False)
    tasks: random.Random = attrs.field(init=False)
    tales: random.Random = attrs.field(init=False)
    roots: random.Random = attrs.field(init=False)
    hangs: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.tasks = random.Random(self.seed + 2)
        self.tales = random.Random(self.seed + 3)
        self.roots = random.Random(self.seed + 4)
        self.hangs = random.Random(self.seed + 5)

    def wrong(self, what: str) -> None:
        """A promise was broken."""
        self.wrongs.append(f"{self.clock.seconds():.3f} s: {what}")

    def maybe(self, probability: float) -> bool:
        """Whether it happens this time."""
        return self.chance.random() < probability

    def later(self, longest: float, what: Callable[..., Any], *args: Any) -> IDelayedCall:
        """Do it within so many seconds."""
        return self.clock.callLater(self.chance.uniform(0.0, longest), what, *args)

    def run_until(self, done: Callable[[], bool]) -> bool:
        """
        Let time pass, from one thing that happens to the next.

        @return: whether it was done before there was nothing left to happen, or no time.
        """
        while not done():
            calls = self.clock.getDelayedCalls()
            if not calls or self.clock.seconds() > LONGEST:
                return False
            self.clock.advance(max(0.0, min(call.getTime() for call in calls) - self.clock.seconds()))
        return True


@attrs.define(eq=False)
class Wire:
    """
    One direction of a connection: messages in order, each after some time, until it is cut.

    @ivar _arrived: called with each message at the far end.
    """

    _world: World
    _arrived: Callable[..., None]
    _last: float = 0.0
    _cut: bool = False
    _slow: bool = False
    _waiting: list[tuple[Any, ...]] = attrs.Factory(list)

    def put(self, *message: Any) -> None:
        """Send it on its way."""
        if self._cut:
            return
        now = self._world.clock.seconds()
        self._last = max(self._last, now + self._world.chance.uniform(0.0, LATENCY))
        self._world.clock.callLater(self._last - now, self._arrive, *message)

    def cut(self) -> None:
        """What is under way is lost, and all that follows."""
        self._cut = True
        self._waiting.clear()

    def pause(self) -> None:
        """The far end does not read."""
        self._slow = True

    def resume(self) -> None:
        """It reads on."""
        self._slow = False
        self._world.clock.callLater(0, self._drain)

    def _arrive(self, *message: Any) -> None:
        if not self._cut:
            self._waiting.append(message)
            self._drain()

    def _drain(self) -> None:
        while self._waiting and not self._slow:
            self._arrived(*self._waiting.pop(0))


@implementer(IReactorTime)
class Life:
    """The clock of one daemon: with its death, all that it had planned is off."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._planned: set[IDelayedCall] = set()
        self._over = False

    def seconds(self) -> float:
        """See L{IReactorTime}."""
        return self._clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> IDelayedCall:
        """See L{IReactorTime}."""
        assert not self._over, "planned by a dead daemon"

        def due() -> None:
            self._planned.discard(call)
            callable(*args, **kwargs)

        call: IDelayedCall = self._clock.callLater(delay, due)
        self._planned.add(call)
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """See L{IReactorTime}."""
        return [call for call in self._planned if call.active()]

    def end(self) -> None:
        """The daemon dies."""
        for call in self.getDelayedCalls():
            call.cancel()
        self._planned.clear()
        self._over = True
