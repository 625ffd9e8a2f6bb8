"""
Tests for L{mcpbridge.core.eras.legacy.questions}.
"""

from __future__ import annotations

from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from mcpbridge.core.effects import Abandon, Deliver, Emit
from mcpbridge.core.eras.legacy.questions import Questions
from mcpbridge.core.errors import METHOD_NOT_FOUND, ErrorObject
from mcpbridge.core.events import InputRequest, InputRequired, InputSupplied, InputWithdrawn
from mcpbridge.core.jsonrpc import Notification, Request

PARAMS = {"capabilities": Raw(b'{"roots":{},"sampling":{}}')}
TWO = InputRequired(5, {"a": InputRequest("roots/list", None), "b": InputRequest("sampling/createMessage", Raw(b"{}"))})


class QuestionsTests(SynchronousTestCase):
    """A client is asked."""

    def test_together(self) -> None:
        """Two that came together are asked one by one and answered together, with their state."""
        questions = Questions()

        asked = questions.ask(TWO, "2025-06-18", PARAMS, "call")
        first = questions.answered(2, Raw(b'{"b":1}'))
        again = questions.answered(2, Raw(b"{}"))
        second = questions.answered(1, ErrorObject(-1, "no"))

        self.assertEqual(
            [Emit(Request(1, "roots/list"), "call"), Emit(Request(2, "sampling/createMessage", Raw(b"{}")), "call")],
            asked,
        )
        self.assertEqual(((), ()), (first, again))
        answers: dict[str, Raw | ErrorObject] = {"b": Raw(b'{"b":1}'), "a": ErrorObject(-1, "no")}
        self.assertEqual((Deliver(InputSupplied(5, answers)),), second)
        self.assertNotIn(1, questions)

    def test_withdrawn(self) -> None:
        """When the last one that is open is withdrawn, what was said of the others is the answer."""
        questions = Questions()
        questions.ask(TWO, "2025-06-18", PARAMS, None)
        questions.answered(1, Raw(b"{}"))

        told = questions.withdraw(InputWithdrawn("b", "too late"))

        self.assertEqual(
            (
                Abandon(2),
                Emit(Notification("notifications/cancelled", Raw(b'{"requestId":2,"reason":"too late"}'))),
                Deliver(InputSupplied(5, {"a": Raw(b"{}")})),
            ),
            told,
        )
        self.assertEqual((), questions.withdraw(InputWithdrawn("b")))

    def test_all_or_none(self) -> None:
        """If the client cannot answer one of them, it is asked none."""
        questions = Questions()
        cannot = ErrorObject(METHOD_NOT_FOUND, "The client does not support sampling/createMessage")

        told = questions.ask(TWO, "2025-06-18", {"capabilities": Raw(b'{"roots":{}}')}, None)

        self.assertEqual((Deliver(InputSupplied(5, {"a": cannot, "b": cannot})),), told)
        self.assertNotIn(1, questions)

    def test_next_life(self) -> None:
        """Ids of a daemon that has died are not used again."""
        questions = Questions()
        questions.begin_life(2)

        asked = questions.ask(TWO, "2025-06-18", PARAMS, None)

        ids = [
            effect.message.id for effect in asked if isinstance(effect, Emit) and isinstance(effect.message, Request)
        ]
        self.assertEqual([2_000_001, 2_000_002], ids)
