"""Tests for L{mcpbridge.orphan.gap}."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.downstream.handover import Handover
from mcpbridge.orphan import gap
from mcpbridge.orphan.gap import PATIENCE, PLANNED, first_daemon, next_daemon
from tests.downstream.manual import drained
from tests.orphan.fake_relay import FakeRelay, Left

REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"x"}\n'


class Case(SynchronousTestCase):
    """With a relay, and a launch that the test decides about."""

    def setUp(self) -> None:
        """A relay without a daemon."""
        self.relay = FakeRelay(self.addCleanup)
        self.launched: list[float] = []
        self.failures: list[str] = []
        self.takes = 0.5
        self.patch(gap, "time", self.relay)
        self.patch(gap, "launch", self.launch)

    def launch(self, path: str, connect: Any, wait: Any, again: bool = False) -> str:
        """Takes as long as it should, half a second, and fails as often as it should."""
        self.launched.append(self.relay.now - 1000)
        wait({}, self.takes)
        if self.failures:
            return self.failures.pop(0)
        self.relay.daemons = ["daemon"]
        return ""

    def heard(self) -> list[Any]:
        """What the client has heard."""
        return [json.loads(line) for line in drained(self.relay.client_stdout).splitlines()]

    def at(self, seconds: float, happens: Any) -> None:
        """Something happens after a time, once."""
        before = self.relay.happens
        done: list[bool] = []

        def check() -> None:
            before()
            if self.relay.now - 1000 >= seconds and not done:
                done.append(True)
                happens()

        self.relay.happens = check

    def comes(self) -> None:
        """A daemon is there."""
        self.relay.daemons = ["daemon"]


class FirstTests(Case):
    """A client that has had no daemon yet."""

    def test_started(self) -> None:
        """One is started."""
        self.assertEqual(("daemon", [0.0]), (first_daemon(self.relay), self.launched))

    def test_failed(self) -> None:
        """If that fails the relay says why, and ends."""
        self.failures = ["out of cheese"]

        self.assertRaises(Left, first_daemon, self.relay)

        self.assertEqual("out of cheese", self.relay.told[-1])

    def test_gone_again(self) -> None:
        """A daemon that is gone as soon as it was ready is none."""
        self.patch(gap, "launch", lambda *_: "")

        self.assertRaises(Left, first_daemon, self.relay)

        self.assertEqual("the daemon does not listen at /run/m.sock", self.relay.told[-1])

    def test_forbidden(self) -> None:
        """None is started if that is forbidden."""
        self.relay.may_start = False

        self.assertRaises(Left, first_daemon, self.relay)

        self.assertEqual(
            ("no daemon listens at /run/m.sock, and --no-start forbids to start one", []),
            (self.relay.told[-1], self.launched),
        )


class NextTests(Case):
    """A client that has lost one."""

    def test_there_already(self) -> None:
        """If there is one, it is taken at once."""
        self.relay.daemons = ["daemon"]

        self.assertEqual(("daemon", 1000.0), (next_daemon(self.relay), self.relay.now))

    def test_started(self) -> None:
        """If not, one is started at once, and the client hears nothing."""
        os.write(self.relay.client_stdin, REQUEST)

        self.assertEqual(("daemon", [0.0], []), (next_daemon(self.relay), self.launched, self.heard()))

    def test_somebody_elses(self) -> None:
        """One that somebody else has started is found soon."""
        self.relay.may_start = False
        self.at(1.0, self.comes)

        next_daemon(self.relay)

        self.assertLess(self.relay.now, 1003.0)

    def test_fails_for_long(self) -> None:
        """Starting is tried again, though not all the time, and from a point on the client is answered meanwhile."""
        self.failures = ["out of cheese"] * 4
        self.at(4.9, lambda: self.assertEqual([], self.heard()))
        self.at(6.0, lambda: os.write(self.relay.client_stdin, REQUEST))

        next_daemon(self.relay)

        (answer,) = self.heard()
        self.assertIn("(out of cheese)", answer["error"]["message"])
        self.assertEqual(5, len(self.launched))
        self.assertGreater(self.launched[-1], 4 * gap.START_PAUSE)

    def test_answers_while_starting(self) -> None:
        """A daemon that takes long to start does not keep the client waiting."""

        def launch(path: str, connect: Any, wait: Any, again: bool = False) -> str:
            for _ in range(20):
                wait({}, 1.0)
            self.comes()
            return ""

        self.patch(gap, "launch", launch)
        os.write(self.relay.client_stdin, REQUEST)
        heard: list[float] = []
        self.relay.happens = lambda: heard.append(self.relay.now) if drained(self.relay.client_stdout) else None

        next_daemon(self.relay)

        self.assertLess(heard[0], 1000 + PATIENCE + 1.1)

    def test_open_requests(self) -> None:
        """What the dead daemon left open is answered when patience ends; the next daemon hears of it no more."""
        self.relay.may_start = False
        handover = Handover(os.dup(self.relay.memory))
        handover.slots.claim("a", 0)
        handover.close()
        self.at(PATIENCE + 1, self.comes)

        next_daemon(self.relay)

        found = Handover(os.dup(self.relay.memory))
        self.addCleanup(found.close)
        self.assertEqual((["a"], ()), ([answer["id"] for answer in self.heard()], found.unanswered()))

    def test_refused(self) -> None:
        """A daemon that does not want the client is asked again after a while; meanwhile the client hears why."""
        self.relay.refusal = "no such server"
        self.relay.daemons = ["daemon"]
        os.write(self.relay.client_stdin, REQUEST)

        next_daemon(self.relay)

        (answer,) = self.heard()
        self.assertIn("(no such server)", answer["error"]["message"])
        self.assertEqual(([], True, ""), (self.launched, self.relay.now > 1001, self.relay.refusal))

    def test_planned_and_idle(self) -> None:
        """After a planned stop no daemon is started, however long, while the client wants nothing."""
        self.relay.stopping = True
        self.at(500.0, self.comes)

        next_daemon(self.relay)

        self.assertEqual(([], []), (self.launched, self.heard()))

    def test_planned_and_wanted(self) -> None:
        """But it is when the client wants something, after a moment for whoever stopped it to start another one."""
        self.relay.stopping = True
        self.at(1.0, lambda: os.write(self.relay.client_stdin, REQUEST))

        next_daemon(self.relay)

        (launched,) = self.launched
        self.assertTrue(PLANNED <= launched < PLANNED + 0.1, launched)
        self.assertEqual([], self.heard())

    def test_planned_and_slow(self) -> None:
        """The moment for somebody else is no part of the patience that the next daemon is worth."""
        self.relay.stopping = True
        self.takes = PATIENCE - 0.5
        os.write(self.relay.client_stdin, REQUEST)

        next_daemon(self.relay)

        self.assertEqual([], self.heard())

    def test_planned_and_open(self) -> None:
        """It is started as well where the daemon left a request open."""
        handover = Handover(os.dup(self.relay.memory))
        handover.slots.claim("a", 0)
        handover.close()
        self.relay.stopping = True

        next_daemon(self.relay)

        (launched,) = self.launched
        self.assertTrue(PLANNED <= launched < PLANNED + 0.1, launched)

    def test_planned_and_unread(self) -> None:
        """Or one that it had read, but not taken."""
        handover = Handover(os.dup(self.relay.memory))
        room = handover.inbox.room()
        room[: len(REQUEST)] = REQUEST
        room.release()
        handover.inbox.filled(len(REQUEST))
        handover.close()
        self.relay.stopping = True

        next_daemon(self.relay)

        (launched,) = self.launched
        self.assertTrue(PLANNED <= launched < PLANNED + 0.1, launched)

    def test_planned_and_done(self) -> None:
        """A client that closes its stdin then is done with."""
        self.relay.stopping = True
        self.at(100.0, self.relay.close_stdin)

        self.assertRaises(Left, next_daemon, self.relay)

        self.assertEqual(([], "finish"), (self.launched, self.relay.told[-1]))
