"""Tests of L{mcpbridge.core.tasks.terms}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.errors import ErrorObject
from mcpbridge.core.events import Called, Completed, Envelope, Failed, Opened
from mcpbridge.core.tasks.offer import Offer
from mcpbridge.core.tasks.terms import Terms
from tests.core.tasks.desks import (
    MODERN_CLIENT,
    NO_TASKS,
    OLD_CLIENT,
    T1_CLIENT,
    T1_SERVER,
    T2_CLIENT,
    T2_SERVER,
    raw,
)


def terms(client: tuple[str, object], server: tuple[str, object] | None, alone: bool = True) -> Terms:
    """Those of a client and a server that have said what they are; of the server it may not be known."""
    offer = Offer()
    found = Terms(offer, alone)
    found.opened(Opened(1, client[0], {"capabilities": raw(client[1])}))
    if server is not None:
        offer.opened(raw({"protocolVersion": server[0], "capabilities": server[1]}))
    return found


class TermsTests(SynchronousTestCase):
    """L{Terms}."""

    def test_who_decides(self) -> None:
        """Equals need nobody between them; of others one decides what becomes a task, or nobody knows of any."""
        table = [
            (OLD_CLIENT, NO_TASKS, (True, False, False)),
            (OLD_CLIENT, T1_SERVER, (False, False, False)),
            (OLD_CLIENT, T2_SERVER, (False, False, False)),
            (T1_CLIENT, T1_SERVER, (False, False, False)),
            (T1_CLIENT, T2_SERVER, (False, False, True)),
            (MODERN_CLIENT, T1_SERVER, (False, False, False)),
            (MODERN_CLIENT, T2_SERVER, (True, False, False)),
            (T2_CLIENT, T1_SERVER, (False, True, False)),
            (T2_CLIENT, T2_SERVER, (True, False, False)),
        ]

        found = [terms(client, server) for client, server, _ in table]

        self.assertEqual(
            [expected for _, _, expected in table],
            [(each.are_equal, each.we_decide, each.server_decides) for each in found],
        )

    def test_not_known(self) -> None:
        """As long as the server has not said what it is, nothing passes unseen."""
        self.assertFalse(terms(T2_CLIENT, None).are_equal)

    def test_together(self) -> None:
        """On a conversation of several the server is told of tasks for all: one that has none is looked after."""
        self.assertEqual(
            [False, True], [terms(client, T2_SERVER, False).are_equal for client in (MODERN_CLIENT, T2_CLIENT)]
        )

    def test_asks(self) -> None:
        """Only a client of the session dialect can ask for a task."""
        call = Called(1, "tools/call", raw({"name": "x", "task": {}}))

        found = [terms(client, T1_SERVER).asks_for_task(call) for client in (OLD_CLIENT, T1_CLIENT, T2_CLIENT)]

        self.assertEqual([False, True, False], found)

    def test_task(self) -> None:
        """A task is what the server's dialect says is one."""
        task = raw({"taskId": "t"})

        found = [
            terms(OLD_CLIENT, T2_SERVER).task_of(Completed(1, task, Envelope(raw("task")))),
            terms(OLD_CLIENT, T2_SERVER).task_of(Completed(1, task, Envelope(raw("complete")))),
            terms(OLD_CLIENT, T2_SERVER).task_of(Failed(1, ErrorObject(1, "no"))),
            terms(OLD_CLIENT, T1_SERVER).task_of(Completed(1, raw({"task": {"taskId": "t"}}))),
        ]

        self.assertEqual([raw("t"), None, None, raw("t")], [each.get("taskId") for each in found])
