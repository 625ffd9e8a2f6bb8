"""
Tests for L{mcpbridge.upstream.child}.
"""

from __future__ import annotations

import errno
import os
import signal
import sys

from msgspec import Raw
from twisted.internet.interfaces import IReactorProcess
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mcpbridge.core.errors import INVALID_REQUEST, PARSE_ERROR, Fate, Loss, Reason, UpstreamUnavailable
from mcpbridge.core.framing import KEPT
from mcpbridge.core.jsonrpc import Message, Notification, Request, RequestId, Result
from mcpbridge.interfaces import IMessageLink, IMessageTransport
from mcpbridge.upstream.child import EXIT_DELAY, HIGH_WATER, MAX_EXCESS, MAX_WAITING, ChildTransport
from mcpbridge.upstream.childprocess import ChildLimits
from mcpbridge.upstream.command import Command, Launcher
from mcpbridge.upstream.lineage import Lineage
from mcpbridge.upstream.processes import Running
from mcpbridge.upstream.stillbirths import Stillbirths
from tests.upstream.childworld import FakeChild, FakeReactor, FakeTable, RecordingLink

PING = Request(1, "ping")
PING_LINE = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
ANSWER_LINE = b'{"jsonrpc":"2.0","id":1,"result":{}}\n'
ANSWER = ("received", Result(1, Raw(b"{}")), None)
#: The smallest that a framer takes.
LINE = 2 * KEPT


def unknown(text: str) -> tuple[str, Loss]:
    """How the end of a connection is told."""
    return ("disconnected", Loss(Fate.UNKNOWN, Reason.OUTCOME_UNKNOWN, text))


def unsent(
    request_id: RequestId, text: str, reason: Reason = Reason.UPSTREAM_UNREACHABLE
) -> tuple[str, RequestId, Loss]:
    """How the end of a request is told that nobody can have seen."""
    return ("lost", request_id, Loss(Fate.NEVER_SENT, reason, text))


def _running(pid: int, parent: int, group: int, session: int = 0) -> Running:
    return Running(pid, parent, group, session or group, 9)


class Case(SynchronousTestCase):
    """A transport, and the test as its child and its owner."""

    def setUp(self) -> None:
        """Nothing is started yet."""
        self.reactor = FakeReactor()
        self.table = FakeTable()
        self.lineage = Lineage("/state", self.table)
        self.link = RecordingLink()
        self.transport = self.make()

    def make(self, env: dict[str, str] | None = None, command: str = sys.executable) -> ChildTransport:
        """A transport that was not connected yet."""
        return ChildTransport(
            self.reactor,
            "demo",
            Command((command, "server.py"), env or {}),
            self.lineage,
            Launcher("/usr/bin/setsid", "/usr/bin/env"),
            {"PATH": "/usr/bin", "SECRET": "x"},
            ChildLimits(LINE),
        )

    def start(self, transport: ChildTransport | None = None) -> FakeChild:
        """Connect."""
        self.successResultOf((transport or self.transport).connect(self.link))
        child = self.reactor.children[-1]
        self.table.add_child(child)
        self.addCleanup(child.close)
        self.addCleanup(self.clean)
        return child

    def clean(self) -> None:
        """Close our ends of the pipes."""
        for end in self.reactor.removeAll():
            end.close()

    def die(self, child: FakeChild, status: int = 0, by: signal.Signals | None = None) -> None:
        """The child dies and leaves nobody behind."""
        self.table.processes.pop(child.pid, None)
        child.close()
        child.exits(status, by)
        self.reactor.turn()


class ConnectTests(Case):
    """How a child begins."""

    def test_interface(self) -> None:
        """It keeps the promises of a transport, in form."""
        self.assertTrue(verifyObject(IMessageTransport, self.transport))
        self.assertTrue(verifyObject(IMessageLink, self.link))
        self.assertTrue(verifyObject(IReactorProcess, self.reactor))

    def test_process(self) -> None:
        """The command is run as leader of a session, with nothing of our environment but what it needs."""
        child = self.start()

        seen = (child.arguments, dict(child.environment), self.transport.pid)

        self.assertEqual(
            (
                ("/usr/bin/setsid", sys.executable, "server.py"),
                {"PATH": "/usr/bin", "MCPBRIDGE_INSTANCE": self.table.markers[child.pid]},
                1000,
            ),
            seen,
        )

    def test_no_such_command(self) -> None:
        """A program that is not there is told at once, and nothing was started."""
        transport = self.make(command="no-such-program")

        failure = self.failureResultOf(transport.connect(self.link), UpstreamUnavailable)

        self.assertEqual(
            Loss(
                Fate.FAILED,
                Reason.UPSTREAM_UNREACHABLE,
                'cannot start the server: the command "no-such-program" was not found (searched /usr/bin); '
                "install it, write its full path, or set PATH in the server's env",
            ),
            failure.value.loss,
        )
        self.assertEqual(([], []), (self.reactor.children, self.link.told))

    def test_kernel_refuses(self) -> None:
        """What the kernel or Python refuse is told, and whether it may pass; no descriptor is left."""
        before = len(os.listdir("/dev/fd"))
        told = []

        for refusal in (OSError(errno.EAGAIN, "no room"), OSError(errno.E2BIG, "too long"), ValueError("a NUL")):
            self.reactor.refusal = refusal
            failure = self.failureResultOf(self.make().connect(self.link), UpstreamUnavailable)
            told.append((failure.value.loss.fate, str(failure.value)))

        self.assertEqual(
            [
                (Fate.NEVER_SENT, "cannot start the server: no room"),
                (Fate.FAILED, "cannot start the server: too long"),
                (Fate.FAILED, "cannot start the server: a NUL"),
            ],
            told,
        )
        self.assertEqual(before, len(os.listdir("/dev/fd")))

    def test_disconnect_after_failure(self) -> None:
        """Where nothing was started there is nothing to end."""
        transport = self.make(command="no-such-program")
        self.failureResultOf(transport.connect(self.link))

        self.assertIsNone(self.successResultOf(transport.disconnect()))

    def test_not_twice(self) -> None:
        """A transport is good for one connection."""
        self.start()

        failure = self.failureResultOf(self.transport.connect(self.link), UpstreamUnavailable)

        self.assertEqual("cannot start the server: this connection was used before", str(failure.value))

    def test_disconnected_before(self) -> None:
        """What was ended before it began does not begin."""
        self.successResultOf(self.transport.disconnect())

        self.failureResultOf(self.transport.connect(self.link), UpstreamUnavailable)
        self.assertEqual([], self.reactor.children)

    def test_send_before(self) -> None:
        """A request without a connection is lost; that is told after the call."""
        transport = self.make(command="no-such-program")
        self.failureResultOf(transport.connect(self.link))

        transport.send(PING)
        during = list(self.link.told)
        self.reactor.turn()

        self.assertEqual(([], [unsent(1, "the server is not running")]), (during, self.link.told))


class ConversationTests(Case):
    """Messages to the child, and from it."""

    def test_send(self) -> None:
        """A message is a line, and written at once."""
        child = self.start()

        self.transport.send(PING)
        self.transport.send(Notification("notifications/initialized"))

        self.assertEqual(PING_LINE + b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n', child.hears())

    def test_received(self) -> None:
        """Lines are messages, however they are cut."""
        child = self.start()

        for part in (ANSWER_LINE[:10], ANSWER_LINE[10:] + b'{"jsonrpc":"2.0",', b'"method":"m"}\n'):
            child.says(part)
            self.reactor.turn()

        self.assertEqual([ANSWER, ("received", Notification("m"), None)], self.link.told)

    def test_batch(self) -> None:
        """An array is handed over as one."""
        child = self.start()

        child.says(b"[" + ANSWER_LINE.strip() + b"]\n")
        self.reactor.turn()

        self.assertEqual([("batch", (Result(1, Raw(b"{}")),))], self.link.told)

    def test_noise(self) -> None:
        """What is no message is logged, made harmless, and skipped."""
        child = self.start()

        with capturedLogs() as events:
            child.says(b"Listening\x1b[2J\n\xff\n" + ANSWER_LINE)
            self.reactor.turn()

        self.assertEqual([ANSWER], self.link.told)
        self.assertEqual(
            ["demo printed what is no message: Listening\\x1b[2J", "demo printed what is no message: \\xff"],
            [formatEvent(event) for event in events],
        )

    def test_noise_shows_no_secrets(self) -> None:
        """Some servers print their configuration."""
        child = self.start(self.make({"API_KEY": "sk-12345678"}))

        with capturedLogs() as events:
            child.says(b"key=sk-12345678\n")
            self.reactor.turn()

        self.assertEqual(["demo printed what is no message: key=***"], [formatEvent(event) for event in events])

    def test_flood_of_noise(self) -> None:
        """A flood is logged within reason, and counted."""
        child = self.start()

        with capturedLogs() as events:
            child.says(b"x\n" * 1000)
            self.reactor.turn()
            self.reactor.turn(1)
            child.says(b"y\n")
            self.reactor.turn()

        texts = [formatEvent(event) for event in events]
        self.assertEqual(
            (102, ["demo printed 900 more lines of noise", "demo printed what is no message: y"]),
            (len(texts), texts[-2:]),
        )

    def test_garbage(self) -> None:
        """A broken message is told with what is known of it, and the conversation goes on."""
        child = self.start()

        child.says(b'{"jsonrpc":"2.0","id":1,"result":{]}\n' + ANSWER_LINE)
        self.reactor.turn()

        self.assertEqual([("garbage", PARSE_ERROR, None, 1), ANSWER], self.link.told)

    def test_owner_fails(self) -> None:
        """An owner that cannot deal with one message gets the next all the same."""
        child = self.start()
        fault = RuntimeError("a bug")

        class Clumsy(RecordingLink):
            def received(self, message: Message, within: RequestId | None) -> None:
                super().received(message, within)
                raise fault

        self.link.__class__ = Clumsy
        child.says(ANSWER_LINE * 2)
        self.reactor.turn()

        self.assertEqual([ANSWER, ANSWER], self.link.told)
        self.assertEqual([fault, fault], [failure.value for failure in self.flushLoggedErrors(RuntimeError)])

    def test_disconnect_from_within(self) -> None:
        """An owner that has heard enough hears no more."""
        child = self.start()
        transport = self.transport

        class Curt(RecordingLink):
            def received(self, message: Message, within: RequestId | None) -> None:
                super().received(message, within)
                transport.disconnect()

        self.link.__class__ = Curt
        child.says(ANSWER_LINE * 2)
        self.reactor.turn()

        self.assertEqual([ANSWER], self.link.told)


class OverlongTests(Case):
    """Lines that are too large."""

    HUGE = b'{"jsonrpc":"2.0","id":1,"result":"' + b"x" * LINE + b'"}\n'

    def test_garbage(self) -> None:
        """The request concerned can be told, and the next message is none the worse."""
        child = self.start()

        child.says(self.HUGE + ANSWER_LINE)
        self.reactor.turn()

        self.assertEqual([("garbage", INVALID_REQUEST, None, 1), ANSWER], self.link.told)

    def test_three_within_a_minute(self) -> None:
        """A child that does it again and again is ended."""
        child = self.start()

        for _ in range(3):
            child.says(self.HUGE)
            self.reactor.turn(20)

        self.assertEqual(
            (
                "disconnected",
                Loss(
                    Fate.UNKNOWN,
                    Reason.MALFORMED,
                    "the server is being restarted: it sent 3 lines that are too large within a minute",
                ),
            ),
            self.link.told[-1],
        )
        self.assertEqual(None, child.hears())

    def test_three_within_two_minutes(self) -> None:
        """Now and then it may."""
        child = self.start()

        for _ in range(5):
            child.says(self.HUGE)
            self.reactor.turn(31)

        self.assertEqual([("garbage", INVALID_REQUEST, None, 1)] * 5, self.link.told)

    def test_line_without_end(self) -> None:
        """A line that never ends is not read for ever."""
        child = self.start()

        for _ in range(MAX_EXCESS + 1):
            child.says(b"x" * LINE)
            self.reactor.turn()

        self.assertEqual(
            [
                (
                    "disconnected",
                    Loss(Fate.UNKNOWN, Reason.MALFORMED, "the server is being restarted: it sent a line without end"),
                )
            ],
            self.link.told,
        )


class FlowTests(Case):
    """When one side is slower than the other."""

    #: More than a pipe holds.
    LARGE = Request(7, "large", Raw(b'{"a":"' + b"x" * 200_000 + b'"}'))

    def test_large_message(self) -> None:
        """What does not fit into the pipe follows as it empties."""
        child = self.start()
        self.transport.send(self.LARGE)
        self.transport.send(PING)

        heard = b""
        for _ in range(10):
            heard += child.hears() or b""
            self.reactor.turn()

        self.assertEqual((PING_LINE, 200_000), (heard[-len(PING_LINE) :], heard.count(b"x")))

    def test_congested(self) -> None:
        """The owner is told once when much is waiting, and once when it is not any more; never within its own call."""
        child = self.start()
        during = []
        for _ in range(10):
            self.transport.send(self.LARGE)
            during += self.link.told
        self.reactor.turn()
        congested = list(self.link.told)

        while child.hears():
            self.reactor.turn()

        self.assertGreater(2_000_000, HIGH_WATER)
        self.assertEqual(([], [("congested",)]), (during, congested))
        self.assertEqual([("congested",), ("relieved",)], self.link.told)

    def test_congestion_that_is_over_already(self) -> None:
        """What is over before it could be told is not told."""
        child = self.start()
        for _ in range(10):
            self.transport.send(self.LARGE)
        while child.hears():
            for writer in self.reactor.getWriters():
                writer.doWrite()

        self.reactor.turn()

        self.assertEqual([], self.link.told)

    def test_too_much(self) -> None:
        """Beyond the bound requests fail at once, and what is no request is dropped with a word."""
        self.start()
        message = Request(2, "large", Raw(b'{"a":"' + b"x" * 10_000_000 + b'"}'))
        for _ in range(6):
            self.transport.send(message)
        self.reactor.turn()

        with capturedLogs() as events:
            self.transport.send(Request(3, "large", message.params))
            self.transport.send(Notification("large", message.params))
            self.reactor.turn()

        text = f"the server does not read its input: {MAX_WAITING // 1024**2} MiB are waiting for it"
        self.assertEqual([("congested",), unsent(3, text, Reason.OVERLOADED)], self.link.told)
        self.assertEqual([f"demo did not get a message: {text}"], [formatEvent(event) for event in events])

    def test_abandon(self) -> None:
        """A request that nobody wants any more is not written, if it was not begun; others are not touched."""
        child = self.start()
        for request in (self.LARGE, PING, Request("1", "kept")):
            self.transport.send(request)

        for request_id in (7, 1, 99):
            self.transport.abandon(request_id)
        heard = b""
        for _ in range(10):
            heard += child.hears() or b""
            self.reactor.turn()

        large, *others = heard.splitlines()
        self.assertEqual(
            (200_000, [b'{"jsonrpc":"2.0","id":"1","method":"kept"}']),
            (large.count(b"x"), others),
        )

    def test_pause(self) -> None:
        """While paused nothing is read, and then everything, in order."""
        child = self.start()
        self.transport.pause()
        child.says(ANSWER_LINE)
        self.reactor.turn()
        paused = list(self.link.told)

        self.transport.resume()
        during = list(self.link.told)
        self.reactor.turn()

        self.assertEqual(([], [], [ANSWER]), (paused, during, self.link.told))

    def test_pause_from_within(self) -> None:
        """Messages that were read already wait as well."""
        child = self.start()
        transport = self.transport

        class Slow(RecordingLink):
            def received(self, message: Message, within: RequestId | None) -> None:
                super().received(message, within)
                transport.pause()

        self.link.__class__ = Slow
        child.says(ANSWER_LINE * 3)
        self.reactor.turn()
        first = len(self.link.told)
        self.transport.resume()
        self.reactor.turn()

        self.assertEqual((1, 2), (first, len(self.link.told)))

    def test_pause_before(self) -> None:
        """It may be paused before it begins."""
        self.transport.pause()
        child = self.start()

        child.says(ANSWER_LINE)
        self.reactor.turn()

        self.assertEqual([], self.link.told)


class LossTests(Case):
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
        for request in (FlowTests.LARGE, PING, Request("1", "ping"), Notification("m")):
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
        self.table.add(_running(55, 1, 55), marker)

        self.die(child)
        for _ in range(100):
            self.reactor.turn(0.1)

        self.assertEqual([(55, "SIGTERM")], self.table.signals)
        self.assertIsNone(self.successResultOf(self.transport.disconnect()))
        self.assertEqual([], self.reactor.getDelayedCalls())


class StillbornTests(Case):
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


class DisconnectTests(Case):
    """How a child is ended."""

    def test_by_the_end_of_its_input(self) -> None:
        """A child that ends when its input does needs no signal."""
        child = self.start()

        ending = self.transport.disconnect()
        self.reactor.turn(1.9)
        heard = child.hears()
        self.assertNoResult(ending)
        self.die(child)

        self.assertIsNone(self.successResultOf(ending))
        self.assertEqual((None, [], []), (heard, self.table.signals, self.link.told))

    def test_what_was_sent_is_written(self) -> None:
        """The end of the input comes behind what was sent before."""
        child = self.start()
        self.transport.send(FlowTests.LARGE)

        self.transport.disconnect()
        sizes = []
        while (heard := child.hears()) is not None:
            sizes.append(len(heard))
            self.reactor.turn()

        self.assertGreater(sum(sizes), 200_000)

    def test_by_signals(self) -> None:
        """A child that does not end is asked by a signal after 2 seconds, and killed after 3 more."""
        child = self.start()
        ending = self.transport.disconnect()
        seen = []

        for seconds in (1.9, 0.2, 2.8, 0.2):
            self.reactor.turn(seconds)
            seen.append(list(self.table.signals))
        self.die(child, by=signal.SIGKILL)

        group = -child.pid
        term, kill = (group, "SIGTERM"), (group, "SIGKILL")
        self.assertEqual([[], [term], [term], [term, kill]], seen)
        self.assertIsNone(self.successResultOf(ending))

    def test_descendants_too(self) -> None:
        """Descendants get the same signals as the child, wherever they are, and each once."""
        child = self.start()
        marker = self.table.markers[child.pid]
        self.table.add(_running(50, child.pid, child.pid, child.pid), marker)
        self.table.add(_running(51, 1, 51), marker)
        self.table.add(_running(52, 1, 52, child.pid))
        self.table.add(_running(53, 1, 53), "another:1:1:1")
        self.table.immune = {51}
        self.transport.disconnect()

        self.reactor.turn(2)
        asked = list(self.table.signals)
        self.reactor.turn(3)

        self.assertEqual([(-child.pid, "SIGTERM"), (51, "SIGTERM"), (52, "SIGTERM")], asked)
        self.assertEqual([(-child.pid, "SIGKILL"), (51, "SIGKILL")], self.table.signals[3:])

    def test_descendants_have_time(self) -> None:
        """The child may be a launcher that ends at once; whoever did the work has its 2 seconds all the same."""
        child = self.start()
        self.table.add(_running(50, child.pid, child.pid, child.pid), self.table.markers[child.pid])
        ending = self.transport.disconnect()
        self.die(child)
        self.reactor.turn(1.5)
        early = list(self.table.signals)

        self.table.remove(50)
        self.reactor.turn(0.1)

        self.assertIsNone(self.successResultOf(ending))
        self.assertEqual(([], []), (early, self.table.signals))

    def test_cannot_be_killed(self) -> None:
        """Even then there is an end to waiting, and a word about it."""
        self.start()
        ending = self.transport.disconnect()

        with capturedLogs() as events:
            for _ in range(11):
                self.reactor.turn(1)

        self.assertIsNone(self.successResultOf(ending))
        self.assertEqual(
            ["process 1000 of demo cannot be killed"],
            [formatEvent(event) for event in events if event["log_level"] is LogLevel.error],
        )

    def test_twice(self) -> None:
        """Whoever asks waits for the same end."""
        child = self.start()

        endings = [self.transport.disconnect(), self.transport.disconnect()]
        self.die(child)
        endings.append(self.transport.disconnect())

        self.assertEqual([None, None, None], [self.successResultOf(ending) for ending in endings])

    def test_silence(self) -> None:
        """Nothing is told any more, not even what was waiting, and the child still gets rid of its output."""
        child = self.start()
        self.transport.pause()
        child.says(ANSWER_LINE)
        self.transport.send(FlowTests.LARGE)
        self.transport.send(PING)

        self.transport.disconnect()
        self.transport.send(PING)
        self.transport.resume()
        self.reactor.turn()
        child.says(b"x" * 65536)
        self.reactor.turn()
        child.says(b"x" * 65536)
        self.die(child)

        self.assertEqual([], self.link.told)

    def test_nothing_is_left(self) -> None:
        """No descriptor, no delayed call, no watcher and no living marker is left."""
        before = len(os.listdir("/dev/fd"))
        child = self.start()
        marker = self.table.markers[child.pid]

        self.transport.disconnect()
        self.die(child)

        self.table.add(_running(99, os.getpid(), 99), marker)
        self.assertEqual(
            (before, [], [], [], [99]),
            (
                len(os.listdir("/dev/fd")),
                self.reactor.getDelayedCalls(),
                self.reactor.getReaders(),
                self.reactor.getWriters(),
                [stray.pid for stray in self.lineage.strays(())],
            ),
        )

    def test_without_a_table(self) -> None:
        """Where the system tells nothing of other processes, the group is signalled until it is empty."""
        self.table.has_proc = False
        child = self.start()
        self.table.markers.clear()
        self.table.add(_running(50, child.pid, child.pid, 50))
        ending = self.transport.disconnect()
        self.die(child)

        self.reactor.turn(2)
        self.assertNoResult(ending)
        self.table.remove(50)
        self.reactor.turn(0.1)

        self.assertEqual([(-child.pid, "SIGTERM")], self.table.signals)
        self.assertIsNone(self.successResultOf(ending))
