"""
Tests for L{mcpbridge.upstream.child}: how it begins, and what is said.
"""

from __future__ import annotations

import errno
import os
import sys

from msgspec import Raw
from twisted.internet.interfaces import IReactorProcess
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from mcpbridge.core.errors import INVALID_REQUEST, PARSE_ERROR, Fate, Loss, Reason, UpstreamUnavailable
from mcpbridge.core.jsonrpc import Message, Notification, RequestId, Result
from mcpbridge.interfaces import IMessageLink, IMessageTransport
from mcpbridge.upstream.child import MAX_EXCESS
from tests.upstream.childcase import ANSWER, ANSWER_LINE, LINE, PING, PING_LINE, ChildCase, unsent
from tests.upstream.childworld import RecordingLink


class ConnectTests(ChildCase):
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


class ConversationTests(ChildCase):
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


class OverlongTests(ChildCase):
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
