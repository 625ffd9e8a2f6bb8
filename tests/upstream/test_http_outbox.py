"""
Tests for L{mcpbridge.upstream.http_outbox}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.bindings.http import HTTPLimits
from mcpbridge.core.errors import Fate, Loss, Reason
from mcpbridge.core.jsonrpc import Message, Notification, Request, Result
from mcpbridge.upstream.http_outbox import Outbox

INITIALIZED = Notification("notifications/initialized")


class Sent:
    """Plays the part of a call."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.over = self.written = self.settled = False


class Owner:
    """Starts what it is told to, and writes it down."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.told: list[Any] = []

    def start(self, message: Message) -> Any:
        """Start it."""
        self.sent.append(Sent(message))
        return self.sent[-1]

    def overloaded(self, message: Message, loss: Loss) -> None:
        """Write it down."""
        self.told.append((message, loss.fate, loss.reason))

    def congested(self) -> None:
        """Write it down."""
        self.told.append("congested")

    def relieved(self) -> None:
        """Write it down."""
        self.told.append("relieved")


class OutboxTests(SynchronousTestCase):
    """Order and number."""

    def setUp(self) -> None:
        """An outbox for two requests at a time."""
        self.clock = Clock()
        self.owner = Owner()
        self.outbox = Outbox(self.owner, self.clock, HTTPLimits(max_posts=2, max_waiting=5, max_waiting_bytes=2000))

    def send(self, *messages: Message) -> None:
        """The owner sends."""
        for message in messages:
            self.outbox.send(message)

    def written(self, index: int) -> None:
        """A request has been written."""
        call: Any = self.owner.sent[index]
        call.written = True
        self.outbox.written(call)

    def done(self, index: int) -> None:
        """A call is over."""
        call: Any = self.owner.sent[index]
        call.over = True
        self.outbox.done(call)

    @property
    def started(self) -> list[Any]:
        """What was started, in order: ids of requests and answers, methods of notifications."""
        return [getattr(sent.message, "id", getattr(sent.message, "method", None)) for sent in self.owner.sent]

    def test_requests(self) -> None:
        """
        Two at a time, in order.
        """
        self.send(*(Request(n, "a") for n in range(4)))
        first = self.started

        self.done(1)

        self.assertEqual(([0, 1], [0, 1, 2]), (first, self.started))

    def test_subscriptions(self) -> None:
        """
        They go at once, whatever is under way, and take no place of others; but there is an end to them too.
        """
        listen = [Request(n, "subscriptions/listen") for n in range(10, 13)]

        self.send(Request(0, "a"), Request(1, "a"), Request(2, "a"), *listen)
        first, told = self.started, self.owner.told
        self.done(2)
        self.send(listen[2])

        self.assertEqual([0, 1, 10, 11], first)
        self.assertEqual([(listen[2], Fate.NEVER_SENT, Reason.OVERLOADED)], told)
        self.assertEqual([0, 1, 10, 11, 12], self.started)

    def test_notification_waits_for_writing(self) -> None:
        """
        For every request before it, not for one after it.
        """
        self.send(Request(0, "a"), Notification("n"), Request(1, "b"))
        first = self.started

        self.written(0)

        self.assertEqual(([0, 1], [0, 1, "n"]), (first, self.started))

    def test_notification_waits_for_failure(self) -> None:
        """
        Or until that request is over.
        """
        self.send(Request(0, "a"), Notification("n"))

        self.done(0)

        self.assertEqual([0, "n"], self.started)

    def test_notifications_in_order(self) -> None:
        """
        One waits for the other to be accepted, but not long.
        """
        self.send(Notification("a"), Notification("b"), Notification("c"))
        first = self.started
        self.done(0)
        second = self.started

        self.clock.advance(1.0)

        self.assertEqual((["a"], ["a", "b"], ["a", "b", "c"]), (first, second, self.started))

    def test_initialized(self) -> None:
        """
        Requests wait for it to be accepted, longer; answers do not wait.
        """
        self.send(INITIALIZED, Request(0, "a"), Result(9, Raw(b"{}")))
        first = self.started
        self.clock.advance(9.9)
        second = self.started

        self.clock.advance(0.1)

        self.assertEqual([INITIALIZED.method, 9], first)
        self.assertEqual(first, second)
        self.assertEqual([*first, 0], self.started)

    def test_held(self) -> None:
        """
        What makes the server act waits, and what comes after it too; what came before does not. Not for long.
        """
        requests = [Request(0, "tools/list"), Request(1, "tools/call"), Request(2, "ping")]
        self.outbox.hold()
        self.send(*requests, Result(9, Raw(b"{}")))
        self.clock.advance(0.24)
        first = self.started
        self.done(0)

        self.clock.advance(0.01)

        self.assertEqual(([0, 9], [0, 9, 1, 2]), (first, self.started))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_let_go(self) -> None:
        """
        Nor for a moment longer than needed; and what is withdrawn meanwhile is never sent.
        """
        self.outbox.hold()
        self.send(Request(0, "resources/read"), Request(1, "prompts/get"), Request(2, "tools/call"))
        first = self.started
        self.outbox.withdraw(1)

        self.outbox.let_go()
        self.outbox.let_go()

        self.assertEqual(([], [0, 2]), (first, self.started))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_held_and_closed(self) -> None:
        """
        No timer outlives it.
        """
        self.outbox.hold()
        self.outbox.hold()
        self.send(Request(0, "tools/call"))

        self.outbox.close()

        self.assertEqual(([], []), (self.started, self.clock.getDelayedCalls()))

    def test_initialized_refused(self) -> None:
        """
        One that finds no room holds nobody up.
        """
        self.send(*(Request(n, "a") for n in range(7)), INITIALIZED)

        self.done(0)

        self.assertEqual([0, 1, 2], self.started)

    def test_answers(self) -> None:
        """
        They have places of their own.
        """
        self.send(Request(0, "a"), Request(1, "a"), *(Result(n, Raw(b"{}")) for n in range(10, 13)))
        first = self.started

        self.done(2)

        self.assertEqual(([0, 1, 10, 11], [0, 1, 10, 11, 12]), (first, self.started))

    def test_bounds(self) -> None:
        """
        No more than so many wait, nor so many bytes, though one message always may.
        """
        self.send(*(Request(n, "a") for n in range(8)))
        by_number = self.owner.told
        self.setUp()
        large = Raw(b'{"x":"%b"}' % (b"x" * 3000))
        self.send(Request(0, "a"), Request(1, "a"), Request(2, "a", large), Request(3, "a", large))

        overloaded = (Fate.NEVER_SENT, Reason.OVERLOADED)
        self.assertEqual([(Request(7, "a"), *overloaded)], by_number)
        self.assertEqual([(Request(3, "a", large), *overloaded)], self.owner.told)

    def test_withdrawn(self) -> None:
        """
        What is withdrawn while it waits is never started.
        """
        self.send(*(Request(n, "a") for n in range(4)))

        self.outbox.withdraw(2)
        self.done(0)

        self.assertEqual([0, 1, 3], self.started)

    def test_close(self) -> None:
        """
        Nothing is started then, and no timer is left.
        """
        self.send(Notification("a"), Notification("b"), *(Request(n, "a") for n in range(4)))

        self.outbox.close()
        self.done(0)

        self.assertEqual(["a", 0, 1], self.started)
        self.assertEqual([], self.clock.getDelayedCalls())

    @given(
        st.lists(
            st.sampled_from(["request", "notice", "answer", "initialized", "done", "written", "time"]), max_size=60
        )
    )
    @settings(max_examples=200, derandomize=True, deadline=None)
    def test_nothing_is_forgotten(self, happenings: list[str]) -> None:
        """
        Whatever happens, in the end everything was started once or refused, and each kind kept its order.
        """
        self.setUp()
        sent: list[Any] = []
        for number, happening in enumerate(happenings):
            message: Any = {
                "request": Request(number, "a"),
                "notice": Notification(str(number)),
                "answer": Result(number, Raw(b"{}")),
                "initialized": Notification("notifications/initialized", Raw(b'{"n":%d}' % number)),
            }.get(happening)
            if message is not None:
                sent.append(message)
                self.send(message)
            elif happening == "time":
                self.clock.advance(0.5)
            else:
                self._oldest(happening)
        for _ in range(200):
            self.clock.advance(0.5)
            self._oldest("done")

        refused = [told[0] for told in self.owner.told if told not in ("congested", "relieved")]
        started = [call.message for call in self.owner.sent]
        self.assertEqual(len(sent), len(started) + len(refused))
        for kind in (Request, Notification, Result):
            wanted = [message for message in sent if isinstance(message, kind) and message not in refused]
            self.assertEqual(wanted, [message for message in started if isinstance(message, kind)])

    def _oldest(self, happening: str) -> None:
        for index, call in enumerate(self.owner.sent):
            if not call.over:
                self.done(index) if happening == "done" else self.written(index)
                return
