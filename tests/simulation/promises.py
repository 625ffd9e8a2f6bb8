"""
What is promised to the clients of L{tests.simulation.clients} by servers that go by roots, hang, or tell of tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

from tests.simulation.roots import PATIENCE
from tests.simulation.servers import Machine
from tests.simulation.world import TIMEOUT

if TYPE_CHECKING:
    from tests.simulation.clients import Asked, Client

#: Seconds in which a client need not have heard yet what it was told in time: it may not read for a while.
_GRACE: Final = 6.0


def check_deadline(client: Client, asked: Asked) -> None:
    """Whoever hangs, nobody waits for ever. Before that, questions may prolong the wait."""
    began = client.machine.hung_at
    if began is None or asked.held is not None or (asked.asks and asked.at > began):
        return
    # A call that may become a task looks for the tools first, and waits for what comes of it afterwards.
    deadline = TIMEOUT * (1 if client.machine.tasks is None else 3) + _GRACE
    if client.world.clock.seconds() > max(asked.at, began, client.restarted) + deadline:
        client.world.wrong(f"{client.name} waited too long for {asked}")


def check_roots(client: Client, asked: Asked, result: dict[str, Any]) -> None:
    """
    A server that goes by roots goes by those of the client that calls, or by none, and gets the call soon.

    @param result: loses what L{tests.simulation.roots} has put there.
    """
    owner, came, since = (result.pop(name, None) for name in ("roots", "came", "since"))
    if owner is None or client.machine.troubled > client.came:
        return
    # The server of a client that does not read is not read either, and is not heard to ask.
    if owner not in ("", client.name) and client.dawdled < client.came:
        client.world.wrong(f"{asked} was answered by the roots of {owner}")
    # Over HTTP it may be turned away, and where there are tasks the tools are looked for first.
    is_direct = client.machine.kind == "pipe" and client.machine.tasks is None and client.restarted < client.came
    if is_direct and since < asked.at and came > asked.at + PATIENCE:
        client.world.wrong(f"{asked} waited {came - asked.at:.3f} s for roots")


def check_followed(client: Client, asked: Asked) -> None:
    """What comes of a task that its client knows nothing of is asked for once."""
    tasks = client.machine.tasks
    if tasks is None or not asked.tool or asked.wants_task or client.machine.kind != "pipe":
        return
    since = max(client.machine.troubled, client.restarted)
    for task in tasks.ever.values():
        if task.token == asked.token and task.at > since and task.fetched > 1:
            client.world.wrong(f"the result of {task} was asked for {task.fetched} times")


@implementer(ILogObserver)
@attrs.define(eq=False)
class Log:
    """The daemon's: only what hangs is said to."""

    _machine: Machine

    def __call__(self, event: LogEvent) -> None:
        """See L{ILogObserver}."""
        machine, now = self._machine, self._machine.world.clock.seconds()
        hung = any(transport.ended_at == now for transport in machine.hung)
        if "it hangs" in event.get("text", "") and not hung and max(machine.troubled, machine.unheard) < now:
            machine.world.wrong("a server was ended that only was slow")
