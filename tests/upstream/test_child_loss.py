"""
Tests for L{mcpbridge.upstream.child} that dies.
"""

from __future__ import annotations

import signal
import sys

from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Notification, Request
from mcpbridge.upstream.child import EXIT_DELAY, ChildTransport
from mcpbridge.upstream.childprocess import ChildLimits
from mcpbridge.upstream.command import Command, Launcher
from mcpbridge.upstream.stillbirths import Stillbirths
from tests.upstream.childcase import ANSWER, ANSWER_LINE, LARGE, LINE, PING, ChildCase, running, unsent


def unknown(text: str) -> tuple[str, Loss]:
    """How the end of a connection is told."""
    return ("disconnected", Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, text))


class LossTests(ChildCase):
    """When the child ends without having been asked to."""

    def test_exit(self) -> None:
        """What it answered is delivered first; then the end is told, with the cause and its last words."""
        child = self.start()
        self.transport.send(PING)
        child.says(ANSWER_LINE)
        child.complains(b"Traceback:\n  no such table\n")

        self.die(child, 3)

        self.assertEqual(
            [
                ANSWER,
                unknown("the server process exited with status 3; its last words: Traceback: | no such table"),
            ],
            self.link.told,
        )

    def test_exit_with_pipes_held(self) -> None:
        """It does not take the ends of its pipes, which others may hold, to see that it is dead."""
        child = self.start()
        child.says(ANSWER_LINE)

        child.exits()
        self.reactor.turn()

        self.assertEqual([ANSWER, unknown("the server process exited with status 0")], self.link.told)

    def test_killed(self) -> None:
        """A signal is told by its name."""
        self.die(self.start(), by=signal.SIGSEGV)

        self.assertEqual([unknown("the server process was killed by SIGSEGV")], self.link.told)

    def test_exit_while_paused(self) -> None:
        """What was answered before the end is not withheld."""
        child = self.start()
        self.transport.pause()
        child.says(ANSWER_LINE * 2)

        self.die(child)

        self.assertEqual([ANSWER, ANSWER, unknown("the server process exited with status 0")], self.link.told)

    def test_exit_within_spawn(self) -> None:
        """A process may be dead before it was known."""
        reactor = self.reactor
        spawn = reactor.spawnProcess

        def quick(*arguments: object, **named: object) -> object:
            child = spawn(*arguments, **named)  # type: ignore[arg-type]  # whatever they are
            child.close()
            child.exits(1)
            return child

        reactor.spawnProcess = quick  # type: ignore[method-assign]  # a machine that is quicker than usual
        self.successResultOf(self.transport.connect(self.link))
        during = list(self.link.told)
        self.reactor.turn()

        self.assertEqual(([], [unknown("the server process exited with status 1")]), (during, self.link.told))

    def test_unsent_requests(self) -> None:
        """Of requests that nobody can have seen that is told; the one that was begun may have run."""
        child = self.start()
        for request in (LARGE, PING, Request("1", "ping"), Notification("m")):
            self.transport.send(request)
        text = "the server process exited with status 1"

        self.die(child, 1)

        self.assertEqual([unsent(1, text), unsent("1", text), unknown(text)], self.link.told)

    def test_send_afterwards(self) -> None:
        """A request that comes too late is lost, with the cause."""
        self.die(self.start(), 1)
        text = "the server process exited with status 1"

        self.transport.send(PING)
        self.transport.send(Notification("m"))
        self.reactor.turn()

        self.assertEqual([unknown(text), unsent(1, text)], self.link.told)

    def test_last_line_without_newline(self) -> None:
        """A whole message counts without its newline; half a one does not."""
        for output, told in ((ANSWER_LINE[:-1], [ANSWER]), (ANSWER_LINE[:-5], []), (b"noise", [])):
            self.setUp()
            child = self.start()
            child.says(output)

            self.die(child)

            self.assertEqual([*told, unknown("the server process exited with status 0")], self.link.told)

    def test_output_closed(self) -> None:
        """A child that closes its output says nothing more; it is ended if it does not end by itself soon."""
        child = self.start()
        child.close("stdout")
        self.reactor.turn()
        before = list(self.link.told)

        self.reactor.turn(EXIT_DELAY)

        self.assertEqual(([], [unknown("the server closed its standard output")]), (before, self.link.told))
        self.assertEqual(None, child.hears())

    def test_output_closed_at_exit(self) -> None:
        """When the exit follows, that is the cause that is told."""
        child = self.start()
        child.close("stdout")
        self.reactor.turn(EXIT_DELAY / 2)

        self.die(child, 9)

        self.assertEqual([unknown("the server process exited with status 9")], self.link.told)

    def test_input_closed(self) -> None:
        """A child that hears nothing is of no use, and what was sent in vain cannot have run."""
        child = self.start()
        child.close("stdin")

        self.transport.send(PING)
        during = list(self.link.told)
        self.reactor.turn(EXIT_DELAY)

        text = "the server closed its standard input"
        self.assertEqual(([], [unsent(1, text), unknown(text)]), (during, self.link.told))

    def test_descendants_are_ended(self) -> None:
        """What the dead child left behind is ended without being asked for, and then there is nothing to wait for."""
        child = self.start()
        marker = self.table.markers[child.pid]
        self.table.add(running(55, 1, 55), marker)

        self.die(child)
        for _ in range(100):
            self.reactor.turn(0.1)

        self.assertEqual([(55, "SIGTERM")], self.table.signals)
        self.assertIsNone(self.successResultOf(self.transport.disconnect()))
        self.assertEqual([], self.reactor.getDelayedCalls())


class StillbornTests(ChildCase):
    """Children that die before they have said a word."""

    def make(self, env: dict[str, str] | None = None, command: str = sys.executable) -> ChildTransport:
        """All of one server."""
        self.stillbirths = getattr(self, "stillbirths", None) or Stillbirths(self.reactor)
        return ChildTransport(
            self.reactor,
            "demo",
            Command((command, "server.py"), env or {}),
            self.lineage,
            Launcher("/usr/bin/setsid", "/usr/bin/env"),
            {},
            ChildLimits(LINE),
            self.stillbirths,
        )

    def live(self, says: bytes = b"", status: int = 1) -> tuple[object, ...]:
        """
        One life: it is asked something, says this, and dies.

        @return: what is told of its end.
        """
        transport = self.make()
        child = self.start(transport)
        transport.send(PING)
        child.says(says)
        child.complains(b"no module named x\n")
        self.reactor.turn(0.1)
        self.die(child, status)
        return self.link.told[-1]

    def test_second(self) -> None:
        """The first may be worth a second try; then it is hopeless, and the last words say why."""
        first, second = self.live(), self.live()

        text = "the server process exited with status 1; its last words: no module named x"
        hopeless = Loss(Fate.FAILED, Reason.UPSTREAM_UNREACHABLE, f"the server ends as soon as it is started: {text}")
        self.assertEqual((unknown(text), ("disconnected", hopeless)), (first, second))

    def test_unsent(self) -> None:
        """So is what it never got to read."""
        self.live()
        transport = self.make()
        child = self.start(transport)
        child.close("stdin")
        transport.send(PING)
        self.link.told.clear()

        self.die(child)

        self.assertEqual([Fate.FAILED, Fate.FAILED], [told[-1].fate for told in self.link.told])  # type: ignore[attr-defined]  # losses

    def test_no_program(self) -> None:
        """A shell that finds no program need not be asked twice."""
        _, loss = self.live(status=127)

        self.assertEqual(Fate.FAILED, loss.fate)  # type: ignore[attr-defined]  # it is one

    def test_spoken(self) -> None:
        """One that has said something may have done something; its last word may lack its newline."""
        for says in (ANSWER_LINE, ANSWER_LINE[:-1]):
            self.live()

            _, loss = self.live(says)

            self.assertEqual(Fate.UNKNOWN, loss.fate)  # type: ignore[attr-defined]  # as above

    def test_noise_is_no_word(self) -> None:
        """What is no message does not count."""
        self.live()

        _, loss = self.live(b"Usage: server KEY\n")

        self.assertEqual(Fate.FAILED, loss.fate)  # type: ignore[attr-defined]  # as above
