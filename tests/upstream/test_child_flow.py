"""
Tests for L{mcpbridge.upstream.child}: more than fits into a pipe.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.logger import capturedLogs, formatEvent

from mcpbridge.core.errors import Reason
from mcpbridge.core.jsonrpc import Message, Notification, Request, RequestId
from mcpbridge.upstream.child import HIGH_WATER, MAX_WAITING
from tests.upstream.childcase import ANSWER, ANSWER_LINE, LARGE, PING, PING_LINE, ChildCase, unsent
from tests.upstream.childworld import RecordingLink


class FlowTests(ChildCase):
    """When one side is slower than the other."""

    def test_large_message(self) -> None:
        """What does not fit into the pipe follows as it empties."""
        child = self.start()
        self.transport.send(LARGE)
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
            self.transport.send(LARGE)
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
            self.transport.send(LARGE)
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
        for request in (LARGE, PING, Request("1", "kept")):
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
