"""
A session of a server that asks for roots by itself when it is opened, keeps them, and goes by them in what it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

from mcpbridge.core import jsonrpc
from mcpbridge.core.handovers import ANSWERED, ASKED, SETTLED
from mcpbridge.core.jsonrpc import Error, Message, Request, RequestId, Result
from tests.simulation.world import LATENCY, World

#: How long a client takes to say its roots, and a server to make them its own, in seconds at most.
ANSWERS: Final = 1.0
_SETTLES: Final = SETTLED - LATENCY

#: How long a call may wait for them, in seconds, with all the ways that it goes meanwhile.
PATIENCE: Final = ASKED + ANSWERED + SETTLED + 8 * LATENCY


@attrs.define(eq=False)
class Roots:
    """
    Those of one session.

    @ivar _say: tells the client something.
    @ivar _ids: of requests to the client.
    @ivar owner: whose they are.
    """

    _world: World
    _say: Callable[[Message], None]
    _ids: Iterator[int]
    owner: str = ""
    _asked: RequestId | None = None
    _since: float = 0.0

    def __attrs_post_init__(self) -> None:
        self._since = self._world.clock.seconds()

    def ask(self) -> None:
        """There are some, or others than before."""
        self._asked = f"r{next(self._ids)}"
        self._say(Request(self._asked, "roots/list"))

    def answered(self, message: Result | Error) -> bool:
        """Whether this answers the last question of them."""
        if message.id is None or message.id != self._asked:
            return False
        if isinstance(message, Result):
            owner = "".join(root["uri"].removeprefix("file:///") for root in jsonrpc.read(message.result)["roots"])
            self._world.clock.callLater(self._world.roots.uniform(0.0, _SETTLES), self._settle, message.id, owner)
        return True

    def _settle(self, asked: RequestId, owner: str) -> None:
        if asked == self._asked:
            self.owner = owner

    def mark(self) -> dict[str, Any]:
        """What the result of a call says that comes now: whose roots it goes by, since when there is a session."""
        return {"roots": self.owner, "came": self._world.clock.seconds(), "since": self._since}


def roots_of(name: str) -> dict[str, Any]:
    """What a client says when it is asked."""
    return {"roots": [{"uri": f"file:///{name}"}]}
