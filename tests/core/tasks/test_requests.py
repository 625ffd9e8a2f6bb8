"""Tests of L{mcpbridge.core.tasks.requests}."""

from __future__ import annotations

import itertools

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.events import Called, Cancelled, Completed
from mcpbridge.core.tasks.requests import Answer, Requests
from mcpbridge.core.tasks.steps import Down, Post, Up
from tests.core.tasks.desks import raw


class RequestsTests(SynchronousTestCase):
    """L{Requests}."""

    def test_answered(self) -> None:
        """An answer goes to who asked, once."""
        requests = Requests(itertools.count(1))
        heard: list[Answer] = []

        def then(event: Answer) -> list[Down]:
            heard.append(event)
            return [Down(event)]

        xid, asked = requests.ask("tasks/get", {"taskId": raw("t")}, then)
        was_open = xid in requests
        answer = Completed(xid, raw({}))
        steps = requests.answered(answer)

        self.assertEqual((1, Up(Called(1, "tasks/get", raw({"taskId": "t"})))), (xid, asked))
        self.assertEqual((True, False, 0), (was_open, xid in requests, len(requests)))
        self.assertEqual(([answer], [Down(answer)]), (heard, steps))

    def test_dropped(self) -> None:
        """One that is not wanted any more is cancelled, once."""
        requests = Requests(itertools.count(1))
        xid, _ = requests.ask("tasks/get", {}, lambda event: ())

        self.assertEqual([(Up(Cancelled(1)),), ()], [requests.drop(xid), requests.drop(xid)])

    def test_left(self) -> None:
        """One made for somebody is cancelled when that one leaves; not when it is answered, nor for a stranger."""
        requests = Requests(itertools.count(1))
        requests.ask_for("a", "tasks/get", {}, lambda event: ())
        requests.ask_for("b", "tasks/get", {}, lambda event: ())

        requests.answered(Completed(2, raw({})))

        self.assertEqual([(Up(Cancelled(1)),), None, None], [requests.leave(who) for who in ("a", "b", "c")])

    def test_posted(self) -> None:
        """One whose answer does not matter is not remembered."""
        requests = Requests(itertools.count(1))

        self.assertEqual(Post(Called(1, "tasks/cancel", raw({}))), requests.post("tasks/cancel", {}))
        self.assertEqual(0, len(requests))

    def test_cleared(self) -> None:
        """Nothing is left of a client that is gone."""
        requests = Requests(itertools.count(1))
        requests.ask("tasks/get", {}, lambda event: ())

        requests.clear()

        self.assertEqual(0, len(requests))
