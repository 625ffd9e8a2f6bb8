"""
Tests for L{mcpbridge.downstream.pipes}: progress, which some clients lose when it comes together with the answer.
"""

from __future__ import annotations

from typing import Any

from mcpbridge.core.jsonrpc import Notification, RequestId, Result, value
from mcpbridge.downstream.reader import LOOK, PATIENCE
from tests.downstream.manual import Notes
from tests.downstream.pipescase import PipesCase, ask


def progress(request_id: RequestId) -> tuple[Notification, RequestId]:
    """How far a request has come, as a server tells it."""
    return Notification("notifications/progress", value({"progressToken": request_id, "progress": 1})), request_id


def names(heard: list[Any]) -> list[Any]:
    """Messages, in short: an answer by its id, progress by its name."""
    return [
        [answer["id"] for answer in message] if isinstance(message, list) else message.get("id", "progress")
        for message in heard
    ]


class ProgressTests(PipesCase):
    """Progress is read before the answer."""

    def test_progress_read(self) -> None:
        """An answer is not read together with progress of its own; one without progress goes out at once."""
        self.connect(ask(1) + ask(2) + ask(3))
        self.transport.send(*progress(1))
        self.answer(2)
        self.answer(1)
        self.answer(3)
        first = self.heard()

        self.reactor.advance(LOOK)

        self.assertEqual((["progress", 2], [1, 3]), (names(first), names(self.heard())))

    def test_progress_read_before(self) -> None:
        """Nothing is held if the client has read everything, nor for progress of what is not open."""
        self.connect(ask(1) + ask(2))
        self.transport.send(*progress(1))
        first = self.heard()
        self.answer(1)
        self.transport.send(*progress(1))
        self.transport.send(*progress(9))
        self.answer(2)

        self.assertEqual((["progress"], [1, "progress", "progress", 2]), (names(first), names(self.heard())))
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_progress_in_batch(self) -> None:
        """A batch is held for any of its answers."""
        self.connect(ask(1) + ask(2))
        self.transport.send(*progress(1))
        self.transport.send_batch([Result(2, value({})), Result(1, value({}))])
        first = self.heard()

        self.reactor.advance(LOOK)

        self.assertEqual((["progress"], [[2, 1]]), (names(first), names(self.heard())))

    def test_progress_of_forgotten(self) -> None:
        """The id of a request that was given up may be used again."""
        self.connect(ask(1))
        self.transport.send(*progress(1))
        self.transport.forget(1)
        self.say(ask(1))
        self.answer(1)

        self.assertEqual(["progress", 1], names(self.heard()))

    def test_progress_and_disconnect(self) -> None:
        """An answer that is held still goes out when we end it, and counts as given."""
        self.connect(ask(1))
        self.transport.send(*progress(1))
        self.answer(1)

        gone = self.transport.disconnect()
        self.assertNoResult(gone)
        self.reactor.advance(PATIENCE)
        self.reactor.settle()

        self.successResultOf(gone)
        self.assertEqual((["progress", 1], ()), (names(self.heard()), self.open().unanswered()))

    def test_progress_and_half_close(self) -> None:
        """Nor is a client let go before it has what is held for it."""
        self.connect(ask(1))
        self.close_stdin()
        self.reactor.settle()
        self.transport.send(*progress(1))
        self.answer(1)
        self.reactor.settle()
        first = names(self.heard())

        self.reactor.advance(LOOK)
        self.reactor.settle()

        self.assertEqual((["progress"], [1], "disconnected"), (first, names(self.heard()), self.link.told[-1][0]))

    def test_progress_and_kill(self) -> None:
        """A daemon that is killed while it holds an answer has not given it: the next one knows, and gives it once."""
        self.connect(ask(1))
        self.transport.send(*progress(1))
        self.answer(1)
        killed = self.transport

        self.transport, self.link = self.open(), Notes()
        open_requests = self.transport.unanswered()
        self.connect()
        self.answer(1)

        self.assertEqual(((1,), ["progress", 1]), (open_requests, names(self.heard())))
        killed.gone("it was killed")
        self.reactor.advance(PATIENCE)
        self.assertEqual([], self.heard())
